"""The figure of any run: its workers over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seedwise.errors import NoFigureError
from seedwise.folder.directory import RunDirectory
from seedwise.folder.events import read_events
from seedwise.folder.find import run_of_entry
from seedwise.results.plots import draw

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
        events = read_events(run_of_entry(path) or RunDirectory(path))
        times, at_work, waiting = workers_over_time(events)
        if not any(at_work) and not any(waiting):
            problem = "events.jsonl in the run's folder does not tell of any worker"
            raise NoFigureError("workers", problem)
        ax = draw.axes("workers", ax)
        seconds = np.array([(time - times[0]).total_seconds() for time in times])
        name, unit_s = next(
            u for u in _UNITS if seconds[-1] >= _UNITS_AT_LEAST * u[1] or u[1] == 1
        )
        x = seconds / unit_s
        ax.step(x, at_work, where="post", color=draw.BLUE, label="workers")
        if any(waiting):
            style = {"color": draw.VERMILLION, "ls": "--", "label": "jobs that wait"}
            ax.step(x, waiting, where="post", **style)
        ax.set(xlabel=f"{name} since {times[0].astimezone():%Y-%m-%d %H:%M}", ylabel="number")
        ax.set_ylim(0, 1.1 * max(at_work + waiting))
        ax.locator_params(axis="y", integer=True)
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
