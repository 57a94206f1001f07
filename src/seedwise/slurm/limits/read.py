"""What Slurm allows here, read from its commands in bounded time."""

import os
import pwd
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

from seedwise.errors import SlurmNotFoundError
from seedwise.slurm.commands import CommandError, run_command
from seedwise.slurm.limits.answers import (
    ACCOUNT_FORMAT,
    QOS_FORMAT,
    SINFO_FORMAT,
    limits_in,
    partitions_in,
)
from seedwise.slurm.limits.records import SlurmLimits

#: With ``--all``, so that partitions that are hidden or for other groups don't seem to be missing.
_COMMANDS = {
    "partitions": ("scontrol", "--all", "--oneliner", "show", "partition"),
    "nodes": ("scontrol", "--all", "--oneliner", "show", "node"),
    "settings": ("scontrol", "show", "config"),
    "qos": ("sacctmgr", "-n", "-P", "show", "qos", f"format={QOS_FORMAT}"),
    "accounts": ("sacctmgr", "-n", "-P", "show", "user", "withassoc", f"format={ACCOUNT_FORMAT}"),
}
_SINFO = ("sinfo", "--all", "--noheader", "--exact", f"--format={SINFO_FORMAT}")


def slurm_limits(*, timeout_s: float = 10) -> SlurmLimits:
    """Return what the Slurm cluster of this machine allows you.

    It asks ``scontrol`` and ``sacctmgr``, or ``sinfo``. A record's `unknown` names what they did
    not answer. A limit of None means no limit.

    Parameters
    ----------
    timeout_s : float
        Seconds that all commands together may take; what is not answered by then is unknown.

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
    if shutil.which("scontrol") is None and shutil.which("sinfo") is None:
        raise SlurmNotFoundError("scontrol or sinfo")
    deadline = time.monotonic() + timeout_s
    commands = dict(_COMMANDS)
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
        commands["accounts"] = (*commands["accounts"], f"name={user}")
    except KeyError:  # a user that only the cluster's own directory knows
        user = ""
        del commands["accounts"]
    with ThreadPoolExecutor(len(commands)) as threads:
        found = threads.map(lambda name: _answer(commands[name], deadline), commands)
        answers = dict(zip(commands, found, strict=True))
    if not partitions_in(answers["partitions"][0] or "", None, {}):
        commands["sinfo"] = _SINFO
        answers["sinfo"] = _answer(_SINFO, deadline)
    unanswered = {_short(commands[name]): why for name, (_, why) in answers.items() if why}
    texts = {name: text for name, (text, _) in answers.items()}
    return limits_in(texts, user=user, unanswered=unanswered)


def _short(command: tuple[str, ...]) -> str:
    return " ".join([word for word in command if not word.startswith("-")][:3])


def _answer(command: tuple[str, ...], deadline: float) -> tuple[str | None, str]:
    """Return what a command printed, or why it gave no answer before the deadline."""
    left_s = deadline - time.monotonic()
    if shutil.which(command[0]) is None:
        return None, f"there is no {command[0]} on this machine's PATH"
    if left_s <= 0:
        return None, "there was no time left for it"
    try:
        text = run_command(*command, timeout_s=left_s)
    except CommandError as error:
        *_, why = ["it failed without a message", *error.text.splitlines()]
        return None, why.strip()
    if not text.strip() and "user" not in command:  # a user may have no account
        return None, "it printed nothing"
    return text, ""
