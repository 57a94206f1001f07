"""What safety costs: a run with all of it against runs without a part, in turns in one run.

    python -m tests.benchmarks.bench_safety [--quick] [--turns 7] [--parts "ledger;TLS"]

A trial takes about a second on two workers, at 0.1 ms a seed. A part is switched off by replacing
the functions of the driver that do it, here in the benchmark only; a run without it could not be
resumed, or looked at, or would trust anyone. The whole call, from a cold start, and the median
trial vary by some per cent where other things run on the machine. The processor time that the
driver has more, by what the call takes, varies less, and is what a run could be longer by at most.
The target: with everything, a run takes at most 3 % longer than with nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import attrs

import seedwise as sw
from seedwise.driver.report import Listeners, Report
from seedwise.folder.events import EventLog
from seedwise.folder.ledger import Ledger
from seedwise.study.proposer import Proposer
from seedwise.usercode import pack
from seedwise.usercode.code import Code
from tests.benchmarks.loss import walk
from tests.benchmarks.table import Row, show

N_SEEDS = 20_000
N_TRIALS = 15
N_TURNS = 7


def nothing(*_: object, **__: object) -> None:
    pass


def empty_snapshot(argv: tuple[str, ...] | None, also: object) -> tuple[Code, dict[str, bytes]]:
    """Return no files: workers on this machine import the loss from where it is."""
    path = tuple(os.path.abspath(entry or ".") for entry in sys.path)  # noqa: PTH100 - as it does
    code = Code({}, {}, {}, "", path, len(path), str(Path.cwd()), argv)
    return code, {}


@attrs.frozen
class Part:
    """A part of safety: what switches it off."""

    replaced: Sequence[tuple[Any, str, Callable[..., Any]]] = ()
    options: Mapping[str, Any] = attrs.field(factory=dict)


ALONE = {
    "ledger": Part([(Ledger, "record", nothing), (Ledger, "sync", nothing)]),
    # What is told goes to the study file with `_at_work`, and then the sampler's state is saved.
    "study file and checkpoints": Part(
        [(Proposer, "_at_work", lambda self: contextlib.nullcontext())]
    ),
    "TLS": Part(options={"insecure": True}),
    "progress": Part(
        [
            (Report, "_write_status", nothing),
            (Report, "_tell_progress", nothing),
            (Listeners, "__call__", nothing),
            (EventLog, "write_news", nothing),
        ],
        {"progress": False},
    ),
    "snapshot and self-check": Part(
        [(pack, "take_snapshot", empty_snapshot)], {"self_check": False}
    ),
}
ALL = "everything"
PARTS = {
    ALL: Part(
        [each for part in ALONE.values() for each in part.replaced],
        {name: value for part in ALONE.values() for name, value in part.options.items()},
    ),
    **ALONE,
}


@attrs.frozen
class Times:
    """What a run takes."""

    whole_s: float
    trial_s: float
    #: The driver's processor time.
    cpu_s: float


def run(part: Part, n_trials: int) -> Times:
    """Run without a part."""
    told_s: list[float] = []
    tell = Proposer.tell

    def timed_tell(self, outcome):
        told = tell(self, outcome)
        told_s.append(time.perf_counter())
        return told

    with contextlib.ExitStack() as closing:
        folder = closing.enter_context(tempfile.TemporaryDirectory())
        for where, name, function in [*part.replaced, (Proposer, "tell", timed_tell)]:
            closing.enter_context(mock.patch.object(where, name, function))
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        sw.optimize_run(
            walk,
            n_trials=n_trials,
            n_seeds=N_SEEDS,
            race=False,
            n_validation_seeds=0,
            workers=2,
            run_root=folder,
            **part.options,
        )
        whole_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    trials_s = [end - begin for begin, end in itertools.pairwise(told_s)]
    return Times(whole_s, statistics.median(trials_s), cpu_s)


def timed(name: str, n_trials: int) -> Times:
    """Do so in a process of its own."""
    command = ["-m", "tests.benchmarks.bench_safety", "--without", name, str(n_trials)]
    done = subprocess.run(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it tells its progress
        text=True,
        check=True,
    )
    return Times(**json.loads(done.stdout))


def rows(
    n_turns: int = N_TURNS, parts: Sequence[str] = tuple(PARTS), quick: bool = False
) -> Iterator[Row]:
    n_turns, n_trials = (1, 3) if quick else (n_turns, N_TRIALS)
    order, turns = ["", *parts], []
    for _ in range(n_turns):
        times = {name: timed(name, n_trials) for name in order}
        turns.append(times)
        order.reverse()  # what the machine does meanwhile does not always fall on the same
    for name in parts:
        pairs = [(times[""], times[name]) for times in turns]
        target = "<= 3" if name == ALL else ""
        longer = {
            "whole call, longer": [a.whole_s / b.whole_s - 1 for a, b in pairs],
            "median trial, longer": [a.trial_s / b.trial_s - 1 for a, b in pairs],
            "driver's processor time, by the call": [
                (a.cpu_s - b.cpu_s) / b.whole_s for a, b in pairs
            ],
        }
        for (quantity, shares), field in zip(longer.items(), attrs.fields(Times), strict=True):
            a_s, b_s = (
                statistics.median(getattr(one, field.name) for one in column)
                for column in zip(*pairs, strict=True)
            )
            note = f"{a_s:.3f} s, {b_s:.3f} s without"
            yield Row(name, quantity, [100 * share for share in shares], "%", target, note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--turns", type=int, default=N_TURNS)
    parser.add_argument("--parts", default=";".join(PARTS), help="separated by ;")
    parser.add_argument("--without", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.without is None:
        show(rows(given.turns, given.parts.split(";"), given.quick))
        return
    warnings.simplefilter("ignore")
    name, n_trials = given.without
    print(json.dumps(attrs.asdict(run(PARTS[name] if name else Part(), int(n_trials)))))


if __name__ == "__main__":
    main()
