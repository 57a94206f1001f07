"""The records of what Slurm allows."""

from __future__ import annotations

import pytest

from seedwise.slurm.limits.records import NodeKind, PartitionLimits, QosLimits, SlurmLimits

SMALL = NodeKind(n_nodes=3, n_usable=2, n_idle=1, cpus=8, memory_mb=16_000, features=("old",))
LARGE = NodeKind(
    n_nodes=1, n_usable=1, n_idle=0, cpus=64, memory_mb=512_000, features=("new",), gres=("gpu:4",)
)
MAIN = PartitionLimits(name="main", is_default=True, node_kinds=(SMALL, LARGE))
TINY = PartitionLimits(name="tiny", unknown=("max_time_s",))


def test_no_limit_and_unknown_are_two_things():
    assert MAIN.max_time_s is TINY.max_time_s is None
    assert MAIN.knows("max_time_s")
    assert not TINY.knows("max_time_s")
    assert not TINY.knows("name", "max_time_s")


def test_a_misspelt_name_is_not_known():
    with pytest.raises(AttributeError):
        MAIN.knows("max_times")


def test_a_partition_adds_up_its_nodes():
    assert (MAIN.n_nodes, MAIN.n_usable) == (4, 3)
    assert (MAIN.cpus, MAIN.memory_mb) == ((8, 64), (16_000, 512_000))
    assert (MAIN.features, MAIN.gres) == (("new", "old"), ("gpu:4",))


def test_a_partition_without_nodes():
    assert (TINY.n_nodes, TINY.cpus, TINY.memory_mb, TINY.features) == (0, (0, 0), (0, 0), ())


def test_what_is_looked_up():
    limits = SlurmLimits(partitions=(TINY, MAIN), qos=(QosLimits(name="short"),))
    assert limits.partition("tiny") is TINY
    assert limits.partition(None) is MAIN
    assert limits.partition("Main") is None
    assert limits.qos_named("SHORT") is limits.qos[0]
    assert limits.qos_named("long") is limits.qos_named(None) is None
    assert SlurmLimits().partition(None) is None
