from __future__ import annotations

import io
from pathlib import Path

import pytest

from seedwise.model.records import (
    RunFinished,
    RunStarted,
    TrialFinished,
    TrialResult,
    TrialState,
)
from seedwise.view.progress import ProgressLines

FIRST = TrialResult(0, {"x": 0.5}, 1234567.0, 0.012345, 10, TrialState.COMPLETE, 1.234)
BEST = TrialResult(2, {"x": 1 / 3, "n": 3, "kind": "a"}, 1 / 3, None, 1, TrialState.COMPLETE, 0.5)
FAILED = TrialResult(11, {"x": 0.5}, None, None, 0, TrialState.FAIL, 60.0)
RUN = Path("runs/walk_v0001")


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (
            RunStarted(RUN, "a LocalCluster", None, None),
            ["run folder runs/walk_v0001", "on a LocalCluster"],
        ),
        (
            RunStarted(RUN, "Slurm", "https://login:1/status", "ssh -L 1:login:1 login"),
            [
                "run folder runs/walk_v0001",
                "on Slurm",
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
            TrialFinished(FAILED, "seed 7: ValueError: no", BEST, 20),
            ["[12/20] trial 11  FAIL (seed 7: ValueError: no)  best 0.333333  60.00 s"],
        ),
        (
            TrialFinished(FAILED, "seed 7: ValueError: no", None, 20),
            ["[12/20] trial 11  FAIL (seed 7: ValueError: no)  60.00 s"],
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
    ],
)
def test_each_event_is_written_in_lines(event, lines):
    stream = io.StringIO()
    ProgressLines(stream)(event)
    assert stream.getvalue() == "".join(f"seedwise: {line}\n" for line in lines)


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
    ProgressLines(stream)(RunStarted(RUN, "Slurm", None, None))
    assert stream.flushed == 2
