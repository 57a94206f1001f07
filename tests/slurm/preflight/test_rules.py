"""A request against what Slurm allows."""

from __future__ import annotations

import attrs
import pytest

from seedwise.slurm.limits.records import (
    AccountLimits,
    NodeKind,
    PartitionLimits,
    QosLimits,
    SlurmLimits,
)
from seedwise.slurm.preflight.rules import Problem, Request, given_cpus, problems

SMALL = NodeKind(n_nodes=3, n_usable=3, n_idle=3, cpus=8, memory_mb=16_000, features=("old",))
LARGE = NodeKind(n_nodes=1, n_usable=1, n_idle=1, cpus=4, memory_mb=64_000, features=("new",))
MAIN = PartitionLimits(name="main", is_default=True, max_time_s=14_400, node_kinds=(SMALL, LARGE))
TINY = PartitionLimits(
    name="tiny", max_time_s=600, max_memory_per_node_mb=1000, node_kinds=(SMALL,)
)
SHORT = QosLimits(name="short")
TIGHT = QosLimits(name="tight", max_time_s=300, max_jobs=2, max_submit_jobs=4)
SCIENCE = AccountLimits(
    account="science", is_default=True, default_qos="short", qos=("short", "tight")
)
LIMITS = SlurmLimits(
    version="22.05.8",
    user="anna",
    partitions=(MAIN, TINY),
    qos=(SHORT, TIGHT, QosLimits(name="locked")),
    accounts=(SCIENCE,),
    enforce=("associations", "limits", "qos"),
    enforce_partition_limits="ALL",
)
FINE = Request(time_s=300, memory_mb=1000, cpus=1)


def asked(limits=LIMITS, **what):
    return problems(attrs.evolve(FINE, **what), limits)


def one(limits=LIMITS, **what) -> Problem:
    (problem,) = asked(limits, **what)
    return problem


def with_main(**what):
    return attrs.evolve(LIMITS, partitions=(attrs.evolve(MAIN, **what), TINY))


def with_short(**what):
    return attrs.evolve(LIMITS, qos=(attrs.evolve(SHORT, **what), TIGHT))


def test_a_request_that_is_fine():
    assert asked() == ()
    assert asked(partition="tiny", account="Science", qos="TIGHT", constraint="old") == ()


def test_the_sentence():
    problem = one(partition="tiny", time_s=3600)
    assert problem == Problem("worker_time_limit", "1 h", "partition tiny allows at most 10 min")
    assert str(problem) == (
        "worker_time_limit: 1 h asked for, but partition tiny allows at most 10 min"
    )


@pytest.mark.parametrize(
    ("what", "option", "allowed"),
    [
        (
            {"partition": "big"},
            "SlurmOptions(partition=...)",
            "the cluster's partitions are main, tiny",
        ),
        (
            {"partition": "main,big"},
            "SlurmOptions(partition=...)",
            "the cluster's partitions are main, tiny",
        ),
        (
            {"account": "art"},
            "SlurmOptions(account=...)",
            "the accounts of user anna are science",
        ),
        ({"qos": "locked"}, "slurm_qos", "account science may use the QoS short, tight"),
        ({"time_s": 14_401}, "worker_time_limit", "partition main allows at most 4 h"),
        ({"cpus": 9}, "cpus_per_task", "the largest node of partition main has 8"),
        ({"memory_mb": 64_001}, "mem_per_cpu", "the largest node of partition main has 64000 MB"),
        (
            {"partition": "tiny", "memory_mb": 1001},
            "mem_per_cpu",
            "partition tiny allows a job at most 1000 MB on a node",
        ),
        (
            {"constraint": "gpu"},
            "SlurmOptions(extra_directives=...)",
            "the nodes of partition main have the features new, old",
        ),
        (
            {"cpus": 8, "memory_mb": 64_000},
            "cpus_per_task and mem_per_cpu",
            "no node of partition main has all of that",
        ),
        ({"qos": "tight", "time_s": 301}, "worker_time_limit", "QoS tight allows at most 5 min"),
    ],
)
def test_what_can_never_start(what, option, allowed):
    problem = one(**what)
    assert (problem.option, problem.allowed, problem.fatal) == (option, allowed, True)


