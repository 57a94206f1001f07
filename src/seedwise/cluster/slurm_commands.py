"""Slurm's own commands, with a time limit on each."""

from __future__ import annotations

import shutil
import socket
import subprocess

import attrs

from seedwise.errors import OptionError, SlurmNotFoundError

__all__ = ["Answer", "cancel_jobs", "require_slurm", "test_submit"]

_TIMEOUT_S = 30


@attrs.frozen
class Answer:
    """What a command answered."""

    accepted: bool
    text: str


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


def test_submit(script: str) -> Answer:
    """Ask Slurm whether it would take a job script, without submitting it.

    Parameters
    ----------
    script : str
        The job script.

    Returns
    -------
    Answer
        Whether Slurm would take it, and its words if not.
    """
    try:
        done = subprocess.run(
            ["sbatch", "--test-only"],
            input=script,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(False, f"sbatch --test-only gave no answer within {_TIMEOUT_S} s")
    return Answer(done.returncode == 0, done.stderr.strip())


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
        listed = _call(timeout_s, "squeue", "--me", "--noheader", "--format=%i %k")
        lines = [line.split(maxsplit=1) for line in listed.splitlines()]
        ids = [words[0] for words in lines if words[1:] == [run_id]]
        if ids:
            _call(timeout_s, "scancel", *ids)
    except (OSError, subprocess.SubprocessError):
        return []
    return ids


def _call(timeout_s: float, *command: str) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=True,
        start_new_session=True,  # a Ctrl-C in the terminal is not for it
    )
    return done.stdout
