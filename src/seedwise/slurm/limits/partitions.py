"""The partitions that Slurm's commands list."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from seedwise.model.slurm_time import time_s
from seedwise.slurm.commands import SEPARATOR
from seedwise.slurm.limits import words
from seedwise.slurm.limits.nodes import node_of_sinfo, nodes_in, together
from seedwise.slurm.limits.records import NodeKind, PartitionLimits
from seedwise.slurm.units import memory_mb

_SINFO = {
    "PartitionName": "%P",
    "State": "%a",
    "MaxTime": "%l",
    "DefaultTime": "%L",
    "AllowGroups": "%g",
    "OverSubscribe": "%h",
    "nodes": "%D",
    "node_state": "%T",
    "cpus": "%c",
    "cpu_states": "%C",
    "mem": "%m",
    "features": "%f",
    "gres": "%G",
}
#: The format in which ``sinfo`` must print.
SINFO_FORMAT = SEPARATOR.join(_SINFO.values())

_STATES = ("up", "down", "drain", "inactive")


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
        _partition(same[0], together(node_of_sinfo(record) for record in same), settings)
        for same in lines.values()
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
    record: dict[str, str],
    kinds: tuple[NodeKind, ...] | None,
    settings: dict[str, str] | None,
) -> PartitionLimits:
    read = words.Reader(record)
    if kinds is None:
        read.unknown.append("node_kinds")
    max_time_s = read("max_time_s", "MaxTime", time_s, None)
    if record.get("DefaultTime") not in words.NOTHING:
        default_time_s = read("default_time_s", "DefaultTime", time_s, None)
    else:  # a job that names none gets the longest
        default_time_s = max_time_s
        read.unknown += ["default_time_s"] * ("max_time_s" in read.unknown)
    return PartitionLimits(
        name=record["PartitionName"],
        is_default=read("is_default", "Default", words.truth, False),
        is_hidden=read("is_hidden", "Hidden", words.truth, False),
        state=read("state", "State", _state, "up"),
        max_time_s=max_time_s,
        default_time_s=default_time_s,
        max_cpus_per_node=read("max_cpus_per_node", "MaxCPUsPerNode", words.number, None),
        is_exclusive=read("is_exclusive", "OverSubscribe", _is_exclusive, False),
        qos=read("qos", "QoS", words.name, None),
        allow_groups=read("allow_groups", "AllowGroups", words.allowed, None),
        node_kinds=kinds or (),
        **_doors(read, "Accounts", "accounts"),
        **_doors(read, "Qos", "qos"),
        **_memory(read, settings),
        unknown=tuple(read.unknown),  # the last, when all is read
    )


def _doors(read: words.Reader, key: str, ours: str) -> dict[str, Any]:
    """Return who may use it and who may not; Slurm prints one of the two."""
    denied = read.record.get(f"Deny{key}")
    if denied is not None and f"Allow{key}" not in read.record:
        return {f"deny_{ours}": words.names(denied)}
    return {f"allow_{ours}": read(f"allow_{ours}", f"Allow{key}", words.allowed, None)}


def _memory(read: words.Reader, settings: dict[str, str] | None) -> dict[str, Any]:
    """Return the limit on memory: a partition's own overrides the cluster's."""
    ours = {"MaxMemPerNode": "max_memory_per_node_mb", "MaxMemPerCPU": "max_memory_per_cpu_mb"}
    for source in (read.record, settings or {}):
        key = "MaxMemPerCPU" if "MaxMemPerCPU" in source else "MaxMemPerNode"
        try:
            limit_mb = memory_mb(source[key])
        except (KeyError, ValueError):
            read.unknown += ours.values()
            break
        if limit_mb is not None:
            return {ours[key]: limit_mb}
    return {}


def _is_exclusive(text: str) -> bool:
    return text.upper().startswith("EXCL")


def _state(text: str) -> str:
    state = "inactive" if text.lower() == "inact" else text.lower()
    if state not in _STATES:
        raise ValueError(text)
    return state
