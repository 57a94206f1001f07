"""The progress of a run, in lines for a terminal."""

from datetime import UTC, datetime
from pathlib import Path

from seedwise.errors import NotARunError, clean_command, resume_command
from seedwise.folder.directory import RunDirectory, read_events
from seedwise.folder.find import existing_run
from seedwise.model.status import Row, RunStatus, all_rows, validation_words
from seedwise.view.words import aligned

_MOST_LOSSES = 3


def status_lines(
    status: RunStatus, run_dir: Path, *, now_utc: datetime | None = None
) -> list[str]:
    """Return the progress of a run as lines: a table, and how to resume a run that is stopped.

    `run_dir` is the folder of the run or of an entry. Times are shown in local time.
    """
    rows = status_rows(status, run_dir, now_utc or datetime.now(UTC))
    lines = aligned(list(zip(*rows, strict=True)))
    if status.state == "stopped":
        # An entry is resumed as a part of its run.
        lines.append(f"to resume: {resume_command(existing_run(run_dir).home.path)}")
    return lines


def status_rows(status: RunStatus, run_dir: Path, now_utc: datetime) -> list[Row]:
    """Return the progress of a run as rows, each with its name."""
    try:
        directory = existing_run(run_dir)
    except NotARunError:  # to resume it is refused, too
        return all_rows(status, now_utc)
    killed = _killed(directory.home) if status.state == "stopped" else None
    losses = [] if status.state == "finished" else _losses(directory)
    return all_rows(status, now_utc, killed, losses)


def progress_line(status: RunStatus) -> str:
    """Return how far a run is, in a line."""
    line = f"{status.kind}, {status.state}: {status.n_told} of {status.n_trials} trials told"
    if not status.validation_seeds:
        return line
    return f"{line}, validation {validation_words(status)} done"


def _killed(home: RunDirectory) -> str | None:
    """Say that the last driver was killed, which let go of nothing; None if it was not."""
    if not home.lease.exists():
        return None
    if not home.jobs_file.exists():
        return "was killed"
    return f"was killed; jobs may be left: {clean_command(home.path)}"


def _losses(directory: RunDirectory) -> list[Row]:
    """Return why the last driver's most recent workers were lost or refused."""
    try:
        events = read_events(directory)
    except OSError:  # the status is worth more than this row
        return []
    rows: list[Row] = []
    for event in events:
        kind = event.get("kind")
        if kind in ("started", "resumed"):
            rows = []
        elif kind in ("lost", "refused"):
            # In one line, as a log's last line may be more than one.
            words = " ".join(f"{when_words(event.get('at_utc'))} {event.get('text')}".split())
            rows.append((kind, words))
    return rows[-_MOST_LOSSES:]


def when_words(at_utc: object) -> str:
    """Return a time of ISO 8601 in local time; empty if it is none."""
    try:
        return f"{datetime.fromisoformat(str(at_utc)).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return ""
