"""Time searches against other programs, each from a cold start, in turns in one run.

    pip install --group peers
    python -m tests.benchmarks.bench_peers [--quick] [--peers "Optuna;joblib"]

Both sides evaluate the same loss, at about 0.1 ms a seed, in as many trials of as many seeds, on
two workers that they start themselves; each search is in a process of its own, see
`tests.benchmarks.peers`. Ours has all defaults, but that each trial gets all seeds and that there
is no validation, as the others have neither. On Slurm both have two jobs at once, and slurptuna's
chunks are as large as is best for it. The target: the whole call is faster than each, and a trial
after the first two.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence

import attrs

from tests.benchmarks.peers import PROGRAMS, Budget
from tests.benchmarks.table import Row, show
from tests.testbed.testbed import SlurmUnavailable, Testbed

OURS, OURS_ON_SLURM = "seedwise", "seedwise on Slurm"
ON_SLURM = "on Slurm"
N_TURNS = 3


@attrs.frozen
class Contest:
    """Programs that get the same budget."""

    budget: Budget
    quick: Budget
    peers: tuple[str, ...]
    n_turns: int = N_TURNS

    @property
    def ours(self) -> str:
        return OURS_ON_SLURM if ON_SLURM in self.peers[0] else OURS


CONTESTS = [
    Contest(Budget(12, 10_000), Budget(4, 2_000), ("slurptuna", "Optuna", "joblib", "SMAC3")),
    Contest(Budget(10, 20), Budget(4, 10), ("SMAC3 by seed",)),
    Contest(Budget(4, 4_000), Budget(3, 1_000), ("slurptuna on Slurm, poll 1 s",)),
    Contest(Budget(3, 4_000), Budget(3, 1_000), ("slurptuna on Slurm",), n_turns=1),
]
ALL = [name for contest in CONTESTS for name in contest.peers]


def seconds(name: str, budget: Budget) -> tuple[float, float]:
    """Return what the whole call took, and a trial after the first two."""
    command = ["-m", "tests.benchmarks.peers", name, str(budget.n_trials), str(budget.n_seeds)]
    done = subprocess.run(
        [sys.executable, *command], stdout=subprocess.PIPE, text=True, check=True
    )
    whole_s, trial_s = json.loads(done.stdout.splitlines()[-1])
    return whole_s, trial_s


def timed(contest: Contest, budget: Budget, n_turns: int) -> Iterator[Row]:
    names = (contest.ours, *contest.peers)
    turns = [{name: seconds(name, budget) for name in names} for _ in range(n_turns)]
    for name in contest.peers:
        case = f"{name}: {budget.n_trials} trials x {budget.n_seeds:,} seeds"
        for index, quantity in enumerate(("whole call, times faster", "a trial, times faster")):
            ours = [turn[contest.ours][index] for turn in turns]
            theirs = [turn[name][index] for turn in turns]
            ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
            note = f"{statistics.median(ours):.3g} s, theirs {statistics.median(theirs):.3g} s"
            yield Row(case, quantity, ratios, target=">= 1", note=note)


def rows(peers: Sequence[str] = ALL, quick: bool = False) -> Iterator[Row]:
    missing = {name for name in peers if not is_installed(name)}
    with contextlib.ExitStack() as closing:
        if any(ON_SLURM in name for name in peers):
            try:
                os.environ.update(closing.enter_context(Testbed()).env)
            except SlurmUnavailable as reason:
                print(f"no Slurm: {reason}", file=sys.stderr)
                missing |= {name for name in peers if ON_SLURM in name}
        if missing:
            print(f"left out: {', '.join(sorted(missing))}", file=sys.stderr)
        for contest in CONTESTS:
            chosen = tuple(each for each in contest.peers if each in {*peers} - missing)
            if chosen:
                n_turns, budget = contest.n_turns, contest.budget
                if quick:
                    n_turns, budget = 1, contest.quick
                yield from timed(attrs.evolve(contest, peers=chosen), budget, n_turns)


def is_installed(name: str) -> bool:
    return all(map(importlib.util.find_spec, PROGRAMS[name].modules))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peers", default=";".join(ALL), help="separated by ;")
    given = parser.parse_args()
    show(rows(given.peers.split(";"), given.quick))


if __name__ == "__main__":
    main()
