"""Running a command in bounded time."""

from __future__ import annotations

import contextlib
import locale
import os
import re
import signal
import subprocess
from collections.abc import Mapping

_TIMEOUT_S = 8.0
_KILL_WAIT_S = 1.0
_NOT_ENDED = (None, -signal.SIGKILL)  # when it was given up

# What a command says when Slurm is not heard: Slurm's own sentences, the system's words at the end
# of a line, and ours. A refusal may be in a site's own words, such as "... and try again".
_UNHEARD = re.compile(
    r"unable to contact slurm|socket timed out|connect failure|connection failure|"
    r"zero bytes were transmitted or received|message (?:receive|send) failure|"
    r"slurm controller not responding|slurm backup controller (?:is )?in standby mode|"
    r"slurm temporarily unable to accept job|could not establish a configuration source|"
    r"(?:^|: )(?:connection (?:refused|reset by peer|timed out)|no route to host|"
    r"network is unreachable|transport endpoint is not connected|"
    r"resource temporarily unavailable)\.?\s*$|"
    r"gave no answer within|can't be run",
    re.IGNORECASE | re.MULTILINE,
)

# What a user has set for these commands changes what they list, and in which form.
_WISHES = ("SACCT_", "SCANCEL_", "SINFO_", "SQUEUE_", "SLURM_TIME_FORMAT")


class CommandError(Exception):
    """A command failed, or gave no answer in time.

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


def run_command(
    *command: str,
    stdin: str = "",
    timeout_s: float = _TIMEOUT_S,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a command and return what it wrote to standard output.

    Parameters
    ----------
    *command : str
        The command and its arguments.
    stdin : str
        Its standard input.
    timeout_s : float
        Seconds that it may take.
    env : mapping of str to str or None
        Its environment; None is this process's, in plain English and without what a user has set
        for commands of Slurm's.

    Returns
    -------
    str
        What it wrote.

    Raises
    ------
    CommandError
        If it failed, is not there, or gave no answer in time.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=_plain_environment() if env is None else env,
            start_new_session=True,  # a Ctrl-C in the terminal is not for it
        )
    except OSError as error:
        raise CommandError(f"{command[0]} can't be run: {error.strerror}") from error
    try:
        out, err = process.communicate(stdin, timeout=timeout_s)
    except subprocess.TimeoutExpired as late:
        _kill(process)
        out, err = _text(late.output), _text(late.stderr)
        # A site's wrapper may have ended, and a child of its hold the pipes open.
        if process.returncode in _NOT_ENDED or (process.returncode == 0 and not out):
            text = f"{command[0]} gave no answer within {timeout_s:.2g} s"
            raise CommandError(text) from None
    except BaseException:
        _kill(process)
        raise
    if process.returncode != 0:
        raise CommandError(err or out or f"{command[0]} exited with {process.returncode}")
    return out


def _plain_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_WISHES)}
    return {**kept, "LC_ALL": "C"}


def _text(written: str | bytes | None) -> str:
    """Return what a command wrote until it was given up, which Python leaves as bytes."""
    if isinstance(written, bytes):
        return written.decode(locale.getpreferredencoding(False), "replace")
    return written or ""


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a command and its children, which hold the pipes open: it may be a site's wrapper.

    It is not waited for before: its id names the group of its children for sure only as long.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):  # the kernel may not let go of it
        process.wait(_KILL_WAIT_S)
