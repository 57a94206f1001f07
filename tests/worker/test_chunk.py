from __future__ import annotations

import asyncio
import math
import os
import pickle
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import attrs
import distributed
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import seedwise
from seedwise.model.loss import LossDefinition, loss
from seedwise.model.seeds import Chunk, seed_plan
from seedwise.model.space import search_param
from seedwise.model.trials import SeedFailure
from seedwise.worker import chunk as module
from seedwise.worker.block import SeedBlock, evaluate_block, failure_from
from seedwise.worker.chunk import ChunkTask, Reference, evaluate_chunk, evaluate_pack
from seedwise.worker.departure import Durations, depart

PARAMS = {"x": 0.5}
CONTEXT = {"entry_id": "p1", "trial_number": 4}
START = 40
OWN_FILES = str(Path(seedwise.__file__).parent)


def plugin_that(evaluate, reference=None):
    """Return a plugin that evaluates so."""
    return SimpleNamespace(
        evaluate=evaluate, evaluate_reference=lambda _: reference, durations=Durations(40)
    )


def define(function, vectorized=False) -> LossDefinition:
    space = {"x": (0, 1)}
    return loss(name="l", description="d", parameter_space=space, vectorized=vectorized)(function)


def evaluate(function, seeds=(7, 8, 9), *, vectorized=False, params=PARAMS) -> SeedBlock:
    array = np.array(seeds, dtype=np.int64)
    return evaluate_block(define(function, vectorized), params, Chunk(0, START, array), CONTEXT)


def noisy(params, seed):
    return math.sin(seed * 12.9898 + params["x"]) * 1e6


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda params, seed: seed + params["x"], [7.5, 8.5]),
        (lambda params, seed: {"a": seed, "b": seed + 2}, [8.0, 9.0]),
        (lambda params, seed: {"total_loss": -seed, "components": {"a": 1}}, [-7.0, -8.0]),
        (lambda params, seed: [seed, seed + 2.0], [8.0, 9.0]),
        (lambda params, seed: np.float32(seed), [7.0, 8.0]),
        (lambda params, seed: np.array(seed), [7.0, 8.0]),
    ],
)
def test_every_kind_of_loss_is_read(function, expected):
    block = evaluate(function, (7, 8))
    assert block.failure is None
    assert block.losses.tolist() == expected
    assert block.losses.dtype == np.float64


def test_the_seed_is_an_int():
    kinds = []
    evaluate(lambda params, seed: kinds.append(type(seed)) or 0.0)
    assert set(kinds) == {int}


@given(
    st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=30, unique=True),
    st.integers(1, 31),
)
def test_chunks_give_the_bits_of_the_whole(seeds, chunk_size):
    whole = evaluate(noisy, seeds).losses
    pieces = [
        evaluate_block(define(noisy), PARAMS, chunk, CONTEXT).losses
        for chunk in seed_plan(seeds=seeds, chunk_size=chunk_size).chunks()
    ]
    assert np.concatenate(pieces).tobytes() == whole.tobytes()


def in_batches(function, seeds, batch):
    chunk = Chunk(0, START, np.array(seeds), batch)
    return evaluate_block(define(function, vectorized=True), PARAMS, chunk, CONTEXT)


def test_a_vectorized_loss_gets_a_batch_in_a_call():
    def centred(params, seeds):
        calls.append(seeds.tolist())
        parts = {"first": seeds * 0.0 + seeds[0]} if 3 in seeds else {}
        return {"total_loss": seeds - seeds.mean(), "components": parts}

    calls = []
    block = in_batches(centred, [5, 7, 3, 4, 9], 2)
    assert calls == [[5, 7], [3, 4], [9]]
    assert block.losses.tolist() == [-1.0, 1.0, -0.5, 0.5, 0.0]
    assert str(block.components["first"].tolist()) == "[nan, nan, 3.0, 3.0, nan]"


