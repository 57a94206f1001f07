"""What a Slurm job needs beyond a run's own keywords."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from seedwise.model.options import checks
from seedwise.model.options.fields import documented, option, settle


def _lines(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


@documented
@attrs.frozen(kw_only=True)
class SlurmOptions:
    """What a Slurm job needs beyond `optimize_run`'s own keywords.

    An option that is None falls back to Dask's configuration (``jobqueue.slurm.*``, in site files
    or ``DASK_JOBQUEUE__SLURM__...`` variables), and then to Slurm's own default.

    Parameters
    ----------
    {options}

    Examples
    --------
    >>> import seedwise as sw
    >>> sw.SlurmOptions(partition="cpu", prologue=["module load python"]).partition
    'cpu'
    """

    partition: str | None = option(None, "str", "Partition (``sbatch -p``).", checks.text)
    account: str | None = option(None, "str", "Account (``sbatch -A``).", checks.text)
    interface: str | None = option(
        None,
        "str",
        "Network interface that the jobs and the login node share, such as 'ib0'.",
        checks.text,
    )
    extra_directives: Sequence[str] | None = option(
        None,
        "sequence of str",
        "More ``#SBATCH`` options, such as '--gres=gpu:1', instead of the site's.",
        checks.lines,
        _lines,
    )
    prologue: Sequence[str] | None = option(
        None,
        "sequence of str",
        "Shell lines that a job runs first, instead of the site's.",
        checks.lines,
        _lines,
    )
    python: str | None = option(
        None, "str", "Python interpreter of the jobs; None is the one that runs this.", checks.text
    )
    local_directory: str | None = option(
        None, "str", "Folder on the nodes for the workers' temporary files.", checks.text
    )

    def __attrs_post_init__(self) -> None:
        """Convert and check what was given."""
        settle(self)
