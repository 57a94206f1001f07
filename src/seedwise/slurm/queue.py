"""Slurm's own commands, with a time limit on each."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import socket
from collections.abc import Collection

import attrs

from seedwise.errors import OptionError, SlurmNotFoundError
from seedwise.slurm.commands import CommandError, run_command

_TIMEOUT_S = 8.0

_SUBMITTED = re.compile(r"^\s*(?:submitted batch job\s+)?(\d+)(?:;\S*)?\s*$", re.IGNORECASE)
_QUEUE_FORMAT = "%i|%T|%P|%k|%j|%r|%S"

_NOT_NOW = re.compile(
    r"requested node configuration is not available|required node not available|"
    r"requested partition configuration not available|requested nodes are busy",
    re.IGNORECASE,
)

# squeue calls a job that is held after something went wrong by the last three.
_PENDING = {"PENDING", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}

# What the script of a job says: sbatch would have what these say go before it. Or what is known of
# the job that this process is in, and would be taken for the new one's.
_NOT_FOR_SBATCH = frozenset(
    {
        "SBATCH_ARRAY_INX",
        "SBATCH_CLUSTERS",
        "SBATCH_COMMENT",
        "SBATCH_ERROR",
        "SBATCH_INPUT",
        "SBATCH_JOB_NAME",
        "SBATCH_MEM_PER_CPU",
        "SBATCH_MEM_PER_GPU",
        "SBATCH_MEM_PER_NODE",
        "SBATCH_NO_REQUEUE",
        "SBATCH_OPEN_MODE",
        "SBATCH_OUTPUT",
        "SBATCH_REQUEUE",
        "SBATCH_TIMELIMIT",
        "SBATCH_WAIT",
        "SLURM_JOB_END_TIME",
    }
)
_SHORT = {"-A": "ACCOUNT", "-C": "CONSTRAINT", "-G": "GPUS", "-p": "PARTITION", "-q": "QOS"}


@attrs.frozen
class Answer:
    """What ``sbatch --test-only`` answered."""

    #: Whether Slurm would take the job.
    accepted: bool
    #: Its words if not.
    text: str = ""
    #: Whether Slurm was not reached, so that nothing is known.
    unheard: bool = False

    @property
    def waits(self) -> bool:
        """Whether Slurm has no node for the job right now, and would take it all the same.

        ``--test-only`` looks among the nodes that are up, and not reserved. What no node has at
        all it says in the same words.
        """
        return not self.accepted and _NOT_NOW.search(self.text) is not None


@attrs.frozen
class QueuedJob:
    """A job as squeue lists it."""

    #: Its id.
    job_id: str
    #: Its state, such as PENDING or RUNNING.
    state: str
    #: Why it is in that state.
    reason: str = ""
    #: When it started, or will start as far as Slurm knows; ``N/A`` if it does not.
    start: str = "N/A"
    #: Where it waits or runs; a list of partitions, of which any will do, has commas.
    partition: str = ""

    @property
    def is_pending(self) -> bool:
        """Whether it waits to start, be it that somebody has to release it first."""
        return self.state in _PENDING


def require_slurm(interface: str | None) -> None:
    """Refuse to go on without Slurm, or with a network interface that is not there.

    Parameters
    ----------
    interface : str or None
        The interface that jobs and this machine are to share; None leaves it to Dask.

    Raises
    ------
    SlurmNotFoundError
        If there is no ``sbatch``.
    OptionError
        If this machine has no such interface.
    """
    if shutil.which("sbatch") is None:
        raise SlurmNotFoundError("sbatch")
    known = [name for _, name in socket.if_nameindex()]
    if interface is not None and interface not in known:
        raise OptionError("interface", interface, f"one of this machine's: {', '.join(known)}")


def directive_words(script: str) -> list[str]:
    """Return the words of a job script's ``#SBATCH`` lines, as sbatch reads them.

    Parameters
    ----------
    script : str
        The job script. Lines after its first command count for nothing.

    Returns
    -------
    list of str
        The words.

    Raises
    ------
    ValueError
        If a quote is not closed.
    """
    head = itertools.takewhile(lambda line: line.strip()[:1] in ("", "#"), script.splitlines())
    lines = [line.removeprefix("#SBATCH ") for line in head if line.startswith("#SBATCH ")]
    return [word for line in lines for word in shlex.split(line, comments=True)]


def sbatch_environment(script: str) -> dict[str, str]:
    """Return the environment for submitting a job script, which jobs inherit.

    sbatch has variables go before the lines of a script. So what a user has set for all jobs is
    left out where the script says something of its own; elsewhere it holds.

    Parameters
    ----------
    script : str
        The job script.

    Returns
    -------
    dict of str to str
        The variables.
    """
    try:
        words = directive_words(script)
    except ValueError:  # sbatch will say so
        words = []
    said = set(_NOT_FOR_SBATCH)
    for word in words:
        if word.startswith("--"):
            option = word[2:].partition("=")[0]
            said.add(f"SBATCH_{option.replace('-', '_').upper()}")
        elif word[:2] in _SHORT:
            said.add(f"SBATCH_{_SHORT[word[:2]]}")
    return {name: value for name, value in os.environ.items() if name not in said}


def test_submit(script: str) -> Answer:
    """Ask Slurm whether it would take a job script, without submitting it.

    Parameters
    ----------
    script : str
        The job script.

    Returns
    -------
    Answer
        Its answer.
    """
    try:
        run_command("sbatch", "--test-only", stdin=script, env=sbatch_environment(script))
    except CommandError as error:
        return Answer(False, error.text, error.unheard)
    return Answer(True)


def submit_job(script: str) -> str | None:
    """Submit a job.

    Parameters
    ----------
    script : str
        The job script.

    Returns
    -------
    str or None
        The job's id; None if ``sbatch`` says that all went well, and no id: a wrapper may print
        what it likes, and the queue tells whether there is a job.

    Raises
    ------
    CommandError
        If Slurm refuses it, or is not heard; in the latter case there may be a job all the same.
    """
    out = run_command("sbatch", "--parsable", stdin=script, env=sbatch_environment(script))
    ids = [found.group(1) for line in out.splitlines() if (found := _SUBMITTED.match(line))]
    return ids[-1] if ids else None


def list_jobs(
    tag: str,
    known: Collection[str] = (),
    *,
    name: str | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> dict[str, QueuedJob]:
    """Return the jobs of a run that are queued, running or ending, by id.

    Parameters
    ----------
    tag : str
        The run's id, with which the comment of its jobs begins; or the whole comment of those of
        one of its drivers.
    known : collection of str
        Ids of jobs that were submitted for the run, whatever has become of their comment.
    name : str or None
        Name of the run's jobs, which those of `known` must have: ids begin anew when a Slurm is
        set up anew. None passes over `known`.
    timeout_s : float
        Seconds that squeue may take.

    Raises
    ------
    CommandError
        If squeue failed: then nothing is known.
    """
    # All: a job in a hidden partition is hidden from its own user, too.
    out = run_command(
        "squeue", "--all", "--me", "--noheader", f"--format={_QUEUE_FORMAT}", timeout_s=timeout_s
    )
    jobs: dict[str, QueuedJob] = {}
    for line in out.splitlines():
        job_id, *words = line.strip().split("|")
        # A reason may hold the bar; another job's comment may, and a site's banner has none.
        if len(words) < 6:
            continue
        if words[2] == tag or words[2].startswith(f"{tag}."):
            reason_at = 4
        elif name is not None and job_id in known and name in words[3:-2]:
            reason_at = words.index(name, 3) + 1
        else:
            continue
        reason = "|".join(words[reason_at:-1])
        jobs[job_id] = QueuedJob(job_id, words[0], reason, words[-1], words[1])
    return jobs


def scancel(job_ids: list[str], *, timeout_s: float = _TIMEOUT_S) -> None:
    """Cancel jobs; those that are gone already are passed over.

    Raises
    ------
    CommandError
        If Slurm is not heard.
    """
    if not job_ids:
        return
    try:
        run_command("scancel", *job_ids, timeout_s=timeout_s)
    except CommandError as error:
        if error.unheard:
            raise


def cancel_jobs(
    tag: str,
    timeout_s: float = _TIMEOUT_S,
    known: Collection[str] = (),
    *,
    name: str | None = None,
) -> list[str]:
    """Cancel the jobs of a run, say those that a killed driver left.

    Parameters
    ----------
    tag : str
        The run's id, with which the comment of its jobs begins; or the whole comment of those of
        one of its drivers.
    timeout_s : float
        Seconds that each of the two commands may take.
    known : collection of str
        Ids of jobs that were submitted for the run, whatever has become of their comment.
    name : str or None
        Name of the run's jobs, which those of `known` must have. None passes over `known`.

    Returns
    -------
    list of str
        Ids of the cancelled jobs; none where there is no Slurm.

    Raises
    ------
    CommandError
        If there is a Slurm, and it is not heard: then jobs may be left.
    """
    if shutil.which("squeue") is None and shutil.which("sbatch") is None:
        return []
    ids = list(list_jobs(tag, known, name=name, timeout_s=timeout_s))
    scancel(ids, timeout_s=timeout_s)
    return ids
