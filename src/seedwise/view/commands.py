"""What is asked before a run is removed, and said of one that is checked, cleaned or submitted."""

import shlex
import sys
from pathlib import Path

import click

from seedwise.errors import CleanRefusedError, clean_command
from seedwise.model.check_report import CheckReport, advice, found_words, plan_rows, worker_rows
from seedwise.model.events import ChunkLost, Event, Noted, PoolChanged, Progress, RunStarted
from seedwise.results.handle import CleanedRun
from seedwise.slurm.driver_job import DriverJob
from seedwise.view.progress import ProgressLines
from seedwise.view.status import aligned

_MOST_IDS = 20


def confirm_removal(path: Path) -> None:
    """Ask whether to remove a run; raises CleanRefusedError unless the answer is yes."""
    if not (sys.stdin is not None and sys.stdin.isatty()):
        raise CleanRefusedError(path, "there is no terminal to ask on")
    question = f"Remove {path} with all its results?"
    try:
        yes = click.confirm(question, default=False, err=True)
    except click.Abort:
        yes = False
    if not yes:
        raise CleanRefusedError(path, "the answer was no")


def cleaned_lines(cleaned: CleanedRun) -> list[str]:
    """Return what was done as lines, and what to do if jobs may be left."""
    ids, removed = ", ".join(cleaned.cancelled_jobs), ", ".join(cleaned.removed)
    jobs = f"cancelled jobs: {ids}" if ids else "no jobs were left"
    last = []
    if cleaned.jobs_unknown is not None:
        why = " ".join(cleaned.jobs_unknown.split())
        # The last ones, as earlier jobs are the most likely to have ended long ago.
        noted = ", ".join(cleaned.noted_jobs[-_MOST_IDS:]) or "none"
        if (n_before := len(cleaned.noted_jobs) - _MOST_IDS) > 0:
            noted += f", and {n_before} before"
        unknown = f"whether jobs are left is unknown (ids noted: {noted})"
        jobs = f"Slurm does not answer ({why}); {unknown}"
        last = [f"to try again: {clean_command(cleaned.run_dir)}"]
    elif cleaned.copy_of is not None:
        jobs = f"no job was cancelled: this is a copy of {cleaned.copy_of}, whose jobs they are"
    what = f"removed: {removed}" if removed else "nothing was left behind to remove"
    return [jobs, what, f"the results stay in {cleaned.run_dir}", *last]


def submitted_lines(job: DriverJob, job_id: str | None) -> list[str]:
    """Return where the job's files are, and how to follow it and to cancel it."""
    return [
        f"submitted: job {job_id or 'of unknown id'}, named {job.name}",
        f"log: {job.log}",
        f"to follow it: tail -F {shlex.quote(str(job.log))}",
        f"to see whether it waits: squeue --name={job.name}",
        "to see the run's progress: seedwise status RUN_DIR, with the run folder from the log",
        "dashboard: its link, and the ssh line that leads to it through the node, are in the log",
        f"to cancel it, and the jobs that follow it: scancel --name={job.name}",
    ]


class CheckProgress(ProgressLines):
    """Writes the events of a check as lines; none names its folder, which is removed."""

    shows_progress = False  # of one trial

    def lines(self, event: Event) -> list[str]:
        """Return what is said of an event."""
        if isinstance(event, RunStarted):
            return [f"checking one seed, on {event.place}"]
        is_shown = isinstance(event, ChunkLost | Noted | PoolChanged | Progress)
        return super().lines(event) if is_shown else []


def check_lines(report: CheckReport) -> list[str]:
    """Return a report as lines."""
    lines = [found_words(report)]
    for title, rows in (("worker", worker_rows(report)), ("plan", plan_rows(report))):
        names_and_words = list(zip(*rows, strict=True))
        lines += ["", title, *(f"  {line}" for line in aligned(names_and_words))]
    if said := advice(report):
        lines += ["", "advice", *(f"  {line}" for line in said)]
    if report.job_script is not None:
        lines += ["", "job script"]
        lines += [f"  {line}".rstrip() for line in report.job_script.strip().splitlines()]
    return lines
