"""What Slurm allows here, read from its commands in bounded time.

Other lines, such as a site's greeting, are ignored. What an answer lacks, or says in words that
are not known here, is unknown, and never a guess.
"""

import os
import pwd
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

import attrs

from seedwise.errors import SlurmNotFoundError
from seedwise.slurm.commands import (
    SEPARATOR,
    CommandError,
    memory_mb,
    name_in,
    names_in,
    records,
    rows,
    run_command,
)
from seedwise.slurm.limits.records import (
    AccountLimits,
    NodeKind,
    PartitionLimits,
    QosLimits,
    SlurmLimits,
)

_T = TypeVar("_T", PartitionLimits, QosLimits, AccountLimits, SlurmLimits)


def _keys(kind: type[Any]) -> list[str]:
    return [field.metadata["key"] for field in attrs.fields(kind) if field.metadata]


_MEMORY = {"MaxMemPerNode": "max_memory_per_node_mb", "MaxMemPerCPU": "max_memory_per_cpu_mb"}
# Two values may be in one column.
_QOS_COLUMNS = list(dict.fromkeys(["Name", *_keys(QosLimits), "Flags"]))
_ACCOUNT_COLUMNS = ["Cluster", "DefaultAccount", "Account", "Partition", *_keys(AccountLimits)]
# By scontrol's names; what only sinfo says has a # in its name, so that no record of scontrol's
# can have it.
_SINFO = {
    "PartitionName": "%P", "State": "%a", "MaxTime": "%l", "DefaultTime": "%L",
    "AllowGroups": "%g", "OverSubscribe": "%h", "#nodes": "%D", "#state": "%T", "CPUTot": "%c",
    "#cpus": "%C", "RealMemory": "%m", "AvailableFeatures": "%f", "Gres": "%G",
}  # fmt: skip

#: With ``--all``, so that partitions that are hidden or for other groups don't seem to be missing.
_COMMANDS = {
    "partitions": "scontrol --all --oneliner show partition",
    "nodes": "scontrol --all --oneliner show node",
    "settings": "scontrol show config",
    "qos": f"sacctmgr -n -P show qos format={','.join(_QOS_COLUMNS)}",
    "accounts": f"sacctmgr -n -P show user withassoc format={','.join(_ACCOUNT_COLUMNS)}",
    "sinfo": f"sinfo --all --noheader --exact --format={SEPARATOR.join(_SINFO.values())}",
}

#: A node in one of these states, or marked with a star, starts no job.
_UNUSABLE = {
    "DOWN", "DRAIN", "DRAINED", "DRAINING", "ERROR", "FAIL", "FAILING", "FUTURE", "INVAL",
    "INVALID_REG", "MAINT", "MAINTENANCE", "NO_RESPOND", "NOT_RESPONDING", "UNKNOWN", "UNK",
}  # fmt: skip
_FREE = {"IDLE", "PLANNED"}
_BUSY = {"ALLOCATED", "BLOCKED", "COMPLETING", "MIXED", "REBOOT", "RESERVED"}
# What makes nodes be of one kind, and what is added up of them.
_ALIKE = attrgetter("cpus", "memory_mb", "features", "gres")
_COUNTS = ("n_nodes", "n_usable", "n_idle", "idle_cpus")


def slurm_limits(*, timeout_s: float = 10) -> SlurmLimits:
    """Return what the Slurm cluster of this machine allows you.

    It asks ``scontrol`` and ``sacctmgr``, or ``sinfo``. A record's `unknown` names what they did
    not answer. A limit of None means no limit.

    Parameters
    ----------
    timeout_s : float
        Seconds that all commands together may take; what is not answered by then is unknown.

    Returns
    -------
    SlurmLimits
        The partitions with their nodes, your accounts, and the QoS.

    Raises
    ------
    SlurmNotFoundError
        If this machine has no Slurm.

    Examples
    --------
    >>> import seedwise as sw
    >>> try:
    ...     partitions = sw.slurm_limits().partitions
    ... except sw.SlurmNotFoundError:  # this is not a login node
    ...     partitions = ()
    >>> for_a_day = [
    ...     partition.name
    ...     for partition in partitions
    ...     if partition.knows("max_time_s") and (partition.max_time_s or 86400) >= 86400
    ... ]
    """
    if shutil.which("scontrol") is None and shutil.which("sinfo") is None:
        raise SlurmNotFoundError("scontrol or sinfo")
    deadline = time.monotonic() + timeout_s
    commands = {name: command.split() for name, command in _COMMANDS.items()}
    ask_sinfo = commands.pop("sinfo")
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
        commands["accounts"].append(f"name={user}")
    except KeyError:  # a user that only the cluster's own directory knows
        user = ""
        del commands["accounts"]
    with ThreadPoolExecutor(len(commands)) as threads:
        found = threads.map(partial(_answer, deadline=deadline), commands.values())
        answers = dict(zip(commands, found, strict=True))
    if not records(answers["partitions"][0] or "", "PartitionName"):
        commands["sinfo"], answers["sinfo"] = ask_sinfo, _answer(ask_sinfo, deadline)
    unanswered = {}
    for name, (_, why) in answers.items():
        if why:
            plain = [word for word in commands[name] if not word.startswith("-")]
            unanswered[" ".join(plain[:3])] = why
    texts = {name: text for name, (text, _) in answers.items()}
    return limits_in(texts, user=user, unanswered=unanswered)