def test_the_first_batch_that_fails_is_the_last():
    def fail(params, seeds):
        calls.append(seeds.tolist())
        return np.where(seeds == 4, np.nan, 1.0)

    calls = []
    block = in_batches(fail, [5, 7, 3, 4, 9], 2)
    assert calls == [[5, 7], [3, 4]]
    assert (block.losses, block.failure.position, block.failure.seed) == (None, START + 3, 4)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (math.nan, "the loss returned nan: not finite."),
        (math.inf, "the loss returned inf: not finite."),
        (None, "the loss returned None: a return is missing."),
        ("1", "the loss returned '1': str is not a number."),
        ({}, "the loss returned {}: an empty dict has no mean."),
        ([], "the loss returned []: an empty list has no mean."),
        (np.zeros(2), "the loss returned array([0., 0.]): an array of shape (2,) is not a number"),
    ],
)
def test_a_bad_value_is_a_failure_that_names_its_seed(returned, message):
    block = evaluate(lambda params, seed: returned if seed >= 8 else 1.0)
    assert block.losses is None
    failure = block.failure
    assert (failure.position, failure.seed) == (START + 1, 8)
    assert failure.exception_type == "LossValueError"
    assert failure.message.startswith(message)
    assert failure.message in failure.traceback
    assert "\n" not in failure.message
    assert OWN_FILES not in failure.traceback


def simulate(params, seed):
    return step(seed)


def step(seed):
    if seed == 8:
        raise ZeroDivisionError(f"  no way\nat seed {seed}")
    return 1.0


def test_an_exception_is_a_failure_with_the_users_frames_only():
    failure = evaluate(simulate).failure
    assert isinstance(failure, SeedFailure)
    assert (failure.position, failure.seed) == (START + 1, 8)
    assert (failure.exception_type, failure.message) == ("ZeroDivisionError", "no way")
    lines = failure.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert [line.rpartition(", in ")[2] for line in lines if line.startswith("  File")] == [
        "simulate",
        "step",
    ]
    assert "return step(seed)" in failure.traceback
    assert lines[-1] == "at seed 8"
    assert OWN_FILES not in failure.traceback
    assert pickle.loads(pickle.dumps(failure)) == failure


def test_the_cause_of_an_exception_is_shown():
    def wrapped(params, seed):
        try:
            return step(8)
        except ZeroDivisionError as error:
            raise RuntimeError("the model broke") from error

    text = evaluate(wrapped).failure.traceback
    assert text.index("ZeroDivisionError") < text.index("RuntimeError: the model broke")
    assert "direct cause of the following exception" in text


def test_no_seed_is_evaluated_after_one_that_failed():
    seen = []

    def failing(params, seed):
        seen.append(seed)
        return step(seed)

    evaluate(failing, (6, 7, 8, 9))
    assert seen == [6, 7, 8]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_process_is_a_failure_of_the_seed_like_others(error):
    """A worker that it ended would be started anew, and evaluate the seed again."""

    def stop(params, seed):
        raise error("enough")

    block = evaluate(stop)
    assert (block.failure.exception_type, block.failure.seed) == (error.__name__, 7)


def handle_a_signal(params, seed):
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    return 1.0


def begin_a_loop(params, seed):
    try:
        return asyncio.get_event_loop().run_until_complete(asyncio.sleep(0, 1.0))
    except RuntimeError as error:
        raise ArithmeticError("the simulator gave up") from error


def have_a_child(params, seed):
    raise AssertionError("daemonic processes are not allowed to have children")


@pytest.mark.parametrize("function", [handle_a_signal, begin_a_loop, have_a_child])
def test_what_fails_for_its_thread_names_the_remedy(function):
    with ThreadPoolExecutor(1) as thread:
        failure = thread.submit(evaluate, function, (7,)).result().failure
    lines = failure.traceback.splitlines()
    assert "With use_processes=True it runs in the main thread" in lines[-1]
    assert lines[-2] == f"{failure.exception_type}: {failure.message}"


@pytest.mark.parametrize("words", ["no way", "main thread"])
def test_other_failures_name_no_such_remedy(words):
    def fail(params, seed):
        raise RuntimeError(words)

    assert "use_processes" not in evaluate(fail).failure.traceback  # here in the main thread
    with ThreadPoolExecutor(1) as thread:
        failure = thread.submit(evaluate, fail).result().failure
    assert ("use_processes" in failure.traceback) == (words == "main thread")


KIND = search_param(allowed=["a", "b"])
WHOLE_NUMBERS = {"steps": (5, 50), "rate": (0.5, 2), "n": (1, 9), "kind": KIND}


