"""What commands ask and say; asking is on a terminal, which is a real one here."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from seedwise.errors import CleanRefusedError
from seedwise.model.events import PoolChanged, RunFinished, RunInterrupted, RunStarted
from seedwise.model.status import PoolNews
from seedwise.view.commands import CheckProgress, check_lines, confirm_removal
from tests.model.test_check_report import report

# Makes its stdin the terminal that Ctrl-C comes from, and asks.
SCRIPT = """
import fcntl, sys, termios
from pathlib import Path
from seedwise.errors import CleanRefusedError
from seedwise.view.commands import confirm_removal

if sys.stdin is not None and sys.stdin.isatty():
    fcntl.ioctl(sys.stdin, termios.TIOCSCTTY, 0)
try:
    confirm_removal(Path("runs/mine"))
except CleanRefusedError as error:
    print("refused:", error)
else:
    print("removed")
"""
QUESTION = "Remove runs/mine with all its results? [y/N]:"


class Terminal:
    """A process that asks on a terminal."""

    def __init__(self) -> None:
        self._ours, theirs = os.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        os.close(theirs)

    def question(self) -> str:
        """Return what it asks, once it has."""
        asked = b""
        while not asked.endswith(b":"):
            byte = self._process.stderr.read(1)
            assert byte, "it ended without a question"
            asked += byte
        return asked.decode()

    def answer(self, keys: str) -> str:
        """Press keys; return what it says then."""
        for _ in range(60):
            os.write(self._ours, keys.encode())
            # A Ctrl-C in the moment before it reads is not heard: who presses it does so again.
            with contextlib.suppress(subprocess.TimeoutExpired):
                said, _ = self._process.communicate(timeout=2)
                break
        else:
            raise AssertionError("it does not hear")
        assert self._process.returncode == 0
        return said.decode().strip()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        os.close(self._ours)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.mark.parametrize("keys", ["y\n", "yes\n", "Y\n"])
def test_a_yes_is_a_yes(terminal, keys):
    assert terminal.question() == QUESTION
    assert terminal.answer(keys).endswith("removed")


@pytest.mark.parametrize(
    "keys", ["n\n", "no\n", "\n", "\x04", "\x03"], ids=["n", "no", "enter", "Ctrl-D", "Ctrl-C"]
)
def test_all_else_is_a_no(terminal, keys):
    assert terminal.question() == QUESTION
    said = terminal.answer(keys)
    assert "refused: runs/mine is not removed: the answer was no. Pass assume_yes=True" in said


def test_what_is_no_answer_is_asked_again(terminal):
    terminal.question()
    said = terminal.answer("what?\ny\n")
    assert said.endswith("removed")


def test_without_a_terminal_nobody_is_asked():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    refused = "refused: runs/mine is not removed: there is no terminal to ask on. Pass assume_yes"
    assert done.stdout.startswith(refused)
    assert done.stderr == ""


@pytest.mark.parametrize("stdin", [None, io.StringIO("y\n")], ids=["closed", "piped"])
def test_a_yes_that_nobody_typed_is_none(monkeypatch, stdin, capsys):
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(CleanRefusedError, match="there is no terminal to ask on") as caught:
        confirm_removal(Path("runs/mine"))
    assert caught.value.run_dir == Path("runs/mine")
    assert capsys.readouterr() == ("", "")


# A check.


def test_a_report():
    found = report(
        params={"x": 0.5, "kind": "plain"},
        host="n1",
        worker="job-7",
        job_id="7",
        waited_s=83.0,
        versions={"python": "3.11.7", "numpy": "2.4.6"},
        job_script="#!/bin/bash\n#SBATCH -n 1\n\nexec work\n",
        warnings=("cpus_per_task: 2 CPUs asked for, but 3 nodes have them",),
    )
    assert check_lines(found) == [
        "loss 'walk' gave 0.5 for seed 0",
        "",
        "worker",
        "  params          x=0.5, kind='plain'",
        "  host            n1",
        "  job             7",
        "  waited for it   1 min 23 s",
        "  versions        python 3.11.7, numpy 2.4.6",
        "  one seed takes  0.1 s (0.3 s the first time)",
        "",
        "plan",
        "  trials            20, 1 at once",
        "  seeds of a trial  400, in 20 chunks of 20",
        "  chunks in flight  20",
        "  jobs              10 of 2 CPUs",
        "  seeds at once     10",
        "  a chunk takes     2 s",
        "  the run takes     1 min 20 s of evaluation, once all workers are there",
        "  core hours        0.444",
        "",
        "advice",
        "  cpus_per_task: 2 CPUs asked for, but 3 nodes have them",
        "",
        "job script",
        "  #!/bin/bash",
        "  #SBATCH -n 1",
        "",
        "  exec work",
    ]


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({"n_seeds_of_trial": 50}, ["seeds of a trial  50 of 400, in 3 chunks of 20"]),
        (
            {"races": True},
            [
                "seeds of a trial  at most 400, in 20 chunks of 20",
                "the run takes     at most 1 min 20 s of evaluation, once all workers are there",
                "core hours        at most 0.444",
            ],
        ),
        (
            {"max_total_seeds": 1600},
            [
                "trials            20, 1 at once, or until they have 1600 seeds",
                "the run takes     at most 16 s of evaluation, once all workers are there",
            ],
        ),
    ],
)
def test_the_plan_of_a_race_and_of_a_limit_of_seeds(fields, rows):
    lines = check_lines(report(**fields))
    assert [f"  {row}" for row in rows if f"  {row}" not in lines] == []


def test_the_plan_names_what_was_not_given():
    assert "not given" not in "\n".join(check_lines(report()))
    lines = check_lines(report(defaults={"n_trials": 20, "n_seeds": 400}))
    said = "n_trials=20, n_seeds=400: defaults, as the call in the script is not read"
    assert f"  not given         {said}" in lines[lines.index("plan") :]


def test_a_report_of_a_cluster_that_was_passed_says_what_is_known():
    lines = check_lines(
        report(place="passed", workers=None, cpus_per_worker=None, walltime_s=None)
    )
    text = "\n".join(lines)
    for words in ("jobs", "at once  ", "the run takes", "core hours", "script", "advice"):
        assert words not in text
    assert "a chunk takes     2 s" in text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"seed_s": 0.004, "workers": 1},
            "a chunk of 0.08 s is short compared with the way to a worker and back: leave chunk",
        ),
        (
            {"seed_s": 60.0},
            (
                "a chunk of 20 min is long compared with the jobs' walltime of 2 h, and is lost "
                "if a job ends before it: leave chunk_size out, and chunks are cut by what seeds "
                "take, or use a longer worker_time_limit"
            ),
        ),
        (
            {"seed_s": 900.0, "chunks_are_measured": True},
            (
                "a seed is long compared with the jobs' walltime of 2 h, and is lost if a job "
                "ends before it: use a longer worker_time_limit"
            ),
        ),
        (
            {"trial_limit_s": 3.0},
            "a trial takes longer than slurm_timeout_minutes=0.05, and would",
        ),
        ({"chunk_size": 400, "workers": 1}, "a trial is one chunk, so only one worker has work"),
        ({"worker_parallelism": 4}, "4 seeds at once share 2 CPUs of a job: use cpus_per_task=4"),
        ({"cpus_per_worker": 8}, "a seed has 8 CPUs: if the loss uses one only, use worker_par"),
        ({"worker_parallelism": 2}, "the times assume that threads run at once"),
        ({"workers": 25}, "5 of 25 jobs would never get a chunk: use workers=20, no chunk"),
        (
            {"workers": 25, "chunks_are_measured": True},
            "use workers=20 or more max_concurrent_trials",
        ),
        ({"workers": 25, "place": "local"}, "5 of 25 workers would never get a chunk"),
    ],
)
def test_advice(fields, words):
    lines = check_lines(report(**fields))
    advice = lines[lines.index("advice") + 1 :]
    assert any(words in line for line in advice), advice


def test_of_chunks_that_are_cut_by_what_seeds_take_nothing_is_said():
    lines = check_lines(report(seed_s=1e-4, workers=25, chunks_are_measured=True))
    assert "  seeds of a trial  400, in chunks cut by what seeds take" in lines
    text = "\n".join(lines)
    assert "chunks in flight" not in text
    assert "a chunk takes" not in text
    assert "is short" not in text


def test_the_plan_says_what_the_validation_costs():
    text = "\n".join(check_lines(report(n_validation_seeds=256, n_validation_candidates=8)))
    assert "validation        768 evaluations of fresh seeds, after the search" in text
    assert "validation" not in "\n".join(check_lines(report()))


def test_a_vectorized_loss_takes_at_most():
    text = "\n".join(check_lines(report(vectorized=True)))
    assert "a chunk takes     at most 2 s" in text
    assert "the run takes     at most " in text


def events():
    run_dir = Path("/runs/check-1")
    yield RunStarted(run_dir, 0, "1 Slurm job", "http://x", "ssh -N")
    yield PoolChanged(PoolNews(kind="lost", text="a job ended", warns=True))
    yield RunInterrupted(run_dir, 0, 1)
    yield RunFinished(run_dir, None, 1.0)


def test_progress_never_names_the_folder():
    stream = io.StringIO()
    progress = CheckProgress(stream=stream)
    for event in events():
        progress(event)
    assert stream.getvalue().splitlines() == [
        "seedwise: checking one seed, on 1 Slurm job",
        "seedwise: a job ended",
    ]


def test_no_progress():
    stream = io.StringIO()
    progress = CheckProgress(trials=False, stream=stream)
    for event in events():
        progress(event)
    assert stream.getvalue() == ""
