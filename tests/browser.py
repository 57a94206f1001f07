"""A headless Chromium for tests, which reaches this machine alone."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

REQUIRE_VARIABLE = "SEEDWISE_REQUIRE_BROWSER"

_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    # No name leads anywhere but to this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]


_NETWORK = re.compile(r"(?:http|ws)s?://")


class Browser:
    """A browser with one tab."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, link: str) -> None:
        """Open a page."""
        self.driver.get(link)

    def begin(self) -> None:
        """Leave the page, and forget what was said and asked for until now."""
        self.open("about:blank")
        self.errors()
        self.hosts()

    def js(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        return self.driver.execute_script(f"return {expression}")

    def column(self, source: str, column: str) -> list[Any]:
        """Return a column of the page's Bokeh document, once the page has it."""
        model = f"Bokeh.documents[0]?.get_model_by_name({json.dumps(source)})"
        ready = f"(window.Bokeh && Bokeh.documents.length && {model}) ? true : false"
        if not self.js(ready):
            return []
        return self.js(f"Array.from({model}.data[{json.dumps(column)}])")

    def text(self) -> str:
        """Return the text of the page, that of Bokeh's models included."""
        words: str = self.js(
            "(function all(node) { let text = '';"
            " for (const one of node.childNodes) {"
            "  if (one.nodeType === 3) text += one.textContent;"
            "  if (one.nodeName === 'STYLE' || one.nodeName === 'SCRIPT') continue;"
            "  if (one.shadowRoot) text += all(one.shadowRoot);"
            "  text += all(one); }"
            " return text + ' '; })(document.body)"
        )
        return words

    def errors(self) -> list[str]:
        """Return what the console has said since the last call that is an error."""
        said = self.driver.get_log("browser")
        return [one["message"] for one in said if one["level"] == "SEVERE"]

    def hosts(self) -> set[str]:
        """Return the hosts that were asked for anything since the last call."""
        hosts = set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            params = message["params"]
            if message["method"] == "Network.requestWillBeSent":
                hosts.add(params["request"]["url"])
            elif message["method"] == "Network.webSocketCreated":
                hosts.add(params["url"])
        return {urlsplit(url).hostname or "" for url in hosts if _NETWORK.match(url)}

    def look(self, width: int, *, dark: bool = False) -> None:
        """Have the page be so wide, in pixels, and the user prefer dark pages or light ones."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


@contextlib.contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """Start a browser, whose files are in the folder."""
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if None in programs:
        problem = "there is no chromium or no chromedriver here"
        (pytest.fail if os.environ.get(REQUIRE_VARIABLE) == "1" else pytest.skip)(problem)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for flag in (*_FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = Service(executable_path=programs[1])  # Selenium is to fetch nothing
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
