"""Asking a driver for something: by files, from this process and others, and what comes back."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seedwise.errors import NoDriverError, NotAnsweredError, RequestRefusedError, RunFileError
from seedwise.folder import requests as module
from seedwise.folder.directory import RunDirectory
from seedwise.folder.find import entry_directory
from seedwise.folder.lease import acquire_lease
from seedwise.folder.requests import Control, Request, ask

BEGAN = "2026-08-01T10:00:00+00:00"
SCALE = Request(scale=(2, 10), by="ada")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "_POLL_EVERY_S", 0.0)
    monkeypatch.setattr(module, "_ANSWER_RETRY_S", 0.005)


@pytest.fixture
def directory(tmp_path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "fit")
    directory.path.mkdir(mode=0o700)
    directory.meta.write(
        {"kind": "run", "started_at_utc": BEGAN, "resumed_at_utc": [], "options": {"n_trials": 9}}
    )
    return directory


@pytest.fixture
def held(directory) -> Iterator[RunDirectory]:
    """The folder of a run that this process works on."""
    with acquire_lease(directory.lease):
        yield directory


class FakeClock:
    """Time that passes only in a sleep."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def leave(directory: RunDirectory, request: Request) -> Path:
    """Ask, and wait for nothing."""
    ask(directory, request, timeout_s=0)
    return directory.control / f"ask-{request.id}.json"


def names(directory: RunDirectory) -> list[str]:
    return sorted(path.name for path in directory.control.iterdir())


@contextlib.contextmanager
def answering(
    control: Control, error: Callable[[Request], str | None] = lambda _: None
) -> Iterator[list[Request]]:
    """Answer all requests in a thread; give those that came."""
    came: list[Request] = []
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.005):
            for request in control.poll():
                came.append(request)
                control.answer(request, error(request))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield came
    finally:
        ended.set()
        thread.join()


# What is asked for comes, and is answered.


@pytest.mark.parametrize("request_", [SCALE, Request(by="ada"), Request(scale=(0, 1))])
def test_a_request_comes_and_is_answered(held, request_):
    control = Control(held)
    with answering(control) as came:
        ask(held, request_)
    assert came == [request_]
    assert names(held) == []


def test_an_answer_may_be_why_it_can_not_be_done(held):
    control = Control(held)
    with (
        answering(control, lambda _: "scale it yourself"),
        pytest.raises(RequestRefusedError, match="refuses: scale it yourself") as caught,
    ):
        ask(held, SCALE)
    assert (caught.value.run_dir, caught.value.why) == (held.path, "scale it yourself")
    assert names(held) == []


def test_requests_are_done_in_the_order_of_asking_and_none_is_lost(held):
    control = Control(held)
    requests = [Request(scale=(1, most)) for most in range(1, 9)]
    requests.insert(4, Request())
    for at, request in enumerate(requests):
        path = leave(held, request)
        os.utime(path, ns=(at, at))
    found = control.poll()
    assert found == requests
    assert control.poll() == requests  # until they are answered
    for request in found:
        control.answer(request)
    assert control.poll() == []


def test_many_may_ask_at_once(held):
    control = Control(held)
    threads = [
        threading.Thread(target=ask, args=(held, Request(scale=(1, most))))
        for most in range(1, 21)
    ]
    with answering(control) as came:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(request.scale for request in came) == [(1, most) for most in range(1, 21)]
    assert names(held) == []


def test_from_another_process_it_says_who_asks(held):
    code = (
        "import sys\nfrom pathlib import Path\nfrom seedwise.folder.requests import Request, ask\n"
        "from seedwise.folder.directory import RunDirectory\n"
        "ask(RunDirectory(Path(sys.argv[1])), Request(scale=(3, 4)))\n"
    )
    control = Control(held)
    with (
        answering(control) as came,
        subprocess.Popen([sys.executable, "-c", code, str(held.path)]) as process,
    ):
        assert process.wait(30) == 0
    assert [request.scale for request in came] == [(3, 4)]
    assert came[0].by.startswith(f"process {process.pid} on ")
    assert str(came[0]) == f"{came[0].by} asks for 3 to 4 workers"


