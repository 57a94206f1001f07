"""The check that a worker makes the same of a seed as the driver, and as every other worker."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from seedwise.dispatch.channel import Order
from seedwise.errors import SelfCheckError
from seedwise.model.trials import ChunkResult
from seedwise.worker.chunk import ChunkTask, Reference

# Another model of CPU may round in another way, and so give other last bits.
_LAST_BITS = 1e-9

# How long the driver's value is waited for once a worker's is there.
_PATIENCE_S = 30.0


@attrs.frozen
class Answer:
    """What the driver makes of the reference."""

    #: None if there is no loss.
    loss: float | None
    #: Why there is none.
    problem: str = ""


class Witness(Protocol):
    """Who evaluates the reference as the loss is by hand, in the driver's way."""

    def ask(self, reference: Reference) -> None:
        """Begin."""

    def answer(self) -> Answer | None:
        """Return what came of it; None while it goes on."""


class SelfCheck:
    """Has each worker evaluate one seed before its first chunk, and compares.

    Until the driver's value is there no result is handed on, so a run whose first value is wrong
    does not begin. `note` takes what the user should know in a line. `recorded` is a seed that the
    run has evaluated before; without it, it is the first of the first chunk that is sent.
    """

    def __init__(
        self,
        witness: Witness | None,
        note: Callable[[str], None],
        recorded: tuple[Reference, float] | None = None,
    ) -> None:
        self._witness = witness
        self._note = note
        self._reference: Reference | None = None
        self._answers: dict[str, float] = {}
        self._error: SelfCheckError | None = None
        self._withheld: list[tuple[Order, ChunkResult]] = []
        self._waits_until_s = math.inf
        self._knows_chance = False
        self._is_by_chance = False
        self._has_noted = False
        if recorded is not None:
            self._knows_chance = True
            self._begin(recorded[0])
            self._compare("the run's record", recorded[1])

    def with_reference(self, order: Order) -> Order:
        """Return a chunk with the seed that its worker is to evaluate once."""
        task = order.task
        if self._reference is None:
            seed, start = int(task.chunk.seeds[0]), task.chunk.start
            self._begin(Reference(task.trial, task.params, seed, task.entry_id, start))
        return attrs.evolve(order, task=attrs.evolve(task, reference=self._reference))

    def passed(
        self, results: Sequence[tuple[Order, ChunkResult]]
    ) -> list[tuple[Order, ChunkResult]]:
        """Return the results that may be handed on; raises SelfCheckError if values differ."""
        if results:
            self._waits_until_s = min(self._waits_until_s, time.monotonic() + _PATIENCE_S)
        for order, result in results:
            if result.reference is not None:
                self._compare(_named(result), result.reference)
            self._look_for_chance(order.task, result)
        self._withheld += results
        if self._is_waiting():
            return []
        if self._error is not None:
            if not self._knows_chance:
                return []
            raise self._error
        passed, self._withheld = self._withheld, []
        return passed

    def _begin(self, reference: Reference) -> None:
        self._reference = reference
        if self._witness is not None:
            self._witness.ask(reference)

    def _is_waiting(self) -> bool:
        if self._witness is None or not self._withheld:
            return False
        answer = self._witness.answer()
        if answer is None and time.monotonic() < self._waits_until_s:
            return True
        self._witness = None
        if answer is not None and answer.loss is not None:
            self._compare("the driver", answer.loss)
        elif self._answers:  # else the loss fails on workers, too
            why = "in time" if answer is None else f"({answer.problem})"
            self._note(f"the driver could not evaluate the first seed {why}: it is not compared")
        return False

    def _compare(self, who: str, loss: float) -> None:
        first = next(iter(self._answers.items()), (who, loss))
        self._answers[who] = loss
        if loss == first[1] or self._is_by_chance:
            return
        assert self._reference is not None  # or nobody would have evaluated it
        error = SelfCheckError(
            self._reference.seed, self._reference.params, dict([first, (who, loss)])
        )
        if not math.isclose(loss, first[1], rel_tol=_LAST_BITS):
            self._error = self._error or error
        elif not self._has_noted:
            self._has_noted = True
            self._note(error.in_last_bits())

    def _look_for_chance(self, task: ChunkTask, result: ChunkResult) -> None:
        """See whether a worker gives the same seed another value the second time."""
        reference = self._reference
        assert reference is not None  # or no chunk would have been sent
        place = (reference.entry_id, reference.trial, reference.start)
        if self._knows_chance or (task.entry_id, task.trial, task.chunk.start) != place:
            return
        self._knows_chance = True
        first = self._answers.get(_named(result))
        # A vectorized loss may give other last bits when it is called for more seeds.
        if first is None or result.losses is None:
            return
        again = float(result.losses[0])
        if not math.isclose(again, first, rel_tol=_LAST_BITS):
            self._is_by_chance, self._error = True, None
            self._note(
                f"the loss is not a function of params and seed: for seed {reference.seed} it "
                f"gave {first!r} and then {again!r} on one worker, so the run can't be repeated. "
                "Draw all random numbers from a generator that is made from the seed"
            )


def _named(result: ChunkResult) -> str:
    job = "" if result.job_id is None else f", job {result.job_id}"
    return f"worker {result.worker}{job}"
