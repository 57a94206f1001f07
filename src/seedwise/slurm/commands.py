"""Slurm's commands, run in bounded time, and the records and amounts that they write."""

import contextlib
import locale
import math
import os
import re
import signal
import subprocess
from collections.abc import Collection, Mapping

from seedwise.errors.base import masked
from seedwise.model.slurm_time import NO_LIMIT

#: Parts the columns that squeue and sinfo print. A command may be a wrapper that hands its words
#: to a shell again, as ssh does: so no word of a command has a character that means more there.
SEPARATOR = "@@"

_TIMEOUT_S = 8.0
_KILL_WAIT_S = 1.0
_NOT_ENDED = (None, -signal.SIGKILL)  # of a command that was given up

# What a command says when it did not reach Slurm: Slurm's own sentences, the system's words at the
# end of a line, and ours. Nothing looser: a site may word a refusal as "... and try again".
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

# Variables that users set for these commands change what they list, and in which form.
_WISHES = ("SACCT_", "SCANCEL_", "SINFO_", "SQUEUE_", "SLURM_TIME_FORMAT")

# What Slurm writes where there is nothing.
_NOTHING = ("", "(null)", "N/A", "n/a", "NONE", "none")

#: A key and its value; values may hold blanks, and nothing is quoted.
_PAIR = re.compile(r"(?:^|(?<=\s))([A-Za-z]\w*)=(.*?)(?=\s+[A-Za-z]\w*=|\s*$)")

_MEMORY = re.compile(
    r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGTPE])?(?:i?B)?[cn]?", re.ASCII | re.IGNORECASE
)

#: Each is 1024 of the one before.
_UNITS = "KMGTPE"


class CommandError(Exception):
    """A command failed, or gave no answer in time."""

    def __init__(self, text: str) -> None:
        self.text = masked(text.strip())  # a site's wrapper may show the job script
        #: Whether Slurm was not reached, so that nothing is known; otherwise it refused.
        self.unheard = _UNHEARD.search(text) is not None
        super().__init__(self.text)


def run_command(
    *command: str,
    stdin: str = "",
    timeout_s: float = _TIMEOUT_S,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a command and return its output; CommandError if it fails, or takes too long.

    Without `env` it gets this process's environment, but plain English, and without the variables
    that users set for Slurm's commands.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_WISHES)}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=env or {**kept, "LC_ALL": "C"},
            umask=0o077,  # sbatch hands it on to a job's log
            start_new_session=True,  # a Ctrl-C in the terminal must not reach it
        )
    except OSError as error:
        raise CommandError(f"{command[0]} can't be run: {error.strerror}") from error
    try:
        out, err = process.communicate(stdin, timeout=timeout_s)
    except subprocess.TimeoutExpired as late:
        _kill(process)
        out, err = _text(late.output), _text(late.stderr)
        # A site's wrapper may have ended while a child of it holds the pipes open.
        if process.returncode in _NOT_ENDED or (process.returncode == 0 and not out):
            text = f"{command[0]} gave no answer within {timeout_s:.2g} s"
            raise CommandError(text) from None
    except BaseException:
        _kill(process)
        raise
    if process.returncode != 0:
        raise CommandError(err or out or f"{command[0]} exited with {process.returncode}")
    return out


def records(text: str, first_key: str) -> list[dict[str, str]]:
    """Return the records that ``scontrol --oneliner`` printed, each as values by key.

    Each record begins with `first_key`; other lines are a site's greeting. If a key is there
    twice, the first counts: what people write, such as a reason, comes last.
    """
    lines = (line.strip() for line in text.splitlines())
    return [
        dict(reversed(_PAIR.findall(line))) for line in lines if line.startswith(f"{first_key}=")
    ]


def rows(text: str, columns: Collection[str], separator: str = "|") -> list[dict[str, str]]:
    """Return the rows of a table with these columns, without lines that have fewer or more."""
    found = [[word.strip() for word in line.split(separator)] for line in text.splitlines()]
    return [
        dict(zip(columns, words, strict=True)) for words in found if len(words) == len(columns)
    ]


def name_in(text: str) -> str | None:
    """Return a name that Slurm wrote; None if there is none."""
    return None if text in _NOTHING else text


def names_in(text: str) -> tuple[str, ...]:
    """Return the names in a list of Slurm's."""
    return tuple(word for word in text.split(",") if word not in _NOTHING)


def memory_mb(text: str) -> float | None:
    """Return in MB an amount of memory as Slurm writes or reads it; None means no limit.

    A MB is 1024 * 1024 bytes. What ``sacct`` appends, ``n`` for a node and ``c`` for a CPU, is
    ignored. Raises ValueError for anything else, such as ``N/A``.
    """
    text = text.strip()
    if text.upper() in NO_LIMIT:
        return None
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an amount of memory as Slurm writes it, such as 2G")
    power = _UNITS.index((match["unit"] or "M").upper()) - _UNITS.index("M")
    return float(match["number"]) * 1024.0**power


def memory_text(mb: float) -> str:
    """Return memory as Slurm reads it, in whole MB or in the largest unit that is exact."""
    number, unit = math.ceil(mb), "M"
    for larger in "GT":
        if number == 0 or number % 1024:
            break
        number, unit = number // 1024, larger
    return f"{number}{unit}"


def readable_memory(mb: float) -> str:
    """Return memory in MB, GB or TB; it is cut off, because who asks for it must get it."""
    unit = "MB"
    for larger in ("GB", "TB"):
        if mb < 1024:
            break
        mb, unit = mb / 1024, larger
    tenths = int(mb * 10)
    return f"{tenths // 10} {unit}" if tenths % 10 == 0 else f"{tenths / 10} {unit}"


def _text(written: str | bytes | None) -> str:
    """Return the output of a command that was given up, which Python leaves as bytes."""
    if isinstance(written, bytes):
        return written.decode(locale.getpreferredencoding(False), "replace")
    return written or ""


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a command and its children, which hold the pipes open: it may be a site's wrapper.

    First the children: only until it is waited for does its id surely name their group.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):  # the kernel may hold on to it
        process.wait(_KILL_WAIT_S)
