"""What is written on stderr for each event."""

from __future__ import annotations

import io
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
from seedwise.model.status import PoolNews, PoolStatus
from seedwise.model.trials import FailureKind, SeedFailure, TrialResult, TrialState
from seedwise.model.validation import Validation
from seedwise.view import progress as module
from seedwise.view.progress import ProgressLines
from tests.builders import pool_status, run_status

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
    (
        TrialFinished(FIRST, None, BEST, 20),
        ["[ 1/20] trial 0   1.23457e+06 ± 0.012 (10 seeds)  best 0.333333  1.23 s"],
    ),
    (
        TrialFinished(BEST, None, BEST, 20),
        ["[ 3/20] trial 2   0.333333 (1 seed)  best so far  0.50 s"],
    ),
    (
        TrialFinished(attrs.evolve(FIRST, raw_value=2.0), None, BEST, 9),
        ["[1/9] trial 0  1.23457e+06 ± 0.012 (dropped after 10 seeds)  best 0.333333  1.23 s"],
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
    (
        TrialFinished(BEST, None, BEST, 20, entry_id="anna"),
        ["anna  [ 3/20] trial 2   0.333333 (1 seed)  best so far  0.50 s"],
    ),
    (  # which folder an entry has is not known here
        TrialFinished(FAILED, NO, BEST, 20, entry_id="anna"),
        ["anna  [12/20] trial 11  FAIL (seed 7: ValueError: no)  best 0.333333  60.00 s"],
    ),
    (Progress(run_status()), []),  # all trials were written
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


def test_each_line_is_flushed():
    class Stream(io.StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1

    stream = Stream()
    ProgressLines(stream=stream)(RunStarted(RUN, 0, "Slurm", None, None))
    assert stream.flushed == 2


# Runs of so many trials that most lines are left out.


class Now:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.s = 1000.0

    def monotonic(self) -> float:
        return self.s


class Brief:
    """Lines of a run of many trials, written one after the other."""

    def __init__(self, monkeypatch) -> None:
        self.now = Now()
        monkeypatch.setattr(module, "time", self.now)
        self._stream = io.StringIO()
        self.progress = ProgressLines(stream=self._stream, brief=True)
        self._n_read = 0

    def __call__(self, event: Event) -> str:
        """Return what is written of an event."""
        self.progress(event)
        written = self._stream.getvalue()[self._n_read :]
        self._n_read += len(written)
        return written


@pytest.fixture
def brief(monkeypatch) -> Brief:
    return Brief(monkeypatch)


def test_in_brief_a_trial_in_a_second_is_written(brief):
    event = TrialFinished(FIRST, None, FIRST, 20)
    written = []
    for _ in range(9):
        written.append(" trial " in brief(event))
        brief.now.s += 0.4
    assert written == [True, False, False] * 3


def test_in_brief_how_far_it_is_is_written_if_something_was_left_out(brief):
    event = TrialFinished(FIRST, None, FIRST, 20)
    brief(event)
    assert brief(Progress(run_status())) == ""
    brief(event)
    assert brief(Progress(run_status())) == "seedwise: 3 of 20 trials told\n"
    assert brief(Progress(run_status())) == ""


def test_how_far_a_validation_is_is_written_now_and_then(brief):
    status = run_status(validation_seeds=80, validation_seeds_done=10)
    assert brief(Progress(status)) == ""
    brief.now.s += 31
    assert ", validation 10 of 80 fresh seeds done" in brief(Progress(status))
    brief.now.s += 31
    assert brief(Progress(status)) == ""  # no more are done


def test_in_full_each_trial_is_written(monkeypatch):
    monkeypatch.setattr(module, "time", Now())
    stream = io.StringIO()
    progress = ProgressLines(stream=stream)
    for _ in range(5):
        progress(TrialFinished(FIRST, None, FIRST, 20))
    assert stream.getvalue().count(" trial ") == 5


@each_event
def test_in_brief_all_other_events_are_written_as_in_full(event, lines, brief):
    brief(TrialFinished(FIRST, None, FIRST, 20))
    if not isinstance(event, TrialFinished):
        assert brief(event) == "".join(f"seedwise: {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"done": 1, "failed": 2, "pruned": 3}, "6 of 20 trials told, 2 failed, 3 pruned"),
        ({"trials_per_s": 1234.5}, "3 of 20 trials told, 1.23e+03 a second"),
        ({"trials_per_s": 0.01234}, "3 of 20 trials told, 0.0123 a second"),
        (
            {"running": 4, "running_seeds": 400, "running_seeds_done": 123},
            "3 of 20 trials told, 4 running with 123 of 400 seeds done",
        ),
        ({"best_value": 1 / 3}, "3 of 20 trials told, best 0.333333"),
        ({"best_value": 0.0}, "3 of 20 trials told, best 0"),
        (
            {"entries": {"pending": 4, "running": 3, "done": 2, "failed": 1}},
            "3 of 20 trials told, 2 of 10 entries done",
        ),
        ({"pool": POOL}, "3 of 20 trials told, 3/8 workers"),
        ({"pool": attrs.evolve(POOL, joined=8, pending=0)}, "3 of 20 trials told"),
        (
            {"pool": attrs.evolve(WAITING, joined=3)},
            "3 of 20 trials told, 3/8 workers, waiting: the partition is full",
        ),
    ],
)
def test_how_far_it_is_is_a_line_of_what_is_known(brief, more, line):
    for _ in range(2):
        brief(TrialFinished(FIRST, None, FIRST, 20))
    assert brief(Progress(run_status(**more))) == f"seedwise: {line}\n"


def test_the_expected_end_is_in_local_time(brief, in_india):
    for _ in range(2):
        brief(TrialFinished(FIRST, None, FIRST, 20))
    line = brief(Progress(run_status(expected_end_utc="2020-01-01T10:10:00+00:00")))
    assert line.endswith("told, expected end 2020-01-01 15:40 (at any moment)\n")


# While no trial is told because trials take long.


def within_trials(brief: Brief, *done: int) -> list[str]:
    """Return what is written while these numbers of seeds are done, one each ten seconds."""
    written = []
    for n_done in done:
        brief.now.s += 10.0
        status = run_status(running=2, running_seeds=40, running_seeds_done=n_done, pool=POOL)
        written.append(brief(Progress(status)))
    return written


def test_within_long_trials_the_seeds_that_are_done_are_written_each_half_minute(brief):
    line = "seedwise: 3 of 20 trials told, 2 running with {} of 40 seeds done, 3/8 workers\n"
    assert within_trials(brief, 0, 3, 5, 7) == ["", "", line.format(5), ""]
    assert within_trials(brief, 8, 9, 9) == ["", line.format(9), ""]


def test_a_trial_that_was_written_is_news_enough(brief):
    within_trials(brief, 1, 2)
    brief(TrialFinished(FIRST, None, FIRST, 20))
    assert within_trials(brief, 3, 4) == ["", ""]


def test_that_no_seed_was_done_since_the_last_line_is_not_written(brief):
    assert [bool(line) for line in within_trials(brief, 0, 0, 0, 0, 6, 6, 6, 6, 6)] == [
        *[False] * 4,
        True,
        *[False] * 4,
    ]


# While nothing is told because all workers are waited for.


def waited(brief: Brief, pool: PoolStatus, seconds: float) -> list[tuple[float, str]]:
    """Return what is written in some seconds, and when."""
    began_s = brief.now.s
    written = []
    while brief.now.s < began_s + seconds:
        brief.now.s += 5.0
        line = brief(Progress(run_status(pool=pool)))
        written += [(brief.now.s - began_s, line)] if line else []
    return written


FULL = "seedwise: 3 of 20 trials told, 0/8 workers, waiting: the partition is full\n"


def test_that_all_workers_are_waited_for_is_written_now_and_then(brief):
    assert waited(brief, WAITING, 180) == [(10.0, FULL), (70.0, FULL), (130.0, FULL)]


def test_another_reason_is_written_sooner(brief):
    waited(brief, WAITING, 30)
    other = attrs.evolve(WAITING, waiting="the account is at its limit")
    assert waited(brief, other, 30) == [(5.0, FULL.replace(WAITING.waiting, other.waiting))]
    assert waited(brief, WAITING, 10) == [(5.0, FULL)]


def test_another_guess_of_the_start_is_no_news(brief):
    waited(brief, WAITING, 30)
    guessed = attrs.evolve(WAITING, expected_start_utc="2030-01-01T00:00:00+00:00")
    assert waited(brief, guessed, 30) == []
    ((_, line),) = waited(brief, guessed, 30)
    assert "waiting: the partition is full; expected start 20" in line


def test_in_full_it_is_written_too(monkeypatch):
    now = Now()
    monkeypatch.setattr(module, "time", now)
    stream = io.StringIO()
    progress = ProgressLines(stream=stream)
    now.s += 10
    progress(Progress(run_status(pool=WAITING)))
    assert stream.getvalue() == FULL


@pytest.mark.parametrize("pool", [None, POOL, attrs.evolve(POOL, joined=1, pending=3)])
def test_while_a_worker_is_there_its_trials_say_enough(brief, pool):
    assert waited(brief, pool, 300) == []


def test_but_for_why_others_wait_when_it_is_so_for_a_minute(brief):
    some = attrs.evolve(POOL, joined=1, pending=7)
    full, held = attrs.evolve(some, waiting="full"), attrs.evolve(some, waiting="held")
    ((second, line),) = waited(brief, full, 300)
    assert (second, line) == (60, "seedwise: 3 of 20 trials told, 1/8 workers, waiting: full\n")
    assert [line for _, line in waited(brief, held, 300)] == [line.replace("full", "held")]
    assert waited(brief, attrs.evolve(held, pending=0), 300) == []


def test_when_all_are_lost_again_it_is_written_again(brief):
    waited(brief, WAITING, 30)
    waited(brief, POOL, 30)
    assert waited(brief, WAITING, 5) == [(5.0, FULL)]


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
