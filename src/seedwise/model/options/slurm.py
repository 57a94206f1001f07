"""What a Slurm job needs beyond a run's own keywords."""

import contextlib
import functools
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from seedwise.model.options import checks
from seedwise.model.options.fields import Forms, Group, keyword_names, options_class, settle
from seedwise.model.options.hints import refuse_unknown

T = TypeVar("T", bound=type)


def _lines(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _command(value: Any) -> Any:
    """Return the words of a command; a file's name is one word, whatever blanks it has."""
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, list) else value
    with contextlib.suppress(OSError):  # too long for a path
        if Path(value).is_file():
            return (value,)
    try:
        return tuple(shlex.split(value))
    except ValueError:  # a quote is not closed, as the check says
        return value


def _refusing_unknown(options: T) -> T:
    """Have a class name what to use instead of a keyword that it does not have."""
    kind: Any = options
    make = kind.__init__

    @functools.wraps(make)
    def init(self: Any, *args: Any, **keywords: Any) -> None:
        refuse_unknown(keywords, keyword_names(options))
        make(self, *args, **keywords)

    kind.__init__ = init
    return options


@_refusing_unknown
@options_class
class SlurmOptions:
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

    partition: str | None = Group.JOBS.option(
        "str", "Partition (``sbatch -p``).", checks.text, default=None
    )
    account: str | None = Group.JOBS.option(
        "str", "Account (``sbatch -A``).", checks.text, default=None
    )
    interface: str | None = Group.JOBS.option(
        "str",
        "Network interface of the nodes, such as 'ib0', over which they and this machine reach "
        "each other.",
        checks.text,
        default=None,
    )
    scheduler_interface: str | None = Group.JOBS.option(
        "str",
        "The same of this machine, where its name is another. None is `interface`, or what the "
        "site's ``scheduler-options`` say.",
        checks.text,
        default=None,
    )
    extra_directives: Sequence[str] | None = Group.JOBS.option(
        "sequence of str",
        "More ``#SBATCH`` options, such as '--gres=gpu:1', instead of the site's.",
        checks.lines,
        _lines,
        default=None,
        forms=Forms(several=True),
    )
    prologue: Sequence[str] | None = Group.JOBS.option(
        "sequence of str",
        "Shell lines that a job runs first, instead of the site's.",
        checks.lines,
        _lines,
        default=None,
        forms=Forms(several=True),
    )
    python: str | Sequence[str] | None = Group.JOBS.option(
        "str or sequence of str",
        "Python interpreter of the jobs, or a command that starts one, such as 'apptainer exec "
        "image.sif python'. Text is split as a shell does. Variables are those of the node. None "
        "is the interpreter that runs this.",
        checks.command,
        _command,
        default=None,
    )
    local_directory: str | None = Group.JOBS.option(
        "str", "Folder on the nodes for the workers' temporary files.", checks.text, default=None
    )

    def __attrs_post_init__(self) -> None:
        """Convert and check what was given."""
        settle(self)


def from_dict(value: Any) -> Any:
    """Return a dict of fields as SlurmOptions; the check says what else is wrong."""
    fields = isinstance(value, Mapping) and all(isinstance(name, str) for name in value)
    return SlurmOptions(**value) if fields else value


slurm_options = checks.allowing(
    lambda value: isinstance(value, SlurmOptions), "a SlurmOptions, a dict of its fields, or None"
)