def test_a_request_in_words():
    assert str(Request(scale=(4, 4), by="ada")) == "ada asks for 4 workers"
    assert str(Request(by="ada")) == "ada asks to stop"


def test_what_is_asked_of_an_entry_is_asked_of_its_run(held):
    entry = entry_directory(held, "anna")
    control = Control(held)
    with answering(control) as came:
        ask(entry, SCALE)
    assert came == [SCALE]
    assert not (entry.path / "control").exists()


def test_files_are_for_the_user_alone_and_written_aside(held):
    path = leave(held, SCALE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(held.control.stat().st_mode) == 0o700
    assert names(held) == [path.name]
    assert json.loads(path.read_text()) == {"scale": [2, 10], "by": "ada", "id": SCALE.id}


# Nobody is there, or does not answer.


def test_without_a_driver_there_is_nobody_to_ask(directory):
    with pytest.raises(NoDriverError, match="which is stopped") as caught:
        ask(directory, SCALE)
    assert (caught.value.run_dir, caught.value.state) == (directory.path, "stopped")
    assert str(caught.value).endswith(f"seedwise resume {directory.path}")
    assert not directory.control.exists()


def test_of_a_finished_run_nothing_is_left_to_do(directory):
    meta = directory.read_meta()
    directory.meta.write({**meta, "completed_at_utc": BEGAN})
    with pytest.raises(NoDriverError, match="Nothing is left to do") as caught:
        ask(directory, SCALE)
    assert caught.value.state == "finished"


def test_a_driver_that_ends_before_it_gets_to_it(directory):
    lease = acquire_lease(directory.lease)
    control = Control(directory)

    def end() -> None:
        while not control.poll():
            time.sleep(0.005)
        control.__exit__()
        lease.release()

    thread = threading.Thread(target=end)
    thread.start()
    with pytest.raises(NoDriverError):
        ask(directory, SCALE)
    thread.join()
    assert not directory.control.exists()


def test_an_answer_counts_although_the_driver_ended_after_it(directory, monkeypatch):
    lease = acquire_lease(directory.lease)
    control = Control(directory)

    def answer_and_die(seconds: float) -> None:
        for request in control.poll():
            control.answer(request)
        lease.release()

    monkeypatch.setattr(module.time, "sleep", answer_and_die)
    ask(directory, SCALE)
    assert not directory.control.exists()


def test_without_an_answer_in_time_the_request_stays(held, monkeypatch):
    control = Control(held)
    clock = FakeClock()
    monkeypatch.setattr(module, "time", clock)
    with pytest.raises(NotAnsweredError, match=r"not answered within 15 s") as caught:
        ask(held, SCALE, timeout_s=15)
    assert 15 <= clock.now_s < 15.1
    assert caught.value.holder.startswith(f"process {os.getpid()} on ")
    assert control.poll() == [SCALE]


def test_what_was_asked_of_a_driver_before_is_dropped(held):
    path = leave(held, SCALE)
    (held.control / "answer-1.json").touch()
    control = Control(held)
    assert not path.exists()
    assert control.poll() == []
    assert names(held) == []


def test_who_asks_while_a_driver_begins_asks_again(held, monkeypatch):
    controls: list[Control] = []

    def begin(seconds: float) -> None:
        if not controls:
            controls.append(Control(held))  # which drops what is there
        for request in controls[0].poll():
            controls[0].answer(request)

    monkeypatch.setattr(module.time, "sleep", begin)
    ask(held, SCALE)
    assert len(controls) == 1


def test_a_folder_that_can_not_be_written_to(held):
    held.control.touch()
    with pytest.raises(RunFileError):
        ask(held, SCALE)


# Files that are not requests.


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"scale": [1,',
        b"\xff",
        b"[]",
        b"{}",
        b'{"id": "%s"}' % SCALE.id.encode(),
        b'{"id": "0", "scale": [1, 2]}',
        *(
            b'{"id": "%s", "scale": %s}' % (SCALE.id.encode(), scale)
            for scale in (b"3", b"[3]", b"[3, 2]", b"[-1, 2]", b"[0, 0]", b'["1", 2]', b"true")
        ),
    ],
    ids=lambda content: repr(content).replace(SCALE.id, "its id"),
)
def test_a_damaged_file_is_ignored_and_removed(held, content, caplog):
    control = Control(held)
    path = held.control / f"ask-{SCALE.id}.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with caplog.at_level(logging.WARNING, logger="seedwise"):
        assert control.poll() == []
    assert not path.exists()
    assert "is not a request of this user" in caplog.text


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_have_written_is_ignored_and_removed(held, mode):
    control = Control(held)
    path = leave(held, SCALE)
    path.chmod(mode)
    assert control.poll() == []
    assert not path.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_ignored_and_removed(held):
    control = Control(held)
    path = leave(held, SCALE)
    os.chown(path, 12345, -1)
    assert control.poll() == []
    assert not path.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_what_root_asks_is_for_the_users_driver_to_read(held):
    Control(held)
    os.chown(held.control, 12345, -1)
    assert leave(held, SCALE).stat().st_uid == 12345


