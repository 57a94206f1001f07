"""What a Slurm cluster allows: its partitions and nodes, and this user's accounts and QoS."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs

from seedwise.model.html import columns_html, table_html
from seedwise.model.slurm_time import NO_LIMIT, time_s
from seedwise.slurm.commands import memory_mb, name_in, names_in

_TRUTH = {"YES": True, "NO": False}
_STATES = {name: name for name in ("up", "down", "drain", "inactive")} | {"inact": "inactive"}


def _number(text: str) -> int | None:
    return None if text in ("", *NO_LIMIT) else int(text)


def _allowed(text: str) -> tuple[str, ...] | None:
    return None if text.upper() == "ALL" else names_in(text)


def _tres(key: str, parse: Callable[[str], Any], text: str) -> Any:
    """Return the limit on a resource from a list such as ``cpu=4,mem=8G``; None means no limit."""
    found = dict(word.split("=", 1) for word in names_in(text))
    return parse(found[key]) if key in found else None


def _default_qos(text: str) -> str | None:
    if not text:  # Slurm chooses then
        raise ValueError("nothing")
    return name_in(text)


def _permitted(text: str) -> tuple[str, ...]:
    found = names_in(text)
    # With a sign they are added to, or taken from, a list that is not shown.
    if not found or any(one[0] in "+-" for one in found):
        raise ValueError(text)
    return found


_cpus = partial(_tres, "cpu", int)
_memory_mb = partial(_tres, "mem", memory_mb)


def _said(key: str, read: Callable[[str], Any], default: object = None) -> Any:
    """Return the field of what Slurm says of a key, with how it is read."""
    return attrs.field(default=default, metadata={"key": key, "read": read})


@attrs.frozen(kw_only=True)
class _Facts:
    """Facts of which some may be unknown."""

    #: Names of the attributes that could not be found out; their values say nothing.
    unknown: tuple[str, ...] = ()

    def knows(self, *names: str) -> bool:
        """Tell whether all of these attributes are known.

        Parameters
        ----------
        *names : str
            The attributes' names.

        Returns
        -------
        bool
            False if one of them is unknown.

        Raises
        ------
        AttributeError
            If there is no such attribute.

        Examples
        --------
        >>> qos = QosLimits(name="long", unknown=("max_jobs",))
        >>> qos.knows("max_time_s"), qos.knows("max_time_s", "max_jobs")
        (True, False)
        """
        for name in names:
            getattr(self, name)  # a misspelt name is never among the unknown ones
        return not set(names) & set(self.unknown)


def _columns(facts: Sequence[_Facts], *further: str) -> dict[str, list[object]]:
    """Return the attributes of facts of one kind that say something, by name, for a table."""
    names = [field.name for kind in map(type, facts[:1]) for field in attrs.fields(kind)]
    columns = {
        name: [getattr(one, name) if one.knows(name) else "unknown" for one in facts]
        for name in [*names, *further]
        if name not in ("node_kinds", "unknown")
    }
    return {name: cells for name, cells in columns.items() if any(cells)}


@attrs.frozen(kw_only=True)
class NodeKind:
    """Nodes of a partition that are alike.

    Attributes
    ----------
    n_nodes, n_usable, n_idle : int
        How many there are, how many of them take jobs (neither down nor drained), and how many of
        those run no job now.
    cpus, memory_mb : int
        What a node has for jobs; memory in MB of 1024 * 1024 bytes.
    idle_cpus : int
        CPUs that are free now, summed over the nodes that take jobs.
    features : tuple of str
        What ``--constraint`` can ask for.
    gres : tuple of str
        What ``--gres`` can ask for, with its number, such as ``gpu:a100:4``.
    """

    n_nodes: int
    n_usable: int
    n_idle: int
    cpus: int
    memory_mb: int
    idle_cpus: int = 0
    features: tuple[str, ...] = ()
    gres: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class PartitionLimits(_Facts):
    """What a partition allows.

    Attributes
    ----------
    name : str
        Its name.
    is_default, is_hidden : bool
        Whether jobs that name no partition run here, and whether Slurm hides it from those who
        don't ask for all partitions.
    state : str
        ``up``; ``down``, where jobs wait; ``drain`` or ``inactive``, where they are refused.
    max_time_s, default_time_s : float or None
        The longest walltime of a job, and the walltime of a job that names none, in seconds; None
        means no limit.
    max_memory_per_node_mb, max_memory_per_cpu_mb : float or None
        Memory that a job may have on a node, and for each CPU, in MB of 1024 * 1024 bytes; a job
        that asks for more for a CPU gets more CPUs. None means no limit.
    max_cpus_per_node : int or None
        CPUs that the partition's jobs may have on a node; None means no limit.
    is_exclusive : bool
        Whether each job has its nodes to itself, with all their CPUs.
    qos : str or None
        The QoS whose limits hold for all its jobs; None if there is none.
    allow_accounts, allow_qos, allow_groups : tuple of str or None
        Who may use it; None means all.
    deny_accounts, deny_qos : tuple of str
        Who may not use it.
    node_kinds : tuple of NodeKind
        Its nodes.
    unknown : tuple of str
        Names of the attributes that could not be found out.

    Examples
    --------
    >>> small = NodeKind(n_nodes=8, n_usable=7, n_idle=2, cpus=16, memory_mb=64_000)
    >>> large = NodeKind(n_nodes=2, n_usable=2, n_idle=0, cpus=64, memory_mb=512_000)
    >>> partition = PartitionLimits(name="main", node_kinds=(small, large))
    >>> partition.n_nodes, partition.n_usable, partition.cpus
    (10, 9, (16, 64))
    """

    name: str
    is_default: bool = _said("Default", _TRUTH.__getitem__, False)
    is_hidden: bool = _said("Hidden", _TRUTH.__getitem__, False)
    state: str = _said("State", lambda text: _STATES[text.lower()], "up")
    max_time_s: float | None = _said("MaxTime", time_s)
    default_time_s: float | None = _said("DefaultTime", time_s)
    max_memory_per_node_mb: float | None = None
    max_memory_per_cpu_mb: float | None = None
    max_cpus_per_node: int | None = _said("MaxCPUsPerNode", _number)
    is_exclusive: bool = _said("OverSubscribe", lambda text: text.upper()[:4] == "EXCL", False)
    qos: str | None = _said("QoS", name_in)
    allow_accounts: tuple[str, ...] | None = _said("AllowAccounts", _allowed)
    deny_accounts: tuple[str, ...] = ()
    allow_qos: tuple[str, ...] | None = _said("AllowQos", _allowed)
    deny_qos: tuple[str, ...] = ()
    allow_groups: tuple[str, ...] | None = _said("AllowGroups", _allowed)
    node_kinds: tuple[NodeKind, ...] = ()

    @property
    def n_nodes(self) -> int:
        """How many nodes it has."""
        return sum(kind.n_nodes for kind in self.node_kinds)

    @property
    def n_usable(self) -> int:
        """How many of its nodes take jobs."""
        return sum(kind.n_usable for kind in self.node_kinds)

    @property
    def cpus(self) -> tuple[int, int]:
        """CPUs of the smallest and of the largest node; zeros if there are no nodes."""
        cpus = [kind.cpus for kind in self.node_kinds] or [0]
        return min(cpus), max(cpus)

    @property
    def memory_mb(self) -> tuple[int, int]:
        """Memory of the smallest and of the largest node, in MB; zeros if there are no nodes."""
        memory = [kind.memory_mb for kind in self.node_kinds] or [0]
        return min(memory), max(memory)

    @property
    def features(self) -> tuple[str, ...]:
        """The features of all its nodes, sorted by name."""
        return tuple(sorted({name for kind in self.node_kinds for name in kind.features}))

    @property
    def gres(self) -> tuple[str, ...]:
        """The generic resources of all its nodes, sorted by name."""
        return tuple(sorted({name for kind in self.node_kinds for name in kind.gres}))


@attrs.frozen(kw_only=True)
class QosLimits(_Facts):
    """What a QoS allows each user.

    Attributes
    ----------
    name, priority : str, int
        Its name; jobs of a QoS of higher priority go first.
    max_time_s : float or None
        The longest walltime of a job, in seconds; here and below None means no limit.
    max_jobs, max_submit_jobs : int or None
        How many jobs may run at once, and how many may wait or run at once.
    max_cpus_per_user, max_cpus_per_job : int or None
        CPUs of all jobs that run at once, and of one job.
    max_memory_per_user_mb, max_memory_per_job_mb : float or None
        Memory of all jobs that run at once, and of one job, in MB of 1024 * 1024 bytes.
    flags : tuple of str
        Slurm's names for special rules of this QoS, such as ``DenyOnLimit``.
    unknown : tuple of str
        Names of the attributes that could not be found out.
    """

    name: str
    priority: int = _said("Priority", int, 0)
    max_time_s: float | None = _said("MaxWall", lambda text: time_s(text or "UNLIMITED"))
    max_jobs: int | None = _said("MaxJobsPU", _number)
    max_submit_jobs: int | None = _said("MaxSubmitPU", _number)
    max_cpus_per_user: int | None = _said("MaxTRESPU", _cpus)
    max_cpus_per_job: int | None = _said("MaxTRES", _cpus)
    max_memory_per_user_mb: float | None = _said("MaxTRESPU", _memory_mb)
    max_memory_per_job_mb: float | None = _said("MaxTRES", _memory_mb)
    flags: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class AccountLimits(_Facts):
    """What this user may do with an account: what Slurm calls an association.

    Attributes
    ----------
    account : str
        The account's name.
    partition : str or None
        The only partition that these limits are for; None means all partitions.
    is_default : bool
        Whether jobs that name no account use this one.
    default_qos : str or None
        The QoS of a job that names none; None leaves it to Slurm.
    qos : tuple of str
        The QoS that jobs may ask for.
    max_time_s : float or None
        The longest walltime of a job, in seconds; here and below None means no limit.
    max_jobs, max_submit_jobs : int or None
        How many jobs may run at once, and how many may wait or run at once.
    unknown : tuple of str
        Names of the attributes that could not be found out.
    """

    account: str
    partition: str | None = None
    is_default: bool = False
    default_qos: str | None = _said("DefaultQOS", _default_qos)
    qos: tuple[str, ...] = _said("QOS", _permitted, ())
    max_time_s: float | None = _said("MaxWall", lambda text: time_s(text or "UNLIMITED"))
    max_jobs: int | None = _said("MaxJobs", _number)
    max_submit_jobs: int | None = _said("MaxSubmit", _number)


@attrs.frozen(kw_only=True)
class SlurmLimits(_Facts):
    """What this Slurm cluster allows this user.

    Attributes
    ----------
    cluster, version, user : str
        The cluster's name, the version of Slurm, and the user whose accounts these are.
    partitions, qos : tuple of PartitionLimits, tuple of QosLimits
        The partitions, hidden ones too, and all QoS of the cluster.
    accounts : tuple of AccountLimits
        The accounts that the user may use.
    max_array_size, max_job_count : int or None
        The indices of a job array's tasks are below the first; the second is how many jobs of all
        users the cluster keeps at once. None means no limit.
    enforce : tuple of str
        The rules of accounting that hold: ``associations``, ``limits``, ``qos`` and others.
    enforce_partition_limits : str
        Which of the partitions that a job names must allow it when it is submitted: ``ALL``,
        ``ANY`` or ``NO``.
    submit_plugins, filter_plugins : tuple of str
        The site's own rules, which can change or refuse a job when it is submitted: those of
        Slurm's controller, and those of its commands.
    unanswered : dict of str to str
        Slurm's commands that gave no answer, each with the reason.
    unknown : tuple of str
        Names of the attributes that could not be found out.

    Examples
    --------
    >>> partitions = (PartitionLimits(name="main", is_default=True), PartitionLimits(name="gpu"))
    >>> limits = SlurmLimits(partitions=partitions, qos=(QosLimits(name="long", max_jobs=20),))
    >>> limits.partition(None).name, limits.partition("nosuch")
    ('main', None)
    >>> limits.qos_named("LONG").max_jobs
    20
    """

    cluster: str = _said("ClusterName", str, "")
    version: str = _said("SLURM_VERSION", str, "")
    user: str = ""
    partitions: tuple[PartitionLimits, ...] = ()
    qos: tuple[QosLimits, ...] = ()
    accounts: tuple[AccountLimits, ...] = ()
    max_array_size: int | None = _said("MaxArraySize", _number)
    max_job_count: int | None = _said("MaxJobCount", _number)
    enforce: tuple[str, ...] = _said("AccountingStorageEnforce", names_in, ())
    enforce_partition_limits: str = _said("EnforcePartLimits", str.upper, "NO")
    submit_plugins: tuple[str, ...] = _said("JobSubmitPlugins", names_in, ())
    filter_plugins: tuple[str, ...] = _said("CliFilterPlugins", names_in, ())
    unanswered: dict[str, str] = attrs.field(factory=dict)

    def _repr_html_(self) -> str:
        """Show the partitions, accounts and QoS as tables in a notebook."""
        rows = [(name, cells[0]) for name, cells in _columns([self]).items()]
        partitions = [one for one in self.partitions if not one.is_hidden]
        tables = {
            "partitions": _columns(partitions, "n_nodes", "n_usable", "cpus", "memory_mb"),
            "accounts": _columns(self.accounts),
            "qos": _columns(self.qos),
        }
        about = [row for row in rows if row[0] not in tables or not self.knows(row[0])]
        return table_html(about) + "".join(map(columns_html, tables.values()))

    def partition(self, name: str | None) -> PartitionLimits | None:
        """Return a partition.

        Parameters
        ----------
        name : str or None
            Its name; None means the default partition.

        Returns
        -------
        PartitionLimits or None
            The partition; None if there is none of that name, or it is unknown.
        """
        for partition in self.partitions:
            if partition.name == name or (name is None and partition.is_default):
                return partition
        return None

    def qos_named(self, name: str | None) -> QosLimits | None:
        """Return a QoS.

        Parameters
        ----------
        name : str or None
            Its name, in lower or upper case.

        Returns
        -------
        QosLimits or None
            The QoS; None if `name` is None, there is no QoS of that name, or it is unknown.
        """
        wanted = None if name is None else name.casefold()
        return next((qos for qos in self.qos if qos.name.casefold() == wanted), None)
