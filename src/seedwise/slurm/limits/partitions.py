"""The partitions that Slurm's commands list."""

from collections import defaultdict

from seedwise.model.slurm_time import time_s
from seedwise.slurm.commands import SEPARATOR
from seedwise.slurm.limits import words
from seedwise.slurm.limits.nodes import node_in, nodes_in, together
from seedwise.slurm.limits.records import NodeKind, PartitionLimits
from seedwise.slurm.units import memory_mb

_STATES = ("up", "down", "drain", "inactive")


def _state(text: str) -> str:
    state = "inactive" if text.lower() == "inact" else text.lower()
    if state not in _STATES:
        raise ValueError(text)
    return state


_PARTITION: words.Table = {
    "max_time_s": ("MaxTime", time_s),
    "default_time_s": ("DefaultTime", time_s),
    "is_default": ("Default", words.truth),
    "is_hidden": ("Hidden", words.truth),
    "state": ("State", _state),
    "max_cpus_per_node": ("MaxCPUsPerNode", words.number),
    "is_exclusive": ("OverSubscribe", lambda text: text.upper().startswith("EXCL")),
    "qos": ("QoS", words.name),
    "allow_groups": ("AllowGroups", words.allowed),
    "allow_accounts": ("AllowAccounts", words.allowed),
    "allow_qos": ("AllowQos", words.allowed),
}
_MEMORY = {"MaxMemPerNode": "max_memory_per_node_mb", "MaxMemPerCPU": "max_memory_per_cpu_mb"}
# By scontrol's names; what only sinfo says has a # in its name, so that no record of scontrol's
# can have it.
_SINFO = {
    "PartitionName": "%P",
    "State": "%a",
    "MaxTime": "%l",
    "DefaultTime": "%L",
    "AllowGroups": "%g",
    "OverSubscribe": "%h",
    "#nodes": "%D",
    "#state": "%T",
    "CPUTot": "%c",
    "#cpus": "%C",
    "RealMemory": "%m",
    "AvailableFeatures": "%f",
    "Gres": "%G",
}
#: The format in which ``sinfo`` must print.
SINFO_FORMAT = SEPARATOR.join(_SINFO.values())


def partitions_in(
    text: str, nodes_text: str | None, settings: dict[str, str] | None
) -> tuple[PartitionLimits, ...]:
    """Return what ``scontrol --oneliner show`` prints of partitions and nodes; None is unknown."""
    nodes = {} if nodes_text is None else nodes_in(nodes_text)
    return tuple(
        _partition(record, _all_nodes(record, nodes.get(record["PartitionName"])), settings)
        for record in words.records(text, "PartitionName")
    )


def partitions_of_sinfo(text: str, settings: dict[str, str] | None) -> tuple[PartitionLimits, ...]:
    """Return what ``sinfo`` prints in `SINFO_FORMAT`: a line for each kind of node in each."""
    lines: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for record in words.rows(text, _SINFO, SEPARATOR):
        marked = record["PartitionName"]
        record["PartitionName"] = marked.rstrip("*")
        record["Default"] = "YES" if marked.endswith("*") else "NO"
        lines[record["PartitionName"]].append(record)
    return tuple(
        _partition(same[0], together(map(node_in, same)), settings) for same in lines.values()
    )


def _all_nodes(
    record: dict[str, str], kinds: tuple[NodeKind, ...] | None
) -> tuple[NodeKind, ...] | None:
    """Return a partition's nodes; None if not all are listed, as a site may hide some."""
    n_nodes = record.get("TotalNodes", "")
    if n_nodes == "0":
        return ()
    if kinds is None or not n_nodes.isdecimal():
        return None
    return kinds if sum(kind.n_nodes for kind in kinds) >= int(n_nodes) else None


def _partition(
    record: dict[str, str], kinds: tuple[NodeKind, ...] | None, settings: dict[str, str] | None
) -> PartitionLimits:
    if record.get("DefaultTime") in words.NOTHING:  # a job that names none gets the longest
        record = {**record, "DefaultTime": record.get("MaxTime", "")}
    denied = {}
    for key, ours in (("Accounts", "deny_accounts"), ("Qos", "deny_qos")):
        if f"Deny{key}" in record and f"Allow{key}" not in record:  # Slurm prints one of the two
            record = {**record, f"Allow{key}": "ALL"}
            denied[ours] = words.names(record[f"Deny{key}"])
    values = words.values_in(record, _PARTITION)
    memory = _memory(record, settings)
    of_nodes = ("node_kinds",) if kinds is None else ()
    of_memory = tuple(_MEMORY.values()) if memory is None else ()
    values["unknown"] = (*of_nodes, *values["unknown"], *of_memory)
    values |= denied | (memory or {})
    return PartitionLimits(name=record["PartitionName"], node_kinds=kinds or (), **values)


def _memory(record: dict[str, str], settings: dict[str, str] | None) -> dict[str, float] | None:
    """Return the limit, a partition's own or else the cluster's; None if it is unknown."""
    for source in (record, settings or {}):
        key = "MaxMemPerCPU" if "MaxMemPerCPU" in source else "MaxMemPerNode"
        try:
            limit_mb = memory_mb(source[key])
        except (KeyError, ValueError):
            return None
        if limit_mb is not None:
            return {_MEMORY[key]: limit_mb}
    return {}
