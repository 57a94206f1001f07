"""What Slurm's commands answer about limits, as records.

Other lines, such as a site's greeting, are ignored. What an answer lacks, or says in words that
are not known here, is unknown, and never a guess.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

import attrs

from seedwise.model.slurm_time import time_s
from seedwise.slurm.commands import SEPARATOR, memory_mb, records, rows
from seedwise.slurm.limits.records import (
    AccountLimits,
    NodeKind,
    PartitionLimits,
    QosLimits,
    SlurmLimits,
)

_T = TypeVar("_T")

#: What Slurm writes where there is nothing.
_NOTHING = ("", "(null)", "N/A", "n/a", "NONE", "none")

_TRUTH = {"YES": True, "NO": False}
_STATES = {name: name for name in ("up", "down", "drain", "inactive")} | {"inact": "inactive"}


def _number(text: str) -> int | None:
    return None if text in ("", "UNLIMITED", "INFINITE") else int(text)


def _name(text: str) -> str | None:
    return None if text in _NOTHING else text


def _names(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word not in _NOTHING)


def _allowed(text: str) -> tuple[str, ...] | None:
    return None if text.upper() == "ALL" else _names(text)


def _tres(key: str, parse: Callable[[str], _T], text: str) -> _T | None:
    """Return the limit on a resource from a list such as ``cpu=4,mem=8G``; None means no limit."""
    found = dict(word.split("=", 1) for word in _names(text))
    return parse(found[key]) if key in found else None


def _default_qos(text: str) -> str | None:
    if not text:  # Slurm chooses then
        raise ValueError("nothing")
    return _name(text)


def _permitted(text: str) -> tuple[str, ...]:
    found = _names(text)
    # With a sign they are added to, or taken from, a list that is not shown.
    if not found or any(one[0] in "+-" for one in found):
        raise ValueError(text)
    return found


def _max_wall_s(text: str) -> float | None:
    return time_s(text) if text else None


_cpus = partial(_tres, "cpu", int)
_memory_mb = partial(_tres, "mem", memory_mb)

#: By our name of a value: what Slurm calls it, and how it is read.
_Table = Mapping[str, tuple[str, Callable[[str], Any]]]

_SETTINGS: _Table = {
    "cluster": ("ClusterName", str),
    "version": ("SLURM_VERSION", str),
    "max_array_size": ("MaxArraySize", _number),
    "max_job_count": ("MaxJobCount", _number),
    "enforce": ("AccountingStorageEnforce", _names),
    "enforce_partition_limits": ("EnforcePartLimits", str.upper),
    "submit_plugins": ("JobSubmitPlugins", _names),
    "filter_plugins": ("CliFilterPlugins", _names),
}
_PARTITION: _Table = {
    "max_time_s": ("MaxTime", time_s),
    "default_time_s": ("DefaultTime", time_s),
    "is_default": ("Default", lambda text: _TRUTH[text]),
    "is_hidden": ("Hidden", lambda text: _TRUTH[text]),
    "state": ("State", lambda text: _STATES[text.lower()]),
    "max_cpus_per_node": ("MaxCPUsPerNode", _number),
    "is_exclusive": ("OverSubscribe", lambda text: text.upper().startswith("EXCL")),
    "qos": ("QoS", _name),
    "allow_groups": ("AllowGroups", _allowed),
    "allow_accounts": ("AllowAccounts", _allowed),
    "allow_qos": ("AllowQos", _allowed),
}
_MEMORY = {"MaxMemPerNode": "max_memory_per_node_mb", "MaxMemPerCPU": "max_memory_per_cpu_mb"}
_QOS: _Table = {
    "priority": ("Priority", int),
    "max_time_s": ("MaxWall", _max_wall_s),
    "max_jobs": ("MaxJobsPU", _number),
    "max_submit_jobs": ("MaxSubmitPU", _number),
    "max_cpus_per_user": ("MaxTRESPU", _cpus),
    "max_cpus_per_job": ("MaxTRES", _cpus),
    "max_memory_per_user_mb": ("MaxTRESPU", _memory_mb),
    "max_memory_per_job_mb": ("MaxTRES", _memory_mb),
}
_ACCOUNT: _Table = {
    "default_qos": ("DefaultQOS", _default_qos),
    "qos": ("QOS", _permitted),
    "max_time_s": ("MaxWall", _max_wall_s),
    "max_jobs": ("MaxJobs", _number),
    "max_submit_jobs": ("MaxSubmit", _number),
}
# Two values may be in one column.
_QOS_COLUMNS = list(dict.fromkeys(["Name", *(key for key, _ in _QOS.values()), "Flags"]))
_ACCOUNT_COLUMNS = ["Cluster", "DefaultAccount", "Account", "Partition"]
_ACCOUNT_COLUMNS += [key for key, _ in _ACCOUNT.values()]
# By scontrol's names; what only sinfo says has a # in its name, so that no record of scontrol's
# can have it.
_SINFO = {
    "PartitionName": "%P", "State": "%a", "MaxTime": "%l", "DefaultTime": "%L",
    "AllowGroups": "%g", "OverSubscribe": "%h", "#nodes": "%D", "#state": "%T", "CPUTot": "%c",
    "#cpus": "%C", "RealMemory": "%m", "AvailableFeatures": "%f", "Gres": "%G",
}  # fmt: skip
#: The formats in which ``sinfo`` and ``sacctmgr`` must print.
SINFO_FORMAT = SEPARATOR.join(_SINFO.values())
QOS_FORMAT = ",".join(_QOS_COLUMNS)
ACCOUNT_FORMAT = ",".join(_ACCOUNT_COLUMNS)

#: A node in one of these states, or marked with a star, starts no job.
_UNUSABLE = {
    "DOWN", "DRAIN", "DRAINED", "DRAINING", "ERROR", "FAIL", "FAILING", "FUTURE", "INVAL",
    "INVALID_REG", "MAINT", "MAINTENANCE", "NO_RESPOND", "NOT_RESPONDING", "UNKNOWN", "UNK",
}  # fmt: skip
_FREE = {"IDLE", "PLANNED"}
_BUSY = {"ALLOCATED", "BLOCKED", "COMPLETING", "MIXED", "REBOOT", "RESERVED"}


def limits_in(
    texts: Mapping[str, str | None], *, user: str = "", unanswered: dict[str, str] | None = None
) -> SlurmLimits:
    """Return what the answers say, by the names of `read`'s commands; the rest is unknown."""
    settings = settings_in(texts.get("settings") or "")
    partitions = partitions_in(texts.get("partitions") or "", texts.get("nodes"), settings)
    if not partitions:
        partitions = partitions_of_sinfo(texts.get("sinfo") or "", settings)
    qos = qos_in(texts.get("qos") or "")
    accounts = accounts_in(texts.get("accounts"), settings.get("ClusterName"))
    needed = {"user": user, "partitions": partitions, "qos": qos, "accounts": accounts is not None}
    values = _values_in(settings, _SETTINGS)
    values["unknown"] += tuple(name for name, value in needed.items() if not value)
    return SlurmLimits(
        user=user,
        partitions=partitions,
        qos=qos,
        accounts=accounts or (),
        unanswered=unanswered or {},
        **values,
    )


