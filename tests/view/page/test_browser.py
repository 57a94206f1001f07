"""The study page in a real browser: during a run, and from its folder."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

import seedwise as sw
from tests.browser import open_browser
from tests.testbed.daemons import poll

#: A loss that waits until the test lets its trial go on; the last two are let go with "all".
SCRIPT = """
import pathlib
import random
import sys
import time

import seedwise as sw

GATE = pathlib.Path(sys.argv[1])


@sw.loss(name="walk", description="waits", parameter_space={"x": (-1.0, 1.0), "kind": KIND})
def walk(params, seed, context):
    while context["trial_number"] >= int(GATE.read_text() or 0):
        time.sleep(0.01)
    return (params["x"] - 0.3) ** 2 + random.Random(seed).gauss(0, 0.1)


if __name__ == "__main__":
    result = sw.optimize_run(
        walk, n_trials=8, n_seeds=32, max_concurrent_trials=1, run_name="page", self_check=False,
        n_validation_seeds=64, **eval(sys.argv[2])
    )
    print(repr(result.best_value), repr(result.validated_value))
""".replace("KIND", 'sw.search_param(allowed=["<i>a</i>", "b"])')


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


class Driver:
    """A script whose run goes on trial by trial; its stderr is a terminal's, so it says links."""

    def __init__(self, folder, options):
        (folder / "fit.py").write_text(textwrap.dedent(SCRIPT))
        self.gate = folder / "gate"
        self.let(0)
        command = [sys.executable, "fit.py", str(self.gate), repr(options)]
        self.said = folder / "stderr"
        with self.said.open("w") as stderr:
            self.said.chmod(0o600)  # what others can't read is told the links
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=subprocess.PIPE, stderr=stderr, text=True
            )

    def let(self, n_trials):
        aside = self.gate.with_suffix(".new")
        aside.write_text(str(n_trials))
        aside.replace(self.gate)

    def link(self, name):
        found = []

        def is_said():
            assert self.process.poll() is None, self.said.read_text()
            found[:] = re.findall(rf"{name} +(http\S+)", self.said.read_text())
            return bool(found)

        poll(is_said, f"the link to the {name}", 60)
        return found[0]


@contextmanager
def driver(folder, **options):
    started = Driver(folder, options)
    try:
        yield started
    finally:
        started.let(1000)
        started.process.terminate()
        started.process.communicate(timeout=60)


def status_without_token(link):
    parts = urlsplit(link)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    connection.request("GET", parts.path)
    status = connection.getresponse().status
    connection.close()
    return status


def told(browser):
    return len(browser.column("trials", "best"))


def best(browser):
    return min(value for value in browser.column("trials", "value"))


def assert_clean(browser):
    assert browser.errors() == []
    assert browser.hosts() == {"127.0.0.1"}


def test_a_run_while_it_goes_on(browser, tmp_path):
    with driver(tmp_path, workers=2) as run:
        link, dashboard = run.link("study"), run.link("dashboard")
        assert [status_without_token(one) for one in (link, dashboard)] == [403, 403]
        browser.hosts()

        browser.open(dashboard)
        poll(lambda: "Study" in browser.text(), "Dask's page to link to ours")
        assert browser.js("document.querySelector('a[href=study]').closest('ul') !== null")
        assert_clean(browser)

        browser.open(link)
        poll(lambda: "of 8 told" in browser.text(), "the page")
        assert told(browser) == 0
        for n_trials in (1, 3, 6):
            run.let(n_trials)
            poll(lambda n=n_trials: told(browser) == n, f"{n_trials} trials on the page")
        assert "token=" not in browser.js("location.href")
        assert "<i>a</i>" in browser.text()  # as text, not as an element
        assert "1 at work" in browser.text() or "2 at work" in browser.text()

        browser.open(f"{link}&again")  # opened late it shows everything
        poll(lambda: told(browser) == 6, "all trials on a page that is opened late")
        assert_clean(browser)
        run.let(1000)
        said, _ = run.process.communicate(timeout=60)
        value, validated = map(float, said.split())
        assert told(browser) == 8
        assert best(browser) == value
        assert browser.column("trials", "best")[-1] == value
        poll(lambda: f"{validated:.6g} ± " in browser.text(), "the validated value")
        assert "seedwise show" in browser.text()