@pytest.mark.parametrize(
    "function",
    [
        lambda params, seed: range(params["steps"]),
        lambda params, seed: [0] * params["steps"],
        lambda params, seed: [0][params["steps"]],
        lambda params, seed: [0][: params["steps"]],
        lambda params, seed: np.zeros(params["steps"]),
        lambda params, seed: np.arange(9)[params["steps"]],
        lambda params, seed: np.random.default_rng(seed).normal(size=params["steps"]),
        lambda params, seed: np.random.default_rng(seed).choice(params["steps"]),
    ],
)
@pytest.mark.parametrize("vectorized", [False, True])
def test_a_loss_that_wants_whole_numbers_is_told_how_to_search_them(function, vectorized):
    fields = {"name": "whole", "description": "d", "vectorized": vectorized}
    whole = loss(**fields, parameter_space=WHOLE_NUMBERS)(function)
    params = {"steps": 7.0, "rate": 1.5, "n": 3, "kind": "a"}  # n is held at an int
    failure = evaluate_block(whole, params, Chunk(0, 0, np.array([7])), {}).failure
    assert failure.traceback.endswith(
        "A tuple (low, high) is a range of floats, so the loss gets floats for 'steps'. For whole "
        "numbers write 'steps': search_param(range=(5, 50), dtype='int').\n"
    )


@pytest.mark.parametrize(
    ("function", "params"),
    [
        (lambda params, seed: int("x"), {"steps": 7.0}),
        (lambda params, seed: range(2.0), {"steps": 7, "rate": 1.5}),
    ],
)
def test_other_failures_name_no_whole_numbers(function, params):
    other = loss(name="other", description="d", parameter_space=WHOLE_NUMBERS)(function)
    failure = evaluate_block(other, params, Chunk(0, 0, np.array([7])), {}).failure
    assert "search_param" not in failure.traceback


def test_asyncio_runs_in_any_thread():
    def run(params, seed):
        return asyncio.run(asyncio.sleep(0, float(seed)))

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(evaluate, run, (7,)).result().losses.tolist() == [7.0]


def test_own_frames_are_kept_where_there_are_no_others():
    failure = failure_from(RuntimeError("the pool broke"), 3, None)
    assert failure == SeedFailure(
        3, None, "RuntimeError", "the pool broke", "RuntimeError: the pool broke\n"
    )


def test_a_vectorized_loss_is_called_once_with_all_seeds():
    calls = []

    def many(params, seeds):
        calls.append(seeds.copy())
        return seeds * params["x"]

    assert evaluate(many, vectorized=True).losses.tolist() == [3.5, 4.0, 4.5]
    (seeds,) = calls
    assert seeds.tolist() == [7, 8, 9]
    assert seeds.dtype == np.int64


def test_a_vectorized_loss_gets_seeds_of_its_own():
    def spoil(params, seeds):
        seeds[:] = 0
        return seeds

    seeds = np.array([7, 8])
    evaluate_block(define(spoil, vectorized=True), PARAMS, Chunk(0, START, seeds), CONTEXT)
    assert seeds.tolist() == [7, 8]


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        ([1.0], "shape (1,), but there are 3 seeds: it must be (3,)"),
        (np.zeros((1, 3)), "shape (1, 3), but there are 3 seeds"),
        (1.0, "shape (), but there are 3 seeds"),
        (["a", "b", "c"], "str is not a number"),
    ],
)
def test_a_vectorized_loss_of_a_wrong_shape_blames_no_seed(returned, problem):
    failure = evaluate(lambda params, seeds: returned, vectorized=True).failure
    assert (failure.position, failure.seed) == (START, None)
    assert failure.exception_type == "LossValueError"
    assert problem in failure.message


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_vectorized_loss_that_is_not_finite_names_the_first_such_seed(bad):
    failure = evaluate(lambda params, seeds: [1.0, bad, bad], vectorized=True).failure
    assert (failure.position, failure.seed) == (START + 1, 8)
    assert failure.message.startswith(f"the loss returned {bad}: not finite.")


def test_an_exception_of_a_vectorized_loss_blames_no_seed():
    failure = evaluate(lambda params, seeds: step(8), vectorized=True).failure
    assert (failure.position, failure.seed) == (START, None)
    assert failure.exception_type == "ZeroDivisionError"
    assert "in step" in failure.traceback
    assert OWN_FILES not in failure.traceback


def test_the_context_reaches_the_shapes_that_ask_for_it():
    seen = []
    functions = [
        lambda params, seed: seen.append(None) or 0.0,
        lambda params, seed, context, /: seen.append(context) or 0.0,
        lambda params, seed, *, context: seen.append(context) or 0.0,
    ]
    for function in functions:
        assert evaluate(function, (7,)).failure is None
    assert seen == [None, CONTEXT, CONTEXT]