def settings_in(text: str) -> dict[str, str]:
    """Return what ``scontrol show config`` prints, by name."""
    pairs = (re.match(r"(\w+)\s*=\s?(.*)", line) for line in text.splitlines())
    return {pair[1]: pair[2].strip() for pair in pairs if pair}


def partitions_in(
    text: str, nodes_text: str | None, settings: Mapping[str, str]
) -> tuple[PartitionLimits, ...]:
    """Return what ``scontrol --oneliner show`` prints of partitions and nodes; None is unknown."""
    nodes = nodes_in(nodes_text or "")
    return tuple(
        _partition(record, _all_nodes(record, nodes.get(record["PartitionName"])), settings)
        for record in records(text, "PartitionName")
    )


def partitions_of_sinfo(text: str, settings: Mapping[str, str]) -> tuple[PartitionLimits, ...]:
    """Return what ``sinfo`` prints in `SINFO_FORMAT`: a line for each kind of node in each."""
    lines: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for record in rows(text, _SINFO, SEPARATOR):
        marked = record["PartitionName"]
        record["PartitionName"] = marked.rstrip("*")
        record["Default"] = "YES" if marked.endswith("*") else "NO"
        lines[record["PartitionName"]].append(record)
    return tuple(
        _partition(same[0], _together(map(_node, same)), settings) for same in lines.values()
    )


def nodes_in(text: str) -> dict[str, tuple[NodeKind, ...] | None]:
    """Return the kinds of nodes that ``scontrol --oneliner show node`` prints, by partition."""
    found: defaultdict[str, list[NodeKind | None]] = defaultdict(list)
    for record in records(text, "NodeName"):
        for partition in _names(record.get("Partitions", "")):
            found[partition].append(_node(record))
    return {partition: _together(nodes) for partition, nodes in found.items()}


def qos_in(text: str) -> tuple[QosLimits, ...]:
    """Return what ``sacctmgr -nP show qos`` prints in `QOS_FORMAT`, in that order."""
    return tuple(_qos(record) for record in rows(text, _QOS_COLUMNS) if record["Name"])


def accounts_in(text: str | None, cluster: str | None) -> tuple[AccountLimits, ...] | None:
    """Return the accounts of a cluster; a database can serve several. None if it is unknown."""
    if text is None:
        return None
    table = rows(text, _ACCOUNT_COLUMNS)
    clusters = {record["Cluster"].casefold() for record in table}
    if cluster is None and len(clusters) > 1:
        return None
    ours = clusters if cluster is None else {cluster.casefold()}
    found = tuple(
        AccountLimits(
            account=record["Account"],
            partition=_name(record["Partition"]),
            is_default=record["Account"].casefold() == record["DefaultAccount"].casefold(),
            **_values_in(record, _ACCOUNT),
        )
        for record in table
        if record["Cluster"].casefold() in ours
    )
    return None if text.strip() and not found else found


