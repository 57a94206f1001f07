"""Runs that go on trial by trial, and their pages as users open them."""

from __future__ import annotations

import http.client
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.testbed.daemons import poll

#: A loss that waits until the test lets its trial go on.
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


class Driver:
    """A script whose run goes on trial by trial; its stderr is a terminal's, so it says links."""

    def __init__(self, folder, options):
        (folder / "fit.py").write_text(SCRIPT)
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


def ask(link, path=None, method="GET", *, body=None, token=True):
    """Ask the server of a link for it, or for another path; return the status and what it says."""
    parts = urlsplit(link)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"token {parts.query.removeprefix('token=')}"
    connection.request(method, path or parts.path, body, headers)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


@contextmanager
def served(folder, flag="--page"):
    """Serve the page of a folder, as a user would; yield the link."""
    command = [sys.executable, "-m", "seedwise", "show", str(folder), flag]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = [process.stdout.readline() for _ in range(3)]
            assert lines[1].startswith("from a laptop, first: ssh -N -L ")
            yield lines[0].split()[1]
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()
