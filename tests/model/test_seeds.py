from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.errors import OptionError
from seedwise.model import seeds as seeds_module
from seedwise.model.seeds import seed_plan

int64 = st.integers(-(2**63), 2**63 - 1)
sizes = st.none() | st.integers(1, 40)


@given(st.lists(int64, min_size=1, max_size=60, unique=True), sizes, sizes)
def test_chunks_partition_the_plan(seeds, chunk_size, num_chunks):
    plan = seed_plan(seeds=seeds, chunk_size=chunk_size, num_chunks=num_chunks)
    chunks = list(plan.chunks())
    assert np.concatenate([chunk.seeds for chunk in chunks]).tolist() == seeds
    assert [chunk.index for chunk in chunks] == list(range(plan.n_chunks))
    assert [chunk.start for chunk in chunks] == [i * plan.chunk_size for i in range(len(chunks))]
    assert {len(chunk.seeds) for chunk in chunks[:-1]} <= {plan.chunk_size}
    assert 1 <= len(chunks[-1].seeds) <= plan.chunk_size
    assert all(chunk.seeds.dtype == np.int64 for chunk in chunks)


@given(st.integers(1, 200), st.integers(1, 200))
def test_num_chunks_is_met_or_undercut(n_seeds, num_chunks):
    plan = seed_plan(n_seeds=n_seeds, num_chunks=num_chunks)
    assert plan.n_chunks <= num_chunks
    # One seed less to a chunk would need more chunks than were asked for.
    assert plan.chunk_size == 1 or -(-n_seeds // (plan.chunk_size - 1)) > num_chunks


@pytest.mark.parametrize(
    ("keywords", "n_seeds", "chunk_size", "n_chunks"),
    [
        ({}, 1000, 100, 10),
        ({"chunk_size": 7}, 70, 7, 10),
        ({"num_chunks": 3}, 300, 100, 3),
        ({"chunk_size": 7, "num_chunks": 3}, 21, 7, 3),
        ({"n_seeds": 250}, 250, 100, 3),
        ({"n_seeds": 250, "chunk_size": 50}, 250, 50, 5),
        ({"n_seeds": 250, "num_chunks": 2}, 250, 125, 2),
        ({"seeds": range(5), "n_seeds": 250}, 5, 100, 1),
        ({"seeds": range(5), "num_chunks": 2}, 5, 3, 2),
        ({"n_seeds": 1, "num_chunks": 9}, 1, 1, 1),
    ],
)
def test_layout_of_what_is_given(keywords, n_seeds, chunk_size, n_chunks):
    plan = seed_plan(**keywords)
    # With num_chunks alone the chunk size follows from the number of seeds.
    assert (len(plan.seeds), plan.chunk_size, plan.n_chunks) == (n_seeds, chunk_size, n_chunks)


def test_seeds_count_from_seed_start():
    assert seed_plan(n_seeds=3, seed_start=-1).seeds.tolist() == [-1, 0, 1]


def test_explicit_seeds_go_before_seed_start():
    assert seed_plan(seeds=[4], seed_start=9).seeds.tolist() == [4]


@pytest.mark.parametrize(
    "seeds",
    [
        (3, 1, 2),
        iter([3, 1, 2]),
        np.array([3, 1, 2], dtype=np.uint8),
        [np.int32(3), np.int64(1), 2],
        {3: "a", 1: "b", 2: "c"},
    ],
)
def test_any_iterable_of_whole_numbers_is_taken_in_its_order(seeds):
    assert seed_plan(seeds=seeds).seeds.tolist() == [3, 1, 2]


@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [
        ([], r"seeds=\[\]: must be at least one seed"),
        ([1, 2, 1], r"seeds=\[1, 2, 1\]: must be without duplicates\. .* than once: \[1\]\."),
        ([1.0], r"seeds=1\.0: must be a whole number of 64 bits"),
        ([True], r"seeds=True: must be a whole number of 64 bits"),
        ("12", r"seeds='1': must be a whole number of 64 bits"),
        (7, r"seeds=7: must be an iterable of whole numbers\. n_seeds=7 is their number"),
        (None.__class__, r"seeds=.*: must be an iterable of whole numbers"),
        ([2**63], "a whole number of 64 bits"),
        ([-(2**63) - 1], "a whole number of 64 bits"),
    ],
)
def test_what_is_no_seed_plan_is_refused(seeds, sentence):
    with pytest.raises(OptionError, match=sentence) as caught:
        seed_plan(seeds=seeds)
    assert caught.value.name == "seeds"


def test_a_long_list_with_duplicates_is_shown_in_part():
    with pytest.raises(OptionError, match="duplicates") as caught:
        seed_plan(seeds=[*range(5000), 17])
    assert len(str(caught.value)) < 300
    assert "[17]" in str(caught.value)


@pytest.mark.parametrize(
    ("keywords", "name"),
    [
        ({"n_seeds": 10**12}, "n_seeds"),
        ({"n_seeds": 10**30}, "n_seeds"),
        ({"chunk_size": 10**12}, "chunk_size * num_chunks"),
        ({"num_chunks": 10**12}, "chunk_size * num_chunks"),
        ({"seeds": range(10**12)}, "len(seeds)"),
        ({"seeds": range(10**30, 0, -1)}, "len(seeds)"),
    ],
)
def test_more_seeds_than_memory_holds_are_refused(keywords, name):
    with pytest.raises(OptionError, match="must be at most 100000000") as caught:
        seed_plan(**keywords)
    assert caught.value.name == name


def test_more_chunks_than_a_driver_can_send_are_refused():
    with pytest.raises(OptionError, match="1000001 seeds make 1000001") as caught:
        seed_plan(n_seeds=10**6 + 1, chunk_size=1)
    assert caught.value.name == "chunk_size"
    assert seed_plan(n_seeds=10**6, chunk_size=1).n_chunks == 10**6
    assert seed_plan(n_seeds=3, chunk_size=10**12).n_chunks == 1


def test_an_iterator_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(seeds_module, "_MOST_SEEDS", 1000)
    with pytest.raises(OptionError, match=r"len\(seeds\)=1001: must be at most 1000"):
        seed_plan(seeds=itertools.count())


def test_seeds_beyond_64_bits_are_refused():
    with pytest.raises(OptionError, match=r"seed_start \+ n_seeds - 1=9223372036854775812"):
        seed_plan(n_seeds=10, seed_start=2**63 - 5)
    assert seed_plan(n_seeds=5, seed_start=2**63 - 5).seeds[-1] == 2**63 - 1
