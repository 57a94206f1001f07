"""The validation of a study: its best trials on fresh seeds, round by round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.driver.run import Run
from seedwise.engine.race import TrialSeeds
from seedwise.folder.ledger import Ledger, ledger_end, params_digest
from seedwise.model.seeds import SeedPlan
from seedwise.model.statistics import Estimate, confidence_interval, estimate
from seedwise.model.trials import ChunkResult, Proposal, TrialOutcome, TrialResult
from seedwise.model.validation import (
    Validation,
    candidate,
    fresh_seeds,
    halving,
    pooled,
    probabilities_best,
)


def n_validation_seeds(run: Run) -> int:
    """Return on how many fresh seeds the winner is chosen, and on how many it is evaluated."""
    given, looks = run.options.n_validation_seeds, run.parts.looks
    if given is not None:
        n_seeds: int = given
        return n_seeds
    return looks.n_plan if looks.saves else 0


def candidates(run: Run, trials: Sequence[TrialResult]) -> list[TrialResult]:
    """Return the best trials, one of each point, the best first."""
    sign = _sign(run)
    complete = [(sign * trial.value, trial) for trial in trials if trial.value is not None]
    ranked = sorted(complete, key=lambda one: (one[0], one[1].number))
    different: dict[str, TrialResult] = {}
    for _, trial in ranked:
        different.setdefault(params_digest(trial.params), trial)
    return list(different.values())[: run.options.n_validation_candidates]


def is_validated(run: Run, trials: Sequence[TrialResult]) -> bool:
    """Tell whether the validation of these trials is finished, or there is none to be."""
    if not n_validation_seeds(run) or not candidates(run, trials):
        return True
    said = run.directory.read_validation()
    return "found" in said and said["of"] == _of(run, candidates(run, trials))


def begin_validation(run: Run, chosen: Sequence[TrialResult]) -> None:
    """Write of what the validation is; drop what is on record of another loss or other seeds."""
    run.guard()
    ledger = run.directory.validation_ledger
    before, now = run.directory.read_validation().get("of", {}), _of(run, chosen)
    if any(before.get(name) != now[name] for name in ("loss", "seeds", "n_seeds")):
        ledger.unlink(missing_ok=True)
    run.directory.cut_back(ledger, ledger_end(ledger), fence=run.options.take_over)
    run.directory.write_validation({"of": now})


def forget_found(run: Run) -> None:
    """Drop what an earlier validation found, since the search goes on; its losses are kept."""
    said = run.directory.read_validation()
    if "found" in said:
        run.guard()
        run.directory.write_validation({"of": said["of"]})


def write_validation(run: Run, chosen: Sequence[TrialResult], found: Validation) -> None:
    """Write what the validation found."""
    run.guard()
    content = {"of": _of(run, chosen), "found": attrs.asdict(found)}
    run.directory.write_validation(content)


def validation_plan(run: Run) -> SeedPlan:
    """Return the fresh seeds: first those that choose the winner, then those of its value."""
    plan, n_seeds = run.parts.plan, n_validation_seeds(run)
    return SeedPlan(fresh_seeds(plan.seeds, 2 * n_seeds), plan.chunk_size)


class Halving:
    """Proposes candidates round by round, and gives each the seeds of the round.

    It is both where the points of an engine come from, and which seeds they get.
    """

    best = None
    n_seeds_told = 0

    def __init__(self, run: Run, chosen: Sequence[TrialResult]) -> None:
        self.plan = validation_plan(run)
        self.n_asked = 0
        self._sign = _sign(run)
        self._n_choosing = len(self.plan.seeds) // 2
        self._rounds = halving(len(chosen), self._n_choosing)
        self._chosen = {trial.number: trial for trial in chosen}
        self._left = list(chosen)  # the best first
        self._out: list[TrialResult] = []  # the last one out first
        self._errors: dict[int, str] = {}
        self._fresh: dict[int, NDArray[np.float64]] = {}  # by position in the plan
        self._value: Estimate | None = None
        self._queue: list[TrialResult] = []
        self._n_waiting = 0
        self._is_choosing = True
        self._begin_round()

    def unfinished(self) -> Sequence[Proposal]:
        """Return nothing: what was evaluated is in the ledger."""
        return ()

    def ask(self) -> Proposal | None:
        """Return the next candidate of the round; None if all are asked for."""
        if not self._queue:
            return None
        trial = self._queue.pop(0)
        self.n_asked += 1
        self._n_waiting += 1
        return Proposal(trial.number, trial.params)

    def seeds_of(self, number: int) -> TrialSeeds:
        """Return the seeds of the round."""
        del number
        return self._own

    def tell(self, outcome: TrialOutcome) -> TrialResult:
        """Take how a candidate did in the round."""
        if outcome.error is not None:
            self._errors[outcome.number] = outcome.error
        trial = self._chosen[outcome.number]
        return attrs.evolve(trial, value=outcome.value, n_seeds=outcome.n_seeds)

    def take(self, trial: TrialResult, losses: NDArray[np.float64]) -> None:
        """Take the losses of a candidate; after the last of the round, begin the next."""
        self._n_waiting -= 1
        if trial.value is not None and self._is_choosing:
            self._fresh[trial.number] = losses[self._own.looks[0]]
        elif trial.value is not None:
            self._value = estimate(losses[self._own.looks[0]])
        if not self._n_waiting and not self._queue:
            self._end_round()

    def found(self) -> Validation:
        """Return what the validation found."""
        sound = [trial for trial in (*self._left, *self._out) if trial.number not in self._errors]
        failed = [trial for number, trial in self._chosen.items() if number in self._errors]
        chose = [self._fresh[trial.number] for trial in sound if trial.number in self._fresh]
        shares = probabilities_best(chose, self._sign) if chose else [1.0] * len(sound)
        of_sound = [
            attrs.evolve(candidate(trial, self._estimate(trial), None), probability_best=share)
            for trial, share in zip(sound, shares, strict=True)
        ]
        of_failed = [candidate(trial, None, self._errors[trial.number]) for trial in failed]
        everyone = (*of_sound, *of_failed)
        if self._value is None:
            return Validation(everyone)
        return Validation(
            everyone,
            number=sound[0].number,
            params=sound[0].params,
            value=self._value.mean,
            stderr=self._value.stderr,
            interval=confidence_interval(self._value),
            n_seeds=self._value.n_seeds,
        )

    def _estimate(self, trial: TrialResult) -> Estimate | None:
        fresh = self._fresh.get(trial.number)
        return None if fresh is None else estimate(fresh)

    def _end_round(self) -> None:
        sound = [trial for trial in self._left if trial.number not in self._errors]
        if self._is_choosing:
            fresh = {trial.number: estimate(self._fresh[trial.number]) for trial in sound}
            sound.sort(key=lambda trial: self._sign * pooled(trial, fresh[trial.number]))
            n_kept = -(-len(self._left) // 2)
            sound, self._out = sound[:n_kept], [*sound[n_kept:], *self._out]
        self._left = sound
        if self._value is None:
            self._begin_round()

    def _begin_round(self) -> None:
        size = next(self._rounds, (0, 0))[1] if self._is_choosing and len(self._left) > 1 else 0
        self._is_choosing = size > 0
        wanted = np.zeros(len(self.plan.seeds), dtype=np.bool_)
        if self._is_choosing:
            wanted[:size] = True
            self._queue = list(self._left)
        else:
            wanted[self._n_choosing :] = True
            if not self._left:  # the winner failed, and the next best takes its place
                self._left, self._out = self._out[:1], self._out[1:]
            self._queue = self._left[:1]
        self._own = TrialSeeds((wanted,))


class KeptLedger:
    """The ledger of a validation, which evaluates a candidate round by round."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._recorded: dict[int, list[ChunkResult]] = {}

    def recorded(self, proposal: Proposal) -> Sequence[ChunkResult]:
        """Return what is on record for a candidate, in the order in which it came."""
        return self._of(proposal)

    def record(self, entries: Sequence[tuple[Proposal, ChunkResult]]) -> None:
        """Append results."""
        self._ledger.record(entries)
        for proposal, result in entries:
            self._of(proposal).append(result)

    def sync(self) -> None:
        """Have what was appended on disk before this returns."""
        self._ledger.sync()

    def _of(self, proposal: Proposal) -> list[ChunkResult]:
        number = proposal.number
        if number not in self._recorded:  # the ledger drops what it gave
            self._recorded[number] = list(self._ledger.recorded(proposal))
        return self._recorded[number]


def _sign(run: Run) -> float:
    return -1.0 if run.options.direction == "maximize" else 1.0


def _of(run: Run, chosen: Sequence[TrialResult]) -> Mapping[str, Any]:
    depends_on = run.history.depends_on
    return {
        "loss": depends_on["loss"],
        "seeds": depends_on["seeds"],
        "n_seeds": n_validation_seeds(run),
        "candidates": [[trial.number, trial.value, trial.n_seeds] for trial in chosen],
    }
