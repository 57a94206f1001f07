"""What a Slurm cluster allows, in lines for a terminal."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from seedwise.errors.durations import exact_duration
from seedwise.slurm.commands import readable_memory
from seedwise.slurm.limits.records import PartitionLimits, SlurmLimits
from seedwise.view.status import aligned

#: What a cell says of a record of limits.
Cell: TypeAlias = Callable[[Any], str]

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
    size = _limit("max_array_size", "indices below {}".format)(limits)
    count = _limit("max_job_count", "{}, those of all users".format)(limits)
    rules = _UNKNOWN
    if limits.knows("submit_plugins", "filter_plugins"):
        rules = ", ".join([*limits.submit_plugins, *limits.filter_plugins]) or "none"
    lines = [f"cluster {cluster}, Slurm {version}", f"job arrays: {size}"]
    lines += [f"jobs at once: {count}", f"site's own rules for jobs: {rules}"]
    for title, table in {"partitions": _partitions, "accounts": _accounts, "QoS": _qos}.items():
        known = limits.knows(title.lower())
        lines += ["", *(table(limits) if known else [f"{title}  {_UNKNOWN}"])]
    if limits.knows("enforce") and "limits" not in limits.enforce:
        lines += ["", "The limits of QoS and accounts are not enforced here."]
    if limits.unanswered:
        lines += ["", "No answer from"]
        lines += [f"  {command}: {why}" for command, why in limits.unanswered.items()]
    return [*lines, "", *_HOW_TO_ASK]


def _limit(name: str, words: Callable[[Any], str] = str) -> Cell:
    """Return the cell of a limit."""

    def cell(record: Any) -> str:
        if not record.knows(name):
            return _UNKNOWN
        limit = getattr(record, name)
        return _NO_LIMIT if limit is None else words(limit)

    return cell


def _of_nodes(words: Callable[[PartitionLimits], str]) -> Cell:
    return lambda partition: words(partition) if partition.knows("node_kinds") else _UNKNOWN


def _free_cpus(partition: PartitionLimits) -> str:
    total = sum(kind.n_nodes * kind.cpus for kind in partition.node_kinds)
    return f"{sum(kind.idle_cpus for kind in partition.node_kinds)} of {total}"


def _span(bounds: tuple[int, int], words: Callable[[int], str]) -> str:
    low, high = (words(bound) for bound in bounds)
    return low if low == high else f"{low} to {high}"


def _max_memory(partition: PartitionLimits) -> str:
    if not partition.knows("max_memory_per_node_mb", "max_memory_per_cpu_mb"):
        return _UNKNOWN
    limits = {"node": partition.max_memory_per_node_mb, "CPU": partition.max_memory_per_cpu_mb}
    found = [f"{readable_memory(mb)} a {what}" for what, mb in limits.items() if mb is not None]
    return found[0] if found else _NO_LIMIT


def _particulars(partition: PartitionLimits) -> list[str]:
    """Return what only some partitions have, in a line each."""
    most = partition.max_cpus_per_node
    found: dict[str, Iterable[str] | None] = {
        "for the accounts": partition.allow_accounts,
        "not for the accounts": partition.deny_accounts or None,
        "for the groups": partition.allow_groups,
        "for the QoS": partition.allow_qos,
        "not for the QoS": partition.deny_qos or None,
        "has the limits of QoS": None if partition.qos is None else (partition.qos,),
        "features": partition.features or None,
        "gres": partition.gres or None,
        "gives each job a node to": ("itself",) if partition.is_exclusive else None,
        "CPUs of a node that its jobs may have:": None if most is None else (str(most),),
    }
    return [
        f"{partition.name}: {what} {', '.join(names) or 'none'}"
        for what, names in found.items()
        if names is not None
    ]


_OF_PARTITIONS: dict[str, Cell] = {
    "state": _limit("state"),
    "max walltime": _limit("max_time_s", exact_duration),
    "default": _limit("default_time_s", exact_duration),
    "usable nodes": _of_nodes(lambda one: f"{one.n_usable} of {one.n_nodes}"),
    "free CPUs": _of_nodes(_free_cpus),
    "CPUs/node": _of_nodes(lambda one: _span(one.cpus, str)),
    "memory/node": _of_nodes(lambda one: _span(one.memory_mb, readable_memory)),
    "max memory": _max_memory,
}
_OF_ALL: dict[str, Cell] = {
    "max walltime": _limit("max_time_s", exact_duration),
    "max running": _limit("max_jobs"),
    "max submitted": _limit("max_submit_jobs"),
}
_OF_ACCOUNTS: dict[str, Cell] = {
    "QoS": _limit("qos", ", ".join),
    "default QoS": lambda account: account.default_qos or _UNKNOWN,
    "only in": lambda account: account.partition or "",
    **_OF_ALL,
}
_OF_QOS: dict[str, Cell] = {
    "priority": _limit("priority"),
    **_OF_ALL,
    "CPUs of a job": _limit("max_cpus_per_job"),
    "CPUs of a user": _limit("max_cpus_per_user"),
    "memory of a job": _limit("max_memory_per_job_mb", readable_memory),
    "memory of a user": _limit("max_memory_per_user_mb", readable_memory),
}


def _table(
    names: Sequence[str], cells: Mapping[str, Cell], records: Iterable[Any], n_always: int
) -> list[str]:
    """Return a table of named records, without empty columns after the first `n_always`."""
    columns = [names]
    for title, cell in cells.items():
        column = [cell(record) for record in records]
        if len(columns) <= n_always or any(words not in ("", _NO_LIMIT) for words in column):
            columns.append([title, *column])
    return aligned(columns)


def _partitions(limits: SlurmLimits) -> list[str]:
    shown = [partition for partition in limits.partitions if not partition.is_hidden]
    names = [_marked(one.name, one.is_default) for one in shown]
    lines = _table(["partition", *names], _OF_PARTITIONS, shown, n_always=7)
    lines += [line for partition in shown for line in _particulars(partition)]
    hidden = [partition.name for partition in limits.partitions if partition.is_hidden]
    return [*lines, f"hidden: {', '.join(hidden)}"] if hidden else lines


def _accounts(limits: SlurmLimits) -> list[str]:
    if not limits.accounts:
        return [f"accounts  none of user {limits.user or _UNKNOWN}"]
    names = [_marked(one.account, one.is_default) for one in limits.accounts]
    return _table(["account", *names], _OF_ACCOUNTS, limits.accounts, n_always=2)


def _qos(limits: SlurmLimits) -> list[str]:
    allowed = {name.casefold() for account in limits.accounts for name in account.qos}
    sure = limits.knows("accounts", "enforce") and "qos" in limits.enforce
    sure = sure and all(account.knows("qos") for account in limits.accounts)
    others = [one.name for one in limits.qos if sure and one.name.casefold() not in allowed]
    shown = [one for one in limits.qos if one.name not in others]
    default = next((one.default_qos for one in limits.accounts if one.is_default), None)
    names = [_marked(one.name, one.name == default) for one in shown]
    lines = _table(["QoS", *names], _OF_QOS, shown, n_always=4)
    return [*lines, f"not for user {limits.user}: {', '.join(others)}"] if others else lines


def _marked(name: str, is_default: bool) -> str:
    return f"{name} *" if is_default else name