@pytest.mark.parametrize(
    ("what", "option", "allowed"),
    [
        (
            {"memory_mb": 16_001},
            "cpus_per_task and mem_per_cpu",
            "only 1 of the 4 nodes of partition main have all of that",
        ),
        (
            {"qos": "tight", "n_jobs": 3},
            "workers",
            "QoS tight lets at most 2 of a user's jobs run at once",
        ),
    ],
)
def test_what_only_takes_longer(what, option, allowed):
    problem = one(**what)
    assert (problem.option, problem.allowed, problem.fatal) == (option, allowed, False)


def test_fatal_problems_come_first():
    found = asked(qos="tight", n_jobs=5, cpus=9)
    assert [problem.option for problem in found] == ["cpus_per_task", "workers", "workers"]
    assert found[1].allowed == "QoS tight lets at most 4 of a user's jobs wait or run at once"


@pytest.mark.parametrize("constraint", ["old&new", "old|gpu", "[a|b]", "gpu*2", "(a&b)"])
def test_expressions_of_features_are_unknown(constraint):
    assert asked(constraint=constraint) == ()


@pytest.mark.parametrize(
    ("state", "fatal"), [("down", False), ("drain", True), ("inactive", True)]
)
def test_a_partition_that_is_not_up(state, fatal):
    problem = one(with_main(state=state))
    assert (problem.value, problem.fatal) == ("main (the default)", fatal)
    assert one(with_main(state=state), partition="main").value == "main"


@pytest.mark.parametrize(
    ("door", "option", "fatal"),
    [
        ({"allow_accounts": ("art",)}, "SlurmOptions(account=...)", True),
        ({"deny_accounts": ("science",)}, "SlurmOptions(account=...)", True),
        ({"allow_qos": ("tight",)}, "slurm_qos", True),
        ({"deny_qos": ("short",)}, "slurm_qos", True),
    ],
)
def test_a_partition_for_others(door, option, fatal):
    problem = one(with_main(**door))
    assert (problem.option, problem.fatal) == (option, fatal)


def test_a_later_slurm_lets_in_the_accounts_below_one():
    limits = attrs.evolve(with_main(allow_accounts=("art",)), version="23.11.4")
    assert not one(limits).fatal


def test_memory_above_the_limit_of_a_cpu_takes_more_cpus():
    problem = one(with_main(max_memory_per_cpu_mb=500), memory_mb=2048)
    assert problem.allowed == "partition main allows 500 MB a CPU, so each job gets 5 CPUs"
    assert not problem.fatal
    assert asked(with_main(max_memory_per_cpu_mb=500), memory_mb=1000, cpus=2) == ()


def test_cpus_of_a_node_that_a_partition_may_use():
    assert one(with_main(max_cpus_per_node=2), cpus=3).allowed == (
        "partition main allows at most 2 on a node"
    )


def test_a_partition_without_nodes_may_get_some():
    assert not one(with_main(node_kinds=()), cpus=99).fatal


def test_nodes_that_are_down():
    kinds = (SMALL, attrs.evolve(LARGE, n_usable=0))
    problem = one(with_main(node_kinds=kinds), memory_mb=20_000)
    words = "the nodes of partition main that have it (1 of 4) are all down or drained now"
    assert problem.allowed == words
    assert not problem.fatal


def test_a_user_without_an_account():
    problem = one(attrs.evolve(LIMITS, accounts=()))
    assert problem.value == "no account"
    assert "Slurm has no account for user anna" in problem.allowed


def test_what_is_said_of_an_account_in_a_partition_goes_first():
    special = attrs.evolve(SCIENCE, partition="tiny", max_time_s=60)
    limits = attrs.evolve(LIMITS, accounts=(SCIENCE, special))
    assert asked(limits) == ()
    assert one(limits, partition="tiny").allowed == "account science allows at most 1 min"


# The first limit of partition's QoS, job's QoS and account holds.


