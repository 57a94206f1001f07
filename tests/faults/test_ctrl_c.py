"""Ctrl-C in a terminal and in a notebook, where all processes get it."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.harness import ROOT, RUN, driver, expected_table
from tests.faults.loss import LOG_VARIABLE, PACE_VARIABLE, evaluations
from tests.kernel import kernel, reply_to
from tests.testbed.daemons import poll

#: A run whose seeds take this long is still at work when a signal comes, on any machine.
LONG_S = 0.1

CELL = """
import seedwise as sw
from tests.faults.loss import noted
from tests.faults.driver import bits_of
options = {options!r}
result = sw.optimize_run(noted, run_root={root!r}, run_name="notebook", **options)
"""


@pytest.mark.parametrize("use_processes", [False, pytest.param(True, marks=pytest.mark.full)])
def test_ctrl_c_in_a_terminal_reaches_all_and_says_one_thing(use_processes, client, tmp_path):
    options = {**RUN, "max_concurrent_trials": 2}
    expected = expected_table(client, options)
    with driver(tmp_path, "run", {**options, "use_processes": use_processes}, pace_s=0.005) as run:
        run.start()
        run.wait_until_told(4)
        run.set_pace(LONG_S)
        os.killpg(run.process.pid, signal.SIGINT)
        assert run.wait() == 130
        last = run.stderr.splitlines()[-2:]
        assert "trials told; nothing is lost" in last[0], run.stderr
        assert last[1] == f"seedwise: to resume: seedwise resume {run.directory.path}"
        assert "KeyboardInterrupt" not in run.stderr
        assert run.finish(client) == expected


@pytest.fixture
def notebook(tmp_path):
    """A kernel whose runs take long."""
    (tmp_path / "pace").write_text(str(LONG_S))
    variables = {
        LOG_VARIABLE: str(tmp_path / "evaluations"),
        PACE_VARIABLE: str(tmp_path / "pace"),
    }
    with kernel(tmp_path, PYTHONPATH=str(ROOT), **variables) as started:
        yield started


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.full
@pytest.mark.parametrize("n_interrupts", [1, 2])
def test_an_interrupt_leaves_a_usable_kernel(n_interrupts, notebook, client, tmp_path):
    manager, frontend = notebook
    options = {**RUN, "max_concurrent_trials": 2}
    expected = expected_table(client, options)
    cell = CELL.format(options=options, root=str(tmp_path / "runs"))
    log = tmp_path / "evaluations"
    asked = frontend.execute(cell)
    poll(lambda: len(evaluations(log)) > 5, "the run to be at work")
    for _ in range(n_interrupts):
        manager.interrupt_kernel()
    reply = reply_to(asked, frontend)
    assert reply["status"] == "error"
    assert reply["ename"] == "RunStopped"
    assert f"seedwise resume {tmp_path / 'runs' / 'notebook'}" in reply["evalue"]
    assert evaluate(frontend, "1 + 1") == "2"
    assert evaluate(frontend, "__import__('signal').getsignal(2).__name__") == repr(
        "default_int_handler"
    )
    (tmp_path / "pace").write_text("0")
    assert reply_to(frontend.execute(cell), frontend)["status"] == "ok"
    assert evaluate(frontend, "repr(bits_of(result)) == " + repr(expected)) == "True"


def evaluate(frontend, expression: str) -> str:
    content = reply_to(frontend.execute("", user_expressions={"it": expression}), frontend)
    return content["user_expressions"]["it"]["data"]["text/plain"]
