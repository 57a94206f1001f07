"""What is asked of Slurm, and what can be wrong with it."""

from __future__ import annotations

import attrs

from seedwise.slurm.limits.records import AccountLimits, PartitionLimits, QosLimits, SlurmLimits


@attrs.frozen(kw_only=True)
class Request:
    """What is asked of Slurm for each job, and how many jobs."""

    #: Where the jobs are to run and on whose behalf; None is Slurm's default. A list of partitions
    #: has commas.
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    #: Walltime of a job; None leaves it to Slurm.
    time_s: float | None
    #: Memory of a job, in MB of 1024 * 1024 bytes.
    memory_mb: float
    #: CPUs of a job.
    cpus: int
    #: What is asked of the nodes with ``--constraint``.
    constraint: str | None = None
    #: Jobs that are to run at once.
    n_jobs: int = 1


@attrs.frozen
class Problem:
    """Something that is asked for, and not allowed or not there."""

    #: The keyword to change.
    option: str
    #: What was asked for.
    value: str
    #: What is allowed instead, with figures.
    allowed: str
    #: Whether no job could ever start; else jobs wait longer, or fewer run at once.
    fatal: bool = True

    def __str__(self) -> str:
        """Return all of it in one line."""
        return f"{self.option}: {self.value} asked for, but {self.allowed}"


@attrs.frozen
class Case:
    """A request in one partition, and what limits it."""

    #: What is asked for, and all that is allowed.
    request: Request
    limits: SlurmLimits
    #: What holds there; None is unknown.
    partition: PartitionLimits | None
    account: AccountLimits | None
    qos: QosLimits | None
    #: Name of the QoS; None is unknown.
    qos_name: str | None

    @property
    def named(self) -> str:
        """The partition's name, as the request says it."""
        name = self.partition.name if self.partition else ""
        return name if self.request.partition else f"{name} (the default)"
