"""Figures of a search: its trials, its seeds and its workers, in the order of time."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seedwise.errors import NoFigureError
from seedwise.folder.directory import RunDirectory, read_events
from seedwise.folder.find import run_of_entry
from seedwise.results.plots.axes import (
    BLACK,
    BLUE,
    GREEN,
    MANY,
    SKY,
    VERMILLION,
    axes_or_new,
    draw_points,
    draw_trials,
    label_trials,
    legend,
)
from seedwise.results.plots.trials import Trials
from seedwise.results.tables import TrialsResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNITS = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
_UNITS_AT_LEAST = 3.0


class RunPlots:
    """Figures of any run."""

    def __init__(self, run_dir: str) -> None:
        self._run_dir = run_dir

    def workers(self, ax: Axes | None = None) -> Axes:
        """Draw how many workers were at work, and how many jobs waited, over time.

        It is drawn from ``events.jsonl`` in the run's folder: when jobs were submitted, and when
        workers joined, left or were lost. While a driver works on the run, it ends at the last
        event.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; None makes a figure.

        Returns
        -------
        matplotlib.axes.Axes
            Where it was drawn: as x the seconds, minutes or hours since the first event.

        Raises
        ------
        NoFigureError
            If the folder does not tell of workers, as on a cluster that was passed.
        """
        path = Path(self._run_dir)
        times, at_work, waiting = workers_over_time(run_of_entry(path) or RunDirectory(path))
        if not any(at_work) and not any(waiting):
            problem = "events.jsonl in the run's folder does not tell of any worker"
            raise NoFigureError("workers", problem)
        ax = axes_or_new("workers", ax)
        seconds = np.array([(time - times[0]).total_seconds() for time in times])
        name, unit_s = next(
            u for u in _UNITS if seconds[-1] >= _UNITS_AT_LEAST * u[1] or u[1] == 1
        )
        x = seconds / unit_s
        ax.step(x, at_work, where="post", color=BLUE, label="workers")
        if any(waiting):
            ax.step(x, waiting, where="post", color=VERMILLION, ls="--", label="jobs that wait")
        ax.set(xlabel=f"{name} since {times[0].astimezone():%Y-%m-%d %H:%M}", ylabel="number")
        ax.set_ylim(0, 1.1 * max(at_work + waiting))
        ax.locator_params(axis="y", integer=True)
        legend(ax)
        return ax


class SearchPlots(RunPlots):
    """Figures of trials in their order."""

    def __init__(self, result: TrialsResult) -> None:
        super().__init__(result.run_dir)
        self._result = result

    def history(self, ax: Axes | None = None) -> Axes:
        """Draw the value of each trial, and the best so far.

        Bars and the band are standard errors; with a single seed there are none. Trials that the
        race dropped are open circles. Crosses at the edge are trials that failed, and triangles
        those far worse than the others. At the end is the validated value, if there is one, with
        its 95 % confidence interval.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; None makes a figure.
        """
        trials = Trials.of(self._result)
        ax = axes_or_new("history", ax)
        draw_trials(ax, trials, trials.number)
        rows = trials.best_so_far()
        is_shown = np.diff(rows, prepend=-1) > 0  # each new best, and the last one to the end
        is_shown[-1] = True
        number, rows = trials.number[is_shown], rows[is_shown]
        value, stderr = trials.value[rows], np.nan_to_num(trials.stderr[rows])
        label = f"best so far{trials.and_error}"
        ax.step(number, value, where="post", color=BLACK, label=label)
        ends = value - stderr, value + stderr
        ax.fill_between(number, *ends, step="post", color=BLACK, alpha=0.2, lw=0)
        found = self._result.validation
        if found is not None and found.value is not None and found.interval is not None:
            after = np.array([trials.number[-1] + max(1.0, 0.03 * trials.number[-1])])
            reach = np.abs(np.array(found.interval) - found.value)[:, None]
            style = {"marker": "D", "color": GREEN, "capsize": 3, "zorder": 4, "yerr": reach}
            style["label"] = f"trial {found.number} validated, 95 % interval"
            draw_points(ax, after, np.array([found.value]), **style)
            if not ax.get_autoscaley_on():  # it is shown whatever is too far off
                low, high = ax.get_ylim()
                ax.set_ylim(min(low, found.interval[0]), max(high, found.interval[1]))
        label_trials(ax, trials)
        ax.set_ylabel("loss")
        legend(ax)
        return ax

    def race(self, ax: Axes | None = None) -> Axes:
        """Draw how many seeds each trial's value is of, out of all seeds of the run.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; None makes a figure.

        Returns
        -------
        matplotlib.axes.Axes
            Where it was drawn. Its legend says what share of the seeds was saved.
        """
        trials = Trials.of(self._result)
        ax = axes_or_new("race", ax)
        kinds = (
            ("dropped by the race", trials.is_complete & trials.is_dropped, SKY, "white"),
            ("trial", trials.is_complete & ~trials.is_dropped, BLUE, BLUE),
        )
        for label, rows, colour, face in kinds:
            if rows.any():
                x, seeds = trials.number[rows], trials.n_seeds[rows]
                if len(trials.number) <= MANY:
                    ax.vlines(x, 0, seeds, color=colour, lw=0.8)
                draw_points(ax, x, seeds, color=colour, mfc=face, label=label)
        n_all = len(self._result.seeds)
        n_most, n_had = n_all * trials.is_complete.sum(), trials.n_seeds[trials.is_complete].sum()
        label = f"all {n_all:,} seeds; {1 - n_had / n_most:.0%} of {n_most:,} were saved"
        ax.axhline(n_all, color=BLACK, ls="--", label=label)
        label_trials(ax, trials)
        ax.set(ylabel="seeds", ylim=(0, 1.05 * n_all))
        legend(ax)
        return ax


def workers_over_time(directory: RunDirectory) -> tuple[list[datetime], list[int], list[int]]:
    """Return times, and since each how many workers were at work and how many jobs waited."""
    at_work: set[str] = set()
    waiting: set[str] = set()
    times, n_at_work, n_waiting = [], [], []
    for event in read_events(directory):
        kind, text, job_id = (event.get(key) for key in ("kind", "text", "job_id"))
        # Local workers have no job: "worker 3 left".
        who = str(job_id or " ".join(str(text).split()[:2]))
        if kind == "submitted":
            waiting |= {*str(text).partition(": ")[2].split(", ")}
        elif kind == "joined":
            waiting.discard(who)
            at_work.add(who)
        elif kind in ("left", "lost"):
            waiting.discard(who)
            at_work.discard(who)
        elif kind in ("started", "resumed", "finished", "stopped", "failed"):
            at_work.clear()
            waiting.clear()
        else:
            continue
        times.append(datetime.fromisoformat(event["at_utc"]))
        n_at_work.append(len(at_work))
        n_waiting.append(len(waiting))
    return times, n_at_work, n_waiting
