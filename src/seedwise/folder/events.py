"""What happened to a run and its workers, for who looks later: a JSON object a line."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seedwise.folder.directory import RunDirectory, utc_now
from seedwise.model.status import PoolNews

_logger = logging.getLogger("seedwise")


class EventLog:
    """Adds lines to a run's log of events. A full disk costs lines, and never the run.

    Parameters
    ----------
    path : pathlib.Path
        The file; it is made with the first line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._has_warned = False

    def write(self, kind: str, text: str) -> None:
        """Add something that happened to the run.

        Parameters
        ----------
        kind : str
            One of ``started``, ``resumed``, ``asked``, ``stopped``, ``failed`` and ``finished``.
        text : str
            What happened, in a sentence without a full stop.
        """
        self.write_news([PoolNews(kind=kind, text=text)])

    def write_news(self, news: Sequence[PoolNews]) -> None:
        """Add what happened to the workers."""
        if not news:
            return
        at_utc = utc_now().isoformat(timespec="milliseconds")
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                for one in news:
                    fields = {"kind": one.kind, "text": one.text, "job_id": one.job_id}
                    line = f"{json.dumps({'at_utc': at_utc, **fields})}\n"
                    # A line that was torn, by a crash or for want of space, is to cost no other.
                    before = b"" if _ends_with_a_line(handle) else b"\n"
                    os.write(handle, before + line.encode())
            finally:
                os.close(handle)
        except OSError as error:
            if not self._has_warned:
                self._has_warned = True
                _logger.warning("events are missing in %s: %s", self._path, error)


def read_events(directory: RunDirectory) -> list[dict[str, Any]]:
    """Read what happened to a run and its workers.

    Parameters
    ----------
    directory : RunDirectory
        The run's folder; that of an entry stands for the run that it is part of.

    Returns
    -------
    list of dict
        The events in their order, each with ``at_utc``, ``kind``, ``text`` and ``job_id``. A line
        that was torn is left out. There are none of a run that was begun by an earlier version.
    """
    try:
        lines = directory.event_log.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [event for line in lines if (event := _parsed(line)) is not None]


def _ends_with_a_line(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return size == 0 or os.pread(handle, 1, size - 1) == b"\n"


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
