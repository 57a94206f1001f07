"""What is written on stderr for each event."""

from __future__ import annotations

import io
import shlex
from pathlib import Path
from typing import get_args

import pytest

from seedwise.model.records import (
    ChunkLost,
    Event,
    FailureKind,
    RunFinished,
    RunInterrupted,
    RunStarted,
    SeedFailure,
    TrialFinished,
    TrialResult,
    TrialState,
)
from seedwise.view.progress import ProgressLines

FIRST = TrialResult(0, {"x": 0.5}, 1234567.0, 0.012345, 10, TrialState.COMPLETE, 1.234)
BEST = TrialResult(2, {"x": 1 / 3, "n": 3, "kind": "a"}, 1 / 3, None, 1, TrialState.COMPLETE, 0.5)
FAILED = TrialResult(
    11, {"x": 0.5}, None, None, 0, TrialState.FAIL, 60.0, "seed 7: ValueError: no"
)
RUN = Path("runs/walk_v0001")
NO = SeedFailure(3, 7, "ValueError", "no", "Traceback\n  line 3\nValueError: no\n")
DIED = SeedFailure(
    0, None, "ProcessDied", "of signal 11", "it wrote:\nlast words\n  of C\n", FailureKind.DIED
)
LATE = SeedFailure(0, 7, "ChunkTimeout", "after 60 s", "after 60 s", FailureKind.OVERRAN)

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
            "going on after 7 trials",
            "dashboard  https://login:1/status",
            "from a laptop, first: ssh -L 1:login:1 login",
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
        ChunkLost(3, 250, "tcp://n7:41"),
        ["lost the worker tcp://n7:41; run again: trial 3, the chunk that begins with seed 250"],
    ),
    (
        RunInterrupted(RUN, 4, 20),
        [
            "stopped with 4 of 20 trials told; nothing is lost",
            "to go on: seedwise resume runs/walk_v0001",
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
    (RunFinished(RUN, None, 0.04), ["no trial was completed; 0.0 s"]),
]

each_event = pytest.mark.parametrize(("event", "lines"), EVENTS)


def test_every_event_is_tried_here():
    assert {type(event) for event, _ in EVENTS} == set(get_args(Event))


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
    assert written.err == "seedwise: no trial was completed; 1.0 s\n"
    assert written.out == ""


def test_each_line_is_flushed():
    class Stream(io.StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1

    stream = Stream()
    ProgressLines(stream=stream)(RunStarted(RUN, 0, "Slurm", None, None))
    assert stream.flushed == 2
