"""The trial table: which trials of a sweep are finished. See `table_rows`, too."""

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self

from seedwise.disk.aside import writing
from seedwise.disk.frames import FrameFile
from seedwise.folder.table_rows import (
    FRAMING,
    NOT_TOLD,
    STATE_CODES,
    STATES,
    again_bodies,
    changes,
    row_body,
)
from seedwise.model.trials import TrialResult, TrialState

_STATES_A_BLOCK = 512  # what a single told trial far from all others costs, in bytes


class TrialTable(FrameFile):
    """The finished trials of a sweep: one byte a trial is in memory."""

    def __init__(self, path: Path, guard: Callable[[], None] = lambda: None) -> None:
        super().__init__(path, FRAMING, guard)
        self.counts: Counter[TrialState] = Counter()
        # A byte for each number, in blocks; 0 for those that are not told.
        self._codes: defaultdict[int, bytearray] = defaultdict(lambda: bytearray(_STATES_A_BLOCK))

    def __enter__(self) -> Self:
        """Read what is in the file, and open it."""
        with writing(self._path):
            for number, code in changes(self._path):
                self._set(number, code)
        return super().__enter__()

    @property
    def n_told(self) -> int:
        """How many trials are told."""
        return self.counts.total()

    def state_of(self, number: int) -> TrialState | None:
        """Return how a trial ended; None if it is not told."""
        block, place = divmod(number, _STATES_A_BLOCK)
        return STATES.get(self._codes[block][place])

    def add(self, trials: Sequence[TrialResult], digests: Sequence[str]) -> None:
        """Append finished trials, each with its `params_digest`; all of them, or none."""
        self.append(row_body(trial, digest) for trial, digest in zip(trials, digests, strict=True))
        for trial in trials:
            self._set(trial.number, STATE_CODES[trial.state])

    def begin_again(self, numbers: Iterable[int]) -> None:
        """Note that trials are evaluated again, so not told any more; all of them, or none."""
        told = array("q", (number for number in numbers if self.state_of(number)))
        self.append(again_bodies(told))
        self.sync()
        for number in told:
            self._set(number, NOT_TOLD)

    def _set(self, number: int, code: int) -> None:
        before = self.state_of(number)
        if before:
            self.counts[before] -= 1
        block, place = divmod(number, _STATES_A_BLOCK)
        self._codes[block][place] = code
        if code:
            self.counts[STATES[code]] += 1
