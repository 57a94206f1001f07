"""Where the points of a sweep come from: its cases, but for those that are told."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from seedwise.folder.ledger import params_digest
from seedwise.folder.trial_table import TrialTable
from seedwise.model.points import Cases
from seedwise.model.trials import Proposal, TrialOutcome, TrialResult


class SweepProposer:
    """Gives the cases of a sweep, and keeps how they turned out in its table.

    `numbers` are the trials to evaluate. They are drawn as they are asked for, so that a million
    cases are never in memory at once.
    """

    def __init__(
        self,
        cases: Cases,
        table: TrialTable,
        numbers: Iterator[int],
        best: TrialResult | None,
    ) -> None:
        #: How many are told or asked for.
        self.n_asked = table.n_told
        #: The best trial told before.
        self.best = best
        self.n_seeds_told = 0  # a sweep has no limit of seeds
        self._cases = cases
        self._table = table
        self._numbers = numbers
        self._asked: dict[int, tuple[Proposal, float]] = {}

    def unfinished(self) -> Sequence[Proposal]:
        """Return nothing: what was in flight is asked for again, and the ledger knows of it."""
        return ()

    def ask(self) -> Proposal | None:
        """Return the next case; None if there is no more."""
        number = next(self._numbers, None)
        if number is None:
            return None
        proposal = Proposal(number, self._cases.params(number))
        self._asked[number] = proposal, time.monotonic()
        self.n_asked += 1
        return proposal

    def tell(self, outcome: TrialOutcome) -> TrialResult:
        """Keep how a case turned out."""
        proposal, asked_s = self._asked[outcome.number]
        told = TrialResult(
            number=outcome.number,
            params=proposal.params,
            value=outcome.value,
            stderr=outcome.stderr,
            n_seeds=outcome.n_seeds,
            state=outcome.state,
            duration_s=time.monotonic() - asked_s,
            error=outcome.error,
            components=outcome.components,
        )
        self._table.add([told], [params_digest(proposal.params)])
        del self._asked[outcome.number]
        return told
