"""The progress and the report of a check, in lines for a terminal."""

from __future__ import annotations

from seedwise.errors.durations import exact_duration
from seedwise.model.check_report import CheckReport
from seedwise.model.events import ChunkLost, Event, Noted, PoolChanged, Progress, RunStarted
from seedwise.view.progress import ProgressLines
from seedwise.view.words import aligned


class CheckProgress(ProgressLines):
    """Writes the events of a check as lines: where it runs, and what it waits for.

    No line names the folder of the check, as it is removed at the end.
    """

    def lines(self, event: Event) -> list[str]:
        """Return what is said of an event."""
        if isinstance(event, RunStarted):
            return [f"checking one seed, on {event.place}"]
        is_shown = isinstance(event, ChunkLost | Noted | PoolChanged | Progress)
        return super().lines(event) if is_shown else []


def check_lines(report: CheckReport) -> list[str]:
    """Return a report as lines."""
    parts = [("worker", _worker(report)), ("plan", _plan(report))]
    advice = [*report.warnings, *_advice(report)]
    lines = [f"loss {report.loss_name!r} gave {report.value!r} for seed {report.seed}"]
    for title, rows in parts:
        names_and_words = list(zip(*rows, strict=True))
        lines += ["", title, *(f"  {line}" for line in aligned(names_and_words, str.ljust))]
    if advice:
        lines += ["", "advice", *(f"  {line}" for line in advice)]
    if report.job_script is not None:
        lines += ["", "job script"]
        lines += [f"  {line}".rstrip() for line in report.job_script.strip().splitlines()]
    return lines


def _worker(report: CheckReport) -> list[tuple[str, str]]:
    first = f" ({exact_duration(report.first_s)} the first time)"
    rows = {
        "params": ", ".join(f"{name}={one!r}" for name, one in report.params.items()),
        "host": report.host,
        "job": report.job_id,
        "waited for it": None if report.waited_s is None else exact_duration(report.waited_s),
        "versions": ", ".join(f"{name} {one}" for name, one in report.versions.items()) or None,
        "one seed takes": exact_duration(report.seed_s) + first,
    }
    return [(title, words) for title, words in rows.items() if words is not None]


def _plan(report: CheckReport) -> list[tuple[str, str]]:
    n_seeds = report.n_seeds_of_trial
    of_all = "" if n_seeds == report.n_seeds else f" of {report.n_seeds}"
    chunks = f"{_counted(report.n_chunks, 'chunk')} of {min(report.chunk_size, n_seeds)}"
    if report.chunks_are_measured:
        chunks = "chunks cut by what seeds take"
    most, upto = report.max_total_seeds, "at most " if report.races else ""
    end = "" if most is None else f", or until they have {_counted(most, 'seed')}"
    rows = [
        ("trials", f"{report.n_trials}, {report.n_trials_at_once} at once{end}"),
        ("seeds of a trial", f"{upto}{n_seeds}{of_all}, in {chunks}"),
    ]
    if not report.chunks_are_measured:
        rows.append(("chunks in flight", str(report.n_chunks_in_flight)))
    if n_fresh := report.n_validation_evaluations:
        rows.insert(2, ("validation", f"{n_fresh} evaluations of fresh seeds, after the search"))
    if report.workers is not None:
        what = "jobs" if report.place == "slurm" else "workers"
        of = report.cpus_per_worker
        cpus = "" if of is None else f" of {_counted(of, 'CPU')}"
        rows.append((what, f"{report.workers}{cpus}"))
        rows.append(("seeds at once", str(report.n_seeds_at_once)))
    at_most = "at most " if report.vectorized else ""
    is_most = report.vectorized or report.races or most is not None
    if not report.chunks_are_measured:
        rows.append(("a chunk takes", f"{at_most}{exact_duration(report.chunk_s)}"))
    if report.run_s is not None:
        run = f"{'at most ' if is_most else ''}{exact_duration(report.run_s)}"
        rows.append(("the run takes", f"{run}, once all workers are there"))
    if report.core_hours is not None:
        rows.append(("core hours", f"{'at most ' if is_most else ''}{report.core_hours:.3g}"))
    if report.defaults:
        values = ", ".join(f"{name}={value}" for name, value in report.defaults.items())
        rows.append(("not given", f"{values}: defaults, as the call in the script is not read"))
    return rows


def _advice(report: CheckReport) -> list[str]:
    lines, measured = [], report.chunks_are_measured
    chunk = "a seed" if measured else f"a chunk of {exact_duration(report.chunk_s)}"
    by_itself = "leave chunk_size out, and chunks are cut by what seeds take"
    if report.chunk_is_short:
        lines.append(f"{chunk} is short compared with the way to a worker and back: {by_itself}")
    if report.chunk_is_long and report.walltime_s is not None:
        lines.append(
            f"{chunk} is long compared with the jobs' walltime of "
            f"{exact_duration(report.walltime_s)}, and is lost if a job ends before it: "
            f"{'use' if measured else f'{by_itself}, or use'} a longer worker_time_limit"
        )
    if report.trial_is_long and report.trial_limit_s is not None:
        lines.append(
            f"a trial takes longer than slurm_timeout_minutes={report.trial_limit_s / 60:g}, and "
            "would fail: raise it or leave it out, or use more workers or fewer "
            "max_concurrent_trials"
        )
    if report.n_chunks_in_flight == 1 and report.n_seeds_of_trial > 1 and not measured:
        lines.append(
            "a trial is one chunk, so only one worker has work: leave chunk_size out, or use more "
            "max_concurrent_trials"
        )
    lines += _on_a_workers_cpus(report)
    if report.n_idle_workers and report.workers is not None:
        what = "jobs" if report.place == "slurm" else "workers"
        needed = report.workers - report.n_idle_workers
        smaller = "" if measured else ", no chunk_size,"
        lines.append(
            f"{report.n_idle_workers} of {report.workers} {what} would never get a chunk: use "
            f"workers={needed}{smaller} or more max_concurrent_trials"
        )
    return lines


def _on_a_workers_cpus(report: CheckReport) -> list[str]:
    lines, at_once, cpus = [], report.worker_parallelism, report.cpus_per_worker
    if cpus is not None and at_once > cpus:
        lines.append(
            f"{at_once} seeds at once share {_counted(cpus, 'CPU')} of a job: use "
            f"cpus_per_task={at_once}"
        )
    elif cpus is not None and cpus > 2 * at_once and not report.vectorized:  # 2 may be one core
        lines.append(
            f"a seed has {cpus // at_once} CPUs: if the loss uses one only, use "
            f"worker_parallelism={cpus}"
        )
    if at_once > 1 and not report.use_processes and not report.vectorized:
        lines.append(
            "the times assume that threads run at once: a loss in pure Python needs "
            "use_processes=True for that"
        )
    return lines


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
