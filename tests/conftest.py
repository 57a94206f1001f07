"""Fixtures of all tests, and the promise that they leave nothing behind."""

from __future__ import annotations

import compileall
import logging
import os
import shutil
import signal
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

# Importing dask-jobqueue writes its defaults to the user's configuration folder: give it one.
_DASK_CONFIG = tempfile.mkdtemp(prefix="seedwise-dask-config-")
os.environ["DASK_CONFIG"] = _DASK_CONFIG
os.environ["XDG_CONFIG_HOME"] = _DASK_CONFIG  # where no file of a user's options is

import bokeh.core.property.validation  # noqa: E402
import psutil  # noqa: E402
import pytest  # noqa: E402
from bokeh.core.property.bases import Property  # noqa: E402
from distributed import Client, LocalCluster  # noqa: E402
from hypothesis import settings  # noqa: E402

# The same cases at every run, no limit on noisy machines, and no folder of past failures.
settings.register_profile("seedwise", derandomize=True, deadline=None, database=None)
settings.load_profile("seedwise")

# What runs in the background, or under nohup, ignores some signals, and so would the drivers that
# the tests start and send them to.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Tests start a thousand processes, and where Python is told to write no bytecode, as it is in many
# containers, each would compile all of seedwise.
_ROOT = Path(__file__).parent.parent
for folder in ("src", "tests"):
    compileall.compile_dir(_ROOT / folder, quiet=2)


class PerThread(threading.local):
    """Bokeh's switch of its validation, for one thread in place of the whole process.

    Dask's pages switch it off and back on. Two clusters in two threads can each take the other's
    "off" for what was before: then it stays off, and all later pages fail.
    """

    on = True

    def __get__(self, instance, owner) -> bool:
        return self.on

    @contextmanager
    def set(self, value: bool):
        before, self.on = self.on, value
        try:
            yield
        finally:
            self.on = before


Property._should_validate = PerThread()
bokeh.core.property.validation.validate = Property.__dict__["_should_validate"].set

pytest_plugins = ["tests.testbed.fixtures"]


def pytest_collection_modifyitems(config, items):
    """Leave out what is marked ``full``, unless it is asked for, and begin with what is slow."""
    if "full" in config.getoption("markexpr"):
        return
    full = [item for item in items if item.get_closest_marker("full")]
    items[:] = [item for item in items if not item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=full)
    # The longest files first, so that no process of xdist is left with one at the end.
    slow = {item.path for item in items if item.get_closest_marker("slurm")}
    items.sort(key=lambda item: item.path not in slow and item.path.parent.name != "faults")


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind():
    """Fail the session if a process that it started outlives it."""
    yield
    shutil.rmtree(_DASK_CONFIG, ignore_errors=True)
    children = psutil.Process().children(recursive=True)
    # The resource tracker of multiprocessing ends with this process.
    children = [child for child in children if "resource_tracker" not in " ".join(_cmdline(child))]
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, [_cmdline(child) for child in alive]


@pytest.fixture(scope="session")
def client():
    """Client of a cluster of two local workers, for tests that need no cluster of their own."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client
        # What is left there has each later loss loaded in a process of its own, which is slow.
        names = "[name for name in __import__('sys').modules if name.split('.')[0] == 'tests']"
        held = client.run(eval, names)
        assert not any(held.values()), held


@pytest.fixture(autouse=True)
def lines_are_on_stderr(monkeypatch):
    """Keep what is said of runs from pytest's handlers, which take it in place of stderr."""
    monkeypatch.setattr("seedwise.view.progress._logger", logging.Logger("seedwise"))


@pytest.fixture
def in_india(monkeypatch):
    """Have local time be 5 h 30 min ahead of UTC."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def evaluated(tmp_path):
    """What a loss has noted in ``log`` since the last call, as (trial, seed)."""

    def evaluated():
        path = tmp_path / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return sorted(tuple(map(int, line.split())) for line in lines)

    return evaluated


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
