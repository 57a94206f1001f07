"""Ctrl-C in a terminal and in a notebook, where all processes get it."""

from __future__ import annotations

import os
import signal

import pytest
from jupyter_client.manager import start_new_kernel

from tests.faults.harness import ROOT, RUN, driver, expected_table, told_values
from tests.faults.loss import LOG_VARIABLE, PACE_VARIABLE
from tests.testbed.daemons import poll

CELL = """
import seedwise as sw
from tests.faults.loss import noted
from tests.tables import table
options = {options!r}
result = sw.optimize_run(noted, run_root={root!r}, run_name="notebook", **options)
"""


@pytest.mark.parametrize("use_processes", [False, pytest.param(True, marks=pytest.mark.full)])
def test_ctrl_c_in_a_terminal_reaches_all_and_says_one_thing(use_processes, tmp_path):
    options = {**RUN, "max_concurrent_trials": 2}
    expected = expected_table(options)
    with driver(tmp_path, "run", {**options, "use_processes": use_processes}, pace_s=0.005) as run:
        run.start()
        while len(told_values(run.directory)) < 4:
            run.wait_for(1)
        os.killpg(run.process.pid, signal.SIGINT)
        assert run.wait() == 130
        last = run.stderr.splitlines()[-2:]
        assert "trials told; nothing is lost" in last[0], run.stderr
        assert last[1] == f"seedwise: to go on: seedwise resume {run.directory.path}"
        assert "KeyboardInterrupt" not in run.stderr
        run.finish()
        assert run.table == expected


@pytest.fixture
def kernel(tmp_path):
    """A kernel of IPython, as notebooks have it."""
    environment = {
        **os.environ,
        LOG_VARIABLE: str(tmp_path / "evaluations"),
        PACE_VARIABLE: "0.005",
        "PYTHONPATH": str(ROOT),
        "JUPYTER_PLATFORM_DIRS": "1",
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    manager, client = start_new_kernel(kernel_name="python3", env=environment)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("n_interrupts", [1, pytest.param(2, marks=pytest.mark.full)])
def test_an_interrupt_leaves_a_usable_kernel(n_interrupts, kernel, tmp_path):
    manager, client = kernel
    options = {**RUN, "max_concurrent_trials": 2}
    expected = expected_table(options)
    cell = CELL.format(options=options, root=str(tmp_path / "runs"))
    log = tmp_path / "evaluations"
    client.execute(cell)
    poll(lambda: log.exists() and len(log.read_bytes()) > 500, "the run to be at work", 60)
    for _ in range(n_interrupts):
        manager.interrupt_kernel()
    reply = client.get_shell_msg(timeout=60)["content"]
    assert reply["status"] == "error"
    assert reply["ename"] == "RunStopped"
    assert f"seedwise resume {tmp_path / 'runs' / 'notebook'}" in reply["evalue"]
    assert evaluate(client, "1 + 1") == "2"
    assert evaluate(client, "__import__('signal').getsignal(2).__name__") == repr(
        "default_int_handler"
    )
    client.execute(cell)
    assert client.get_shell_msg(timeout=120)["content"]["status"] == "ok"
    assert evaluate(client, "repr(table(result)) == " + repr(expected)) == "True"


def evaluate(client, expression: str) -> str:
    client.execute("", user_expressions={"it": expression})
    content = client.get_shell_msg(timeout=60)["content"]
    return content["user_expressions"]["it"]["data"]["text/plain"]
