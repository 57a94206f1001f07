"""What is written on stderr for each event."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shlex
from pathlib import Path

import attrs
import pytest

from seedwise.cluster.keys import LINK_FILE
from seedwise.model import events
from seedwise.model.events import (
    ChunkLost,
    EntryFinished,
    Event,
    Noted,
    PoolChanged,
    Progress,
    RunFinished,
    RunInterrupted,
    RunStarted,
    TrialFinished,
)
from seedwise.model.status import PoolNews, RunStatus
from seedwise.model.trials import FailureKind, SeedFailure, TrialResult, TrialState, best_trial
from seedwise.model.validation import Validation
from seedwise.view import progress as module
from seedwise.view.commands import CheckProgress
from seedwise.view.progress import ProgressLines
from tests.builders import pool_status, run_status
from tests.terminal import Terminal

FIRST = TrialResult(0, {"x": 0.5}, 1234567.0, 0.012345, 10, TrialState.COMPLETE, 1.234)
VALIDATED = Validation((), 2, {"x": 1}, 0.5, 0.25, (0, 1), 8)
WORDS = "validated 0.5 ± 0.25 on 8 fresh seeds (95 % interval 0 to 1): trial 2 at x=1"
BEST = TrialResult(2, {"x": 1 / 3, "n": 3, "kind": "a"}, 1 / 3, None, 1, TrialState.COMPLETE, 0.5)
FAILED = TrialResult(
    11, {"x": 0.5}, None, None, 0, TrialState.FAIL, 60.0, "seed 7: ValueError: no"
)
PRUNED = attrs.evolve(FAILED, state=TrialState.PRUNED)
RUN = Path("runs/walk_v0001")
NO = SeedFailure(3, 7, "ValueError", "no", "Traceback\n  line 3\nValueError: no\n")
DIED = SeedFailure(
    0, None, "ProcessDied", "of signal 11", "it wrote:\nlast words\n  of C\n", FailureKind.DIED
)
LATE = SeedFailure(0, 7, "ChunkTimeout", "after 60 s", "after 60 s", FailureKind.OVERRAN)


LOST = PoolNews(kind="lost", text="job 7 ended early: its node failed", job_id="7", warns=True)
POOL = pool_status()
WAITING = attrs.evolve(POOL, joined=0, pending=8, waiting="the partition is full")

EVENTS = [
    (
        RunStarted(RUN, 0, "a LocalCluster", None, None),
        ["run folder runs/walk_v0001", "on a LocalCluster"],
    ),
    (
        RunStarted(RUN, 7, "Slurm", "https://login:1/status", "ssh -L 1:login:1 login"),
        [
            "run folder runs/walk_v0001",
            "on Slurm",
            "resumed after 7 trials",
            "dashboard  https://login:1/status",
            "from a laptop, first: ssh -L 1:login:1 login",
        ],
    ),
    (
        RunStarted(RUN, 0, "Slurm", "https://login:1/status", None, "https://login:1/study"),
        [
            "run folder runs/walk_v0001",
            "on Slurm",
            "dashboard  https://login:1/status",
            "study      https://login:1/study",
        ],
    ),
    (
        TrialFinished(FIRST, None, FIRST, 9),
        ["[1/9] trial 0  1.23457e+06 ± 0.012 (10 seeds)  best so far  1.23 s"],
    ),
    (TrialFinished(FIRST, None, BEST, 20), []),  # it is not the best so far
    (
        TrialFinished(BEST, None, BEST, 20),
        ["[ 3/20] trial 2   0.333333 (1 seed)  best so far  0.50 s"],
    ),
    (
        TrialFinished(attrs.evolve(FIRST, raw_value=2.0), None, FIRST, 9),
        ["[1/9] trial 0  1.23457e+06 ± 0.012 (dropped after 10 seeds)  best so far  1.23 s"],
    ),
    (
        TrialFinished(FAILED, NO, BEST, 20),
        [
            "[12/20] trial 11  FAIL (seed 7: ValueError: no)  best 0.333333  60.00 s",
            "to see why: seedwise replay . --trial 11 --seed 7",
        ],
    ),
    (
        TrialFinished(FAILED, DIED, None, 20),
        [
            "[12/20] trial 11  FAIL (seed 7: ValueError: no)  60.00 s",
            "    last words",
            "      of C",
            "to see why: seedwise replay . --trial 11",
        ],
    ),
    (
        TrialFinished(FAILED, LATE, None, 20),
        [
            "[12/20] trial 11  FAIL (seed 7: ValueError: no)  60.00 s",
            "to see why: seedwise replay . --trial 11 --seed 7",
        ],
    ),
    (
        TrialFinished(PRUNED, NO, BEST, 20),
        [
            "[12/20] trial 11  PRUNED (seed 7: ValueError: no)  best 0.333333  60.00 s",
            "to see why: seedwise replay . --trial 11 --seed 7",
        ],
    ),
    (TrialFinished(BEST, None, BEST, 20, entry_id="anna"), []),  # its end tells its best
    (  # which folder an entry has is not known here
        TrialFinished(FAILED, NO, BEST, 20, entry_id="anna"),
        ["anna  [12/20] trial 11  FAIL (seed 7: ValueError: no)  best 0.333333  60.00 s"],
    ),
    (Progress(run_status()), []),  # the run has just begun
    (
        EntryFinished("anna b", BEST, None, 1, 12),
        ["[1/12] entry 'anna b' best 0.333333 (1 seed) at x=0.333333, n=3, kind='a'"],
    ),
    (
        EntryFinished("anna", BEST, None, 1, 12, VALIDATED),
        [f"[1/12] entry 'anna' best 0.333333 (1 seed) at x=0.333333, n=3, kind='a'; {WORDS}"],
    ),
    (
        EntryFinished("ben", None, "ValueError: no", 12, 12),
        ["[12/12] entry 'ben' failed: ValueError: no"],
    ),
    (
        ChunkLost(3, 250, "tcp://n7:41"),
        ["lost the worker tcp://n7:41; run again: trial 3, the chunk that begins with seed 250"],
    ),
    (
        Noted("the loss does not depend on its seed"),
        ["note: the loss does not depend on its seed"],
    ),
    (PoolChanged(LOST), ["job 7 ended early: its node failed"]),
    (
        PoolChanged(LOST, POOL),
        [
            (
                "job 7 ended early: its node failed; workers: 3 at work, 5 pending of 8 wanted "
                "(2 to 10)"
            )
        ],
    ),
    (
        PoolChanged(
            PoolNews(kind="scaled", text="2 workers wanted"),
            attrs.evolve(POOL, least=2, most=2, wanted=4, joined=4, pending=0),
        ),
        ["2 workers wanted; 4 at work, 2 leave after their chunk"],
    ),
    (
        PoolChanged(PoolNews(kind="scaled", text="2 to 10 workers wanted"), POOL),
        ["2 to 10 workers wanted; 3 at work, 5 pending"],
    ),
    (
        RunInterrupted(RUN, 20, 20, validating=True),
        [
            "stopped with 20 of 20 trials told, in the validation; nothing is lost",
            "to resume: seedwise resume runs/walk_v0001",
        ],
    ),
    (
        RunInterrupted(RUN, 4, 20),
        [
            "stopped with 4 of 20 trials told; nothing is lost",
            "to resume: seedwise resume runs/walk_v0001",
        ],
    ),
    (
        RunFinished(RUN, FIRST, 12.34),
        ["best 1.23457e+06 ± 0.012 (10 seeds) at x=0.5; 12.3 s"],
    ),
    (
        RunFinished(RUN, BEST, 12.34),
        ["best 0.333333 (1 seed) at x=0.333333, n=3, kind='a'; 12.3 s"],
    ),
    (RunFinished(RUN, None, 0.04), ["done; 0.0 s"]),
    (
        RunFinished(RUN, None, 0.04, "29 fitted, 1 failed: p17: ValueError: no"),
        ["done; 0.0 s", "29 fitted, 1 failed: p17: ValueError: no"],
    ),
]

each_event = pytest.mark.parametrize(("event", "lines"), EVENTS)


def test_every_event_is_tried_here():
    kinds = {kind for kind in vars(events).values() if isinstance(kind, type)}
    tried = {type(event) for event, _ in EVENTS}
    assert tried == {kind for kind in kinds if issubclass(kind, Event)} - {Event}


@each_event
def test_each_event_is_written_in_lines(event, lines):
    stream = io.StringIO()
    ProgressLines(stream=stream)(event)
    assert stream.getvalue() == "".join(f"seedwise: {line}\n" for line in lines)


@each_event
def test_without_trials_only_an_interruption_is_written(event, lines):
    stream = io.StringIO()
    ProgressLines(trials=False, stream=stream)(event)
    interrupted = isinstance(event, RunInterrupted)
    expected = [f"seedwise: {line}\n" for line in lines] if interrupted else []
    assert stream.getvalue() == "".join(expected)


@pytest.mark.parametrize("name", ["walk_v0001", "my run, 2nd $try"])
def test_the_commands_are_to_be_pasted(name):
    stream = io.StringIO()
    progress, folder = ProgressLines(stream=stream), Path("/scratch") / name
    progress(RunStarted(folder, 0, "Slurm", None, None))
    progress(TrialFinished(FAILED, NO, None, 20))
    progress(RunInterrupted(folder, 12, 20))
    commands = [line.partition(": seedwise ")[2] for line in stream.getvalue().splitlines()]
    assert [shlex.split(command) for command in commands if command] == [
        ["replay", str(folder), "--trial", "11", "--seed", "7"],
        ["resume", str(folder)],
    ]


def test_without_a_stream_it_is_the_stderr_of_the_moment(capsys):
    progress = ProgressLines()
    progress(RunFinished(RUN, None, 1.0))
    written = capsys.readouterr()
    assert written.err == "seedwise: done; 1.0 s\n"
    assert written.out == ""


class Keeping(logging.Handler):
    """Keeps the level and the text of each record."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def emit(self, record):
        self.kept.append((record.levelname, record.getMessage()))


