"""The options of a driver's own Slurm job."""

from datetime import timedelta

from seedwise.model.options import checks
from seedwise.model.options.fields import Forms, Group, options_class, settle
from seedwise.model.slurm_time import as_timedelta, walltime


@options_class
class SubmitOptions:
    """What a driver's job asks for beyond `SlurmOptions`, checked when it is made."""

    walltime: timedelta | None = Group.JOBS.option(
        "timedelta",
        "Walltime of each job, HH:MM:SS; when it is nearly up, a new job resumes the run. Without "
        "it a day, or the partition's limit if that is less.",
        checks.walltime,
        as_timedelta,
        default=None,
        forms=Forms(parse=walltime),
    )
    cpus: int = Group.JOBS.option("int", "CPUs of the job.", checks.positive, default=1)
    memory: str = Group.JOBS.option("str", "Memory of the job.", checks.memory, default="2G")

    def __attrs_post_init__(self) -> None:
        """Convert and check what was given."""
        settle(self)
