"""Slurm's own commands, with a time limit on each."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Collection

import attrs

from seedwise.errors import OptionError, SlurmNotFoundError

__all__ = [
    "Answer",
    "CommandError",
    "QueuedJob",
    "cancel_jobs",
    "list_jobs",
    "require_slurm",
    "run_command",
    "scancel",
    "submit_job",
    "test_submit",
]

_TIMEOUT_S = 8.0

# What a command says when it is not heard, in difference to being refused.
_UNHEARD = re.compile(
    r"unable to contact|connection refused|socket timed out|timed out|connect failure|"
    r"zero bytes were transmitted|communication connection failure|no answer within|"
    r"unable to connect|transport endpoint|slurm controller|try again|temporarily|"
    r"configuration source|can't be run",
    re.IGNORECASE,
)
_SUBMITTED = re.compile(r"^\s*(?:submitted batch job\s+)?(\d+)(?:;\S*)?\s*$", re.IGNORECASE)
_QUEUE_FORMAT = "%i|%T|%k|%r|%S"


class CommandError(Exception):
    """A command of Slurm's failed, or gave no answer in time.

    Attributes
    ----------
    text : str
        What it said.
    unheard : bool
        Whether Slurm was not reached, so that nothing is known; otherwise it refused.
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self.unheard = _UNHEARD.search(text) is not None
        super().__init__(self.text)


@attrs.frozen
class Answer:
    """What ``sbatch --test-only`` answered.

    Attributes
    ----------
    accepted : bool
        Whether Slurm would take the job.
    text : str
        Its words if not.
    unheard : bool
        Whether Slurm was not reached, so that nothing is known.
    """

    accepted: bool
    text: str = ""
    unheard: bool = False


@attrs.frozen
class QueuedJob:
    """A job as squeue lists it.

    Attributes
    ----------
    job_id : str
        Its id.
    state : str
        Its state, such as PENDING or RUNNING.
    reason : str
        Why it is in that state.
    start : str
        When it started, or will start as far as Slurm knows; ``N/A`` if it does not.
    """

    job_id: str
    state: str
    reason: str = ""
    start: str = "N/A"


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


def run_command(*command: str, stdin: str = "", timeout_s: float = _TIMEOUT_S) -> str:
    """Run a command and return what it wrote to standard output.

    Parameters
    ----------
    *command : str
        The command and its arguments.
    stdin : str
        Its standard input.
    timeout_s : float
        Seconds that it may take.

    Raises
    ------
    CommandError
        If it failed, is not there, or gave no answer in time.
    """
    # squeue would leave out what these name.
    env = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**env, "LC_ALL": "C"},
            start_new_session=True,  # a Ctrl-C in the terminal is not for it
        )
    except OSError as error:
        raise CommandError(f"{command[0]} can't be run: {error.strerror}") from error
    try:
        out, err = process.communicate(stdin, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise CommandError(f"{command[0]} gave no answer within {timeout_s:g} s") from None
    finally:
        if process.poll() is None:  # a wrapper's own children hold the pipes open, too
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
    if process.returncode != 0:
        raise CommandError(err or out or f"{command[0]} exited with {process.returncode}")
    return out


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
        run_command("sbatch", "--test-only", stdin=script)
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
    out = run_command("sbatch", "--parsable", stdin=script)
    ids = [found.group(1) for line in out.splitlines() if (found := _SUBMITTED.match(line))]
    return ids[-1] if ids else None


def list_jobs(
    run_id: str, known: Collection[str] = (), *, timeout_s: float = _TIMEOUT_S
) -> dict[str, QueuedJob]:
    """Return the jobs of a run that are queued, running or ending, by id.

    Parameters
    ----------
    run_id : str
        The run's id, which its jobs carry as their comment.
    known : collection of str
        Ids of jobs that are the run's, whatever has become of their comment.
    timeout_s : float
        Seconds that squeue may take.

    Raises
    ------
    CommandError
        If squeue failed: then nothing is known.
    """
    out = run_command(
        "squeue", "--me", "--noheader", f"--format={_QUEUE_FORMAT}", timeout_s=timeout_s
    )
    jobs: dict[str, QueuedJob] = {}
    for line in out.splitlines():
        job_id, *words = line.strip().split("|")
        # A reason may hold the bar; another job's comment may, and a site's banner has none.
        if len(words) < 4 or (words[1] != run_id and job_id not in known):
            continue
        jobs[job_id] = QueuedJob(job_id, words[0], "|".join(words[2:-1]), words[-1])
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


def cancel_jobs(run_id: str, timeout_s: float = _TIMEOUT_S) -> list[str]:
    """Cancel the jobs of a run, say those that a killed driver left.

    Parameters
    ----------
    run_id : str
        The run's id, which its jobs carry as their comment.
    timeout_s : float
        Seconds that each of the two commands may take.

    Returns
    -------
    list of str
        Ids of the cancelled jobs; none where there is no Slurm, or it does not answer.
    """
    try:
        ids = list(list_jobs(run_id, timeout_s=timeout_s))
        scancel(ids, timeout_s=timeout_s)
    except CommandError:
        return []
    return ids
