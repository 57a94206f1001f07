"""The options of a driver's own Slurm job."""

from __future__ import annotations

from datetime import timedelta

import attrs

from seedwise.model.options import checks
from seedwise.model.options.fields import Forms, option, settle
from seedwise.model.options.work import WorkOptions

_WALLTIME = attrs.fields(WorkOptions).worker_time_limit.metadata


@attrs.frozen(kw_only=True)
class SubmitOptions:
    """What a driver's job asks for beyond `SlurmOptions`, checked when it is made."""

    walltime: timedelta | None = option(
        None,
        "timedelta",
        "Walltime of each job, HH:MM:SS; when it is nearly up, a new job resumes the run. Without "
        "it a day, or the partition's limit if that is less.",
        _WALLTIME["check"],
        _WALLTIME["convert"],
        Forms(parse=_WALLTIME["parse"]),
    )
    cpus: int = option(1, "int", "CPUs of the job.", checks.positive)
    memory: str = option("2G", "str", "Memory of the job.", checks.memory)

    def __attrs_post_init__(self) -> None:
        """Convert and check what was given."""
        settle(self)
