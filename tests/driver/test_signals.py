"""Signals while a run is on: real ones, in this process and in others."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from seedwise.driver.signals import stop_on_signals
from seedwise.errors import RunStopped

RUN = Path("runs/walk_v0001")
DEFAULTS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
each_signal = pytest.mark.parametrize("number", DEFAULTS)


def handlers() -> dict[int, object]:
    return {number: signal.getsignal(number) for number in DEFAULTS}


@pytest.fixture(autouse=True)
def defaults():
    """Begin with Python's own handlers, also under nohup; put back what was there."""
    before = {number: signal.signal(number, handler) for number, handler in DEFAULTS.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


# One signal.


@each_signal
def test_the_first_signal_stops_the_run(number):
    with pytest.raises(RunStopped) as caught, stop_on_signals(RUN):
        signal.raise_signal(number)
    assert (caught.value.run_dir, caught.value.signal) == (RUN, number)
    assert caught.value.code == 128 + number
    assert handlers() == DEFAULTS


@each_signal
def test_a_signal_that_was_swallowed_is_raised_at_the_next_check(number):
    with stop_on_signals(RUN) as stop:
        stop.check()
        with contextlib.suppress(BaseException):  # such as __del__ and callbacks of C
            signal.raise_signal(number)
        for _ in range(2):
            with pytest.raises(RunStopped) as caught:
                stop.check()
            assert caught.value.code == 128 + number


def test_one_run_after_the_other_can_be_stopped():
    for name in ("a", "b"):
        with pytest.raises(RunStopped) as caught, stop_on_signals(Path(name)):
            signal.raise_signal(signal.SIGTERM)
        assert caught.value.run_dir == Path(name)


# A request.


def test_a_request_stops_the_run_at_the_next_check():
    with stop_on_signals(RUN) as stop:
        stop.request()
        for _ in range(2):
            with pytest.raises(RunStopped) as caught:
                stop.check()
            assert (caught.value.run_dir, caught.value.signal) == (RUN, None)


def test_outside_of_the_main_thread_a_request_is_heeded_too():
    raised = []

    def work() -> None:
        with stop_on_signals(RUN) as stop:
            stop.request()
            try:
                stop.check()
            except RunStopped as error:
                raised.append(error.code)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert raised == [75]


@pytest.fixture
def ended(monkeypatch) -> list[object]:
    """What ended at once: the jobs, and the process with its code."""
    ended: list[object] = []
    monkeypatch.setattr("seedwise.driver.signals.os._exit", ended.append)
    return ended


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time that signals come at, in seconds."""
    now_s = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now_s[0])
    return now_s


@pytest.mark.parametrize("first", DEFAULTS)
@pytest.mark.parametrize("second", DEFAULTS)
@pytest.mark.parametrize("after_s", [0.0, 1.9, 2.1])
def test_a_signal_that_is_sent_twice_is_one(first, second, after_s, ended, clock, capsys):
    with contextlib.suppress(RunStopped), stop_on_signals(RUN):
        with pytest.raises(RunStopped) as caught:
            signal.raise_signal(first)
        assert f"{first.name}: the run stops in order; another" in capsys.readouterr().err
        clock[0] += after_s
        signal.raise_signal(second)
        assert caught.value.code == 128 + first
        is_one = signal.SIGINT not in (first, second) and after_s < 2
        assert ended == ([] if is_one else [128 + second])
        assert capsys.readouterr().err == ""
        clock[0] = 103.0
        signal.raise_signal(second)
    assert ended[-1] == 128 + second


def test_a_signal_that_can_not_be_told_stops_the_run_too(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    with pytest.raises(RunStopped), stop_on_signals(RUN):
        signal.raise_signal(signal.SIGTERM)


@each_signal
def test_a_signal_after_a_request_is_the_first(number, ended, clock):
    with stop_on_signals(RUN) as stop:
        stop.at_once = lambda: ended.append("jobs")
        stop.request()
        with pytest.raises(RunStopped) as caught:
            signal.raise_signal(number)
        assert (caught.value.signal, ended) == (number, [])
        clock[0] += 3
        signal.raise_signal(number)
    assert ended == ["jobs", 128 + number]


@each_signal
def test_the_end_that_was_asked_for_is_broken_off_by_the_second_signal_only(number, ended, clock):
    with stop_on_signals(RUN) as stop:
        stop.at_once = lambda: ended.append("jobs")
        stop.request()
        with pytest.raises(RunStopped) as caught:
            stop.check()
        signal.raise_signal(number)  # while the jobs are cancelled in order
        assert (caught.value.code, ended) == (75, [])
        clock[0] += 3
        signal.raise_signal(number)
    assert ended == ["jobs", 128 + number]


# What was there before.


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_the_handlers_are_put_back(error):
    with contextlib.suppress(*[error] if error else []), stop_on_signals(RUN):
        assert not set(handlers().values()) & set(DEFAULTS.values())
        if error is not None:
            raise error
    assert handlers() == DEFAULTS


@each_signal
def test_a_handler_of_the_callers_is_left_alone(number):
    seen = []

    def own(number, frame):
        seen.append(number)

    signal.signal(number, own)
    with stop_on_signals(RUN) as stop:
        assert signal.getsignal(number) is own
        signal.raise_signal(number)
        stop.check()
    assert seen == [number]
    assert handlers() == {**DEFAULTS, number: own}


@each_signal
def test_a_signal_that_is_ignored_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    with stop_on_signals(RUN) as stop:
        signal.raise_signal(number)
        stop.check()
        other = next(iter(set(DEFAULTS) - {number}))
        with pytest.raises(RunStopped):
            signal.raise_signal(other)
    assert handlers() == {**DEFAULTS, number: signal.SIG_IGN}


def test_a_run_in_a_run_leaves_the_signals_to_the_outer_one():
    with stop_on_signals(RUN):
        outer = handlers()
        with stop_on_signals(Path("inner")):
            assert handlers() == outer
        assert handlers() == outer
        with pytest.raises(RunStopped) as caught, stop_on_signals(Path("inner")):
            signal.raise_signal(signal.SIGINT)
        assert caught.value.run_dir == RUN
    assert handlers() == DEFAULTS


def test_in_another_thread_all_are_left_alone():
    seen = []

    def work() -> None:
        with stop_on_signals(RUN) as stop:
            seen.append(handlers())
            stop.check()
        seen.append(handlers())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [DEFAULTS] * 2


# Two signals: the process is gone, so it is another one.

SCRIPT = """
import atexit, signal, sys, time
from pathlib import Path
from seedwise.errors import RunStopped
from seedwise.driver.signals import stop_on_signals

said = []

def say(word):
    said.append(word)
    print(word, flush=True)

def at_once():
    say("at once")
    {at_once}

for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
seconds = iter(range(0, 100, 3))  # no signal counts as sent twice
time.monotonic = lambda: next(seconds)
atexit.register(say, "at exit")
first, second = map(int, sys.argv[1:])
with stop_on_signals(Path("runs/a")) as stop:
    stop.at_once = at_once
    try:
        signal.raise_signal(first)
    except RunStopped:
        say("first")
        try:
            signal.raise_signal(second)
        finally:
            say("never")
"""


def two_signals(first: int, second: int, at_once: str = "") -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(at_once=at_once), str(int(first)), str(int(second))],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGHUP, signal.SIGHUP),
        (signal.SIGINT, signal.SIGTERM),
    ],
)
def test_the_second_signal_ends_the_process_at_once(first, second):
    done = two_signals(first, second)
    assert done.returncode == 128 + second
    assert done.stdout.split("\n") == ["first", "at once", ""]
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("problem", ["raise ValueError", "raise SystemExit(0)"])
def test_the_second_signal_ends_the_process_whatever_fails(problem):
    done = two_signals(signal.SIGTERM, signal.SIGTERM, problem)
    assert done.returncode == 143
    assert done.stdout.split("\n") == ["first", "at once", ""]
    assert done.stderr.count("\n") == 1, done.stderr


def test_the_third_signal_does_not_wait_for_what_the_second_began():
    waits = "signal.raise_signal(signal.SIGTERM) if said.count('at once') < 2 else None"
    done = two_signals(signal.SIGINT, signal.SIGINT, f"{waits}; say('ended')")
    assert done.returncode == 143
    assert done.stdout.split("\n") == ["first", "at once", ""]


@each_signal
def test_a_script_that_is_stopped_ends_with_the_code_of_the_signal(number):
    script = (
        "import signal; from pathlib import Path\n"
        "from seedwise.driver.signals import stop_on_signals\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "for number in (signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_DFL)\n"
        "with stop_on_signals(Path('runs/a')):\n"
        f"    signal.raise_signal({int(number)})\n"
        "print('never')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (128 + number, "")
    assert done.stderr.count("\n") == 1, done.stderr
