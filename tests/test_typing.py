"""The types that users see: documented calls pass mypy --strict, and mistakes do not."""

from __future__ import annotations

import subprocess
import sys

GOOD = """
from datetime import timedelta
from pathlib import Path
from typing import Any, assert_type
import seedwise as sw

space = {"x": (0.0, 1.0), "n": sw.search_param(range=(1, 5), dtype="int")}

@sw.loss(name="l", description="d", parameter_space=space)
def l(params: dict[str, Any], seed: int) -> float:
    return float(params["x"])

result = sw.optimize_run(
    l,
    n_trials=3,
    run_root="runs",
    mode="single",
    workers=(1, 2),
    worker_time_limit=timedelta(hours=1),
    slurm_timeout_minutes=0.5,
    slurm=sw.SlurmOptions(partition="p", extra_directives=["--x"], prologue=("a", "b")),
)
assert_type(result, sw.OptimizeResult)
sw.optimize_run(l, run_root=Path("runs"), mode=sw.execution_mode("single"))
"""

BAD = [
    "sw.optimize_run(l, n_trails=3)",
    "sw.optimize_run(l, n_trials='3')",
    "sw.optimize_run(l, 3)",
    "sw.SlurmOptions(queue='x')",
    "result.best",
]


def test_types(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(GOOD + "\n".join(BAD) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    first_bad = GOOD.count("\n") + 1
    lines = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    assert lines == set(range(first_bad, first_bad + len(BAD))), done.stdout
