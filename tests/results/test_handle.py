"""A handle of a run that others work on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import seedwise as sw
from seedwise.folder import requests as module
from seedwise.folder.directory import RunDirectory
from seedwise.folder.find import entry_directory
from seedwise.folder.lease import acquire_lease
from seedwise.folder.requests import Control, Request

BEGAN = "2026-08-01T10:00:00+00:00"


@pytest.fixture
def directory(tmp_path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "fit")
    directory.path.mkdir(mode=0o700)
    directory.meta.write(
        {"kind": "run", "started_at_utc": BEGAN, "resumed_at_utc": [], "options": {"n_trials": 9}}
    )
    return directory


@pytest.fixture
def came(directory, monkeypatch) -> Iterator[list[Request]]:
    """What a driver was asked that does all that it is asked."""
    monkeypatch.setattr(module, "_POLL_EVERY_S", 0.0)
    came: list[Request] = []
    ended = threading.Event()
    with acquire_lease(directory.lease):
        control = Control(directory)

        def work() -> None:
            while not ended.wait(0.01):
                for request in control.poll():
                    came.append(request)
                    control.answer(request)

        thread = threading.Thread(target=work)
        thread.start()
        yield came
        ended.set()
        thread.join()
        control.__exit__()


def test_it_says_which_run_it_is_and_how_far(directory):
    run = sw.connect(directory.path)
    assert run.path == directory.path
    assert repr(run) == f"<RunHandle {str(directory.path)!r}: stopped, 0 of 9 trials told>"
    assert run.status() == sw.run_status(directory.path)


def test_a_relative_path_is_of_the_folder_of_the_moment(directory, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    run = sw.connect("fit")
    monkeypatch.chdir("/")
    assert run.path == directory.path
    assert run.status().state == "stopped"


@pytest.mark.parametrize(
    ("arguments", "bounds"),
    [((40,), (40, 40)), (((10, 200),), (10, 200)), ((10, 200), (10, 200)), ((0, 1), (0, 1))],
)
def test_it_asks_for_other_bounds(directory, came, arguments, bounds):
    sw.connect(directory.path).scale(*arguments)
    assert [request.scale for request in came] == [bounds]


@pytest.mark.parametrize(
    "arguments", [(0,), (-1,), (2.5,), ((3, 2),), (3, 2), ("4",), ((1, 2, 3),), ((1, 2), 3)]
)
def test_what_is_no_number_of_workers_is_refused_at_once(directory, arguments):
    with pytest.raises(sw.OptionError, match="workers="):
        sw.connect(directory.path).scale(*arguments)


def test_it_asks_to_stop(directory, came):
    sw.connect(str(directory.path)).stop()
    assert [request.scale for request in came] == [None]


def test_a_handle_of_an_entry_is_one_of_its_run(directory, came):
    entry = entry_directory(directory, "anna")
    entry.meta.write({"kind": "run"})
    run = sw.connect(entry.path)
    assert run.path == directory.path
    run.stop()
    assert len(came) == 1


@pytest.mark.parametrize("ask", [lambda run: run.scale(4), lambda run: run.stop()])
def test_without_a_driver_there_is_nobody_to_ask(directory, ask):
    run = sw.connect(directory.path)
    with pytest.raises(sw.NoDriverError, match=r"which is stopped\. .*seedwise resume"):
        ask(run)


@pytest.mark.parametrize(
    "ask", [lambda run: run.scale(4, timeout_s=0.05), lambda run: run.stop(timeout_s=0.05)]
)
def test_a_driver_that_does_not_answer(directory, ask):
    with acquire_lease(directory.lease):
        with pytest.raises(sw.NotAnsweredError):
            ask(sw.connect(directory.path))
        assert len(list(directory.control.iterdir())) == 1


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(sw.NotARunError):
        sw.connect(tmp_path)
    with pytest.raises(sw.NotARunError):
        sw.connect(Path("/nowhere"))