@pytest.mark.parametrize("vectorized", [False, True])
def test_the_params_are_a_copy_for_every_call(vectorized):
    params = {"x": 0.5}

    def spoil(params, seed):
        params["x"] += 1
        return params["x"] + 0.0 * seed

    assert evaluate(spoil, vectorized=vectorized, params=params).losses.tolist() == [1.5] * 3
    assert params == {"x": 0.5}


@pytest.fixture
def worker(monkeypatch):
    """A worker as `evaluate_chunk` sees it; its plugin is set by the test."""
    monkeypatch.delenv("SEEDWISE_JOB_ENDS_AT", raising=False)
    events = []
    callbacks = []
    worker = SimpleNamespace(
        name=3,
        address="tcp://w:1",
        events=events,
        log_event=lambda topic, message: events.append((topic, message)),
        callbacks=callbacks,
        loop=SimpleNamespace(add_callback=lambda *call: callbacks.append(call)),
    )
    monkeypatch.setattr(distributed, "get_worker", lambda: worker)
    return worker


def task(topic=None, needs_s=None) -> ChunkTask:
    chunk = Chunk(2, START, np.array([7, 8]))
    return ChunkTask("id", 4, PARAMS, "p1", chunk, topic=topic, needs_s=needs_s)


def test_a_chunk_comes_back_with_what_tells_it_apart(worker, monkeypatch):
    worker.plugins = {"id": fake_plugin(noisy)}
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    result = evaluate_chunk(task())
    assert result.losses.tolist() == [noisy(PARAMS, 7), noisy(PARAMS, 8)]
    assert (result.trial, result.chunk, result.start) == (4, 2, START)
    assert (result.worker, result.job_id, result.failure) == ("3", "77", None)
    assert result.duration_s >= 0
    assert worker.events == []


def test_a_worker_says_that_it_starts_where_it_is_asked_to(worker):
    seen = []
    plugin = plugin_that(
        lambda *_: seen.append(len(worker.events)) or SeedBlock(np.zeros(2), None)
    )
    worker.plugins = {"id": plugin}
    evaluate_chunk(task(topic="run"))
    started = {"entry_id": "p1", "trial": 4, "part": "", "chunk": 2}
    started |= {"worker": "tcp://w:1", "left_s": None}
    assert worker.events == [("run", started)]
    assert seen == [1]


def test_a_loss_that_cant_be_loaded_is_a_failure_of_the_chunk(worker, monkeypatch):
    def broken(task, context):
        raise ImportError("no module named simulator")

    worker.plugins = {"id": plugin_that(broken)}
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    result = evaluate_chunk(task())
    assert result.losses is None
    assert (result.failure.position, result.failure.seed) == (START, None)
    assert result.failure.exception_type == "ImportError"
    assert result.failure.message == "no module named simulator"
    assert result.job_id is None


def fake_plugin(function):
    """A plugin that evaluates with a loss, in this process."""
    definition = define(function)

    def evaluate_task(task, context):
        return evaluate_block(definition, task.params, task.chunk, context)

    return plugin_that(evaluate_task)


def filed_task(run_dir, start=START, **changes) -> ChunkTask:
    return ChunkTask(
        "id",
        4,
        PARAMS,
        "p1",
        Chunk(2, start, np.array([7, 8])),
        attempts_dir=str(run_dir / "trials" / ".attempts"),
        folder_stem="trial_004",
        **changes,
    )


def writing(params, seed, context):
    (context["trial_dir"] / f"{seed}.txt").write_text(str(seed))
    return float(seed)


def test_an_evaluation_names_the_folder_that_it_wrote_to(worker, tmp_path):
    worker.plugins = {"id": fake_plugin(writing)}
    result = evaluate_chunk(filed_task(tmp_path))
    assert result.losses.tolist() == [7.0, 8.0]
    assert re.fullmatch(rf"trial_004-{START}-[0-9a-f]{{8}}", result.folder)
    attempts = tmp_path / "trials" / ".attempts"
    assert [path.name for path in attempts.iterdir()] == [result.folder]
    assert sorted(path.name for path in (attempts / result.folder).iterdir()) == ["7.txt", "8.txt"]


