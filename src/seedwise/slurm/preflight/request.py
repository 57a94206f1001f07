"""A request for Slurm jobs, and what can be wrong with it."""

import attrs

from seedwise.slurm.limits.records import AccountLimits, PartitionLimits, QosLimits, SlurmLimits


@attrs.frozen(kw_only=True)
class Request:
    """What is asked of Slurm for each job, and how many jobs."""

    #: Several are parted by commas; here and below None means Slurm's default.
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    #: Walltime of a job.
    time_s: float | None
    #: Memory of a job, in MB of 1024 * 1024 bytes.
    memory_mb: float
    cpus: int
    #: What ``--constraint`` asks of the nodes; None if nothing.
    constraint: str | None = None
    #: Jobs that are to run at once.
    n_jobs: int = 1


@attrs.frozen
class Problem:
    """Something that is asked for but not allowed, or not there."""

    #: The keyword to change.
    option: str
    value: str
    #: What is allowed instead, with figures.
    allowed: str
    #: Whether no job could ever start; otherwise jobs wait longer, or fewer run at once.
    fatal: bool = True

    def __str__(self) -> str:
        """Return the whole problem in one line."""
        return f"{self.option}: {self.value} asked for, but {self.allowed}"


@attrs.frozen
class Case:
    """A request in one partition, and what limits it."""

    request: Request
    limits: SlurmLimits
    #: Here and below None means unknown.
    partition: PartitionLimits | None
    account: AccountLimits | None
    qos: QosLimits | None
    qos_name: str | None

    @property
    def named(self) -> str:
        """The partition's name, marked if the request leaves it to Slurm's default."""
        name = self.partition.name if self.partition else ""
        return name if self.request.partition else f"{name} (the default)"
