"""Local workers: their number, the main guard, and what is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest
from distributed.core import Status

import seedwise as sw
from seedwise.cluster.local import open_local
from seedwise.cluster.place import Demand
from seedwise.errors import MainGuardError
from seedwise.model.options import RunOptions
from tests.losses import bowl
from tests.slurm.daemons import poll

SCRIPT = """
import seedwise as sw

@sw.loss(name="line", description="a line", parameter_space={"x": (0.0, 1.0)})
def line(params, seed):
    return params["x"] + seed

def main():
    r = sw.optimize_run(line, n_trials=1, n_seeds=2, workers=1, progress=False)
    print(r.n_trials)

"""


def run_script(tmp_path, tail):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT + tail)
    return subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "tail",
    [
        'if __name__ == "__main__":\n    main()\n',
        "if '__main__' == __name__:\n    for _ in range(1):\n        main()\n",
        "try:\n    if __name__ == '__main__':\n        main()\nfinally:\n    pass\n",
    ],
)
def test_a_guarded_script_runs(tmp_path, tail):
    done = run_script(tmp_path, tail)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


@pytest.mark.parametrize("tail", ["main()\n", "if sw:\n    main()\n"])
def test_a_script_without_main_guard(tmp_path, tail):
    done = run_script(tmp_path, tail)
    assert done.returncode == 1
    assert MainGuardError.__name__ in done.stderr
    line = 13 if tail.startswith("if") else 12
    assert f"script.py, line {line}: local workers import this script" in done.stderr
    assert 'if __name__ == "__main__":' in done.stderr
    # Once, from the script itself: no worker was started that would have made the call again.
    assert done.stderr.count("Traceback") == 1
    assert not (tmp_path / "runs").exists()


def test_the_main_module_of_a_package_needs_no_guard(tmp_path):
    """Spawned processes do not import it."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__main__.py").write_text(SCRIPT + "main()\n")
    done = subprocess.run(
        [sys.executable, "-m", "package"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_code_from_standard_input_needs_no_guard(tmp_path):
    done = subprocess.run(
        [sys.executable, "-"],
        input=SCRIPT + "main()\n",
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_own_workers_are_gone_afterwards(tmp_path):
    before = set(psutil.Process().children(recursive=True))
    threads = threading.active_count()
    for use_processes in (False, True):
        sw.optimize_run(
            bowl,
            n_trials=1,
            n_seeds=4,
            workers=2,
            use_processes=use_processes,
            run_root=tmp_path,
            progress=False,
        )
    left = set(psutil.Process().children(recursive=True)) - before
    left = {child for child in left if "resource_tracker" not in " ".join(child.cmdline())}
    _, alive = psutil.wait_procs(left, timeout=10)
    assert not alive
    assert threading.active_count() <= threads + 8  # Dask's offload and profile threads stay


@pytest.mark.parametrize(
    ("chunks", "at_once", "most", "workers"),
    [(1, 1, 8, 1), (10, 1, 8, 8), (10, 4, 8, 3), (40, 1, 2, 2)],
)
def test_demand(chunks, at_once, most, workers):
    assert Demand(chunks, at_once).workers(most) == workers


def test_a_worker_that_its_nanny_gives_up_is_replaced():
    """A nanny gives up a worker that dies as it starts; here it is told to."""
    options = RunOptions.from_keywords({"workers": 2})
    with open_local(options, Demand(4, 1)) as place:
        cluster = place.client.cluster
        nanny = cluster.workers[0]
        nanny.status = Status.failed
        os.kill(nanny.pid, signal.SIGKILL)
        poll(lambda: not nanny.is_alive(), "the worker to be dead")
        for _ in range(2):
            place.check()
            poll(lambda: set(addresses(place.client)) == alive(cluster), "another worker")
            assert len(cluster.workers) == 2
            assert nanny not in cluster.workers.values()


def addresses(client):
    return client.scheduler_info()["workers"]


def alive(cluster):
    nannies = [nanny for nanny in cluster.workers.values() if nanny.is_alive()]
    return {nanny.worker_address for nanny in nannies} if len(nannies) == 2 else None
