"""The plugin: loading a loss, and spreading a chunk over threads or processes."""

from __future__ import annotations

import contextvars
import os
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import cloudpickle
import distributed
import numpy as np
import psutil
import pytest
from distributed import Reschedule

import seedwise as sw
from seedwise.model.seeds import Chunk
from seedwise.model.trials import FailureKind
from seedwise.usercode.importing import senders
from seedwise.worker import plugin as plugin_module
from seedwise.worker.chunk import ChunkTask, Reference, evaluate_chunk
from seedwise.worker.plugin import LossPlugin
from tests.builders import imported, shipment

# As in a run; and no child imports this file, with pytest and Dask.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def make(function, **keywords):
    return sw.loss(name="made", description="m", parameter_space={"x": (0, 1)}, **keywords)(
        function
    )


def run(plugin, task):
    return plugin.evaluate(task, task.fresh_context())


def evaluate(loss, seeds, parallelism=1, use_processes=False):
    plugin = LossPlugin("id", shipment(loss), parallelism, use_processes)
    plugin.setup(None)
    try:
        chunk = Chunk(3, 30, np.array(seeds))
        return run(plugin, ChunkTask("id", 2, {"x": 0.5}, "p1", chunk))
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
    block = run(plugin, ChunkTask("id", 0, {"x": 0.5}, None, chunk))
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


def deadly(params, seed):
    if seed in (13, 14):
        os._exit(3)
    return float(seed)


@contextmanager
def plugin_of(loss, parallelism=1, use_processes=True, worker=None):
    plugin = LossPlugin("id", shipment(loss), parallelism, use_processes)
    plugin.setup(worker)
    try:
        yield plugin
    finally:
        plugin.teardown(None)


def task(seeds, start=0, **keywords):
    return ChunkTask("id", 0, {"x": 0.5}, None, Chunk(0, start, np.array(seeds)), **keywords)


def test_a_child_that_dies_is_replaced():
    with plugin_of(make(deadly), 2) as plugin:
        failure = run(plugin, task([1, 13])).failure
        assert (failure.kind, failure.seed) == (FailureKind.DIED, 13)
        assert run(plugin, task([1, 2])).losses.tolist() == [1.0, 2.0]


def test_of_pieces_that_die_the_first_counts():
    with plugin_of(make(deadly), 3) as plugin:
        failure = run(plugin, task([1, 2, 3, 13, 14, 4], start=20)).failure
    assert (failure.kind, failure.seed, failure.position) == (FailureKind.DIED, 13, 23)
    assert failure.message == "its process ended with exit code 3 (seeds 3 to 13)"


def test_a_failure_before_a_death_counts():
    def bad(params, seed):
        if seed == 1:
            raise KeyError(seed)
        return deadly(params, seed)

    with plugin_of(make(bad), 2) as plugin:
        failure = run(plugin, task([1, 2, 13, 14])).failure
    assert (failure.kind, failure.seed) == (FailureKind.LOSS, 1)


@pytest.mark.parametrize("changes", [{"isolated": True}, {"time_limit_s": 600.0}])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_chunk_may_ask_for_processes(changes, parallelism):
    with plugin_of(make(lambda params, seed: float(os.getpid())), parallelism, False) as plugin:
        assert set(run(plugin, task([1, 2])).losses) == {float(os.getpid())}
        pids = set(run(plugin, task([1, 2], **changes)).losses)
        assert 1 <= len(pids) <= parallelism  # a quick child may evaluate both pieces
        assert os.getpid() not in pids


def test_a_chunk_that_overruns():
    def endless(params, seed):
        while seed == 2:
            pass
        return 1.0

    with plugin_of(make(endless), 1, False) as plugin:
        failure = run(plugin, task([1, 2, 3], time_limit_s=0.2)).failure
        assert (failure.kind, failure.exception_type) == (FailureKind.OVERRAN, "ChunkTimeout")
        assert failure.message == "took longer than chunk_timeout_seconds=0.2 (seeds 1 to 3)"
        assert run(plugin, task([1], time_limit_s=600.0)).losses.tolist() == [1.0]


@pytest.fixture
def without_memory(monkeypatch):
    """Have the process of the tests take no memory, whatever earlier tests have left."""
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=0))
    monkeypatch.setattr(plugin_module, "psutil", SimpleNamespace(Process=lambda: process))


def with_memory(limit_b):
    return SimpleNamespace(memory_manager=SimpleNamespace(memory_limit=limit_b))


