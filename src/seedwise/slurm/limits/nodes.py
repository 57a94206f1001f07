"""The nodes that Slurm's commands list, grouped by kind."""

from __future__ import annotations

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
        try:
            node = _node(record)
        except (KeyError, ValueError):
            node = None
        for partition in words.names(record.get("Partitions", "")):
            found[partition].append(node)
    return {partition: together(nodes) for partition, nodes in found.items()}


def node_of_sinfo(record: dict[str, str]) -> NodeKind | None:
    """Return the nodes of a line of ``sinfo``; None if they are not understood."""
    usable, idle = _availability(record["node_state"])
    try:
        n_nodes = int(record["nodes"])
        return NodeKind(
            n_nodes=n_nodes,
            n_usable=n_nodes if usable else 0,
            n_idle=n_nodes if idle else 0,
            cpus=int(record["cpus"]),
            memory_mb=int(record["mem"]),
            idle_cpus=int(record["cpu_states"].split("/")[1]) if usable else 0,
            features=words.names(record["features"]),
            gres=words.gres(record["gres"]),
        )
    except (IndexError, ValueError):
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


def _node(record: dict[str, str]) -> NodeKind:
    usable, idle = _availability(record["State"])
    # Since Slurm 22.05 what jobs can have is given beside what there is.
    cpus = int(record.get("CPUEfctv") or record["CPUTot"])
    reserved_mb = int(record.get("MemSpecLimit") or 0)
    return NodeKind(
        n_nodes=1,
        n_usable=int(usable),
        n_idle=int(idle),
        cpus=cpus,
        memory_mb=int(record["RealMemory"]) - reserved_mb,
        idle_cpus=max(cpus - int(record["CPUAlloc"]), 0) if usable else 0,
        features=words.names(record["AvailableFeatures"]),
        gres=words.gres(record["Gres"]),
    )


def _availability(state: str) -> tuple[bool, bool]:
    """Return whether a node takes jobs, and whether it takes jobs and runs none."""
    states = {word.rstrip("*~#!%$@^-") for word in state.upper().split("+")}
    usable = "*" not in state and not states & _UNUSABLE
    return usable, usable and not states & _BUSY and bool(states & _FREE)