@pytest.mark.parametrize(
    ("level", "kept", "shown"),
    [
        (
            "INFO",
            [
                ("INFO", f"run folder {RUN}"),
                ("INFO", "on here"),
                ("INFO", "dashboard  http://x"),
                ("WARNING", "note: look"),
            ],
            "",
        ),
        ("WARNING", [("WARNING", "note: look")], ""),
        ("ERROR", [], ""),
    ],
)
def test_handlers_of_the_logger_get_the_lines_and_stderr_none(level, kept, shown, capsys):
    """No token is in them: who reads a user's log is not known."""
    handler, progress = Keeping(), ProgressLines()
    module._logger.addHandler(handler)
    module._logger.setLevel(level)
    progress(RunStarted(RUN, 0, "here", "http://x?token=secret", None))
    progress(Noted("look"))
    assert handler.kept == kept
    assert capsys.readouterr().err == shown


def test_without_handlers_the_level_of_the_logger_counts(capsys):
    module._logger.setLevel(logging.WARNING)
    progress = ProgressLines()
    progress(RunStarted(RUN, 0, "here", None, None))
    progress(Noted("look"))
    assert capsys.readouterr().err == "seedwise: note: look\n"


def test_each_line_is_flushed():
    class Stream(io.StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1

    stream = Stream()
    ProgressLines(stream=stream)(RunStarted(RUN, 0, "Slurm", None, None))
    assert stream.flushed == 2


# How far it is, where a line is all that can say it.


class Now:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.s = 1000.0

    def monotonic(self) -> float:
        return self.s


class Lines:
    """Lines that are written one after the other, at times that a test sets."""

    def __init__(self, monkeypatch) -> None:
        self.now = Now()
        monkeypatch.setattr(module, "time", self.now)
        self._stream = io.StringIO()
        self.progress = ProgressLines(stream=self._stream)
        self._n_read = 0

    def __call__(self, event: Event) -> str:
        """Return what is written of an event."""
        self.progress(event)
        written = self._stream.getvalue()[self._n_read :]
        self._n_read += len(written)
        return written

    def in_time(self, *statuses: RunStatus, every_s: float = 5.0) -> list[tuple[float, str]]:
        """Return what is written, and when, while the progress is so, one after the other."""
        written = []
        for n, status in enumerate(statuses, start=1):
            self.now.s += every_s
            line = self(Progress(status))
            written += [(n * every_s, line.removeprefix("seedwise: ").rstrip())] if line else []
        return written


@pytest.fixture
def lines(monkeypatch) -> Lines:
    return Lines(monkeypatch)


def test_each_new_best_is_written_and_no_other_trial(lines):
    values = [3.0, 5.0, 2.0, 2.0, 7.0, 1.0]
    trials = [attrs.evolve(FIRST, number=n, value=value) for n, value in enumerate(values)]
    events = [
        TrialFinished(trial, None, best_trial(trials[: n + 1], "minimize"), 6)
        for n, trial in enumerate(trials)
    ]
    assert [" trial " in lines(event) for event in events] == [
        True,
        False,
        True,
        False,
        False,
        True,
    ]


def test_of_many_trials_that_fail_one_a_second_is_written(lines):
    event, written = TrialFinished(FAILED, NO, BEST, 20), []
    for _ in range(9):
        written.append("to see why" in lines(event))
        lines.now.s += 0.4
    assert written == [True, False, False] * 3
    assert lines(TrialFinished(FIRST, None, FIRST, 20))  # a new best is written at any time


def test_how_far_it_is_is_written_every_ten_seconds_at_most(lines):
    statuses = [run_status(done=n) for n in range(1, 9)]
    assert [when for when, _ in lines.in_time(*statuses, every_s=4.0)] == [12.0, 24.0]


def test_it_is_written_again_when_it_is_another_and_after_ten_minutes(lines):
    same, another = run_status(done=3), run_status(done=3, running=2)
    assert [when for when, _ in lines.in_time(*[same] * 150)] == [10.0, 610.0]
    assert [when for when, _ in lines.in_time(another, same, same, same)] == [5.0, 15.0]


@pytest.mark.parametrize(
    "guess",
    [
        {"expected_end_utc": "2030-01-01T00:00:00+00:00"},
        {"updated_at_utc": "2030-01-01T00:00:00+00:00"},
        {"trials_per_s": 2.5, "seeds_per_s": 100.0, "busy_share": 0.5},
        {"pool": attrs.evolve(WAITING, expected_start_utc="2030-01-01T00:00:00+00:00")},
    ],
)
def test_another_guess_is_no_news(lines, guess):
    status = run_status(pool=WAITING)
    assert len(lines.in_time(status, status)) == 1
    assert lines.in_time(*[attrs.evolve(status, **guess)] * 10) == []


FULL = (
    "trials 3 of 20 told; workers 0 at work, 8 pending of 8 wanted (2 to 10); "
    "waiting the partition is full"
)


def test_why_workers_are_waited_for_is_written_and_another_reason_soon(lines):
    full = run_status(pool=WAITING)
    held = run_status(pool=attrs.evolve(WAITING, waiting="it is held"))
    assert lines.in_time(*[full] * 30) == [(10.0, FULL)]
    told = FULL.replace(WAITING.waiting, "it is held")
    assert lines.in_time(held, full, full) == [(5.0, told), (15.0, FULL)]


def test_within_long_trials_the_seeds_that_are_done_are_written(lines):
    statuses = [
        run_status(running=2, running_seeds=40, running_seeds_done=done)
        for done in (0, 3, 3, 3, 9)
    ]
    line = "trials 3 of 20 told; running {} of 40 seeds of 2 trials"
    assert lines.in_time(*statuses) == [(10.0, line.format(3)), (25.0, line.format(9))]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"done": 1, "failed": 2, "pruned": 3}, "trials 6 of 20 told, 2 failed, 3 pruned"),
        ({"trials_per_s": 1234.5}, "trials 3 of 20 told; rate 1234 a second"),
        ({"trials_per_s": 0.01234}, "trials 3 of 20 told; rate 44.4 an hour"),
        ({"seeds_per_s": 12.34}, "trials 3 of 20 told; seeds 12.3 a second"),
        ({"seeds_saved": 1200}, "trials 3 of 20 told; seeds 1200 saved by the race"),
        ({"busy_share": 0.936}, "trials 3 of 20 told; busy 94 % of the workers' time"),
        (
            {"running": 4, "running_seeds": 400, "running_seeds_done": 123},
            "trials 3 of 20 told; running 123 of 400 seeds of 4 trials",
        ),
        (
            {"validation_seeds": 80, "validation_seeds_done": 10},
            "trials 3 of 20 told; validation 10 of 80 fresh seeds",
        ),
        ({"best_value": 1 / 3}, "trials 3 of 20 told; best so far 0.333333"),
        ({"best_value": 0.0, "best_stderr": 0.125}, "trials 3 of 20 told; best so far 0 ± 0.12"),
        (
            {"entries": {"pending": 4, "running": 3, "done": 2, "failed": 1}},
            "trials 3 of 20 told; entries 4 pending, 3 running, 2 done, 1 failed",
        ),
        (
            {"pool": attrs.evolve(POOL, excluded_nodes={"n1": "jobs ended there"})},
            "trials 3 of 20 told; workers 3 at work, 5 pending of 8 wanted (2 to 10)",
        ),
        ({"pool": WAITING}, FULL),
    ],
)
def test_how_far_it_is_is_a_line_of_what_is_known(lines, more, line):
    assert lines.in_time(run_status(**more), every_s=10.0) == [(10.0, line)]