@pytest.mark.usefixtures("without_memory")
def test_a_child_that_fills_memory():
    def greedy(params, seed):
        kept = []
        while seed == 2:
            kept.append(bytearray(20_000_000))
            time.sleep(0.01)  # or a fast machine is out of memory before somebody looks
        return 1.0

    limit_b = 400_000_000
    with plugin_of(make(greedy), 2, worker=with_memory(limit_b)) as plugin:
        failure = run(plugin, task([1, 2, 3, 4], start=10)).failure
        assert (failure.kind, failure.exception_type) == (FailureKind.DIED, "MemoryExceeded")
        assert (failure.seed, failure.position) == (2, 11)
        assert re.fullmatch(
            r"its worker's processes took \d+ MB of the "
            rf"{limit_b / 1e6:.0f} MB that the worker may have \(seeds 1 to 2\)",
            failure.message,
        )
        assert run(plugin, task([1, 3])).losses.tolist() == [1.0, 1.0]


@pytest.mark.usefixtures("without_memory")
def test_what_short_chunks_leave_in_memory_costs_no_chunk():
    def leaking(params, seed):
        leaking.kept = [*getattr(leaking, "kept", []), bytearray(20_000_000)]
        return float(os.getpid())

    pids = set()
    with plugin_of(make(leaking), worker=with_memory(400_000_000)) as plugin:
        while len(pids) < 2:
            plugin._children._looked_s = -1e9  # as if it had taken 0.1 s
            pids |= set(run(plugin, task([1])).losses)


@pytest.mark.parametrize("worker", [None, with_memory(None), with_memory(0)])
def test_without_a_memory_limit_nobody_looks(worker):
    with plugin_of(make(deadly), worker=worker) as plugin:
        assert plugin._children.watch is None


def test_children_are_used_again():
    with plugin_of(make(lambda params, seed: float(os.getpid())), 2) as plugin:
        blocks = [run(plugin, task([1, 2, 3])) for _ in range(5)]
    assert len(np.unique([block.losses for block in blocks])) <= 2


def test_a_vectorized_loss_runs_in_one_child_a_chunk_and_chunks_at_once(tmp_path):
    def pair(params, seeds):
        """Each of two chunks waits for the other."""
        (tmp_path / str(seeds[0])).touch()
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.001)
        return np.full(len(seeds), float(os.getpid()))

    with ThreadPoolExecutor(2) as threads, plugin_of(make(pair, vectorized=True), 2) as plugin:
        blocks = list(threads.map(run, [plugin] * 2, [task([1, 2]), task([3, 4])]))
    pids = [set(block.losses) for block in blocks]
    assert [len(found) for found in pids] == [1, 1]
    assert pids[0] != pids[1]


@pytest.mark.parametrize("vectorized", [False, True])
def test_a_loss_that_cant_be_loaded_in_a_child(vectorized):
    loss = make(lambda params, seed: 0.0, vectorized=vectorized)
    sent = shipment(loss, pickled=None, digest="", module="no_such_module")
    plugin = LossPlugin("id", sent, 2, True)
    plugin.setup(None)
    for _ in range(2):  # a failure to load is no verdict on the next chunk
        failure = run(plugin, task([5, 6], start=30)).failure
        assert failure.kind is FailureKind.LOSS
        assert (failure.position, failure.seed) == (30, None)
        assert failure.exception_type == "ModuleNotFoundError"
        assert failure.message == "No module named 'no_such_module'"
    plugin.teardown(None)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_worker_that_leaves_gives_its_chunk_back(tmp_path, parallelism):
    """Its end is no death of the loss."""

    def block(params, seed):
        (tmp_path / str(seed)).touch()
        time.sleep(3600)

    seeds = list(range(parallelism))
    with ThreadPoolExecutor(1) as threads, plugin_of(make(block), parallelism) as plugin:
        future = threads.submit(run, plugin, task(seeds))
        while len(list(tmp_path.iterdir())) < parallelism:
            time.sleep(0.001)
        plugin.teardown(None)
        with pytest.raises(Reschedule):
            future.result()
        with pytest.raises(Reschedule):
            run(plugin, task(seeds))


def test_a_loss_that_is_being_loaded_when_its_run_ends_leaves_no_module(tmp_path):
    begun, may_end = tmp_path / "begun", tmp_path / "may_end"
    source = (
        "import pathlib, time, seedwise\n"
        f"pathlib.Path({str(begun)!r}).touch()\n"
        f"while not pathlib.Path({str(may_end)!r}).exists():\n    time.sleep(0.001)\n"
        "made = seedwise.loss(name='made', description='m', parameter_space={'x': (0, 1)})(\n"
        "    lambda params, seed: 0.0)\n"
    )
    plugin = LossPlugin("id", imported("made", source), 1, use_processes=False)
    plugin.setup(None)
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(run, plugin, task([1]))
        try:
            while not begun.exists():
                assert not future.done(), future.exception()
                time.sleep(0.001)
            plugin.teardown(None)
            assert "made_module" in sys.modules  # it is being imported still
        finally:
            may_end.touch()
        with pytest.raises(Reschedule):
            future.result()
    assert "made_module" not in sys.modules


