"""Progress on stderr: a few lines at the start, and a line a trial."""

from __future__ import annotations

import sys
from typing import TextIO

from seedwise.model.records import Event, RunFinished, RunStarted, TrialFinished, TrialResult

__all__ = ["ProgressLines"]


class ProgressLines:
    """Writes a run's events as lines.

    Parameters
    ----------
    stream : file, optional
        Where to; None is stderr.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """Write an event."""
        if isinstance(event, RunStarted):
            lines = _start(event)
        elif isinstance(event, TrialFinished):
            lines = [_trial(event)]
        else:
            lines = [_end(event)]
        for line in lines:
            print(f"seedwise: {line}", file=self._stream or sys.stderr, flush=True)


def _start(event: RunStarted) -> list[str]:
    lines = [f"run folder {event.run_dir}", f"on {event.place}"]
    if event.dashboard is not None:
        lines.append(f"dashboard  {event.dashboard}")
    if event.tunnel is not None:
        lines.append(f"from a laptop, first: {event.tunnel}")
    return lines


def _trial(event: TrialFinished) -> str:
    trial, best = event.trial, event.best
    width = len(str(event.n_trials))
    parts = [
        f"[{trial.number + 1:{width}}/{event.n_trials}] trial {trial.number:<{width}}",
        f"FAIL ({event.error})" if trial.value is None else _mean(trial),
    ]
    if best is not None:
        parts.append("best so far" if best.number == trial.number else f"best {best.value:.6g}")
    return "  ".join([*parts, f"{trial.duration_s:.2f} s"])


def _end(event: RunFinished) -> str:
    if event.best is None:
        return f"no trial was completed; {event.duration_s:.1f} s"
    params = ", ".join(f"{name}={_short(value)}" for name, value in event.best.params.items())
    return f"best {_mean(event.best)} at {params}; {event.duration_s:.1f} s"


def _mean(trial: TrialResult) -> str:
    error = "" if trial.stderr is None else f" ± {trial.stderr:.2g}"
    return f"{trial.value:.6g}{error} ({trial.n_seeds} seed{'s' if trial.n_seeds > 1 else ''})"


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)
