"""The types that users see: documented calls pass mypy and pyright, and mistakes do not."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import seedwise as sw

ROOT = Path(__file__).parent.parent

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
sw.optimize_run(loss=l, run_root=Path("runs"), mode=sw.execution_mode("single"))
assert_type(sw.check_run(l, n_seeds=3), sw.CheckReport)
held = {"x": 0.5}
sw.optimize_run(l, worker_time_limit="02:00:00", slurm={"partition": "p"}, overrides=held)
sw.optimize_entries(l, entry_ids=(str(number) for number in range(3)))
sw.optimize_run(
    l,
    overrides={"n": 3},
    trial_zero={"x": 0.5, "kind": "plain"},
    enqueue=sw.manual([{"x": 0.5}, {"x": 1.0}]),
    refine_search_factor=0.5,
    prune_failed_trials=True,
    clean_run_dir=True,
    assume_yes=True,
)

of_all = sw.optimize_entries(
    l,
    entry_ids=["anna", "ben"],
    run_name_prefix="mine",
    max_concurrent_entries=2,
    n_trials=3,
)
assert_type(of_all, sw.MultiOptimizeResult)
assert_type(of_all.results_by_entry["anna"], sw.OptimizeResult)
assert_type(of_all.best_values_by_entry, dict[str, float])

draws = sw.random({"x": sw.uniform(0, 1), "n": sw.randint(1, 5)}, n_trials=10, seed=1)
for source in (sw.grid(x=[0.1, 0.2], n=range(1, 5)), draws, sw.manual([{"x": 0.5, "n": 1}])):
    swept = sw.run_sweep(l, source, trial_nums=[0], retry_failed=True, n_seeds=3)
    assert_type(swept, sw.SweepResult)
    sw.run_sweep(loss=l, source=source, entry_id="anna")
    assert_type(swept.best, sw.TrialResult | None)
    assert_type(swept.trials[0], sw.TrialResult)

status = sw.run_status("runs/mine")
assert_type(status, sw.RunStatus)
assert_type(status.n_told, int)
again = sw.resume_run(Path("runs/mine"), n_trials=5)
assert_type(again, sw.OptimizeResult | sw.MultiOptimizeResult | sw.SweepResult)
seen = sw.open_run("runs/mine")
assert_type(seen, sw.OptimizeResult | sw.MultiOptimizeResult | sw.SweepResult)
assert_type(result.best, sw.TrialResult | None)
assert_type(result.compare(0, 1), sw.Comparison)
assert_type(result.traceback(0), str | None)
"""

# A checker sees a name of the stub if it is imported as itself.
GOOD += "".join(f"sw.{name}\n" for name in ("random", *sw.__all__))

BAD = [
    "sw.optimize_run(l, n_trails=3)",
    "sw.optimize_run(l, n_trials='3')",
    "sw.optimize_run(l, 3)",
    "sw.optimize_run(loss=l, given=frozenset())",
    "sw.optimize_run(n_trials=3)",
    "sw.optimize_run(lambda params, seed: 0.0)",
    "sw.check_run(l, n_seeds='3')",
    "sw.SlurmOptions('p')",
    "sw.SlurmOptions(partition=3)",
    "sw.SlurmOptions(queue='x')",
    "result.best.value",
    "sw.optimize_run(l, enqueu=None)",
    "sw.optimize_run(l, worker_time_limit=7200)",
    "sw.optimize_run(l, slurm='p')",
    "sw.optimize_run(l, overrides=[0.5])",
    "sw.optimize_run(l, refine_search_factor='half')",
    "sw.optimize_entries(l, ['anna'])",
    "sw.optimize_entries(l, entry_ids=['anna'], run_name='mine')",
    "of_all.best_value",
    "sw.run_sweep(l)",
    "sw.run_sweep(l, draws, n_trials=3)",
    "sw.run_sweep(l, [{'x': 0.5}])",
    "swept.best.value",
    "sw.run_status('runs/mine').stat",
    "sw.grid()(3)",
]


SCRIPT = GOOD + "\n".join(BAD) + "\n"
#: The lines of the script that a checker is to complain of.
WRONG = {*range(GOOD.count("\n") + 1, GOOD.count("\n") + 1 + len(BAD))}

#: The settings and the cache of the project's own check, which are quick; and what users have.
OURS = ["--config-file", f"{ROOT}/pyproject.toml", "--cache-dir", f"{ROOT}/.mypy_cache"]
THEIRS = ["--strict", "--no-incremental"]


@pytest.mark.parametrize(
    "settings", [OURS, pytest.param(THEIRS, marks=pytest.mark.full)], ids=["ours", "theirs"]
)
def test_types(settings, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *settings, "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    assert lines == WRONG, done.stdout


def test_pyright_agrees(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    words = [sys.executable, "-m", "basedpyright", "--level", "error", "--outputjson"]
    words += ["--pythonpath", sys.executable]
    settings = {"typeCheckingMode": "standard", "include": ["script.py"]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    lines = {one["range"]["start"]["line"] + 1 for one in found}
    assert lines == WRONG, done.stdout


FUNCTIONS = [name for name in sw.__all__ if inspect.isroutine(getattr(sw, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_have_types(name):
    signature = inspect.signature(getattr(sw, name))
    empty = inspect.Signature.empty
    assert signature.return_annotation is not empty
    untyped = [one.name for one in signature.parameters.values() if one.annotation is empty]
    assert untyped == []