def test_the_expected_end_is_in_local_time(lines, in_india):
    status = run_status(expected_end_utc="2020-01-01T10:10:00+00:00")
    ((_, line),) = lines.in_time(status, every_s=10.0)
    assert line.endswith("told; expected end 2020-01-01 15:40 (at any moment)")


def started(stream, link, run_dir):
    ProgressLines(stream=stream)(RunStarted(run_dir, 0, "here", link, "ssh -N -L 1:login:1 me"))
    stream.seek(0)
    return [line.removeprefix("seedwise: ") for line in stream.read().splitlines()[2:]]


@pytest.fixture
def log(tmp_path):
    """Make logs with a mode."""
    made = []

    def make(mode):
        path = tmp_path / f"log-{mode:o}"
        path.touch(mode)
        path.chmod(mode)
        made.append(path.open("r+"))
        return made[-1]

    yield make
    for file in made:
        file.close()


def test_the_token_is_not_for_a_log_that_others_can_read(tmp_path, log):
    tunnel = "from a laptop, first: ssh -N -L 1:login:1 me"
    locked, plain = "http://127.0.0.1:1/status?token=secret", "http://127.0.0.1:1/status"
    file = tmp_path / "keys" / LINK_FILE
    file.parent.mkdir()
    file.touch()
    at = f"dashboard  its link, with the token, is in {file}"
    for mode in (0o644, 0o640, 0o604):
        assert started(log(mode), locked, tmp_path) == [at, tunnel]
    assert started(log(0o600), locked, tmp_path) == [f"dashboard  {locked}", tunnel]
    assert started(io.StringIO(), locked, tmp_path) == [f"dashboard  {locked}", tunnel]
    assert started(log(0o666), plain, tmp_path) == [f"dashboard  {plain}", tunnel]
    file.unlink()  # a cluster that was passed
    assert started(log(0o646), locked, tmp_path) == [f"dashboard  {plain}", tunnel]


