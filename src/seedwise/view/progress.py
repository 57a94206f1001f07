"""Progress on stderr: a few lines at the start, a line a trial, and how to go on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

from seedwise.errors import replay_command, resume_command
from seedwise.model.records import (
    ChunkLost,
    Event,
    FailureKind,
    RunFinished,
    RunInterrupted,
    RunStarted,
    TrialFinished,
    TrialResult,
)

__all__ = ["ProgressLines"]


class ProgressLines:
    """Writes a run's events as lines.

    Parameters
    ----------
    trials : bool
        Whether to write all events; otherwise only how to go on with a run that was interrupted.
    stream : file, optional
        Where to; None is stderr.
    """

    def __init__(self, trials: bool = True, stream: TextIO | None = None) -> None:
        self._trials = trials
        self._stream = stream
        self._run_dir = Path()

    def __call__(self, event: Event) -> None:
        """Write an event."""
        if not self._trials and not isinstance(event, RunInterrupted):
            return
        for line in self._lines(event):
            print(f"seedwise: {line}", file=self._stream or sys.stderr, flush=True)

    def _lines(self, event: Event) -> list[str]:
        if isinstance(event, RunStarted):
            self._run_dir = event.run_dir
            return _start(event)
        if isinstance(event, TrialFinished):
            return _trial(event, self._run_dir)
        if isinstance(event, ChunkLost):
            what = f"trial {event.trial}, the chunk that begins with seed {event.chunk_start}"
            return [f"lost the worker {event.worker}; run again: {what}"]
        if isinstance(event, RunInterrupted):
            return [
                f"stopped with {event.n_told} of {event.n_trials} trials told; nothing is lost",
                f"to go on: {resume_command(event.run_dir)}",
            ]
        return [_end(event)]


def _start(event: RunStarted) -> list[str]:
    lines = [f"run folder {event.run_dir}", f"on {event.place}"]
    if event.n_told:
        lines.append(f"going on after {event.n_told} trials")
    if event.dashboard is not None:
        lines.append(f"dashboard  {event.dashboard}")
    if event.tunnel is not None:
        lines.append(f"from a laptop, first: {event.tunnel}")
    return lines


def _trial(event: TrialFinished, run_dir: Path) -> list[str]:
    trial, best = event.trial, event.best
    width = len(str(event.n_trials))
    parts = [
        f"[{trial.number + 1:{width}}/{event.n_trials}] trial {trial.number:<{width}}",
        f"FAIL ({trial.error})" if trial.value is None else _mean(trial),
    ]
    if best is not None:
        parts.append("best so far" if best.number == trial.number else f"best {best.value:.6g}")
    lines = ["  ".join([*parts, f"{trial.duration_s:.2f} s"])]
    if event.failure is not None:
        if (
            event.failure.kind is not FailureKind.LOSS
        ):  # what a dead process wrote is no one else's
            lines += [f"    {line}" for line in event.failure.traceback.splitlines()[1:]]
        lines.append(f"to see why: {replay_command(run_dir, trial.number, event.failure.seed)}")
    return lines


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