def test_evaluations_of_one_chunk_never_share_a_folder(worker, tmp_path):
    worker.plugins = {"id": fake_plugin(writing)}
    tasks = [filed_task(tmp_path), filed_task(tmp_path), filed_task(tmp_path, attempt=2)]
    tasks += tasks
    folders = {evaluate_chunk(task).folder for task in tasks}
    assert len(folders) == 6
    assert {path.name for path in (tmp_path / "trials" / ".attempts").iterdir()} == folders


def test_an_evaluation_that_wrote_nothing_makes_nothing(worker, tmp_path):
    worker.plugins = {"id": fake_plugin(lambda params, seed, context: len(context))}
    assert evaluate_chunk(filed_task(tmp_path)).folder == ""
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_that_fails_names_its_folder_too(worker, tmp_path):
    def half(params, seed, context):
        (context["trial_dir"] / "state.txt").write_text(str(seed))
        return step(seed)

    worker.plugins = {"id": fake_plugin(half)}
    result = evaluate_chunk(filed_task(tmp_path))
    assert (result.failure.seed, dict(result.components)) == (8, {})
    (state,) = (tmp_path / "trials" / ".attempts" / result.folder).iterdir()
    assert state.read_text() == "8"


def test_a_runs_folder_on_another_disk_is_a_failure_with_the_users_frames_only(worker, tmp_path):
    worker.plugins = {"id": fake_plugin(writing)}
    result = evaluate_chunk(filed_task(tmp_path / "run"))
    assert (result.folder, result.failure.seed) == ("", 7)
    assert result.failure.exception_type == "TrialDirError"
    assert f"the run's folder {tmp_path / 'run'} is not on the disk" in result.failure.message
    assert "in writing" in result.failure.traceback
    assert OWN_FILES not in result.failure.traceback
    assert list(tmp_path.iterdir()) == []


def test_without_a_place_for_files_nobody_looks_for_them(worker, monkeypatch):
    def look(path):
        raise AssertionError(path)

    monkeypatch.setattr(os.path, "isdir", look)
    worker.plugins = {"id": fake_plugin(lambda params, seed, context: "trial_dir" in context)}
    result = evaluate_chunk(task())
    assert (result.losses.tolist(), result.folder) == ([0.0, 0.0], "")


def test_a_pack_is_evaluated_in_its_order(worker, tmp_path):
    def failing(params, seed, context):
        return seed if context["trial_dir"] else 0

    worker.plugins = {"id": fake_plugin(failing), "bad": fake_plugin(simulate)}
    tasks = [filed_task(tmp_path, start) for start in (4, 0, 2)]
    tasks.insert(1, ChunkTask("bad", 5, PARAMS, None, Chunk(0, 6, np.array([7, 8]))))
    results = evaluate_pack(tasks)
    assert [(result.trial, result.start) for result in results] == [(4, 4), (5, 6), (4, 0), (4, 2)]
    assert [result.failure is None for result in results] == [True, False, True, True]
    assert len({result.folder for result in results}) == 4
    assert evaluate_pack([]) == []


def test_a_worker_that_leaves_has_a_pack_rescheduled(worker):
    def leave(task, context):
        raise distributed.Reschedule

    worker.plugins = {"id": plugin_that(leave)}
    with pytest.raises(distributed.Reschedule):
        evaluate_pack([task(), task()])


def test_a_worker_says_how_long_its_job_lasts_where_it_ends(worker, monkeypatch):
    worker.plugins = {"id": fake_plugin(noisy)}
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    monkeypatch.setenv("SEEDWISE_JOB_ENDS_AT", "1600")
    evaluate_chunk(task(topic="run"))
    ((_, message),) = worker.events
    assert message["left_s"] == 600.0


def test_a_chunk_that_the_job_does_not_last_for_is_not_begun(worker, monkeypatch):
    worker.plugins = {"id": plugin_that(lambda *_: pytest.fail("begun"))}
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    monkeypatch.setenv("SEEDWISE_JOB_ENDS_AT", "1600")
    with pytest.raises(distributed.Reschedule):
        evaluate_chunk(task(topic="run", needs_s=599.0))
    assert worker.events == []
    ((_, whose, reason),) = worker.callbacks
    assert (whose, reason) == (worker, "walltime")
    with pytest.raises(distributed.Reschedule):  # it leaves: nothing fits any more
        evaluate_chunk(task(needs_s=1.0))
    assert len(worker.callbacks) == 1