def limits_in(
    texts: Mapping[str, str | None], *, user: str = "", unanswered: dict[str, str] | None = None
) -> SlurmLimits:
    """Return what the answers say, by the names of `_COMMANDS`; the rest is unknown."""
    settings = settings_in(texts.get("settings") or "")
    partitions = partitions_in(texts.get("partitions") or "", texts.get("nodes"), settings)
    if not partitions:
        partitions = partitions_of_sinfo(texts.get("sinfo") or "", settings)
    qos = qos_in(texts.get("qos") or "")
    accounts = accounts_in(texts.get("accounts"), settings.get("ClusterName"))
    needed = {"user": user, "partitions": partitions, "qos": qos, "accounts": accounts is not None}
    unknown = [name for name, value in needed.items() if not value]
    known = {**needed, "accounts": accounts or (), "unanswered": unanswered or {}}
    return _read(SlurmLimits, settings, unknown, **known)


def settings_in(text: str) -> dict[str, str]:
    """Return what ``scontrol show config`` prints, by name."""
    return {row["name"]: row["value"] for row in rows(text, ("name", "value"), "=")}


def partitions_in(
    text: str, nodes_text: str | None, settings: Mapping[str, str]
) -> tuple[PartitionLimits, ...]:
    """Return what ``scontrol --oneliner show`` prints of partitions and nodes; None is unknown."""
    nodes = nodes_in(nodes_text or "")
    found = []
    for record in records(text, "PartitionName"):
        n_nodes = record.get("TotalNodes", "")
        kinds = () if n_nodes == "0" else nodes.get(record["PartitionName"])
        n_listed = sum(kind.n_nodes for kind in kinds or ())  # a site may hide some
        are_all = n_nodes.isdecimal() and n_listed >= int(n_nodes)
        found.append(_partition(record, kinds if are_all else None, settings))
    return tuple(found)


def partitions_of_sinfo(text: str, settings: Mapping[str, str]) -> tuple[PartitionLimits, ...]:
    """Return what ``sinfo`` prints of `_SINFO`: a line for each kind of node in each."""
    lines: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for record in rows(text, _SINFO, SEPARATOR):
        marked = record["PartitionName"]
        record["PartitionName"] = marked.rstrip("*")
        record["Default"] = "YES" if marked.endswith("*") else "NO"
        lines[record["PartitionName"]].append(record)
    return tuple(_partition(same[0], _kinds(same), settings) for same in lines.values())


def nodes_in(text: str) -> dict[str, tuple[NodeKind, ...] | None]:
    """Return the kinds of nodes that ``scontrol --oneliner show node`` prints, by partition."""
    found: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for record in records(text, "NodeName"):
        for partition in names_in(record.get("Partitions", "")):
            found[partition].append(record)
    return {partition: _kinds(same) for partition, same in found.items()}


def qos_in(text: str) -> tuple[QosLimits, ...]:
    """Return what ``sacctmgr -nP show qos`` prints of `_QOS_COLUMNS`."""
    found = []
    for record in rows(text, _QOS_COLUMNS):
        flags = names_in(record["Flags"])
        is_share = "Relative" in flags  # of the cluster, in percent
        known = {key: text for key, text in record.items() if not (is_share and "TRES" in key)}
        found.append(_read(QosLimits, known, name=record["Name"], flags=flags))
    return tuple(qos for qos in found if qos.name)


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
        _read(
            AccountLimits,
            record,
            account=record["Account"],
            partition=name_in(record["Partition"]),
            is_default=record["Account"].casefold() == record["DefaultAccount"].casefold(),
        )
        for record in table
        if record["Cluster"].casefold() in ours
    )
    return None if text.strip() and not found else found


