"""What is asked of Slurm, and what can be wrong with it."""

from __future__ import annotations

import attrs

from seedwise.slurm.limits.records import AccountLimits, PartitionLimits, QosLimits, SlurmLimits

__all__ = ["Case", "Problem", "Request"]


@attrs.frozen(kw_only=True)
class Request:
    """What is asked of Slurm for each job, and how many jobs.

    Attributes
    ----------
    partition, account, qos : str or None
        Where the jobs are to run and on whose behalf; None is Slurm's default. A list of
        partitions has commas.
    time_s : float or None
        Walltime of a job; None leaves it to Slurm.
    memory_mb : float
        Memory of a job, in MB of 1024 * 1024 bytes.
    cpus : int
        CPUs of a job.
    constraint : str or None
        What is asked of the nodes with ``--constraint``.
    n_jobs : int
        Jobs that are to run at once.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time_s: float | None
    memory_mb: float
    cpus: int
    constraint: str | None = None
    n_jobs: int = 1


@attrs.frozen
class Problem:
    """Something that is asked for, and not allowed or not there.

    Attributes
    ----------
    option : str
        The keyword to change.
    value : str
        What was asked for.
    allowed : str
        What is allowed instead, with figures.
    fatal : bool
        Whether no job could ever start; else jobs wait longer, or fewer run at once.
    """

    option: str
    value: str
    allowed: str
    fatal: bool = True

    def __str__(self) -> str:
        """Return all of it in one line."""
        return f"{self.option}: {self.value} asked for, but {self.allowed}"


@attrs.frozen
class Case:
    """A request in one partition, and what limits it.

    Attributes
    ----------
    request, limits : Request, SlurmLimits
        What is asked for, and all that is allowed.
    partition, account, qos : PartitionLimits, AccountLimits and QosLimits, or None
        What holds there; None is unknown.
    qos_name : str or None
        Name of the QoS; None is unknown.
    """

    request: Request
    limits: SlurmLimits
    partition: PartitionLimits | None
    account: AccountLimits | None
    qos: QosLimits | None
    qos_name: str | None

    @property
    def named(self) -> str:
        """The partition's name, as the request says it."""
        name = self.partition.name if self.partition else ""
        return name if self.request.partition else f"{name} (the default)"
