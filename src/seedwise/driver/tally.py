"""How far a run is: how many trials are told, how fast, and when it will be at its end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

from seedwise.folder.directory import utc_now
from seedwise.model.status import RunStatus
from seedwise.model.trials import TrialState


class Standing:
    """Counts trials.

    Parameters
    ----------
    kind : {"run", "entries", "sweep"}
        What began the run.
    n_trials : int
        How many trials there are to be in all.
    started_at_utc : str
        When the run began.
    """

    def __init__(self, kind: str, n_trials: int, started_at_utc: str) -> None:
        self.kind = kind
        self.n_trials = n_trials
        #: Trials that are told, by state; those of before included.
        self.counts: Counter[TrialState] = Counter()
        self._started_at_utc = started_at_utc
        self._n_told = 0  # by this driver
        self._began_s = time.monotonic()

    def begin(self, counts: Mapping[TrialState, int]) -> None:
        """Begin with what was told before; the clock starts."""
        self.counts = Counter(counts)
        self._began_s = time.monotonic()

    def count_anew(self, counts: Mapping[TrialState, int]) -> None:
        """Set the counts to what the files say."""
        self.counts = Counter(counts)
        self.n_trials = max(self.n_trials, self.counts.total())

    def tell(self, state: TrialState) -> None:
        """Count a trial that was told."""
        self.counts[state] += 1
        self._n_told += 1

    def status(
        self,
        state: str,
        n_in_flight: int,
        best_value: float | None = None,
        entries: dict[str, int] | None = None,
    ) -> RunStatus:
        """Return how far the run is.

        Parameters
        ----------
        state : {"running", "finished", "stopped"}
            Whether it goes on.
        n_in_flight : int
            Trials in flight.
        best_value : float or None
            Mean loss of the best trial.
        entries : dict of str to int, optional
            How many entries are in which state.

        Returns
        -------
        RunStatus
            How far it is.
        """
        now = utc_now()
        elapsed_s = max(time.monotonic() - self._began_s, 1e-9)
        left = max(0, self.n_trials - self.counts.total())
        rate = self._n_told / elapsed_s if self._n_told else None
        end = None
        if rate and left and state == "running":
            end = (now + timedelta(seconds=min(left / rate, 1e9))).isoformat(timespec="seconds")
        running = min(n_in_flight, left) if state == "running" else 0
        return RunStatus(
            kind=self.kind,
            state=state,
            n_trials=self.n_trials,
            pending=left - running,
            running=running,
            done=self.counts[TrialState.COMPLETE],
            failed=self.counts[TrialState.FAIL],
            pruned=self.counts[TrialState.PRUNED],
            trials_per_s=rate,
            expected_end_utc=end,
            started_at_utc=self._started_at_utc,
            updated_at_utc=now.isoformat(timespec="seconds"),
            best_value=best_value,
            entries=entries,
        )