@pytest.mark.parametrize("needs_s", [None, 500.0])
def test_a_chunk_that_the_job_lasts_for_is_evaluated(worker, monkeypatch, needs_s):
    worker.plugins = {"id": fake_plugin(noisy)}
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    monkeypatch.setenv("SEEDWISE_JOB_ENDS_AT", "1600")
    assert evaluate_chunk(task(needs_s=needs_s)).failure is None
    assert worker.callbacks == []


def test_a_pack_comes_back_as_far_as_the_job_lasts_for_it(worker, monkeypatch):
    worker.plugins = {"id": fake_plugin(noisy)}
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    monkeypatch.setenv("SEEDWISE_JOB_ENDS_AT", "1060")
    tasks = [task(needs_s=needs_s) for needs_s in (10.0, None, 100.0, 10.0)]
    assert len(evaluate_pack(tasks)) == 2
    assert len(worker.callbacks) == 1
    with pytest.raises(distributed.Reschedule):
        evaluate_pack(tasks)


@pytest.fixture
def seconds(monkeypatch):
    """A clock that an evaluation sets forward."""
    now = SimpleNamespace(s=0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now.s))
    return now


def taking(seconds, duration_s, failure=None):
    """A plugin whose evaluations take so long."""

    def evaluate_task(task, context):
        seconds.s += duration_s
        return SeedBlock(None if failure else np.zeros(2), failure)

    return plugin_that(evaluate_task)


def test_a_pack_that_takes_long_comes_back_with_what_it_has(worker, seconds):
    """It was made for cheap chunks; what is left may go to another worker."""
    worker.plugins = {"id": taking(seconds, 0.2)}
    assert len(evaluate_pack([task() for _ in range(9)])) == 3
    worker.plugins = {"id": taking(seconds, 100.0)}
    assert len(evaluate_pack([task() for _ in range(9)])) == 1


def test_a_worker_heeds_how_long_its_own_chunks_took(worker, seconds, monkeypatch):
    """Of those that were sent before the first result nobody has said what they need."""
    worker.plugins = {"id": taking(seconds, 100.0), "other": taking(seconds, 1.0)}
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    monkeypatch.setenv("SEEDWISE_JOB_ENDS_AT", "1100")
    assert evaluate_chunk(attrs.evolve(task(), loss_id="other")).failure is None
    assert evaluate_chunk(task()).duration_s == 100.0  # it has none of this loss yet
    assert evaluate_chunk(attrs.evolve(task(), loss_id="other")).failure is None
    for needs_s in (None, 1.0):
        with pytest.raises(distributed.Reschedule):
            evaluate_chunk(task(needs_s=needs_s))


def test_what_is_said_of_a_chunk_counts_where_it_is_more(worker, seconds, monkeypatch):
    worker.plugins = {"id": taking(seconds, 1.0)}
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    monkeypatch.setenv("SEEDWISE_JOB_ENDS_AT", "1100")
    evaluate_chunk(task())
    with pytest.raises(distributed.Reschedule):
        evaluate_chunk(task(needs_s=99.0))


def test_failures_and_chunks_in_processes_of_their_own_are_no_measure(
    worker, seconds, monkeypatch
):
    failure = SeedFailure(START, 7, "ValueError", "no", "no")
    worker.plugins = {"id": taking(seconds, 100.0), "bad": taking(seconds, 100.0, failure)}
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    monkeypatch.setenv("SEEDWISE_JOB_ENDS_AT", "1100")
    for _ in range(2):
        assert evaluate_chunk(attrs.evolve(task(), isolated=True)).failure is None
        assert evaluate_chunk(attrs.evolve(task(), loss_id="bad")).failure is failure
    assert worker.callbacks == []


def test_a_pack_ends_when_its_worker_is_to_leave(worker):
    def told_to_leave(params, seed):
        depart(worker, "fewer are wanted")
        return 0.0

    worker.plugins = {"id": fake_plugin(told_to_leave)}
    (result,) = evaluate_pack([task(), task()])
    assert result.losses.tolist() == [0.0, 0.0]


def uneven(params, seed):
    """A part for every seed, and others for some."""
    parts = {"all": seed, f"of {seed % 3}": seed / 2}
    return {"total_loss": seed, "components": parts} if seed != 9 else float(seed)


