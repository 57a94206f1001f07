"""The witness: a fork that evaluates one seed, whatever the loss does, and leaves nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

import seedwise as sw
from seedwise.dispatch.self_check import ForkedWitness
from seedwise.driver.parts import make_parts
from seedwise.driver.run import take_up
from seedwise.driver.workplace import record_of
from seedwise.folder.directory import RunDirectory
from seedwise.folder.lease import acquire_lease
from seedwise.model.options.study import RunOptions
from seedwise.worker.chunk import Reference
from tests.losses import bowl
from tests.testbed.daemons import poll

REFERENCE = Reference(4, {"x": 0.5}, 7, "anna", 12)
state = {"scale": 1.0}


def make(function, **keywords):
    space = {"x": (0, 1)}
    return sw.loss(name="made", description="m", parameter_space=space, **keywords)(function)


def answer_of(function, reference=REFERENCE, **keywords) -> float | str:
    with closing(ForkedWitness(make(function, **keywords))) as witness:
        witness.ask(reference)
        answer = poll(witness.answer, "the answer")
        assert witness.answer() == answer  # as often as it is asked for
        return answer


def folder_is_there(params, seed, context):
    (context["trial_dir"] / "file").write_text("here")
    return float(context["trial_dir"].exists())


GOOD = {
    "a function of params and seed": (lambda params, seed: params["x"] + seed, {}, 7.5),
    "one that takes seeds": (
        lambda params, seeds: params["x"] + seeds.astype(float),
        {"vectorized": True},
        7.5,
    ),
    "one that asks for the context": (
        lambda params, seed, context: context["trial_number"] + len(context["entry_id"]),
        {},
        8.0,
    ),
    "one that writes files": (folder_is_there, {}, 1.0),
    "one with components": (
        lambda params, seed: {"total_loss": 3.0, "components": {"a": 1.0}},
        {},
        3.0,
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_it_evaluates_the_seed(name):
    function, keywords, value = GOOD[name]
    assert answer_of(function, **keywords) == value


def test_it_has_what_the_driver_has_by_now(monkeypatch):
    def loss(params, seed):
        state["calls"] = state.get("calls", 0) + 1
        return state["scale"] * state["calls"]

    monkeypatch.setitem(state, "scale", 5.0)
    assert answer_of(loss) == 5.0
    assert "calls" not in state  # it is a fork


def raise_it(error):
    raise error


BAD = {
    "an exception": (lambda p, s: raise_it(ValueError("no way")), "ValueError: no way"),
    "an interrupt": (lambda p, s: raise_it(KeyboardInterrupt()), "KeyboardInterrupt"),
    "an exit": (lambda p, s: sys.exit(3), "SystemExit: 3"),
    "an end": (lambda p, s: os._exit(0), "its process died"),
    "a crash": (lambda p, s: os.kill(os.getpid(), signal.SIGSEGV), "its process died"),
    "an interrupt from outside": (
        lambda p, s: os.kill(os.getpid(), signal.SIGINT),
        "its process died",
    ),
    "not a number": (lambda p, s: float("nan"), "LossValueError: the loss returned nan"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_fails_there_is_told(name, capfd):
    function, problem = BAD[name]
    answer = answer_of(function)
    assert isinstance(answer, str)
    assert answer.startswith(problem)
    assert capfd.readouterr() == ("", "")


def test_what_it_prints_is_not_shown(capfd):
    def loss(params, seed):
        print("to be seen once", flush=True)
        print("and this", file=sys.stderr, flush=True)
        os.write(1, b"and that")
        return 1.0

    assert answer_of(loss) == 1.0
    assert capfd.readouterr() == ("", "")


def children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def forever(params, seed):
    while True:
        pass


def starts_another(params, seed, context):
    subprocess.Popen(["sleep", "1000"])
    return forever(params, seed)


@pytest.mark.parametrize("function", [forever, starts_another])
def test_it_ends_when_it_is_closed(function, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before, n_expected = children(), 1 + (function is starts_another)
    with closing(ForkedWitness(make(function))) as witness:
        witness.ask(REFERENCE)
        poll(lambda: len(children() - before) == n_expected, "the loss at work")
        started = children() - before
        assert witness.answer() is None
    assert not psutil.wait_procs(started, timeout=10)[1]
    assert list(tmp_path.iterdir()) == []


def test_one_that_nobody_asks_ends_too(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = children()
    with pytest.raises(ValueError, match="no cluster"), closing(ForkedWitness(make(forever))):
        raise ValueError("no cluster")
    assert children() == before
    assert list(tmp_path.iterdir()) == []


def test_asking_one_that_is_dead_is_told():
    before = children()
    with closing(ForkedWitness(make(forever))) as witness:
        (process,) = children() - before
        process.kill()
        poll(lambda: process.status() == psutil.STATUS_ZOMBIE, "its end")
        witness.ask(REFERENCE)
        assert poll(witness.answer, "the answer") == "its process died"


DRIVER = """
import sys, time
from contextlib import closing
from pathlib import Path
import seedwise as sw
from seedwise.dispatch.self_check import ForkedWitness
from seedwise.folder.lease import acquire_lease
from seedwise.worker.chunk import Reference

