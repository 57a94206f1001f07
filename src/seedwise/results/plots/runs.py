"""The figures of any run, which are of its workers, and of a run of entries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seedwise.errors import NoFigureError
from seedwise.folder.directory import RunDirectory, read_events
from seedwise.folder.find import run_of_entry
from seedwise.results.plots import draw
from seedwise.results.tables import Reported

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNITS = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
_AT_LEAST = 3.0  # of a unit
_MOST_NAMES = 60
_HONEST, _BEST = "validated, 95 % interval", "best of the search ± standard error"


class RunPlots:
    """Figures of any run."""

    def __init__(self, result: Reported) -> None:
        self._result = result

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
        path = Path(self._result.run_dir)
        events = read_events(run_of_entry(path) or RunDirectory(path))
        times, at_work, waiting = workers_over_time(events)
        if not any(at_work) and not any(waiting):
            problem = "events.jsonl in the run's folder does not tell of any worker"
            raise NoFigureError("workers", problem)
        ax = draw.axes("workers", ax)
        seconds = np.array([(time - times[0]).total_seconds() for time in times])
        name, unit_s = next(u for u in _UNITS if seconds[-1] >= _AT_LEAST * u[1] or u[1] == 1)
        x = seconds / unit_s
        ax.step(x, at_work, where="post", color=draw.BLUE, label="workers")
        if any(waiting):
            label = "jobs that wait"
            ax.step(x, waiting, where="post", color=draw.VERMILLION, ls="--", label=label)
        ax.set(xlabel=f"{name} since {times[0].astimezone():%Y-%m-%d %H:%M}", ylabel="number")
        ax.set_ylim(0, 1.1 * max(at_work + waiting))
        ax.locator_params(axis="y", integer=True)
        draw.legend(ax)
        return ax


class EntryPlots(RunPlots):
    """The figures of a run of entries, as its `plot` gives them.

    Each method draws on matplotlib axes and returns them, and raises MissingExtraError without
    matplotlib. Each entry has figures of its own, such as
    ``result.results_by_entry["anna"].plot.history()``: see `TrialPlots`.

    Examples
    --------
    >>> import random
    >>> import tempfile
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import matplotlib.pyplot as plt
    >>> import seedwise as sw
    >>> @sw.loss(name="walk", description="where it ends", parameter_space={"drift": (-1, 1)})
    ... def walk(params, seed, context):
    ...     return params["drift"] + random.Random(seed).gauss(0, 0.1) * len(context["entry_id"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     keywords = {"n_trials": 3, "n_seeds": 20, "run_root": folder, "progress": False}
    ...     result = sw.optimize_entries(walk, entry_ids=["anna", "ben"], **keywords)
    ...     [label.get_text() for label in result.plot.entries().get_yticklabels()]
    ['anna', 'ben']
    >>> plt.close("all")
    """

    _result: Any  # a MultiOptimizeResult, whose module imports this one

    def entries(self, ax: Axes | None = None) -> Axes:
        """Draw the value of each entry: the validated one, or else the best of its search.

        Bars of validated values are their 95 % confidence intervals, and those of best ones their
        standard errors. An entry that failed has a cross at the left edge.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; None makes a figure.

        Returns
        -------
        matplotlib.axes.Axes
            Where it was drawn, the first entry at the top.
        """
        columns, names = self._result.columns(), self._result.entries
        y = np.arange(len(names))
        best, stderr = np.array(columns["best_value"]), np.array(columns["best_stderr"])
        results = [self._result.results_by_entry.get(name) for name in names]
        found = [one and one.validation for one in results]
        values = np.array([one and one.value for one in found], float)
        ends = [(one and one.interval) or (np.nan, np.nan) for one in found]
        reach = np.abs(np.array(ends).T - values)
        size = (6.4, float(np.clip(1.4 + 0.22 * len(names), 2.4, 14)))
        ax = draw.axes("entries", ax, size)
        is_valid, failed = ~np.isnan(values), [error is not None for error in columns["error"]]
        for rows, x, error, style in (
            (is_valid, values, reach, {"marker": "D", "color": draw.GREEN, "label": _HONEST}),
            (~is_valid & ~np.isnan(best), best, stderr, {"color": draw.BLUE, "label": _BEST}),
        ):
            if rows.any():
                draw.points(ax, x[rows], y[rows], xerr=error[..., rows], **style)
        if any(failed):
            at_left = ax.get_yaxis_transform()
            x, style = np.full(sum(failed), 0.02), {"marker": "x", "color": draw.VERMILLION}
            draw.points(ax, x, y[failed], transform=at_left, label="failed", **style)
        step = -(-len(names) // _MOST_NAMES)
        ax.set(xlabel="loss", ylabel="entry", ylim=(len(names) - 0.5, -0.5))
        ax.set_yticks(y[::step], names[::step])
        draw.legend(ax)
        return ax


def workers_over_time(
    events: Iterable[Mapping[str, Any]],
) -> tuple[list[datetime], list[int], list[int]]:
    """Return times, and since each how many workers were at work and how many jobs waited."""
    at_work: set[str] = set()
    waiting: set[str] = set()
    times, n_at_work, n_waiting = [], [], []
    for event in events:
        kind, text, job_id = (event.get(key) for key in ("kind", "text", "job_id"))
        # Local workers have no job: "worker 3 left".
        who = str(job_id or " ".join(str(text).split()[:2]))
        if kind == "submitted":
            waiting |= {*str(text).partition(": ")[2].split(", ")}
        elif kind in ("joined", "left", "lost"):
            waiting.discard(who)
            (at_work.add if kind == "joined" else at_work.discard)(who)
        elif kind in ("started", "resumed", "finished", "stopped", "failed"):
            at_work.clear()
            waiting.clear()
        else:
            continue
        times.append(datetime.fromisoformat(event["at_utc"]))
        n_at_work.append(len(at_work))
        n_waiting.append(len(waiting))
    return times, n_at_work, n_waiting
