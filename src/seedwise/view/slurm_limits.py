"""What a Slurm cluster allows, in lines for a terminal."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from seedwise.errors.durations import exact_duration
from seedwise.slurm.commands import readable_memory
from seedwise.slurm.limits.records import AccountLimits, PartitionLimits, QosLimits, SlurmLimits
from seedwise.view.words import aligned

_UNKNOWN = "unknown"
_NO_LIMIT = "no limit"

_HOW_TO_ASK = (
    "* marks what a job gets if it names none. Ask for another with",
    "  SlurmOptions(partition=..., account=...), slurm_qos=..., worker_time_limit=...,",
    "  cpus_per_task=..., mem_per_cpu=...",
)


def limits_lines(limits: SlurmLimits) -> list[str]:
    """Return what a Slurm cluster allows as lines: tables of partitions, QoS and accounts."""
    cluster = limits.cluster if limits.knows("cluster") else _UNKNOWN
    version = limits.version if limits.knows("version") else f"of an {_UNKNOWN} version"
    lines = [f"cluster {cluster}, Slurm {version}", *_of_all(limits), "", *_partitions(limits)]
    lines += ["", *_accounts(limits), "", *_qos(limits)]
    if limits.knows("enforce") and "limits" not in limits.enforce:
        lines += ["", "The limits of QoS and accounts are not enforced here."]
    if limits.unanswered:
        lines += ["", "No answer from"]
        lines += [f"  {command}: {why}" for command, why in limits.unanswered.items()]
    return [*lines, "", *_HOW_TO_ASK]


def _of_all(limits: SlurmLimits) -> list[str]:
    """Return the limits of all jobs."""
    size = _limit(limits, "max_array_size", lambda size: f"indices below {size}")
    count = _limit(limits, "max_job_count", lambda count: f"{count}, those of all users")
    rules = _UNKNOWN
    if limits.knows("submit_plugins", "filter_plugins"):
        rules = ", ".join([*limits.submit_plugins, *limits.filter_plugins]) or "none"
    return [f"job arrays: {size}", f"jobs at once: {count}", f"site's own rules for jobs: {rules}"]


def _partitions(limits: SlurmLimits) -> list[str]:
    if not limits.knows("partitions"):
        return [f"partitions  {_UNKNOWN}"]
    shown = [partition for partition in limits.partitions if not partition.is_hidden]
    header = (
        *("partition", "state", "max walltime", "default", "usable nodes", "free CPUs"),
        *("CPUs/node", "memory/node", "max memory"),
    )
    lines = _table(header, [_partition(partition) for partition in shown], n_always=8)
    for partition in shown:
        for what, names in _particulars(partition).items():
            lines.append(f"{partition.name}: {what} {', '.join(names) or 'none'}")
    hidden = [partition.name for partition in limits.partitions if partition.is_hidden]
    return [*lines, f"hidden: {', '.join(hidden)}"] if hidden else lines


def _partition(partition: PartitionLimits) -> tuple[str, ...]:
    free = sum(kind.idle_cpus for kind in partition.node_kinds)
    total = sum(kind.n_nodes * kind.cpus for kind in partition.node_kinds)
    nodes = [
        f"{partition.n_usable} of {partition.n_nodes}",
        f"{free} of {total}",
        _span(partition.cpus, str),
        _span(partition.memory_mb, readable_memory),
    ]
    return (
        f"{partition.name} *" if partition.is_default else partition.name,
        partition.state if partition.knows("state") else _UNKNOWN,
        _limit(partition, "max_time_s", exact_duration),
        _limit(partition, "default_time_s", exact_duration),
        *(nodes if partition.knows("node_kinds") else [_UNKNOWN] * len(nodes)),
        _max_memory(partition),
    )


def _max_memory(partition: PartitionLimits) -> str:
    if not partition.knows("max_memory_per_node_mb", "max_memory_per_cpu_mb"):
        return _UNKNOWN
    if partition.max_memory_per_node_mb is not None:
        return f"{readable_memory(partition.max_memory_per_node_mb)} a node"
    if partition.max_memory_per_cpu_mb is not None:
        return f"{readable_memory(partition.max_memory_per_cpu_mb)} a CPU"
    return _NO_LIMIT


def _particulars(partition: PartitionLimits) -> dict[str, Iterable[str]]:
    """Return what only some partitions have, by its title."""
    found: dict[str, Iterable[str] | None] = {
        "for the accounts": partition.allow_accounts,
        "not for the accounts": partition.deny_accounts or None,
        "for the groups": partition.allow_groups,
        "for the QoS": partition.allow_qos,
        "not for the QoS": partition.deny_qos or None,
        "has the limits of QoS": None if partition.qos is None else (partition.qos,),
        "features": partition.features or None,
        "gres": partition.gres or None,
    }
    if partition.is_exclusive:
        found["gives each job a node to"] = ("itself",)
    if partition.max_cpus_per_node is not None:
        found["CPUs of a node that its jobs may have:"] = (str(partition.max_cpus_per_node),)
    return {what: names for what, names in found.items() if names is not None}


def _accounts(limits: SlurmLimits) -> list[str]:
    if not limits.knows("accounts"):
        return [f"accounts  {_UNKNOWN}"]
    if not limits.accounts:
        return [f"accounts  none of user {limits.user or _UNKNOWN}"]
    header = (
        *("account", "QoS", "default QoS", "only in", "max walltime", "max running"),
        "max submitted",
    )
    return _table(header, [_account(account) for account in limits.accounts], n_always=3)


def _account(account: AccountLimits) -> tuple[str, ...]:
    return (
        f"{account.account} *" if account.is_default else account.account,
        ", ".join(account.qos) if account.knows("qos") else _UNKNOWN,
        account.default_qos or _UNKNOWN,
        account.partition or "",
        _limit(account, "max_time_s", exact_duration),
        _limit(account, "max_jobs", str),
        _limit(account, "max_submit_jobs", str),
    )


def _qos(limits: SlurmLimits) -> list[str]:
    if not limits.knows("qos"):
        return [f"QoS  {_UNKNOWN}"]
    shown, others = list(limits.qos), []
    allowed = {name.casefold() for account in limits.accounts for name in account.qos}
    sure = limits.knows("accounts", "enforce") and "qos" in limits.enforce
    if sure and all(account.knows("qos") for account in limits.accounts):
        shown = [qos for qos in limits.qos if qos.name.casefold() in allowed]
        others = [qos.name for qos in limits.qos if qos.name.casefold() not in allowed]
    default = next((one.default_qos for one in limits.accounts if one.is_default), None)
    header = (
        *("QoS", "priority", "max walltime", "max running", "max submitted", "CPUs of a job"),
        *("CPUs of a user", "memory of a job", "memory of a user"),
    )
    lines = _table(header, [_one_qos(qos, qos.name == default) for qos in shown], n_always=5)
    return [*lines, f"not for user {limits.user}: {', '.join(others)}"] if others else lines


def _one_qos(qos: QosLimits, is_default: bool) -> tuple[str, ...]:
    return (
        f"{qos.name} *" if is_default else qos.name,
        str(qos.priority) if qos.knows("priority") else _UNKNOWN,
        _limit(qos, "max_time_s", exact_duration),
        _limit(qos, "max_jobs", str),
        _limit(qos, "max_submit_jobs", str),
        _limit(qos, "max_cpus_per_job", str),
        _limit(qos, "max_cpus_per_user", str),
        _limit(qos, "max_memory_per_job_mb", readable_memory),
        _limit(qos, "max_memory_per_user_mb", readable_memory),
    )


def _limit(
    record: SlurmLimits | PartitionLimits | QosLimits | AccountLimits,
    name: str,
    words: Callable[[Any], str],
) -> str:
    if not record.knows(name):
        return _UNKNOWN
    limit = getattr(record, name)
    return _NO_LIMIT if limit is None else words(limit)


def _span(bounds: tuple[int, int], words: Callable[[int], str]) -> str:
    low, high = (words(bound) for bound in bounds)
    return low if low == high else f"{low} to {high}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], n_always: int) -> list[str]:
    """Return a table, without empty columns after the first `n_always`."""
    columns = [
        [title, *(row[at] for row in rows)]
        for at, title in enumerate(header)
        if at < n_always or any(row[at] not in ("", _NO_LIMIT) for row in rows)
    ]
    return aligned(columns, str.ljust)
