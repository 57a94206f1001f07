"""What a Slurm cluster allows, in lines."""

from __future__ import annotations

import attrs

from seedwise.slurm.limits.records import (
    AccountLimits,
    NodeKind,
    PartitionLimits,
    QosLimits,
    SlurmLimits,
)
from seedwise.view.slurm_limits import limits_lines

SMALL = NodeKind(
    n_nodes=3,
    n_usable=2,
    n_idle=1,
    cpus=8,
    memory_mb=16_000,
    idle_cpus=12,
    features=("avx2",),
)
LARGE = NodeKind(
    n_nodes=1, n_usable=1, n_idle=1, cpus=64, memory_mb=524_288, idle_cpus=64, gres=("gpu:4",)
)
LIMITS = SlurmLimits(
    cluster="deep-thought",
    version="23.11.4",
    user="anna",
    partitions=(
        PartitionLimits(
            name="cpu",
            is_default=True,
            max_time_s=14_400,
            default_time_s=1800,
            node_kinds=(SMALL, LARGE),
        ),
        PartitionLimits(
            name="debug",
            state="down",
            max_memory_per_cpu_mb=2000,
            max_cpus_per_node=4,
            qos="debug",
            allow_accounts=("art", "science"),
            deny_qos=("long",),
            node_kinds=(SMALL,),
        ),
        PartitionLimits(name="secret", is_hidden=True),
    ),
    qos=(
        QosLimits(name="normal"),
        QosLimits(name="long", priority=10, max_time_s=1_209_600, max_jobs=2, max_submit_jobs=4),
        QosLimits(name="locked"),
    ),
    accounts=(
        AccountLimits(
            account="art", is_default=True, default_qos="normal", qos=("normal", "long")
        ),
    ),
    enforce=("associations", "limits", "qos"),
    max_array_size=1001,
    submit_plugins=("lua",),
)
TABLE = """\
partition  state  max walltime  default   usable nodes  free CPUs  CPUs/node  memory/node        max memory
cpu *      up     4 h           30 min    3 of 4        76 of 88   8 to 64    15.6 GB to 512 GB  no limit
debug      down   no limit      no limit  2 of 3        12 of 24   8          15.6 GB            1.9 GB a CPU
""".splitlines()  # noqa: E501
HOW_TO_ASK = [
    "",
    "* marks what a job gets if it names none. Ask for another with",
    "  SlurmOptions(partition=..., account=...), slurm_qos=..., worker_time_limit=...,",
    "  cpus_per_task=..., mem_per_cpu=...",
]


def test_all_of_it():
    assert limits_lines(LIMITS) == [
        "cluster deep-thought, Slurm 23.11.4",
        "job arrays: indices below 1001",
        "jobs at once: no limit",
        "site's own rules for jobs: lua",
        "",
        *TABLE,
        "cpu: features avx2",
        "cpu: gres gpu:4",
        "debug: for the accounts art, science",
        "debug: not for the QoS long",
        "debug: has the limits of QoS debug",
        "debug: features avx2",
        "debug: CPUs of a node that its jobs may have: 4",
        "hidden: secret",
        "",
        "account  QoS           default QoS",
        "art *    normal, long  normal",
        "",
        "QoS       priority  max walltime  max running  max submitted",
        "normal *  0         no limit      no limit     no limit",
        "long      10        14 d          2            4",
        "not for user anna: locked",
        *HOW_TO_ASK,
    ]


def test_nothing_is_known():
    unknown = tuple(field.name for field in attrs.fields(SlurmLimits) if field.name != "unknown")
    limits = SlurmLimits(unknown=unknown, unanswered={"scontrol show node": "it was silent"})
    assert limits_lines(limits) == [
        "cluster unknown, Slurm of an unknown version",
        "job arrays: unknown",
        "jobs at once: unknown",
        "site's own rules for jobs: unknown",
        "",
        "partitions  unknown",
        "",
        "accounts  unknown",
        "",
        "QoS  unknown",
        "",
        "No answer from",
        "  scontrol show node: it was silent",
        *HOW_TO_ASK,
    ]


def test_unknown_parts():
    names = ("state", "max_time_s", "default_time_s", "node_kinds", "max_memory_per_node_mb")
    limits = attrs.evolve(
        LIMITS,
        partitions=(PartitionLimits(name="cpu", unknown=names),),
        qos=(QosLimits(name="normal", unknown=("priority", "max_jobs")),),
        accounts=(AccountLimits(account="art", unknown=("qos", "max_jobs")),),
    )
    lines = limits_lines(limits)
    assert lines[6].split() == ["cpu", *["unknown"] * 8]
    assert lines[8:10] == [
        "account  QoS      default QoS  max running",
        "art      unknown  unknown      unknown",
    ]
    assert lines[12].split() == ["normal", "unknown", "no", "limit", "unknown", "no", "limit"]


def test_all_qos_are_shown_where_all_may_be_asked_for():
    lines = limits_lines(attrs.evolve(LIMITS, enforce=("associations",)))
    assert any(line.startswith("locked ") for line in lines)
    assert "The limits of QoS and accounts are not enforced here." in lines


def test_a_user_without_accounts():
    assert "accounts  none of user anna" in limits_lines(attrs.evolve(LIMITS, accounts=()))


def test_no_line_ends_in_blanks():
    assert all(line == line.rstrip() for line in limits_lines(LIMITS))
