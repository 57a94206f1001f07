"""The end of a job's log."""

import os
import re
from pathlib import Path

from seedwise.errors.base import masked

_TAIL_BYTES = 64 * 1024
_LINE_CHARS = 1000

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles and links
    r"|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)


def log_tail(log_dir: Path, job_id: str, n_lines: int = 20) -> str:
    """Return the last lines of a job's error log, or of its output if it has no errors."""
    return "\n".join(last_lines(log_dir, job_id)[1][-n_lines:])


def last_lines(log_dir: Path, job_id: str) -> tuple[Path | None, list[str]]:
    """Return the log that says something, and its last lines; None and none if there is none."""
    for suffix in (".err", ".out"):
        path = log_dir / f"{job_id}{suffix}"
        lines = _read_end(path)
        if lines:
            return path, lines
    return None, []


def _read_end(path: Path) -> list[str]:
    try:
        if not path.is_file():  # reading a pipe would wait for a writer
            return []
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES)
            file.seek(start)
            data = file.read(_TAIL_BYTES)
    except OSError:
        return []
    lines = masked(data.decode(errors="replace")).split("\n")
    if start > 0 and len(lines) > 1:
        del lines[0]  # its beginning is cut off
    # A progress bar overwrites its line from the start.
    shown = [_ESCAPES.sub("", line.rstrip("\r").rpartition("\r")[2]) for line in lines]
    shown = [line if len(line) <= _LINE_CHARS else line[:_LINE_CHARS] + "…" for line in shown]
    while shown and not shown[-1].strip():
        shown.pop()
    return shown