@contextmanager
def served(folder):
    """Serve the page of a folder, as a user would; yield the link."""
    command = [sys.executable, "-m", "seedwise", "show", str(folder), "--page"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = [process.stdout.readline() for _ in range(3)]
            assert lines[1].startswith("from a laptop, first: ssh -N -L ")
            yield lines[0].split()[1]
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()


@sw.loss(name="plane", description="a plane", parameter_space={"x": (0, 1), "y": (0, 1)})
def plane(params, seed, context):
    if context["entry_id"] == "bad":
        raise ValueError("<script>alert(1)</script>")
    return params["x"] + 2 * params["y"] + seed % 2


def test_a_finished_sweep(browser, client, tmp_path):
    grid = sw.grid(x=[0.0, 0.5, 1.0], y=[0.0, 1.0])
    result = sw.run_sweep(
        plane, grid, n_seeds=4, cluster=client, run_root=tmp_path, run_name="s", progress=False
    )
    with served(result.run_dir) as link:
        assert status_without_token(link) == 403
        browser.hosts()
        browser.open(link)
        poll(lambda: told(browser) == 6, "the cases")
        assert browser.column("trials", "value") == [trial.value for trial in result.trials]
        cells = dict(
            zip(browser.column("cells", "x"), browser.column("cells", "mean"), strict=False)
        )
        assert set(cells) == {"x=0", "x=0.5", "x=1"}
        assert sorted(browser.column("cells", "mean")) == sorted(t.value for t in result.trials)
        assert_clean(browser)


def test_entries_have_a_row_and_a_page_each(browser, client, tmp_path):
    result = sw.optimize_entries(
        plane,
        entry_ids=["anna", "bad", "Renée"],
        n_trials=3,
        n_seeds=4,
        cluster=client,
        run_root=tmp_path,
        run_name_prefix="e",
        progress=False,
    )
    with served(result.run_dir) as link:
        browser.hosts()
        browser.open(link)
        poll(lambda: "Renée" in browser.text(), "the overview")
        words = browser.text()
        for entry, one in result.results_by_entry.items():
            assert f"{one.best_value:.6g}" in words, entry
        assert "ValueError: <script>alert(1)</script>" in words
        browser.open(f"{link}&entry=Ren%C3%A9e")
        poll(lambda: told(browser) == 3, "the page of an entry")
        assert best(browser) == result.best_values_by_entry["Renée"]
        assert "e / Renée" in " ".join(browser.text().split())
        browser.open(f"{link}&entry=..%2F..")
        poll(
            lambda: "no entry '../..'" in browser.text(),
            "what is said of an entry that is not there",
        )
        assert_clean(browser)


def test_a_run_that_another_process_is_at_work_on(browser, tmp_path):
    with driver(tmp_path, workers=1) as run:
        run.link("study")
        run.let(2)
        with served(tmp_path / "runs" / "page") as link:
            browser.hosts()
            browser.open(link)
            poll(lambda: told(browser) == 2, "the told trials")
            run.let(5)
            poll(lambda: told(browser) == 5, "those that were told since")
            run.let(1000)
            said, _ = run.process.communicate(timeout=60)
            poll(lambda: "finished" in browser.text(), "the end")
            assert best(browser) == float(said.split()[0])
            assert_clean(browser)


@pytest.mark.slurm
def test_the_page_of_a_run_on_slurm(browser, slurm, tmp_path):
    with driver(tmp_path, cluster="slurm", workers=1) as run:
        link = run.link("study")
        assert status_without_token(link) == 403
        browser.open(link)
        run.let(3)
        poll(lambda: told(browser) == 3, "the told trials", 60)
        run.let(1000)
        said, _ = run.process.communicate(timeout=120)
        assert best(browser) == float(said.split()[0])
        assert browser.hosts() == {"127.0.0.1"}


def test_json_of_the_panels_pages_names_ours(tmp_path):
    with driver(tmp_path, workers=1) as run:
        parts = urlsplit(run.link("study"))
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
        token = parts.query.removeprefix("token=")
        connection.request(
            "GET", "/individual-plots.json", headers={"Authorization": f"token {token}"}
        )
        plots = json.loads(connection.getresponse().read())
        connection.close()
        assert plots["Individual Study"] == "/individual-study"
        assert plots["Individual Task Stream"] == "/individual-task-stream"
