"""The plugin: loading a loss, and spreading a chunk over threads or processes."""

from __future__ import annotations

import os
import sys
import threading

import cloudpickle
import numpy as np
import psutil
import pytest

import seedwise as sw
from seedwise.model.seeds import Chunk
from seedwise.worker.evaluate import ChunkTask
from seedwise.worker.plugin import LossPlugin, Shipment


def shipment(loss, **changes):
    fields = {
        "name": loss.name,
        "pickled": cloudpickle.dumps(loss),
        "module": None,
        "argv": None,
        "path": (),
    }
    return Shipment(**{**fields, **changes})


def make(function, **keywords):
    return sw.loss(name="made", description="m", parameter_space={"x": (0, 1)}, **keywords)(
        function
    )


def evaluate(loss, seeds, parallelism=1, use_processes=False):
    plugin = LossPlugin("id", shipment(loss), parallelism, use_processes)
    plugin.setup(None)
    try:
        chunk = Chunk(3, 30, np.array(seeds))
        return plugin.evaluate(ChunkTask("id", 2, {"x": 0.5}, "p1", chunk))
    finally:
        plugin.teardown(None)


@pytest.mark.parametrize("use_processes", [False, True])
@pytest.mark.parametrize("parallelism", [1, 2, 5])
def test_losses_come_back_in_the_order_of_the_seeds(parallelism, use_processes):
    loss = make(lambda params, seed: params["x"] + seed)
    block = evaluate(loss, [9, 1, 5], parallelism, use_processes)
    assert block.losses.tolist() == [9.5, 1.5, 5.5]


@pytest.mark.parametrize("use_processes", [False, True])
def test_the_first_failure_counts(use_processes):
    def bad(params, seed):
        if seed in (5, 6):
            raise KeyError(seed)
        return 0.0

    block = evaluate(make(bad), [1, 2, 3, 4, 5, 6], 3, use_processes)
    assert block.losses is None
    assert (block.failure.seed, block.failure.position) == (5, 34)


def test_threads_run_seeds_at_once():
    """Each of two seeds waits for the other: one after the other they would never end."""
    pair = threading.Barrier(2, timeout=30)
    loss = make(lambda params, seed: float(pair.wait() >= 0))
    plugin = LossPlugin("id", shipment(make(lambda params, seed: 0.0)), 2, False)
    plugin.setup(None)
    plugin._loss = loss
    chunk = Chunk(0, 0, np.array([1, 2]))
    block = plugin.evaluate(ChunkTask("id", 0, {"x": 0.5}, None, chunk))
    plugin.teardown(None)
    assert block.losses.tolist() == [1.0, 1.0]


def test_processes_are_not_this_one_and_end_with_the_plugin():
    loss = make(lambda params, seed: float(os.getpid()))
    block = evaluate(loss, list(range(8)), 2, use_processes=True)
    pids = {int(pid) for pid in block.losses}
    assert os.getpid() not in pids
    children = [child for child in psutil.Process().children() if child.pid in pids]
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive


def test_a_child_that_dies_is_replaced():
    def deadly(params, seed):
        if seed == 13:
            os._exit(3)
        return float(seed)

    plugin = LossPlugin("id", shipment(make(deadly)), 2, True)
    plugin.setup(None)
    task = [
        ChunkTask("id", 0, {"x": 0.5}, None, Chunk(0, 0, np.array(seeds)))
        for seeds in ([1, 13], [1, 2])
    ]
    with pytest.raises(Exception, match="terminated abruptly"):
        plugin.evaluate(task[0])
    assert plugin.evaluate(task[1]).losses.tolist() == [1.0, 2.0]
    plugin.teardown(None)


def test_a_vectorized_loss_is_called_once_a_chunk():
    calls = []

    def note(params, seeds, context):
        calls.append((seeds.dtype, seeds.tolist(), context))
        return np.zeros(len(seeds))

    plugin = LossPlugin("id", shipment(make(lambda p, seeds: seeds, vectorized=True)), 2, False)
    plugin.setup(None)
    plugin._loss = make(note, vectorized=True)
    plugin.evaluate(ChunkTask("id", 2, {"x": 0.5}, "p1", Chunk(0, 0, np.array([4, 2, 3]))))
    plugin.teardown(None)
    assert calls == [(np.int64, [4, 2, 3], {"entry_id": "p1", "trial_number": 2})]


def test_a_module_that_defines_no_such_loss(tmp_path):
    module = tmp_path / "other_loss.py"
    module.write_text(
        "import seedwise as sw\n"
        "@sw.loss(name='other', description='o', parameter_space={'x': (0, 1)})\n"
        "def other(params, seed):\n    return 0.0\n"
    )
    loss = make(lambda params, seed: 0.0)
    sent = shipment(loss, name="wanted", pickled=None, module=str(module), argv=("a", "b"))
    with pytest.raises(ImportError, match=r"defined no loss 'wanted'.*'other'.*\('a', 'b'\)"):
        sent.load()
    assert shipment(loss, name="other", pickled=None, module=str(module)).load().name == "other"
    assert sys.argv != ["a", "b"]
