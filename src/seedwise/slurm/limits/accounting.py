"""The QoS and the accounts that ``sacctmgr`` lists."""

from __future__ import annotations

from seedwise.model.slurm_time import time_s
from seedwise.slurm.limits import words
from seedwise.slurm.limits.records import AccountLimits, QosLimits
from seedwise.slurm.units import memory_mb

_QOS = ("Name", "Priority", "MaxWall", "MaxJobsPU", "MaxSubmitPU", "MaxTRESPU", "MaxTRES", "Flags")
_ACCOUNT = (
    *("Cluster", "DefaultAccount", "Account", "Partition", "DefaultQOS", "QOS"),
    *("MaxWall", "MaxJobs", "MaxSubmit"),
)
#: The format in which ``sacctmgr show qos`` must print.
QOS_FORMAT = ",".join(_QOS)
#: The format in which ``sacctmgr show user withassoc`` must print.
ACCOUNT_FORMAT = ",".join(_ACCOUNT)


def qos_in(text: str) -> tuple[QosLimits, ...]:
    """Return what ``sacctmgr -nP show qos`` prints in `QOS_FORMAT`, in that order."""
    return tuple(_qos(record) for record in words.rows(text, _QOS) if record["Name"])


def accounts_in(text: str | None, cluster: str | None) -> tuple[AccountLimits, ...] | None:
    """Return what ``sacctmgr -nP show user withassoc`` prints in `ACCOUNT_FORMAT`.

    Only those of `cluster`, as a database can serve several; None if nothing is known of them.
    """
    if text is None:
        return None
    table = words.rows(text, _ACCOUNT)
    clusters = {record["Cluster"].casefold() for record in table}
    if cluster is None and len(clusters) > 1:
        return None
    ours = clusters if cluster is None else {cluster.casefold()}
    found = tuple(_account(record) for record in table if record["Cluster"].casefold() in ours)
    return None if text.strip() and not found else found


def _qos(record: dict[str, str]) -> QosLimits:
    flags = words.names(record["Flags"])
    if "Relative" in flags:  # then these are percentages of the cluster
        record = {key: text for key, text in record.items() if "TRES" not in key}
    read = words.Reader(record)
    return QosLimits(
        name=record["Name"],
        priority=read("priority", "Priority", int, 0),
        max_time_s=read("max_time_s", "MaxWall", _time_s, None),
        max_jobs=read("max_jobs", "MaxJobsPU", words.number, None),
        max_submit_jobs=read("max_submit_jobs", "MaxSubmitPU", words.number, None),
        max_cpus_per_user=read("max_cpus_per_user", "MaxTRESPU", _cpus, None),
        max_cpus_per_job=read("max_cpus_per_job", "MaxTRES", _cpus, None),
        max_memory_per_user_mb=read("max_memory_per_user_mb", "MaxTRESPU", _memory_mb, None),
        max_memory_per_job_mb=read("max_memory_per_job_mb", "MaxTRES", _memory_mb, None),
        flags=flags,
        unknown=tuple(read.unknown),
    )


def _account(record: dict[str, str]) -> AccountLimits:
    read = words.Reader(record)
    return AccountLimits(
        account=record["Account"],
        partition=words.name(record["Partition"]),
        is_default=record["Account"].casefold() == record["DefaultAccount"].casefold(),
        default_qos=read("default_qos", "DefaultQOS", _default_qos, None),
        qos=read("qos", "QOS", _permitted, ()),
        max_time_s=read("max_time_s", "MaxWall", _time_s, None),
        max_jobs=read("max_jobs", "MaxJobs", words.number, None),
        max_submit_jobs=read("max_submit_jobs", "MaxSubmit", words.number, None),
        unknown=tuple(read.unknown),
    )


def _default_qos(text: str) -> str | None:
    if not text:  # Slurm chooses then
        raise ValueError("nothing")
    return words.name(text)


def _permitted(text: str) -> tuple[str, ...]:
    found = words.names(text)
    # With a sign they are added to, or taken from, a list that is not shown.
    if not found or any(one[0] in "+-" for one in found):
        raise ValueError(text)
    return found


def _time_s(text: str) -> float | None:
    return time_s(text) if text else None


def _cpus(text: str) -> int | None:
    return words.tres(text, "cpu", int)


def _memory_mb(text: str) -> float | None:
    return words.tres(text, "mem", memory_mb)
