"""What a Slurm cluster allows: its partitions and nodes, and this user's accounts and QoS.

A limit that is None is none. What could not be found out is named in the record's `unknown`,
and its value there says nothing.
"""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class _Facts:
    """Facts of which some may be unknown.

    Attributes
    ----------
    unknown : tuple of str
        Names of the attributes that could not be found out.
    """

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
            False if one is unknown.

        Raises
        ------
        AttributeError
            If there is no such attribute.
        """
        for name in names:
            getattr(self, name)  # a misspelt name is never among the unknown ones
        return not set(names) & set(self.unknown)


@attrs.frozen(kw_only=True)
class NodeKind:
    """Nodes of a partition that are alike.

    Attributes
    ----------
    n_nodes, n_usable, n_idle : int
        How many there are, how many of them take jobs (neither down nor drained), and how many of
        those run none now.
    cpus, memory_mb : int
        What a node has for jobs; memory in MB of 1024 * 1024 bytes.
    idle_cpus : int
        How many CPUs of those that take jobs are free now, in all.
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
        Whether a job that names no partition comes here, and whether Slurm lists it to all.
    state : str
        ``up``; ``down``, where jobs wait; ``drain`` or ``inactive``, where they are refused.
    max_time_s, default_time_s : float or None
        Walltime that a job may have, and has if it names none; None is no limit.
    max_memory_per_node_mb, max_memory_per_cpu_mb : float or None
        Memory that a job may have on a node, and for a CPU: a job that asks for more a CPU is
        given more CPUs. None is no limit.
    max_cpus_per_node : int or None
        CPUs that the partition's jobs may have on a node; None is no limit.
    is_exclusive : bool
        Whether each job has its nodes to itself, with all their CPUs.
    qos : str or None
        The QoS whose limits all its jobs have; None is none.
    allow_accounts, allow_qos, allow_groups : tuple of str or None
        Who may use it; None is all.
    deny_accounts, deny_qos : tuple of str
        Who may not.
    node_kinds : tuple of NodeKind
        Its nodes.
    unknown : tuple of str
        Names of the attributes that could not be found out.
    """

    name: str
    is_default: bool = False
    is_hidden: bool = False
    state: str = "up"
    max_time_s: float | None = None
    default_time_s: float | None = None
    max_memory_per_node_mb: float | None = None
    max_memory_per_cpu_mb: float | None = None
    max_cpus_per_node: int | None = None
    is_exclusive: bool = False
    qos: str | None = None
    allow_accounts: tuple[str, ...] | None = None
    deny_accounts: tuple[str, ...] = ()
    allow_qos: tuple[str, ...] | None = None
    deny_qos: tuple[str, ...] = ()
    allow_groups: tuple[str, ...] | None = None
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
        """CPUs of the smallest and of the largest node; zeros without nodes."""
        cpus = [kind.cpus for kind in self.node_kinds] or [0]
        return min(cpus), max(cpus)

    @property
    def memory_mb(self) -> tuple[int, int]:
        """Memory of the smallest and of the largest node, in MB; zeros without nodes."""
        memory = [kind.memory_mb for kind in self.node_kinds] or [0]
        return min(memory), max(memory)

    @property
    def features(self) -> tuple[str, ...]:
        """The features of all its nodes, in order."""
        return tuple(sorted({name for kind in self.node_kinds for name in kind.features}))

    @property
    def gres(self) -> tuple[str, ...]:
        """The generic resources of all its nodes, in order."""
        return tuple(sorted({name for kind in self.node_kinds for name in kind.gres}))


@attrs.frozen(kw_only=True)
class QosLimits(_Facts):
    """What a QoS allows, to each user.

    Attributes
    ----------
    name : str
        Its name.
    priority : int
        Jobs of a QoS of higher priority go first.
    max_time_s : float or None
        Walltime that a job may have; here and below None is no limit.
    max_jobs, max_submit_jobs : int or None
        Jobs that may run at once, and that may wait or run at once.
    max_cpus_per_user, max_cpus_per_job : int or None
        CPUs that the jobs that run at once may have together, and that one may have.
    max_memory_per_user_mb, max_memory_per_job_mb : float or None
        The same of memory.
    flags : tuple of str
        Slurm's names for the ways in which it differs, such as ``DenyOnLimit``.
    unknown : tuple of str
        Names of the attributes that could not be found out.
    """

    name: str
    priority: int = 0
    max_time_s: float | None = None
    max_jobs: int | None = None
    max_submit_jobs: int | None = None
    max_cpus_per_user: int | None = None
    max_cpus_per_job: int | None = None
    max_memory_per_user_mb: float | None = None
    max_memory_per_job_mb: float | None = None
    flags: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class AccountLimits(_Facts):
    """What this user may do with an account: what Slurm calls an association.

    Attributes
    ----------
    account : str
        The account.
    partition : str or None
        The only partition that this is about; None is all.
    is_default : bool
        Whether it is the account of a job that names none.
    default_qos : str or None
        The QoS of a job that names none; None leaves it to Slurm.
    qos : tuple of str
        The QoS that may be asked for.
    max_time_s : float or None
        Walltime that a job may have; here and below None is no limit.
    max_jobs, max_submit_jobs : int or None
        Jobs that may run at once, and that may wait or run at once.
    unknown : tuple of str
        Names of the attributes that could not be found out.
    """

    account: str
    partition: str | None = None
    is_default: bool = False
    default_qos: str | None = None
    qos: tuple[str, ...] = ()
    max_time_s: float | None = None
    max_jobs: int | None = None
    max_submit_jobs: int | None = None


@attrs.frozen(kw_only=True)
class SlurmLimits(_Facts):
    """What this Slurm allows this user.

    Attributes
    ----------
    cluster, version : str
        The cluster's name, and the version of Slurm.
    user : str
        Whose accounts these are.
    partitions : tuple of PartitionLimits
        The partitions, hidden ones too.
    qos : tuple of QosLimits
        All QoS of the cluster.
    accounts : tuple of AccountLimits
        The accounts that the user may use.
    max_array_size, max_job_count : int or None
        The index that no task of a job array reaches, and the jobs that the cluster keeps at
        once, those of all users.
    enforce : tuple of str
        Which rules of accounting hold, of ``associations``, ``limits``, ``qos`` and more.
    enforce_partition_limits : str
        Which partitions' limits a job must keep when it is submitted, of those that it names:
        ``ALL``, ``ANY`` or ``NO``.
    submit_plugins, filter_plugins : tuple of str
        The site's own rules, which can change or refuse a job when it is submitted: those of
        Slurm's controller, and those of its commands.
    unanswered : dict of str to str
        Commands of Slurm that gave no answer, and why.
    unknown : tuple of str
        Names of the attributes that could not be found out.
    """

    cluster: str = ""
    version: str = ""
    user: str = ""
    partitions: tuple[PartitionLimits, ...] = ()
    qos: tuple[QosLimits, ...] = ()
    accounts: tuple[AccountLimits, ...] = ()
    max_array_size: int | None = None
    max_job_count: int | None = None
    enforce: tuple[str, ...] = ()
    enforce_partition_limits: str = "NO"
    submit_plugins: tuple[str, ...] = ()
    filter_plugins: tuple[str, ...] = ()
    unanswered: dict[str, str] = attrs.field(factory=dict)

    def partition(self, name: str | None) -> PartitionLimits | None:
        """Return a partition.

        Parameters
        ----------
        name : str or None
            Its name; None is the default partition.

        Returns
        -------
        PartitionLimits or None
            The partition; None if there is none such, or it is unknown.
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
            Its name, in small or capital letters.

        Returns
        -------
        QosLimits or None
            The QoS; None if there is none such, or it is unknown.
        """
        for qos in self.qos:
            if name is not None and qos.name.casefold() == name.casefold():
                return qos
        return None
