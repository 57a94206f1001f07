"""How many chunks share a Dask task: so many that it takes a quarter of a second."""

from __future__ import annotations

import pytest

from seedwise.dispatch.packs import PackSize


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
