"""Time the resuming of a run of 10,000 told trials, from a new process to its first new trial.

    python -m tests.benchmarks.bench_resume [FOLDER]

FOLDER keeps the run, which takes minutes to make, for another time. The target is 10 s. The first
figure includes the start of Python and of a local worker; the rest says where the time goes.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import seedwise as sw
from tests.benchmarks.loss import walk

N_TRIALS = 10_000
N_TURNS = 3
SCRIPT = """
import sys
import seedwise as sw
sw.resume_run(sys.argv[1], n_trials=int(sys.argv[2]), progress=False)
"""


def make(folder: Path, sampler: str) -> Path:
    """Make a run of that many told trials, of 4 seeds in 2 chunks each."""
    run_dir = folder / f"long-{sampler}"
    if not run_dir.exists():
        sw.optimize_run(
            walk,
            n_trials=N_TRIALS,
            n_seeds=4,
            chunk_size=2,
            sampler=sampler,
            max_concurrent_trials=4,
            workers=1,
            run_root=folder,
            run_name=run_dir.name,
            progress=False,
        )
    return run_dir


def time_resume(run_dir: Path, n_trials: int) -> float:
    script = run_dir.parent / "resume.py"
    script.write_text("if __name__ == '__main__':\n" + SCRIPT.replace("\n", "\n    "))
    began_s = time.perf_counter()
    subprocess.run([sys.executable, script, run_dir, str(n_trials)], check=True)
    return time.perf_counter() - began_s


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        run_dir = make(folder, "random")
        n_told = len(sw.resume_run(run_dir, n_trials=N_TRIALS, progress=False).trials)
        short = folder / "short"
        sw.optimize_run(
            walk,
            n_trials=1,
            n_seeds=4,
            workers=1,
            run_root=folder,
            run_name=short.name,
            sampler="random",
            progress=False,
        )
        times_s, short_s = [], []
        for turn in range(1, N_TURNS + 1):
            times_s.append(time_resume(run_dir, n_told + turn))
            short_s.append(time_resume(short, 1 + turn))
        print(f"{n_told} told trials and one new one: {times_s} s")
        print(f"1 told trial and one new one: {short_s} s")
        print(
            f"median {statistics.median(times_s):.1f} s, of which "
            f"{statistics.median(short_s):.1f} s are start and end"
        )


if __name__ == "__main__":
    main()