def _values_in(record: Mapping[str, str], table: _Table) -> dict[str, Any]:
    """Return what a record says, by our names; `unknown` names what it lacks or what is odd."""
    values: dict[str, Any] = {"unknown": ()}
    for name, (key, parse) in table.items():
        try:
            values[name] = parse(record[key])
        except (KeyError, ValueError):
            values["unknown"] += (name,)
    return values


def _qos(record: Mapping[str, str]) -> QosLimits:
    flags = _names(record["Flags"])
    if "Relative" in flags:  # then these are percentages of the cluster
        record = {key: text for key, text in record.items() if "TRES" not in key}
    return QosLimits(name=record["Name"], flags=flags, **_values_in(record, _QOS))


def _partition(
    record: Mapping[str, str], kinds: tuple[NodeKind, ...] | None, settings: Mapping[str, str]
) -> PartitionLimits:
    if record.get("DefaultTime") in _NOTHING:  # a job that names none gets the longest
        record = {**record, "DefaultTime": record.get("MaxTime", "")}
    denied = {}
    for key, ours in (("Accounts", "deny_accounts"), ("Qos", "deny_qos")):
        if f"Deny{key}" in record and f"Allow{key}" not in record:  # Slurm prints one of the two
            record = {**record, f"Allow{key}": "ALL"}
            denied[ours] = _names(record[f"Deny{key}"])
    values = _values_in(record, _PARTITION)
    memory = _memory(record, settings)
    of_nodes = ("node_kinds",) if kinds is None else ()
    of_memory = tuple(_MEMORY.values()) if memory is None else ()
    values["unknown"] = (*of_nodes, *values["unknown"], *of_memory)
    values |= denied | (memory or {})
    return PartitionLimits(name=record["PartitionName"], node_kinds=kinds or (), **values)


def _memory(record: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, float] | None:
    """Return the limit, a partition's own or else the cluster's; None if it is unknown."""
    for source in (record, settings):
        key = "MaxMemPerCPU" if "MaxMemPerCPU" in source else "MaxMemPerNode"
        try:
            limit_mb = memory_mb(source[key])
        except (KeyError, ValueError):
            return None
        if limit_mb is not None:
            return {_MEMORY[key]: limit_mb}
    return {}


def _all_nodes(
    record: Mapping[str, str], kinds: tuple[NodeKind, ...] | None
) -> tuple[NodeKind, ...] | None:
    """Return a partition's nodes; None if not all are listed, as a site may hide some."""
    n_nodes = record.get("TotalNodes", "")
    if n_nodes == "0":
        return ()
    if kinds is None or not n_nodes.isdecimal():
        return None
    return kinds if sum(kind.n_nodes for kind in kinds) >= int(n_nodes) else None


def _node(record: Mapping[str, str]) -> NodeKind | None:
    """Return a node of scontrol's, or the nodes of a line of sinfo; None if not understood."""
    try:
        state = record.get("#state", record["State"]).upper()
        states = {word.rstrip("*~#!%$@^-") for word in state.split("+")}
        usable = "*" not in state and not states & _UNUSABLE
        idle = usable and not states & _BUSY and bool(states & _FREE)
        n_nodes = int(record.get("#nodes", 1))
        # Since Slurm 22.05 what jobs can have is given beside what there is.
        cpus = int(record.get("CPUEfctv") or record["CPUTot"])
        if "#cpus" in record:
            idle_cpus = int(record["#cpus"].split("/")[1])
        else:
            idle_cpus = max(cpus - int(record["CPUAlloc"]), 0)
        return NodeKind(
            n_nodes=n_nodes,
            n_usable=n_nodes if usable else 0,
            n_idle=n_nodes if idle else 0,
            cpus=cpus,
            memory_mb=int(record["RealMemory"]) - int(record.get("MemSpecLimit") or 0),
            idle_cpus=idle_cpus if usable else 0,
            features=_names(record["AvailableFeatures"]),
            gres=_names(re.sub(r"\([^)]*\)", "", record["Gres"])),  # not where on a node
        )
    except (IndexError, KeyError, ValueError):
        return None


def _together(nodes: Iterable[NodeKind | None]) -> tuple[NodeKind, ...] | None:
    """Return the kinds of nodes, each counted, the smallest first; None if one node is None."""
    found: dict[NodeKind, NodeKind] = {}
    for node in nodes:
        if node is None:
            return None
        kind = attrs.evolve(node, n_nodes=0, n_usable=0, n_idle=0, idle_cpus=0)
        before = found.get(kind, kind)
        found[kind] = attrs.evolve(
            kind,
            n_nodes=before.n_nodes + node.n_nodes,
            n_usable=before.n_usable + node.n_usable,
            n_idle=before.n_idle + node.n_idle,
            idle_cpus=before.idle_cpus + node.idle_cpus,
        )
    kinds = [kind for kind in found.values() if kind.n_nodes]
    return tuple(sorted(kinds, key=lambda one: (one.cpus, one.memory_mb, one.features, one.gres)))
