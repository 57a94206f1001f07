"""The trial table: which trials of a sweep are finished, and the best. See `table_rows`, too."""

import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from seedwise.disk.aside import writing
from seedwise.disk.frames import FrameFile
from seedwise.folder.table_rows import (
    FRAMING,
    NOT_TOLD,
    STATE_CODES,
    STATES,
    again_bodies,
    changes,
    read_rows,
    row_body,
)
from seedwise.model.trials import TrialResult, TrialState

_STATES_A_BLOCK = 512  # what a single told trial far from all others costs, in bytes


class TrialTable(FrameFile):
    """The finished trials of a sweep: one byte a trial and the best ones are in memory."""

    def __init__(self, path: Path, guard: Callable[[], None] = lambda: None) -> None:
        super().__init__(path, FRAMING, guard)
        self.counts: Counter[TrialState] = Counter()
        self._codes = _Codes()
        # The least value and the largest, each with the lowest number that has it: with the sign
        # that makes the best the least.
        self._least: dict[float, tuple[float, int]] = {}
        self._best_is_lost = False  # only all values could tell the next

    def __enter__(self) -> Self:
        """Read what is in the file, and open it."""
        with writing(self._path):
            for number, code, value in changes(self._path):
                self._set(number, code, value)
        return super().__enter__()

    @property
    def n_told(self) -> int:
        """How many trials are told."""
        return self.counts.total()

    def state_of(self, number: int) -> TrialState | None:
        """Return how a trial ended; None if it is not told."""
        return STATES.get(self._codes.get(number))

    def best(self, direction: str) -> tuple[int, float] | None:
        """Return number and value of the best complete trial, the first of equals."""
        if self._best_is_lost:
            self._least, self._best_is_lost = {}, False
            if self.counts[TrialState.COMPLETE]:
                rows = read_rows(self._path, tails=False)
                complete = rows.state == STATE_CODES[TrialState.COMPLETE]
                numbers, values = rows.number[complete], rows.value[complete]
                if not np.isnan(values).all():
                    for index in (np.nanargmin(values), np.nanargmax(values)):
                        self._note_value(int(numbers[index]), float(values[index]))
        sign = -1.0 if direction == "maximize" else 1.0
        if sign not in self._least:
            return None
        value, number = self._least[sign]
        return number, sign * value

    def add(self, trials: Sequence[TrialResult], digests: Sequence[str]) -> None:
        """Append finished trials, each with its `params_digest`; all of them, or none."""
        self.append(row_body(trial, digest) for trial, digest in zip(trials, digests, strict=True))
        for trial in trials:
            value = math.nan if trial.value is None else trial.value
            self._set(trial.number, STATE_CODES[trial.state], value)

    def begin_again(self, numbers: Iterable[int]) -> None:
        """Note that trials are evaluated again, so not told any more; all of them, or none."""
        told = array("q", (number for number in numbers if self._codes.get(number)))
        self.append(again_bodies(told))
        self.sync()
        for number in told:
            self._set(number, NOT_TOLD, math.nan)

    def _set(self, number: int, code: int, value: float) -> None:
        before = self._codes.get(number)
        if before:
            self.counts[STATES[before]] -= 1
            self._best_is_lost |= any(number == other for _, other in self._least.values())
        self._codes.set(number, code)
        if code:
            self.counts[STATES[code]] += 1
            if STATES[code] is TrialState.COMPLETE:
                self._note_value(number, value)

    def _note_value(self, number: int, value: float) -> None:
        if not math.isnan(value):
            for sign in (1.0, -1.0):
                pair = (sign * value, number)
                self._least[sign] = min(pair, self._least.get(sign, pair))


class _Codes:
    """A byte for each number that is set, in blocks; 0 for all others."""

    def __init__(self) -> None:
        self._blocks: dict[int, bytearray] = {}

    def get(self, number: int) -> int:
        block = self._blocks.get(number // _STATES_A_BLOCK)
        return block[number % _STATES_A_BLOCK] if block is not None else 0

    def set(self, number: int, code: int) -> None:
        block = self._blocks.setdefault(number // _STATES_A_BLOCK, bytearray(_STATES_A_BLOCK))
        block[number % _STATES_A_BLOCK] = code
