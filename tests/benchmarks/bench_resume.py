"""Time the resuming of a run of 10,000 told trials, from a new process to its first new trial.

    python -m tests.benchmarks.bench_resume [FOLDER] [--quick]

FOLDER keeps the run, which takes minutes to make, for another time. The target is 10 s. It
includes the start of Python and of a local worker, which a run of one trial shows.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import seedwise as sw
from tests.benchmarks.loss import walk
from tests.benchmarks.table import Row, show

N_TRIALS = 10_000
N_TURNS = 3
SCRIPT = """
import sys
import seedwise as sw
sw.resume_run(sys.argv[1], n_trials=int(sys.argv[2]), progress=False)
"""


def make(folder: Path, n_trials: int) -> Path:
    """Make a run of that many told trials, of 4 seeds in 2 chunks each."""
    run_dir = folder / f"told-{n_trials}"
    if not run_dir.exists():
        sw.optimize_run(
            walk,
            n_trials=n_trials,
            n_seeds=4,
            chunk_size=2,
            sampler="random",
            max_concurrent_trials=4,
            workers=1,
            run_root=folder,
            run_name=run_dir.name,
            progress=False,
        )
    return run_dir


def n_told_of(run_dir: Path) -> int:
    return len(sw.open_run(run_dir).trials)


def time_resume(run_dir: Path, n_trials: int) -> float:
    script = run_dir.parent / "resume.py"
    script.write_text("if __name__ == '__main__':\n" + SCRIPT.replace("\n", "\n    "))
    began_s = time.perf_counter()
    subprocess.run([sys.executable, script, run_dir, str(n_trials)], check=True)
    return time.perf_counter() - began_s


def rows(folder: Path | None = None, quick: bool = False) -> Iterator[Row]:
    n_trials = 100 if quick else N_TRIALS
    with tempfile.TemporaryDirectory() as temporary:
        folder = folder or Path(temporary)
        run_dir, short = make(folder, n_trials), make(folder, 1)
        n_told, n_short = n_told_of(run_dir), n_told_of(short)
        times_s, short_s = [], []
        for turn in range(1, 2 if quick else N_TURNS + 1):
            times_s.append(time_resume(run_dir, n_told + turn))
            short_s.append(time_resume(short, n_short + turn))
    note = f"{statistics.median(short_s):.1f} s of it are start and end"
    yield Row(f"{n_told:,} told trials", "to a new trial and the end", times_s, "s", "<= 10", note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="keeps the runs for another time")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    show(rows(given.folder, given.quick))


if __name__ == "__main__":
    main()
