"""How far a run is, in lines for a terminal; and columns as lines."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from seedwise.errors import NotARunError, clean_command, resume_command
from seedwise.folder.directory import RunDirectory, read_events
from seedwise.folder.find import existing_run
from seedwise.model.status import (
    Row,
    RunStatus,
    all_rows,
    figure_rows,
    pool_rows,
    validation_words,
)

_MOST_LOSSES = 3


def bars(status: RunStatus) -> list[tuple[str, int, int, str]]:
    """Return the bars of a run: a title, how many are done, of how many, and words that say so."""
    told = [f"{status.n_told} of {status.n_trials} told"]
    told += [f"{status.failed} failed"] if status.failed else []
    told += [f"{status.pruned} pruned"] if status.pruned else []
    shown = [("trials", status.n_told, status.n_trials, ", ".join(told))]
    if status.running_seeds:
        done, total, n_trials = status.running_seeds_done, status.running_seeds, status.running
        words = f"{done} of {total} seeds of {n_trials} trial{'' if n_trials == 1 else 's'}"
        shown.append(("running", done, total, words))
    if status.validation_seeds:
        done, total = status.validation_seeds_done, status.validation_seeds
        shown.append(("validation", done, total, validation_words(status)))
    return shown


def live_rows(status: RunStatus) -> list[Row]:
    """Return the rows below the bars: how quick the run is, its best, and its workers."""
    now_utc = datetime.now(UTC)
    rows = [*figure_rows(status, now_utc), *pool_rows(status, now_utc)]
    return [row for row in rows if row[0] != "excluded"]  # each is said when it happens


def aligned(
    columns: Sequence[Sequence[str]], align: Callable[[str, int], str] = str.ljust
) -> list[str]:
    """Return columns as lines."""
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(align(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]


def cut(text: str, width: int) -> str:
    """Return a text, cut to a width."""
    return text if len(text) <= width else f"{text[: width - 3]}..."


def status_lines(
    status: RunStatus, run_dir: Path, *, now_utc: datetime | None = None
) -> list[str]:
    """Return the progress of a run, or an entry: a table, and how to resume it if stopped."""
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
    killed, home = None, directory.home
    if status.state == "stopped" and home.lease.exists():  # its driver would have removed it
        left = f"; jobs may be left: {clean_command(home.path)}"
        killed = f"was killed{left if home.jobs_file.exists() else ''}"
    losses = [] if status.state == "finished" else _losses(directory)
    return all_rows(status, now_utc, killed, losses)


def progress_line(status: RunStatus) -> str:
    """Return how far a run is, in a line."""
    line = f"{status.kind}, {status.state}: {status.n_told} of {status.n_trials} trials told"
    if not status.validation_seeds:
        return line
    return f"{line}, validation {validation_words(status)} done"


def _losses(directory: RunDirectory) -> list[Row]:
    """Return why the last driver's most recent workers were lost or refused."""
    try:
        events = read_events(directory)
    except OSError:  # the status is worth more than this row
        return []
    starts = [at for at, one in enumerate(events) if one.get("kind") in ("started", "resumed")]
    rows = [
        # In one line, as a log's last line may be more than one.
        (one["kind"], " ".join(f"{when_words(one.get('at_utc'))} {one.get('text')}".split()))
        for one in events[max(starts, default=0) :]
        if one.get("kind") in ("lost", "refused")
    ]
    return rows[-_MOST_LOSSES:]


def when_words(at_utc: object) -> str:
    """Return a time of ISO 8601 in local time; empty if it is none."""
    try:
        return f"{datetime.fromisoformat(str(at_utc)).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return ""
