"""Where a run's work is done, as the `mode` keyword says it."""

import enum

from seedwise.errors import OptionError

_DIRECTION = "direction='minimize' or 'maximize' says which mean loss is best."
_HINTS = {
    **dict.fromkeys(("min", "max", "minimize", "maximize"), _DIRECTION),
    "slurm": "Write mode='distributed', or cluster='slurm'.",
    "local": "Write mode='single', or cluster='local'.",
}


class ExecutionMode(enum.Enum):
    """Where a run's work is done: on this machine, or as Slurm jobs."""

    SINGLE = "single"
    DISTRIBUTED = "distributed"


def execution_mode(mode: str | ExecutionMode) -> ExecutionMode:
    """Turn ``"single"`` or ``"distributed"`` into an `ExecutionMode`.

    Parameters
    ----------
    mode : {"single", "distributed"} or ExecutionMode
        The mode's name, in upper or lower case; an `ExecutionMode` is returned as it is.

    Returns
    -------
    ExecutionMode
        The mode.

    Raises
    ------
    OptionError
        If it is neither; it is a ValueError.

    Examples
    --------
    >>> import seedwise as sw
    >>> sw.execution_mode("single")
    <ExecutionMode.SINGLE: 'single'>
    """
    if isinstance(mode, ExecutionMode):
        return mode
    try:
        return ExecutionMode(str(mode).lower())
    except ValueError:
        hint = _HINTS.get(str(mode).lower(), "")
        raise OptionError("mode", mode, "'single' or 'distributed'", hint) from None