def test_neither_links_nor_pipes_nor_folders_are_followed(held, tmp_path):
    control = Control(held)
    path = leave(held, SCALE)
    aim = tmp_path / "aim"
    path.rename(aim)
    path.symlink_to(aim)
    os.mkfifo(held.control / f"ask-{'0' * 32}.json")
    (held.control / f"ask-{'1' * 32}.json").mkdir()
    assert control.poll() == []
    assert aim.exists()
    assert names(held) == []


def test_other_files_are_left_alone(held):
    control = Control(held)
    for name in ("notes.txt", ".ask-12.json.new", "ask-12.json"):
        (held.control / name).touch()
    assert control.poll() == []
    assert len(names(held)) == 3


# Failures that do not matter for the run.


def test_a_folder_that_is_gone_is_no_matter(held):
    control = Control(held)
    held.control.rmdir()
    assert control.poll() == []
    control.answer(SCALE)
    control.__exit__()


def test_on_a_full_disk_a_request_is_done_once(held, monkeypatch):
    control = Control(held)
    leave(held, SCALE)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_put", full)
    monkeypatch.setattr(module, "remove", lambda path: None)
    (request,) = control.poll()
    control.answer(request)
    assert control.poll() == []


def test_it_looks_once_a_second(held, monkeypatch):
    monkeypatch.setattr(module, "_POLL_EVERY_S", 1.0)
    control = Control(held)
    assert control.poll() == []
    leave(held, SCALE)
    assert control.poll() == []
    monkeypatch.setattr(control._due, "_last_s", time.monotonic() - 1.0)
    assert control.poll() == [SCALE]


def test_in_the_end_nothing_is_left_of_what_was_asked(held):
    control = Control(held)
    leave(held, SCALE)
    control.answer(SCALE)  # which nobody reads
    leave(held, Request(by="too late"))
    control.__exit__()
    assert not held.control.exists()


def test_a_stop_is_done_although_the_end_took_the_answer_with_it(directory, monkeypatch):
    lease = acquire_lease(directory.lease)
    control = Control(directory)

    def answer_and_end(seconds: float) -> None:
        for request in control.poll():
            control.answer(request)
        control.__exit__()
        lease.release()

    monkeypatch.setattr(module.time, "sleep", answer_and_end)
    ask(directory, Request())
    with pytest.raises(NoDriverError):  # there is nobody to stop
        ask(directory, Request())
    assert not directory.control.exists()
