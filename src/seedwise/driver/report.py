"""A run's own account of itself: meta.json, summary.json, status.json, and events."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from seedwise.disk.every import Every
from seedwise.driver.parts import Parts
from seedwise.driver.tally import Standing
from seedwise.driver.workplace import Workplace
from seedwise.errors import LeaseLostError, RunFileError, RunStopped
from seedwise.folder.directory import RunDirectory, utc_now
from seedwise.folder.events import EventLog
from seedwise.folder.history import History
from seedwise.model.events import (
    Event,
    Progress,
    RunFinished,
    RunInterrupted,
    RunStarted,
    TrialFinished,
)
from seedwise.model.options.entries import EntriesOptions
from seedwise.model.options.study import RunOptions
from seedwise.model.options.sweep import SweepOptions
from seedwise.model.status import PoolStatus, RunStatus
from seedwise.model.trials import TrialResult, TrialState

_logger = logging.getLogger("seedwise")

_STATUS_EVERY_S = 0.5
_REFRESH_EVERY_S = 2.0
_PROGRESS_EVERY_S = 5.0


class Listeners:
    """What takes the events; a listener that fails is dropped.

    Parameters
    ----------
    listeners : sequence of callable
        The listeners.
    """

    def __init__(self, listeners: Sequence[Callable[[Event], None]] = ()) -> None:
        self._listeners = list(listeners)

    def __call__(self, event: Event) -> None:
        """Give them an event."""
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception:  # a closed terminal, say: no reason to lose the run
                self._listeners.remove(listener)
                _logger.warning("a listener failed and is dropped", exc_info=True)


class Report:
    """Keeps a run's folder and its listeners up to date.

    Parameters
    ----------
    directory : RunDirectory
        The run's folder.
    history : History
        What it says of the run before.
    parts : Parts
        What the run is made of.
    options : RunOptions, EntriesOptions or SweepOptions
        Its options.
    listen : callable
        What takes the events.
    """

    def __init__(
        self,
        directory: RunDirectory,
        history: History,
        parts: Parts,
        options: RunOptions | EntriesOptions | SweepOptions,
        listen: Callable[[Event], None],
    ) -> None:
        #: Called before anything is written; raises if another driver has taken the run over.
        self.guard: Callable[[], None] = lambda: None
        #: Tells how many trials are in flight.
        self.n_in_flight: Callable[[], int] = lambda: 0
        #: Tells in how many entries are which state.
        self.entries: Callable[[], dict[str, int] | None] = lambda: None
        #: Tells how many workers there are and are wanted.
        self.pool: Callable[[], PoolStatus | None] = lambda: None
        #: What happens to the run, for who looks later.
        self.log = EventLog(directory.event_log)
        n_trials = options.n_trials if isinstance(options, RunOptions) else 0
        self.standing = Standing(options.kind, n_trials, history.started_at)
        self._directory = directory
        #: What ``meta.json`` says of the run's past.
        self.history = history
        self._parts = parts
        self._options = options
        self._listen = listen
        self._mode = history.mode
        self._best: TrialResult | None = None
        self._has_begun = False
        self._started_s = time.monotonic()
        # A sweep may tell thousands of trials in a second.
        self._summary_due = Every(_STATUS_EVERY_S if isinstance(options, SweepOptions) else 0.0)
        self._status_due = Every(_STATUS_EVERY_S)
        self._refresh_due = Every(_REFRESH_EVERY_S)
        self._progress_due = Every(_PROGRESS_EVERY_S)
        self._progress_due.due()

    @property
    def mode(self) -> str:
        """Where the work was done."""
        assert self._mode is not None  # of a run that has begun
        return self._mode

    @property
    def elapsed_s(self) -> float:
        """Seconds that this driver has worked on the run."""
        return time.monotonic() - self._started_s

    def prepared(self) -> None:
        """Write what is needed to go on with the run, whatever happens from here on."""
        self.guard()
        if self._directory.parent is None:
            self._directory.write_parts(self._parts.saved)
        self._directory.write_meta(self._meta())
        if self._directory.parent is None:
            kind = "started" if self.history.is_new else "resumed"
            self.log.write(kind, f"{kind} by process {os.getpid()} on {socket.gethostname()}")

    def begun(
        self,
        workplace: Workplace,
        counts: Mapping[TrialState, int],
        best: TrialResult | None = None,
    ) -> None:
        """Note that the workers are asked for, and what was told before."""
        self.guard()
        self.standing.begin(counts)
        place = workplace.place
        self._mode = place.mode.value
        self._directory.write_meta(self._meta())
        if not isinstance(self._options, EntriesOptions):
            self.write_summary(best)
        if self._directory.parent is not None:
            return
        self._has_begun, self._best = True, best
        self.write_status("running", best)
        n_told = self.standing.counts.total()
        self._listen(
            RunStarted(
                self._directory.path, n_told, place.description, place.dashboard, place.tunnel
            )
        )

    def emit(self, event: Event) -> None:
        """Take an event on the way."""
        if isinstance(event, TrialFinished):
            self.standing.tell(event.trial.state)
            self.guard()
            if self._summary_due.due():
                self.write_summary(event.best)
        self._listen(event)
        if isinstance(event, TrialFinished) and self._directory.parent is None:
            self._say_how_far(event.best)

    def emit_of_entry(self, event: TrialFinished, entry_id: str) -> None:
        """Take an event of one of several entries, whose own report has taken it."""
        self.standing.tell(event.trial.state)
        self._listen(attrs.evolve(event, entry_id=entry_id))
        self._say_how_far(None)

    def write_summary(self, best: TrialResult | None, **more: Any) -> None:
        """Write ``summary.json``: the best trial so far, and how many are told."""
        counts = self.standing.counts
        self._directory.write_summary(
            {
                "best_value": best.value if best else None,
                "best_params": best.params if best else None,
                "best_stderr": best.stderr if best else None,
                "best_n_seeds": best.n_seeds if best else None,
                "best_trial": best.number if best else None,
                "n_trials": self.standing.n_trials,
                "n_told": counts.total(),
                "n_failed": counts[TrialState.FAIL],
                "n_pruned": counts[TrialState.PRUNED],
                **more,
            }
        )

    def write_status(self, state: str, best: TrialResult | None = None) -> None:
        """Write ``status.json``: how far the run is."""
        self._directory.write_status(attrs.asdict(self._status(state, best)))

    def refresh(self) -> None:
        """Say how far the run is, also while no trial is told; for a run that has begun."""
        if self._refresh_due.due():
            self.guard()
            with contextlib.suppress(RunFileError):  # no work is lost with it
                self.write_status("running", self._best)
        self._say_progress()

    def _say_how_far(self, best: TrialResult | None) -> None:
        self._best = best
        if self._status_due.due():
            self.write_status("running", best)
        self._say_progress()

    def _say_progress(self) -> None:
        if self._progress_due.due():
            self._listen(Progress(self._status("running", self._best)))

    def _status(self, state: str, best: TrialResult | None) -> RunStatus:
        value = best.value if best else None
        status = self.standing.status(state, self.n_in_flight(), value, self.entries())
        return attrs.evolve(status, pool=self.pool() if state == "running" else None)

    @contextlib.contextmanager
    def interruption_told(self) -> Iterator[None]:
        """Have the listeners know when the run ends before its last trial."""
        try:
            yield
        except LeaseLostError:  # it is another's to go on with
            raise
        except BaseException as error:
            directory = self._directory
            self._log_end(error)
            # The folder of a new run that got no workers is removed.
            if isinstance(error, RunStopped) or directory.has_results:
                n_told = max(self.standing.counts.total(), directory.n_told())
                if directory.has_results:
                    with contextlib.suppress(Exception):  # the error that ends it says more
                        self.write_status("stopped")
                self._listen(RunInterrupted(directory.path, n_told, self.standing.n_trials))
            raise

    def finished(self, best: TrialResult | None, *, complete: bool = True) -> None:
        """Note that the run is at its end.

        Parameters
        ----------
        best : TrialResult or None
            The best trial; None if there is none.
        complete : bool
            Whether nothing is left to do; time may have been up before.
        """
        directory = self._directory
        self.guard()
        directory.write_meta(
            {
                **self._meta(),
                **({"completed_at_utc": utc_now().isoformat()} if complete else {}),
                "duration_seconds": self.elapsed_s,
                "best_value": best.value if best else None,
                "best_params": best.params if best else None,
            }
        )
        if directory.parent is None:
            self.write_status("finished" if complete else "stopped", best)
            if self._has_begun:
                self._log_finished(complete)
            self._listen(RunFinished(directory.path, best, self.elapsed_s))

    def _log_end(self, error: BaseException) -> None:
        kind = "failed" if isinstance(error, Exception) else "stopped"
        first = str(error).partition("\n")[0]
        self.log.write(kind, first if isinstance(error, RunStopped) else _named(error, first))

    def _log_finished(self, complete: bool) -> None:
        told = f"{self.standing.counts.total()} of {self.standing.n_trials} trials are told"
        if complete:
            self.log.write("finished", told)
        else:
            self.log.write("stopped", f"time is up; {told}")

    def _meta(self) -> dict[str, Any]:
        loss, plan = self._parts.loss, self._parts.plan
        options = attrs.asdict(self._options, recurse=False)
        options["seeds"] = plan.seeds.tolist() if self._options.seeds is not None else None
        options["given"] = sorted(options["given"])
        for name, value in options.items():
            if hasattr(value, "to_manifest_dict"):
                options[name] = value.to_manifest_dict()
        source = self._parts.source
        return {
            "kind": self.standing.kind,
            "loss_name": loss.name,
            "loss_description": loss.description,
            "run_name": self._directory.name,
            "run_dir": str(self._directory.path),
            "mode": self._mode,
            "n_seeds": len(plan.seeds),
            "seed_start": int(plan.seeds[0]),
            "seed_end": int(plan.seeds[-1]),
            "chunk_size": plan.chunk_size,
            "num_chunks": plan.n_chunks,
            "parameter_space": {
                name: attrs.asdict(param) for name, param in loss.parameter_space.items()
            },
            **({} if source is None else {"source": source.to_manifest_dict()}),
            **self.history.to_meta(),
            "options": options,
        }


def _named(error: BaseException, text: str) -> str:
    name = type(error).__name__
    return f"{name}: {text}" if text else name