def test_a_vectorized_loss_is_called_once_a_chunk():
    calls = []

    def note(params, seeds, context):
        calls.append((seeds.dtype, seeds.tolist(), context))
        return np.zeros(len(seeds))

    plugin = LossPlugin("id", shipment(make(lambda p, seeds: seeds, vectorized=True)), 2, False)
    plugin.setup(None)
    plugin._loss = make(note, vectorized=True)
    run(plugin, ChunkTask("id", 2, {"x": 0.5}, "p1", Chunk(0, 0, np.array([4, 2, 3]))))
    plugin.teardown(None)
    assert calls == [(np.int64, [4, 2, 3], {"entry_id": "p1", "trial_number": 2})]


def test_a_module_that_defines_no_such_loss(tmp_path, monkeypatch):
    (tmp_path / "other_loss.py").write_text(
        "import seedwise as sw\n"
        "@sw.loss(name='other', description='o', parameter_space={'x': (0, 1)})\n"
        "def other(params, seed):\n    return 0.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    loss = make(lambda params, seed: 0.0)
    monkeypatch.setitem(senders, "here", contextvars.copy_context())
    here = {"pickled": None, "digest": "", "module": "other_loss", "sender": "here"}
    with pytest.raises(ImportError, match=r"defined no loss 'wanted'.*'other'.*sys.argv was"):
        shipment(loss, name="wanted", **here).load()
    assert shipment(loss, name="other", **here).load().name == "other"


PLACES = pytest.mark.parametrize(
    ("parallelism", "use_processes"), [(1, False), (3, False), (1, True), (3, True)]
)


def uneven(params, seed):
    """A part for every seed, and one for some."""
    parts = {"all": seed, f"of {seed}": seed} if seed > 8 else {"all": seed}
    return {"total_loss": seed, "components": parts}


@PLACES
def test_components_are_those_of_the_whole_chunk(parallelism, use_processes):
    block = evaluate(make(uneven), [7, 10, 8, 9], parallelism, use_processes)
    assert block.losses.tolist() == [7.0, 10.0, 8.0, 9.0]
    assert list(block.components) == ["all", "of 10", "of 9"]
    np.testing.assert_array_equal(block.components["all"], [7, 10, 8, 9])
    np.testing.assert_array_equal(block.components["of 10"], [np.nan, 10, np.nan, np.nan])
    np.testing.assert_array_equal(block.components["of 9"], [np.nan, np.nan, np.nan, 9])


@pytest.mark.parametrize("use_processes", [False, True])
def test_components_of_a_vectorized_loss(use_processes):
    def many(params, seeds):
        return {"total_loss": seeds, "components": {"half": seeds / 2}}

    block = evaluate(make(many, vectorized=True), [4, 2], 2, use_processes)
    assert block.components["half"].tolist() == [2.0, 1.0]


def filed(run_dir, seeds, **changes):
    attempts_dir = str(run_dir / "trials" / ".attempts")
    return task(seeds, start=30, attempts_dir=attempts_dir, folder_stem="trial_000", **changes)


@pytest.fixture
def worker(monkeypatch):
    """A worker as `evaluate_chunk` sees it; the test puts its plugin there."""
    worker = SimpleNamespace(name=0, address="tcp://w:1", plugins={})
    monkeypatch.setattr(distributed, "get_worker", lambda: worker)
    return worker


def writing(params, seed, context):
    with (context["trial_dir"] / f"{seed}.txt").open("x") as file:
        file.write(str(os.getpid()))
    return float(seed)


@PLACES
def test_all_seeds_of_an_evaluation_share_a_folder_and_no_two_evaluations_do(
    parallelism, use_processes, worker, tmp_path
):
    with plugin_of(make(writing), parallelism, use_processes) as worker.plugins["id"]:
        results = [evaluate_chunk(filed(tmp_path, [4, 5, 6, 7])) for _ in range(3)]
    attempts = tmp_path / "trials" / ".attempts"
    assert sorted(path.name for path in attempts.iterdir()) == sorted(r.folder for r in results)
    for result in results:
        assert result.losses.tolist() == [4.0, 5.0, 6.0, 7.0]
        assert result.folder.startswith("trial_000-30-")
        files = sorted((attempts / result.folder).iterdir())
        assert [path.name for path in files] == ["4.txt", "5.txt", "6.txt", "7.txt"]
        assert all((path.read_text() != str(os.getpid())) == use_processes for path in files)


def test_a_loss_that_asks_by_keyword_gets_the_same(worker, tmp_path):
    def by_keyword(params, seed, *, context):
        return writing(params, seed, context)

    with plugin_of(make(by_keyword), 2, False) as worker.plugins["id"]:
        result = evaluate_chunk(filed(tmp_path, [4, 5]))
    assert len(list((tmp_path / "trials" / ".attempts" / result.folder).iterdir())) == 2


@PLACES
def test_nothing_is_made_for_a_loss_that_writes_nothing(
    parallelism, use_processes, worker, tmp_path
):
    def look(params, seed, context):
        return len(context) + len(str(dict(context))) + ("trial_dir" in context)

    with plugin_of(make(look), parallelism, use_processes) as worker.plugins["id"]:
        result = evaluate_chunk(filed(tmp_path, [4, 5, 6]))
    assert (result.failure, result.folder) == (None, "")
    assert list(tmp_path.iterdir()) == []


def test_seeds_that_ask_for_the_folder_at_once(worker, tmp_path):
    together = threading.Barrier(4, timeout=30)

    def meet(params, seed, context):
        together.wait()
        return writing(params, seed, context)

    plugin = LossPlugin("id", shipment(make(lambda params, seed: 0.0)), 4, False)
    plugin.setup(None)
    plugin._loss = make(meet)
    worker.plugins["id"] = plugin
    for _ in range(10):
        result = evaluate_chunk(filed(tmp_path, [4, 5, 6, 7]))
        assert result.failure is None
        assert len(list((tmp_path / "trials" / ".attempts" / result.folder).iterdir())) == 4
    plugin.teardown(None)


@pytest.mark.parametrize("changes", [{}, {"isolated": True}, {"time_limit_s": 1.0}])
def test_what_a_process_wrote_before_it_died_is_told(changes, worker, tmp_path):
    def write_and_die(params, seed, context):
        writing(params, seed, context)
        while seed == 5:
            if "time_limit_s" not in changes:
                os._exit(3)
            time.sleep(0.01)
        return 1.0

    with plugin_of(make(write_and_die)) as worker.plugins["id"]:
        result = evaluate_chunk(filed(tmp_path, [4, 5, 6], **changes))
    assert result.failure.seed == 5
    files = (tmp_path / "trials" / ".attempts" / result.folder).iterdir()
    assert sorted(path.name for path in files) == ["4.txt", "5.txt"]


def test_a_runs_folder_on_another_disk_fails_the_seed_in_a_process_too(worker, tmp_path):
    with plugin_of(make(writing)) as worker.plugins["id"]:
        result = evaluate_chunk(filed(tmp_path / "run", [4, 5]))
    assert (result.failure.exception_type, result.failure.seed) == ("TrialDirError", 4)
    assert "run_root must be a folder that all workers share" in result.failure.message
    assert list(tmp_path.iterdir()) == []


# The seed that every worker evaluates once.

REFERENCE = Reference(9, {"x": 0.25}, 77, "p9", 5)


def of_reference(function, **changes):
    """Return what a plugin makes of the reference for two chunks, one after the other."""
    use_processes = changes.pop("use_processes", False)
    plugin = LossPlugin("id", shipment(make(function)), 2, use_processes)
    plugin.setup(None)
    try:
        chunk = Chunk(3, 30, np.array([1, 2]))
        task = ChunkTask("id", 2, {"x": 0.5}, "p1", chunk, **{"reference": REFERENCE, **changes})
        return [plugin.evaluate_reference(task) for _ in range(2)]
    finally:
        plugin.teardown(None)


def told(params, seed, context):
    folder = context["trial_dir"]
    folder.joinpath("file").touch()
    return params["x"] + seed + 100 * context["trial_number"] + len(context["entry_id"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [979.25, None]),
        ({"use_processes": True}, [979.25, None]),
        ({"time_limit_s": 600.0}, [979.25, None]),
        ({"attempts_dir": "/not/there/at/all"}, [979.25, None]),  # its files do not count
        ({"isolated": True}, [None, None]),
        ({"reference": None}, [None, None]),
    ],
)
def test_the_reference_is_evaluated_once(changes, expected):
    assert of_reference(told, **changes) == expected


def fails(params, seed):
    raise ValueError(seed)


@pytest.mark.parametrize("function", [fails, lambda params, seed: os._exit(1)])
def test_a_reference_that_fails_is_not_tried_again(function):
    assert of_reference(function, use_processes=True) == [None, None]


def test_of_chunks_at_once_one_evaluates_the_reference():
    seeds = []
    plugin = LossPlugin("id", shipment(make(lambda params, seed: 0.0)), 1, False)
    plugin.setup(None)
    plugin._loss = make(lambda params, seed: seeds.append(seed) or 1.0)
    task = ChunkTask("id", 2, {}, None, Chunk(3, 30, np.array([1])), reference=REFERENCE)
    with ThreadPoolExecutor(8) as threads:
        values = list(threads.map(plugin.evaluate_reference, [task] * 16))
    plugin.teardown(None)
    assert seeds == [77]
    assert sorted(values, key=str) == [1.0, *[None] * 15]