def test_the_qos_of_the_partition_goes_before_that_of_the_job():
    limits = with_main(qos="locked")
    generous = attrs.evolve(
        limits,
        qos=(SHORT, TIGHT, QosLimits(name="locked", max_time_s=3600)),
    )
    assert asked(generous, qos="tight", time_s=3600) == ()
    assert one(generous, qos="tight", time_s=3601).allowed == (
        "QoS locked of partition main allows at most 1 h"
    )
    over = attrs.evolve(
        generous,
        qos=(*generous.qos[::2], attrs.evolve(TIGHT, flags=("DenyOnLimit", "OverPartQOS"))),
    )
    assert one(over, qos="tight", time_s=3600).allowed == "QoS tight allows at most 5 min"


def test_the_qos_goes_before_the_account():
    strict = attrs.evolve(SCIENCE, max_time_s=60, max_jobs=1)
    limits = attrs.evolve(LIMITS, accounts=(strict,))
    assert asked(limits, qos="tight", n_jobs=2) == ()
    assert [problem.option for problem in asked(limits, n_jobs=2)] == [
        *("worker_time_limit", "workers")
    ]


def test_a_qos_can_go_beyond_the_time_of_a_partition():
    assert asked(with_short(flags=("PartitionTimeLimit",)), time_s=99_999) == ()


@pytest.mark.parametrize(
    ("limit", "what", "option", "fatal"),
    [
        ({"max_cpus_per_job": 2}, {"cpus": 3}, "cpus_per_task", True),
        ({"max_cpus_per_user": 2}, {"cpus": 3}, "cpus_per_task", True),
        ({"max_cpus_per_user": 8}, {"cpus": 3, "n_jobs": 3}, "workers", False),
        ({"max_memory_per_job_mb": 900.0}, {}, "mem_per_cpu", True),
        ({"max_memory_per_user_mb": 1900.0}, {"n_jobs": 2}, "workers", False),
        ({"max_submit_jobs": 0}, {}, "workers", True),
    ],
)
def test_sizes_that_a_qos_limits(limit, what, option, fatal):
    problem = one(with_short(**limit), **what)
    assert (problem.option, problem.fatal) == (option, fatal)


def test_how_many_fit_into_the_limit_of_a_user_is_said():
    problem = one(with_short(max_cpus_per_user=8), cpus=3, n_jobs=5)
    assert problem.allowed == (
        "QoS short allows a user at most 8 CPUs at once: 2 such jobs run at once"
    )


# Several partitions.


def test_slurm_can_want_all_partitions_to_fit():
    assert one(partition="main,tiny", time_s=3600).fatal


@pytest.mark.parametrize("rule", ["ANY", "NO"])
def test_or_one_of_them(rule):
    limits = attrs.evolve(LIMITS, enforce_partition_limits=rule)
    assert not one(limits, partition="main,tiny", time_s=3600).fatal
    assert [p.fatal for p in asked(limits, partition="main,tiny", time_s=99_999)] == [True, True]


# What is unknown is no problem.

ALL_WRONG = attrs.evolve(
    FINE,
    account="art",
    qos="locked",
    time_s=99_999,
    memory_mb=99_999,
    cpus=99,
    constraint="gpu",
    n_jobs=9999,
)


def test_there_is_much_to_find():
    assert len(problems(ALL_WRONG, LIMITS)) == 5


def test_of_an_unknown_cluster_there_are_no_problems():
    unknown = tuple(field.name for field in attrs.fields(SlurmLimits) if field.name != "unknown")
    limits = SlurmLimits(unknown=unknown)
    for partition in (None, "main", "main,big"):
        assert problems(attrs.evolve(ALL_WRONG, partition=partition), limits) == ()


def test_of_an_unknown_partition_there_are_no_problems():
    fields = [field.name for field in attrs.fields(PartitionLimits)]
    unknown = tuple(name for name in fields if name not in ("unknown", "name", "is_default"))
    limits = with_main(unknown=unknown, state="drain", max_cpus_per_node=1, node_kinds=())
    request = attrs.evolve(ALL_WRONG, account=None, qos=None)
    assert problems(request, limits) == ()


