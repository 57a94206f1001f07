"""The progress and the report of a check, in lines for a terminal."""

from seedwise.model.check_report import (
    CheckReport,
    advice,
    found_words,
    plan_rows,
    worker_rows,
)
from seedwise.model.events import ChunkLost, Event, Noted, PoolChanged, Progress, RunStarted
from seedwise.view.progress import ProgressLines
from seedwise.view.words import aligned


class CheckProgress(ProgressLines):
    """Writes the events of a check as lines: where it runs, and what it waits for.

    No line names the folder of the check, as it is removed at the end.
    """

    shows_progress = False  # of one trial

    def lines(self, event: Event) -> list[str]:
        """Return what is said of an event."""
        if isinstance(event, RunStarted):
            return [f"checking one seed, on {event.place}"]
        is_shown = isinstance(event, ChunkLost | Noted | PoolChanged | Progress)
        return super().lines(event) if is_shown else []


def check_lines(report: CheckReport) -> list[str]:
    """Return a report as lines."""
    parts = [("worker", worker_rows(report)), ("plan", plan_rows(report))]
    lines = [found_words(report)]
    for title, rows in parts:
        names_and_words = list(zip(*rows, strict=True))
        lines += ["", title, *(f"  {line}" for line in aligned(names_and_words, str.ljust))]
    if said := advice(report):
        lines += ["", "advice", *(f"  {line}" for line in said)]
    if report.job_script is not None:
        lines += ["", "job script"]
        lines += [f"  {line}".rstrip() for line in report.job_script.strip().splitlines()]
    return lines
