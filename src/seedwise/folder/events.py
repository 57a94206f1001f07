"""The log of events of a run and its workers: a JSON object a line."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seedwise.disk.lines import append_lines, read_lines
from seedwise.folder.directory import RunDirectory, utc_now
from seedwise.model.status import PoolNews

_logger = logging.getLogger("seedwise")


class EventLog:
    """Appends lines to a run's log of events. A full disk costs lines, and never the run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._has_warned = False

    def write(self, kind: str, text: str) -> None:
        """Add something that happened to the run, in a sentence without a full stop."""
        self.write_news([PoolNews(kind=kind, text=text)])

    def write_news(self, news: Sequence[PoolNews]) -> None:
        """Add what happened to the workers."""
        if not news:
            return
        at_utc = utc_now().isoformat(timespec="milliseconds")
        events = [
            {"at_utc": at_utc, "kind": one.kind, "text": one.text, "job_id": one.job_id}
            for one in news
        ]
        try:
            append_lines(self._path, events)
        except OSError as error:
            if not self._has_warned:
                self._has_warned = True
                _logger.warning("events are missing in %s: %s", self._path, error)


def read_events(directory: RunDirectory) -> list[dict[str, Any]]:
    """Read the events of a run, or of an entry's run, in their order, without torn lines."""
    return read_lines(directory.event_log)
