"""The sizes of chunks, by what seeds have cost lately and by the slots at work."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.dispatch.sizes import ChunkSizes, PackSize


def cut(sizes: ChunkSizes, n_seeds: int, n_trials: int = 1) -> list[int]:
    """Return the sizes of the chunks of a trial, the last one as long as what is left."""
    found, n_left = [], n_seeds
    for size in sizes.cut(n_seeds, n_trials):
        found.append(min(size, n_left))
        n_left -= size
        if n_left <= 0:
            return found
    raise AssertionError("the sizes end before the seeds")


def measured(cost_s: float, slots: int = 2, **limit: float) -> ChunkSizes:
    """Return sizes that know what a seed costs."""
    sizes = ChunkSizes(lambda: slots, **limit)
    for _ in range(2):
        sizes.note("worker", 10, 10 * cost_s)
    return sizes


COUNTS = st.integers(1, 50_000)
COSTS_S = st.floats(1e-8, 1e4)


@given(COUNTS, COSTS_S, st.integers(1, 1000), st.integers(1, 50))
def test_all_seeds_are_covered_by_no_more_tasks_than_they_are_worth(n_seeds, cost_s, slots, lag):
    found = cut(measured(cost_s, slots), n_seeds, n_trials=lag)
    assert sum(found) == n_seeds
    assert min(found) >= 1
    share, work_s = max(1, slots // lag), n_seeds * cost_s
    # Ten seconds are the longest, a tenth the shortest, unless no slot would have a chunk then.
    assert len(found) <= share + work_s / 0.1 + 1
    assert max(found) * cost_s <= max(10.0, cost_s) * (1 + 1e-9)


@given(COUNTS, COSTS_S, st.booleans(), st.integers(1, 300))
def test_chunks_have_whole_batches(n_seeds, cost_s, known, batch):
    sizes = measured(cost_s) if known else ChunkSizes(lambda: 2)
    found = list(itertools.islice(sizes.cut(n_seeds, 1, batch), 200))
    assert {size % batch for size in found} == {0}


@given(st.integers(1, 1_000_000), st.integers(1, 200))
def test_before_anything_is_known_chunks_double_and_halve_towards_the_end(n_seeds, slots):
    found = cut(ChunkSizes(lambda: slots), n_seeds)
    assert sum(found) == n_seeds
    assert found[: min(slots, n_seeds)] == [1] * min(slots, n_seeds)
    largest = found.index(max(found))
    assert found[:largest] == sorted(found[:largest])
    assert found[largest:] == sorted(found[largest:], reverse=True)
    assert all(b <= 2 * a for a, b in itertools.pairwise(found))
    assert max(found) <= max(1, n_seeds / (2 * slots))
    assert len(found) <= slots * (2 * math.log2(n_seeds / slots + 1) + 4)


@pytest.mark.parametrize(
    ("cost_s", "n_seeds", "slots", "n_trials", "expected"),
    [
        (1e-7, 1000, 2, 1, [1000]),  # a task costs more
        (1e-4, 1000, 2, 1, [500, 500]),
        (1e-4, 10_000, 2, 1, [2500, 2500, 1250, 1250, 1250, 1250]),
        (1e-2, 125, 2, 4, [63, 31, 31]),  # the other trials keep the other worker busy
        (1e-3, 125, 2, 4, [125]),
        (100.0, 5, 2, 1, [1, 1, 1, 1, 1]),
        (10.0, 125, 400, 4, [1] * 125),
    ],
)
def test_sizes_by_example(cost_s, n_seeds, slots, n_trials, expected):
    assert cut(measured(cost_s, slots), n_seeds, n_trials=n_trials) == expected


@pytest.mark.parametrize("slots", [1, 2, 16, 100])
def test_the_last_chunks_are_a_small_part_of_a_long_trial(slots):
    cost_s = 1e-3
    n_seeds = int(slots * 20 / cost_s)  # 20 s
    found = cut(measured(cost_s, slots), n_seeds)
    assert found == sorted(found, reverse=True)
    assert max(found[-slots:]) * cost_s <= 0.05 * 20


def test_many_short_chunks_do_not_keep_the_driver_busy():
    found = cut(measured(1e-4, slots=400), 1_000_000)  # 0.25 s for 400 workers
    assert 100 < len(found) <= 400


def test_a_chunk_is_far_from_what_it_may_take():
    sizes = measured(1.0, limit_s=40.0)
    assert max(cut(sizes, 1000)) == 4
    assert max(cut(measured(1.0, limit_s=1.0), 1000)) == 1


def test_the_first_chunk_of_a_worker_says_nothing():
    sizes = ChunkSizes(lambda: 2)
    sizes.note("a", 1, 5.0)
    sizes.note("b", 1, 5.0)
    assert cut(sizes, 100)[:2] == [1, 1]  # as if nothing was known
    sizes.note("a", 1000, 0.1)
    assert cut(sizes, 10_000) == [2500, 2500, 1250, 1250, 1250, 1250]


def test_a_worker_has_as_many_seeds_as_it_evaluates_at_once():
    sizes = ChunkSizes(lambda: 4)
    for _ in range(5):
        for size in itertools.islice(sizes.cut(125, 1, 8), 16):
            assert size % 8 == 0
            sizes.note("worker", size, -(-size // 8) * 20.0)
    assert next(iter(sizes.cut(125, 1, 8))) == 8  # 20 s a seed


def test_the_first_chunks_are_short_where_time_is_limited():
    assert max(cut(ChunkSizes(lambda: 2), 50_000)) == 8192
    assert max(cut(ChunkSizes(lambda: 2, 3600.0), 50_000)) == 100
    assert max(itertools.islice(ChunkSizes(lambda: 2, 9.0).cut(9000, 1, 300), 30)) == 300


def test_costly_params_count_for_more():
    sizes = measured(1e-3)
    for _ in range(30):
        sizes.note("worker", 1000, 1e-3)  # of params at which the loss ends at once
    assert len(cut(sizes, 1000)) < 6
    for _ in range(30):
        sizes.note("worker", 1000, 10.0)
    assert len(cut(sizes, 1000)) >= 6


def test_what_was_long_ago_is_forgotten():
    sizes = measured(10.0)
    for _ in range(64):
        sizes.note("worker", 1000, 0.1)
    assert cut(sizes, 1000) == cut(measured(1e-4), 1000)


# How many chunks share a Dask task: so many that it takes a quarter of a second.


def settled(slots: int, duration_s: float) -> PackSize:
    pack = PackSize(lambda: slots)
    for _ in range(20):
        pack.note([duration_s])
    return pack


def test_the_first_chunks_go_alone():
    assert PackSize(lambda: 4).size == 1
    assert PackSize(lambda: 4).chunks_wanted == 12


@pytest.mark.parametrize(
    ("duration_s", "size"), [(10.0, 1), (0.1, 2), (0.0025, 100), (1e-4, 500), (0.0, 500)]
)
def test_a_pack_takes_a_quarter_of_a_second(duration_s, size):
    pack = settled(4, duration_s)
    assert (pack.size, pack.chunks_wanted) == (size, 12 * size)


def test_it_grows_step_by_step_and_falls_at_once():
    pack = PackSize(lambda: 1)
    sizes = []
    for duration_s in (0.001, 0.001, 0.001, 0.2):
        pack.note([duration_s, duration_s])
        sizes.append(pack.size)
    assert sizes == [2, 4, 8, 1]


def test_so_many_slots_that_a_chunk_each_is_much_have_small_packs():
    pack = settled(1000, 0.0)
    assert pack.size == 6
    assert pack.chunks_wanted <= 20_000


def test_with_more_workers_more_is_to_be_out():
    slots = 2
    pack = PackSize(lambda: slots)
    assert pack.chunks_wanted == 6
    slots = 20
    assert pack.chunks_wanted == 60
    slots = 1
    assert pack.chunks_wanted == 3


def test_with_many_more_workers_packs_are_smaller_at_once():
    slots = 4
    pack = PackSize(lambda: slots)
    for _ in range(20):
        pack.note([0.0])
    assert pack.chunks_wanted == 6000
    slots = 1000
    assert pack.chunks_wanted == 18_000
    slots = 100_000
    assert pack.chunks_wanted == 300_000  # one for each
