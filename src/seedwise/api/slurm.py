"""The function that reads the limits of the Slurm cluster."""

from __future__ import annotations

from seedwise.slurm.limits.read import read_slurm_limits
from seedwise.slurm.limits.records import SlurmLimits


def slurm_limits(*, timeout_s: float = 10) -> SlurmLimits:
    """Return what the Slurm cluster of this machine allows you.

    It asks ``scontrol`` and ``sacctmgr``, or ``sinfo``. A record's `unknown` names what they did
    not answer. A limit of None means no limit.

    Parameters
    ----------
    timeout_s : float
        Seconds that all commands together may take.

    Returns
    -------
    SlurmLimits
        The partitions with their nodes, your accounts, and the QoS.

    Raises
    ------
    SlurmNotFoundError
        If this machine has no Slurm.

    Examples
    --------
    >>> import seedwise as sw
    >>> try:
    ...     partitions = sw.slurm_limits().partitions
    ... except sw.SlurmNotFoundError:  # this is not a login node
    ...     partitions = ()
    >>> for_a_day = [
    ...     partition.name
    ...     for partition in partitions
    ...     if partition.knows("max_time_s") and (partition.max_time_s or 86400) >= 86400
    ... ]
    """
    return read_slurm_limits(timeout_s)
