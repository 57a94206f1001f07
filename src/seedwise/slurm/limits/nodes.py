"""The nodes that Slurm's commands list, grouped by kind."""

from collections import defaultdict
from collections.abc import Iterable

import attrs

from seedwise.slurm.limits import words
from seedwise.slurm.limits.records import NodeKind

#: A node in one of these states, or marked with a star, starts no job.
_UNUSABLE = {
    "DOWN", "DRAIN", "DRAINED", "DRAINING", "ERROR", "FAIL", "FAILING", "FUTURE", "INVAL",
    "INVALID_REG", "MAINT", "MAINTENANCE", "NO_RESPOND", "NOT_RESPONDING", "UNKNOWN", "UNK",
}  # fmt: skip
_FREE = {"IDLE", "PLANNED"}
_BUSY = {"ALLOCATED", "BLOCKED", "COMPLETING", "MIXED", "REBOOT", "RESERVED"}


def nodes_in(text: str) -> dict[str, tuple[NodeKind, ...] | None]:
    """Return what ``scontrol --oneliner show node`` prints, by partition, as `together` does."""
    found: defaultdict[str, list[NodeKind | None]] = defaultdict(list)
    for record in words.records(text, "NodeName"):
        node = node_in(record)
        for partition in words.names(record.get("Partitions", "")):
            found[partition].append(node)
    return {partition: together(nodes) for partition, nodes in found.items()}


def node_in(record: dict[str, str]) -> NodeKind | None:
    """Return a node of scontrol's, or the nodes of a line of sinfo; None if not understood."""
    try:
        usable, idle = _availability(record.get("#state", record["State"]))
        n_nodes = int(record.get("#nodes", 1))
        # Since Slurm 22.05 what jobs can have is given beside what there is.
        cpus = int(record.get("CPUEfctv") or record["CPUTot"])
        return NodeKind(
            n_nodes=n_nodes,
            n_usable=n_nodes if usable else 0,
            n_idle=n_nodes if idle else 0,
            cpus=cpus,
            memory_mb=int(record["RealMemory"]) - int(record.get("MemSpecLimit") or 0),
            idle_cpus=_idle_cpus(record, cpus) if usable else 0,
            features=words.names(record["AvailableFeatures"]),
            gres=words.gres(record["Gres"]),
        )
    except (IndexError, KeyError, ValueError):
        return None


def together(nodes: Iterable[NodeKind | None]) -> tuple[NodeKind, ...] | None:
    """Return the kinds of nodes, each counted, the smallest first; None if one node is None."""
    alike: defaultdict[NodeKind, list[NodeKind]] = defaultdict(list)
    for node in nodes:
        if node is None:
            return None
        kind = attrs.evolve(node, n_nodes=0, n_usable=0, n_idle=0, idle_cpus=0)
        alike[kind].append(node)
    counted = ("n_nodes", "n_usable", "n_idle", "idle_cpus")
    kinds = [
        attrs.evolve(kind, **{name: sum(getattr(one, name) for one in same) for name in counted})
        for kind, same in alike.items()
    ]
    kinds.sort(key=lambda kind: (kind.cpus, kind.memory_mb, kind.features, kind.gres))
    return tuple(kind for kind in kinds if kind.n_nodes)


def _idle_cpus(record: dict[str, str], cpus: int) -> int:
    if "#cpus" in record:
        return int(record["#cpus"].split("/")[1])
    return max(cpus - int(record["CPUAlloc"]), 0)


def _availability(state: str) -> tuple[bool, bool]:
    """Return whether a node takes jobs, and whether it takes jobs and runs none."""
    states = {word.rstrip("*~#!%$@^-") for word in state.upper().split("+")}
    usable = "*" not in state and not states & _UNUSABLE
    return usable, usable and not states & _BUSY and bool(states & _FREE)