def test_a_terminal_and_a_pipe_are_ours():
    for reader, writer in (os.openpty(), os.pipe()):
        with open(writer, "w") as stream:  # noqa: PTH123 - a descriptor
            ProgressLines(stream=stream)(RunStarted(RUN, 0, "here", "http://x?token=ours", None))
            written = b""
            while written.count(b"\n") < 2:  # a terminal passes on what it has so far
                written += os.read(reader, 10_000)
        assert b"token=ours" in written
        os.close(reader)


def test_stderr_may_be_closed(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr", None)
    ProgressLines()(RunStarted(RUN, 0, "here", "http://x?token=secret", None))
    assert "secret" not in capsys.readouterr().out


def test_at_the_end_the_nodes_that_were_excluded_are_told_once():
    """A node that is excluded again after an hour is one node, and the last reason counts."""
    stream = io.StringIO()
    lines = ProgressLines(stream=stream)
    for excluded in ({"n1": "old"}, {}, {"n1": "2 jobs ended", "n7": "3 jobs ended"}, {}):
        lines(PoolChanged(LOST, attrs.evolve(POOL, excluded_nodes=excluded)))
    before = len(stream.getvalue())
    lines(RunInterrupted(RUN, 4, 20))  # why, the error says
    assert "excluded" not in stream.getvalue()[before:]
    lines(RunFinished(RUN, None, 1.0))
    assert stream.getvalue()[before:].splitlines()[2:4] == [
        "seedwise: excluded node n1: 2 jobs ended",
        "seedwise: excluded node n7: 3 jobs ended",
    ]


# On a terminal the progress is below the lines.


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    yield terminal
    terminal.close()


def has_block(terminal: Terminal) -> bool:
    return any(line.startswith("trials  ") for line in terminal.read())


@pytest.mark.parametrize("last", [RunFinished(RUN, BEST, 1.0), RunInterrupted(RUN, 3, 20), None])
def test_the_block_is_there_while_the_run_works(terminal, last):
    with contextlib.closing(ProgressLines(stream=terminal.stream)) as progress:
        progress(RunStarted(RUN, 0, "Slurm", None, None))
        assert not has_block(terminal)
        progress(Progress(run_status()))
        assert has_block(terminal)
        progress(Noted("all is well"))
        assert has_block(terminal)
        if last is not None:
            progress(last)
            assert not has_block(terminal)
    assert not has_block(terminal)
    assert "seedwise: note: all is well" in terminal.lines
    assert not any("trials 3 of 20 told" in line for line in terminal.lines)


def test_a_terminal_that_is_gone_does_no_harm_in_the_end(terminal):
    with contextlib.closing(ProgressLines(stream=terminal.stream)) as progress:
        progress(Progress(run_status()))
        terminal.stream.close()


def test_a_check_has_lines_alone_on_a_terminal_too(terminal):
    progress = CheckProgress(stream=terminal.stream)
    progress(RunStarted(RUN, 0, "1 Slurm job", None, None))
    progress(Progress(run_status()))
    assert terminal.read()[:2] == ["seedwise: checking one seed, on 1 Slurm job", ""]
    assert b"\x1b" not in terminal.written
