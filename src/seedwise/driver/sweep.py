"""The work of `run_sweep`: an engine that goes through the cases of a source."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import attrs

from seedwise.disk.frames import frames_end
from seedwise.driver.engine_job import EngineJob
from seedwise.driver.run import Run
from seedwise.driver.same_run import decides_losses
from seedwise.driver.workplace import Workplace
from seedwise.engine.engine import Engine, Rules
from seedwise.engine.trial import Allocation
from seedwise.errors import OptionError
from seedwise.folder.ledger import FRAMING as LEDGER
from seedwise.folder.ledger import Ledger, params_digest
from seedwise.folder.trial_table import FRAMING as TABLE
from seedwise.folder.trial_table import STATE_CODES, TrialTable, read_rows
from seedwise.model.events import Event, TrialFinished
from seedwise.model.points import Cases
from seedwise.model.trials import Proposal, TrialOutcome, TrialResult, TrialState
from seedwise.results.read import read_sweep
from seedwise.results.sweep import SweepResult

# So many may be in flight that any cluster is busy; how many are is for the dispatcher to say.
_MOST_AT_ONCE = 10_000

# A change of one of these makes another trial of a number.
_OF_CASES = {"source", "overrides", "trial_zero"}


class SweepWork(EngineJob[SweepResult]):
    """The work on the trials of a sweep that are asked for by number, or on all not told."""

    packs = True
    summary_every_s = 0.5  # a sweep may tell thousands of trials in a second
    n_trials = 0

    def __init__(self, run: Run, numbers: Sequence[int] | None, *, is_left: bool) -> None:
        super().__init__(run, is_left=is_left)
        self._cases = run.parts.cases
        self._numbers = numbers
        self._read()
        n_left = self._cases.n_trials if numbers is None else len(numbers)
        self.n_trials = n_left if numbers is None else self.counts.total() + n_left
        self.n_planned = self.n_trials
        self.n_chunks = [run.parts.n_chunks * min(n_left, _MOST_AT_ONCE)]

    def open(self, workplace: Workplace) -> Engine | None:
        """Begin the work, which has one part."""
        if self._engine is not None:
            return None
        run, dispatcher = self.run, workplace.dispatcher
        n_chunks = run.parts.plan.n_chunks
        rules = Rules(
            n_trials=self.n_trials,
            in_flight=lambda: -(-dispatcher.pack.chunks_wanted // n_chunks),
            in_order=False,
        )
        table = self.closing.enter_context(TrialTable(run.directory.trial_table, run.guard))
        self.closing.callback(table.sync)
        self._counts = table.counts
        ledger = self.closing.enter_context(_open_ledger(run, table))
        every = range(self._cases.n_trials)
        not_told = (number for number in every if table.state_of(number) is None)
        numbers = not_told if self._numbers is None else iter(self._numbers)
        proposer = SweepProposer(self._cases, table, numbers, self.best)
        return self.begin_engine(workplace, rules, Allocation(run.parts.plan), proposer, ledger)

    def close(self, error: Exception | None) -> None:
        """End the work, done or not."""
        super().close(error)
        self._read()

    def take(self, workplace: Workplace, event: Event) -> None:
        """Take an event of the engine."""
        if isinstance(event, TrialFinished):
            self.best = event.best
        super().take(workplace, event)

    def so_far(self) -> SweepResult:
        """Return the result of what is told by now."""
        return self._result

    def _read(self) -> None:
        rows = read_rows(self.run.directory.trial_table)
        found = read_sweep(self.run.directory, rows, self._cases)
        # Of a finished run, meta.json says what the call before asked for.
        self._result = attrs.evolve(found, direction=self.run.options.direction)
        counts = {state: int((rows.state == code).sum()) for state, code in STATE_CODES.items()}
        self._counts, self.best = Counter(counts), self._result.best


class SweepProposer:
    """Gives the cases of these numbers when asked for them, and keeps their results in a table.

    So a million cases are never in memory at once.
    """

    def __init__(
        self, cases: Cases, table: TrialTable, numbers: Iterator[int], best: TrialResult | None
    ) -> None:
        #: How many are told or asked for.
        self.n_asked = table.counts.total()
        self.best = best
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
            params=proposal.params,
            state=outcome.state,
            duration_s=time.monotonic() - asked_s,
            **attrs.asdict(outcome, recurse=False, filter=attrs.filters.exclude("pruned")),
        )
        self._table.add([told], [params_digest(proposal.params)])
        del self._asked[outcome.number]
        return told


def sweep(run: Run, _: Callable[[Event], None]) -> SweepWork:
    """Take up the work of a sweep."""
    n_trials = run.parts.cases.n_trials
    told = read_rows(run.directory.trial_table, tails=False).number
    # After a change of the cases, what they do not have any more is dropped.
    if len(told) and told[-1] >= n_trials and not _OF_CASES & run.history.changes.keys():
        hint = f"Trial {told[-1]} is told already."
        allowed = f"one of {int(told[-1]) + 1} cases at least"
        raise OptionError("source", f"{n_trials} cases", allowed, hint)
    if _is_finished(run):
        return SweepWork(run, None, is_left=False)
    numbers = _recovered(run)
    run = run.at_work()
    run.prepare()
    return SweepWork(run, numbers, is_left=True)


def _is_finished(run: Run) -> bool:
    path, options = run.directory.trial_table, run.options
    n_trials: int = run.parts.cases.n_trials
    asked_again = options.trial_nums is not None or options.retry_failed
    if asked_again or run.history.changes or not path.exists():
        return False
    if run.directory.n_told() < n_trials or frames_end(path, TABLE) < path.stat().st_size:
        return False
    return len(read_rows(path, tails=False).number) >= n_trials


def _recovered(run: Run) -> Sequence[int] | None:
    """Bring table and ledger to a state to go on from; return the numbers that are asked for."""
    directory, changes = run.directory, run.history.changes
    for path, framing in ((directory.trial_table, TABLE), (directory.ledger, LEDGER)):
        directory.cut_back(path, frames_end(path, framing), fence=run.options.take_over)
    with TrialTable(directory.trial_table, run.guard) as table, _open_ledger(run, table) as ledger:
        if decides_losses(changes) or _OF_CASES & changes.keys():
            ledger.begin_phase(", ".join(changes))
        numbers: Sequence[int] | None = run.options.trial_nums
        again: set[int] = set()
        cases, rows = run.parts.cases, read_rows(directory.trial_table, tails=False)
        if _OF_CASES & changes.keys():  # those of which the params are others now
            for number, digest in zip(rows.number.tolist(), rows.digest, strict=True):
                gone = number >= cases.n_trials
                if gone or params_digest(cases.params(number)) != digest.tobytes().hex():
                    again.add(number)
        if run.options.retry_failed:
            failed = rows.number[rows.state == STATE_CODES[TrialState.FAIL]].tolist()
            again.update(failed)
            if numbers is not None:
                numbers = sorted({*numbers, *failed})
        if numbers is not None:
            again.update(n for n in numbers if table.state_of(n) is not None)
        if again:
            # The ledger first: what the table still tells is forgotten by the same call again.
            ledger.begin_again(sorted(again))
            table.begin_again(sorted(again))
            table.sync()
    return numbers


def _open_ledger(run: Run, table: TrialTable) -> Ledger:
    def told(number: int) -> bool:
        state = table.state_of(number)
        return state is not None and not (run.options.retry_failed and state == TrialState.FAIL)

    return Ledger(run.directory.ledger, run.guard, run.options.accept_changes, told)