@sw.loss(name="long", description="never ends", parameter_space={"x": (0, 1)})
def long(params, seed):
    Path(sys.argv[2]).touch()
    while True:
        pass

if __name__ == "__main__":
    lease = acquire_lease(Path(sys.argv[1]))
    with closing(ForkedWitness(long)) as witness:
        if len(sys.argv) == 3:
            witness.ask(Reference(0, {"x": 0.5}, 1, None, 0))
        else:
            Path(sys.argv[2]).touch()
        time.sleep(1000)
"""


@pytest.mark.parametrize("asked", [True, False])
def test_a_driver_that_is_killed_leaves_neither_the_fork_nor_its_lease(asked, tmp_path):
    script, lease, begun = tmp_path / "driver.py", tmp_path / "driver.lease", tmp_path / "begun"
    script.write_text(DRIVER)
    command = [sys.executable, str(script), str(lease), str(begun), *([] if asked else ["-"])]
    driver = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path)})
    try:
        poll(begun.exists, "the loss at work")
        (fork,) = psutil.Process(driver.pid).children()
        driver.kill()
        driver.wait()
        acquire_lease(lease).release()  # whether the fork is gone already or not
        poll(lambda: not fork.is_running(), "the end of the fork")
    finally:
        driver.kill()
        driver.wait()


# What was recorded.


@pytest.fixture(scope="module")
def recorded(client, tmp_path_factory):
    """Return the folder of a run that is finished, and its keywords."""
    root = tmp_path_factory.mktemp("runs")
    keywords = {"n_trials": 2, "seeds": [5, 3, 9], "chunk_size": 2, "entry_id": "anna"}
    sw.optimize_run(
        bowl, **keywords, cluster=client, run_root=root, run_name="mine", progress=False
    )
    (path,) = [folder for folder in root.rglob("mine") if folder.is_dir()]
    return path, keywords


def taken_up(path: Path, loss=bowl, **keywords):
    options = RunOptions.from_keywords(keywords)
    return take_up(make_parts(loss, options), options, RunDirectory(path), lambda: None)


def test_the_first_seed_of_trial_0_is_on_record(recorded):
    path, keywords = recorded
    record = record_of(taken_up(path, **keywords))
    reference = record.reference
    assert (reference.trial, reference.seed, reference.entry_id, reference.start) == (
        *(0, 5, "anna", 0),
    )
    assert record.loss == bowl(reference.params, 5)


def test_a_new_run_has_nothing_on_record(tmp_path):
    assert record_of(taken_up(tmp_path)) is None


def test_other_losses_are_not_compared_and_the_record_goes(recorded, tmp_path):
    path, keywords = recorded
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    same = {**keywords, "trial_retry_attempts": 3, "accept_changes": True}
    assert record_of(taken_up(copy, **same)) is not None
    changed = {**keywords, "seeds": [3, 5, 9], "accept_changes": True}
    taken_up(copy, **changed).prepare()  # it may fail before a worker is there
    assert record_of(taken_up(copy, **same)) is None