def _read(
    kind: type[_T], record: Mapping[str, str], unknown: Iterable[str] = (), **known: Any
) -> _T:
    """Return what a record says; `unknown` names what it lacks, or says in odd words."""
    lacking = [*unknown]
    for field in attrs.fields(kind):
        if field.metadata:
            try:
                known[field.name] = field.metadata["read"](record[field.metadata["key"]])
            except (KeyError, ValueError):
                lacking.append(field.name)
    return kind(unknown=tuple(lacking), **known)


def _partition(
    record: Mapping[str, str], kinds: tuple[NodeKind, ...] | None, settings: Mapping[str, str]
) -> PartitionLimits:
    if name_in(record.get("DefaultTime", "")) is None:  # a job that names none gets the longest
        record = {**record, "DefaultTime": record.get("MaxTime", "")}
    denied = {}
    for key, ours in (("Accounts", "deny_accounts"), ("Qos", "deny_qos")):
        if f"Deny{key}" in record and f"Allow{key}" not in record:  # Slurm prints one of the two
            record = {**record, f"Allow{key}": "ALL"}
            denied[ours] = names_in(record[f"Deny{key}"])
    memory = _memory(record, settings)
    unknown = [] if kinds is not None else ["node_kinds"]
    unknown += [] if memory is not None else _MEMORY.values()
    known = {"name": record["PartitionName"], "node_kinds": kinds or (), **denied}
    return _read(PartitionLimits, record, unknown, **known, **(memory or {}))


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


def _kinds(listed: Iterable[Mapping[str, str]]) -> tuple[NodeKind, ...] | None:
    """Return the kinds of nodes, each counted, the smallest first; None if not understood."""
    found: dict[Any, NodeKind] = {}
    try:
        for record in listed:
            node = _node(record)
            if before := found.get(_ALIKE(node)):
                counts = {name: getattr(before, name) + getattr(node, name) for name in _COUNTS}
                node = attrs.evolve(node, **counts)
            found[_ALIKE(node)] = node
    except (IndexError, KeyError, ValueError):
        return None
    return tuple(found[kind] for kind in sorted(found) if found[kind].n_nodes)


def _node(record: Mapping[str, str]) -> NodeKind:
    """Return a node of scontrol's, or the nodes of a line of sinfo."""
    state = record.get("#state", record["State"]).upper()
    states = {word.rstrip("*~#!%$@^-") for word in state.split("+")}
    usable = "*" not in state and not states & _UNUSABLE
    idle = usable and not states & _BUSY and bool(states & _FREE)
    n_nodes = int(record.get("#nodes", 1))
    # Since Slurm 22.05 what jobs can have is given beside what there is.
    cpus = int(record.get("CPUEfctv") or record["CPUTot"])
    of_line = record.get("#cpus")
    idle_cpus = int(of_line.split("/")[1] if of_line else max(cpus - int(record["CPUAlloc"]), 0))
    return NodeKind(
        n_nodes=n_nodes,
        n_usable=n_nodes * usable,
        n_idle=n_nodes * idle,
        cpus=cpus,
        memory_mb=int(record["RealMemory"]) - int(record.get("MemSpecLimit") or 0),
        idle_cpus=idle_cpus * usable,
        features=names_in(record["AvailableFeatures"]),
        gres=names_in(re.sub(r"\([^)]*\)", "", record["Gres"])),  # not where on a node
    )


def _answer(command: Sequence[str], deadline: float) -> tuple[str | None, str]:
    """Return what a command printed, or why it gave no answer before the deadline."""
    if shutil.which(command[0]) is None:
        return None, f"there is no {command[0]} on this machine's PATH"
    if (left_s := deadline - time.monotonic()) <= 0:
        return None, "there was no time left for it"
    try:
        text = run_command(*command, timeout_s=left_s)
    except CommandError as error:
        *_, why = ["it failed without a message", *error.text.splitlines()]
        return None, why.strip()
    if not text.strip() and "user" not in command:  # a user may have no account
        return None, "it printed nothing"
    return text, ""
