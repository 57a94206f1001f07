"""What a Slurm job needs beyond a run's own keywords, and what a driver's own job needs."""

import contextlib
import shlex
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from seedwise.model.options import checks
from seedwise.model.options.fields import Group, Options, options_class
from seedwise.model.options.hints import hinted
from seedwise.model.slurm_time import as_timedelta, walltime
from seedwise.model.space import as_tuple


def _lines(value: Any) -> Any:
    return (value,) if isinstance(value, str) else as_tuple(value)


def _command(value: Any) -> Any:
    """Return the words of a command; a file's name is one word, whatever blanks it has."""
    if not isinstance(value, str):
        return as_tuple(value)
    with contextlib.suppress(OSError):  # too long for a path
        if Path(value).is_file():
            return (value,)
    with contextlib.suppress(ValueError):  # a quote is not closed, as the check says
        return tuple(shlex.split(value))
    return value


@options_class
class SlurmOptions(Options):
    """What a Slurm job needs beyond `optimize_run`'s own keywords.

    An option that is None falls back to Dask's configuration (``jobqueue.slurm.*``, in site files
    or ``DASK_JOBQUEUE__SLURM__...`` variables), and then to Slurm's own default.

    Parameters
    ----------
    **options : each described by ``help()``

    Examples
    --------
    >>> import seedwise as sw
    >>> sw.SlurmOptions(partition="cpu", prologue=["module load python"]).partition
    'cpu'
    """

    partition: str | None = Group.JOBS.option("Partition (``sbatch -p``).", default=None)
    account: str | None = Group.JOBS.option("Account (``sbatch -A``).", default=None)
    interface: str | None = Group.JOBS.option(
        "Network interface of the nodes, such as 'ib0', over which they and this machine reach "
        "each other.",
        default=None,
    )
    scheduler_interface: str | None = Group.JOBS.option(
        "The same of this machine, where its name is another. None is `interface`, or what the "
        "site's ``scheduler-options`` say.",
        default=None,
    )
    extra_directives: Sequence[str] | None = Group.JOBS.option(
        "More ``#SBATCH`` options, such as '--gres=gpu:1', instead of the site's.",
        checks.lines,
        _lines,
        type="sequence of str",
        default=None,
        several=True,
    )
    prologue: Sequence[str] | None = Group.JOBS.option(
        "Shell lines that a job runs first, instead of the site's.",
        checks.lines,
        _lines,
        type="sequence of str",
        default=None,
        several=True,
    )
    python: str | Sequence[str] | None = Group.JOBS.option(
        "Python interpreter of the jobs, or a command that starts one, such as 'apptainer exec "
        "image.sif python'. Text is split as a shell does. Variables are those of the node. None "
        "is the interpreter that runs this.",
        checks.command,
        _command,
        type="str or sequence of str",
        default=None,
    )
    local_directory: str | None = Group.JOBS.option(
        "Folder on the nodes for the workers' temporary files.", default=None
    )


SlurmOptions.__init__ = hinted(SlurmOptions.__init__)  # type: ignore[method-assign]


def from_dict(value: Any) -> Any:
    """Return a dict of fields as SlurmOptions; the check says what else is wrong."""
    fields = isinstance(value, Mapping) and all(isinstance(name, str) for name in value)
    return SlurmOptions(**value) if fields else value


slurm_options = checks.allowing(
    lambda value: isinstance(value, SlurmOptions), "a SlurmOptions, a dict of its fields, or None"
)


@options_class
class SubmitOptions(Options):
    """What a driver's job asks for beyond `SlurmOptions`, checked when it is made."""

    walltime: timedelta | None = Group.JOBS.option(
        "Walltime of each job, HH:MM:SS; when it is nearly up, a new job resumes the run. Without "
        "it a day, or the partition's limit if that is less.",
        checks.walltime,
        as_timedelta,
        default=None,
        parse=walltime,
    )
    cpus: int = Group.JOBS.option("CPUs of the job.", default=1)
    memory: str = Group.JOBS.option("Memory of the job.", checks.memory, default="2G")