def test_components_come_back_by_seed():
    block = evaluate(uneven, (7, 8, 9, 10))
    assert block.losses.tolist() == [7.0, 8.0, 9.0, 10.0]
    assert list(block.components) == ["all", "of 1", "of 2"]
    np.testing.assert_array_equal(block.components["all"], [7, 8, np.nan, 10])
    np.testing.assert_array_equal(block.components["of 1"], [3.5, np.nan, np.nan, 5])
    np.testing.assert_array_equal(block.components["of 2"], [np.nan, 4, np.nan, np.nan])
    assert {column.dtype for column in block.components.values()} == {np.dtype(np.float64)}
    again = pickle.loads(pickle.dumps(block))
    assert list(again.components) == list(block.components)


def test_a_dict_of_numbers_is_its_own_components():
    block = evaluate(lambda params, seed: {"a": seed, 2: 0}, (7, 8))
    assert block.losses.tolist() == [3.5, 4.0]
    assert {name: column.tolist() for name, column in block.components.items()} == {
        "a": [7.0, 8.0],
        "2": [0.0, 0.0],
    }


@pytest.mark.parametrize("vectorized", [False, True])
def test_a_number_has_no_components(vectorized):
    block = evaluate(lambda params, seed: seed * 1.0, vectorized=vectorized)
    assert block.components == {}
    assert pickle.loads(pickle.dumps(block)).components == {}


def test_a_chunk_that_fails_has_no_components():
    block = evaluate(lambda params, seed: {"a": step(seed)})
    assert (block.failure.seed, block.components) == (8, {})


def test_components_of_a_vectorized_loss():
    def many(params, seeds):
        return {"total_loss": seeds, "components": {"half": seeds / 2}}

    block = evaluate(many, vectorized=True)
    assert block.losses.tolist() == [7.0, 8.0, 9.0]
    assert {name: column.tolist() for name, column in block.components.items()} == {
        "half": [3.5, 4.0, 4.5]
    }
    wrong = evaluate(lambda p, s: {"total_loss": s, "components": {"a": s[:2]}}, vectorized=True)
    assert (wrong.failure.position, wrong.failure.seed) == (START, None)
    assert "component 'a': shape (2,), but there are 3 seeds" in wrong.failure.message


def test_a_chunk_comes_back_with_its_components(worker):
    worker.plugins = {"id": fake_plugin(uneven)}
    assert evaluate_chunk(task()).components["all"].tolist() == [7.0, 8.0]


def test_the_context_of_a_task():
    context = task().fresh_context()
    assert context == {"entry_id": "p1", "trial_number": 4}
    assert "trial_dir" not in context


def test_a_worker_that_leaves_has_the_chunk_rescheduled(worker):
    def leave(task, context):
        raise distributed.Reschedule

    worker.plugins = {"id": plugin_that(leave)}
    with pytest.raises(distributed.Reschedule):
        evaluate_chunk(task())


def test_each_seed_is_noted_before_it_is_evaluated():
    seen = []

    def failing(params, seed):
        seen.append(seed)
        return step(seed)

    seeds = np.array([6, 7, 8, 9])
    evaluate_block(define(failing), PARAMS, Chunk(0, START, seeds), CONTEXT, seen.append)
    assert seen == [0, 6, 1, 7, 2, 8]


def test_an_exception_whose_text_fails_is_data_too():
    class BrokenError(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    def bad(params, seed):
        raise BrokenError

    block = evaluate(bad)
    assert block.failure.exception_type == "BrokenError"
    assert block.failure.message == "the exception has no text: its __str__ failed"


# The reference.


def test_the_chunk_of_a_reference_is_its_seed():
    chunk = Reference(9, {"x": 0.25}, 2**40, "p9", 5).chunk
    assert (chunk.start, chunk.seeds.tolist(), chunk.seeds.dtype) == (5, [2**40], np.int64)


def test_the_reference_comes_back_with_the_chunk_and_is_not_of_its_time(worker, seconds):
    plugin = taking(seconds, 10.0)

    def evaluate_reference(task):
        seconds.s += 5.0
        return 2.5

    plugin.evaluate_reference = evaluate_reference
    worker.plugins = {"id": plugin}
    result = evaluate_chunk(task())
    assert (result.reference, result.duration_s) == (2.5, 10.0)


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_reference_that_can_not_be_had_is_a_failure_of_the_chunk(error, worker):
    plugin = plugin_that(lambda *_: pytest.fail("begun"))

    def fail(task):
        raise error

    plugin.evaluate_reference = fail
    worker.plugins = {"id": plugin}
    result = evaluate_chunk(task())
    assert (result.reference, result.failure.exception_type) == (None, type(error).__name__)
    assert (result.failure.seed, result.failure.position) == (None, START)