@pytest.mark.parametrize("record", ["accounts", "qos"])
def test_unknown_limits_of_qos_and_accounts(record):
    kind = {"accounts": AccountLimits, "qos": QosLimits}[record]
    names = tuple(f.name for f in attrs.fields(kind) if f.name.startswith(("max_", "qos")))
    own = tuple(
        attrs.evolve(one, max_time_s=1, max_jobs=1, unknown=names)
        for one in getattr(LIMITS, record)
    )
    assert asked(attrs.evolve(LIMITS, **{record: own}), qos="short", n_jobs=9) == ()


def test_what_is_not_enforced_is_no_problem():
    limits = attrs.evolve(LIMITS, enforce=())
    assert asked(limits, account="art", qos="tight", n_jobs=99, time_s=3600) == ()


@pytest.mark.parametrize(
    "rules",
    [
        {"submit_plugins": ("lua",)},
        {"filter_plugins": ("lua",)},
        {"unknown": ("submit_plugins",)},
        {"unknown": ("filter_plugins",)},
    ],
)
@pytest.mark.parametrize("partition", [None, "main"])
def test_a_site_can_make_another_job_of_what_is_asked_for(rules, partition):
    request, limits = (
        attrs.evolve(FINE, partition=partition, cpus=9),
        attrs.evolve(LIMITS, **rules),
    )
    (accepted,) = problems(request, limits, accepted=True)
    (refused,) = problems(request, limits)
    assert (accepted.fatal, refused.fatal) == (False, True)
    (without_rules,) = problems(request, LIMITS, accepted=True)
    assert without_rules.fatal


@pytest.mark.parametrize("what", [{"partition": "big"}, {"account": "art"}, {"qos": "locked"}])
def test_names_that_slurm_has_accepted_are_its_own(what):
    request = attrs.evolve(FINE, **what)
    assert problems(request, LIMITS)
    assert problems(request, LIMITS, accepted=True) == ()


def test_without_a_time_nothing_is_said_of_it():
    limits = attrs.evolve(LIMITS, accounts=(attrs.evolve(SCIENCE, max_time_s=60),))
    assert asked(limits, time_s=None) == ()
    assert asked(limits, time_s=99_999)


def test_a_job_that_has_its_node_to_itself():
    limits = with_main(is_exclusive=True)
    problem = one(limits, cpus=2)
    assert problem.allowed == (
        "in partition main each job has a node to itself: it gets, and is charged for, 4"
    )
    assert not problem.fatal
    assert [found.option for found in asked(limits, cpus=8)] == ["cpus_per_task and mem_per_cpu"]


@pytest.mark.parametrize(
    ("rules", "what", "cpus"),
    [
        ({}, {}, 1),
        ({"is_exclusive": True}, {}, 4),
        ({"is_exclusive": True}, {"cpus": 5}, 8),
        ({"is_exclusive": True, "unknown": ("node_kinds",)}, {}, 1),
        ({"max_memory_per_cpu_mb": 300}, {}, 4),
        ({"max_memory_per_cpu_mb": 300}, {"cpus": 6}, 6),
    ],
)
def test_the_cpus_that_a_job_is_given(rules, what, cpus):
    assert given_cpus(attrs.evolve(FINE, **what), with_main(**rules)) == cpus


def test_of_an_unknown_partition_a_job_is_given_what_it_asks_for():
    assert given_cpus(attrs.evolve(FINE, cpus=3), SlurmLimits(unknown=("partitions",))) == 3


def test_an_unknown_qos_may_go_beyond_the_time_of_a_partition():
    limits = attrs.evolve(LIMITS, qos=(), accounts=(), unknown=("qos", "accounts"))
    assert not one(limits, time_s=99_999).fatal
    assert not one(limits, time_s=99_999, qos="long").fatal
    assert one(attrs.evolve(limits, enforce=()), time_s=99_999).fatal
    assert all(problem.fatal for problem in asked(time_s=99_999, qos="long"))
    longer = (*LIMITS.qos, QosLimits(name="longer", flags=("PartitionTimeLimit",)))
    limits = attrs.evolve(LIMITS, qos=longer, accounts=(), unknown=("accounts",))
    assert not one(limits, time_s=99_999).fatal


def test_without_a_default_partition_nothing_is_said_of_nodes():
    assert asked(with_main(is_default=False), cpus=99) == ()
