"""The validation of a study: its best trials on fresh seeds, round by round."""

import contextlib
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.disk.files import writing
from seedwise.disk.frames import frames_end
from seedwise.driver.run import Run
from seedwise.driver.same_run import LOSSES, decides_losses
from seedwise.engine.trial import Allocation, TrialSeeds
from seedwise.folder.directory import RunDirectory
from seedwise.folder.ledger import FRAMING as LEDGER
from seedwise.folder.ledger import Ledger, params_digest, read_trials
from seedwise.model import validation as model
from seedwise.model.options.study import StudyOptions
from seedwise.model.seeds import SeedPlan
from seedwise.model.statistics import Estimate, confidence_interval, estimate
from seedwise.model.trials import Proposal, TrialOutcome, TrialResult
from seedwise.model.validation import Validation
from seedwise.study.smoothed import SmoothedSampler, smoothed_study
from seedwise.study.storage import load_study


def is_searched(run: Run, trials: Sequence[TrialResult]) -> bool:
    """Tell whether no further trial is asked for, once these are told."""
    return len(trials) >= run.options.n_trials or are_seeds_spent(run.options, trials)


def is_complete(run: Run, trials: Sequence[TrialResult]) -> bool:
    """Tell whether nothing is left to do once these trials are told, of the validation neither."""
    return is_searched(run, trials) and is_validated(run, trials)


def are_seeds_spent(options: StudyOptions, trials: Sequence[TrialResult]) -> bool:
    """Tell whether the trials have as many seeds as they may."""
    most = options.max_total_seeds
    return most is not None and sum(trial.n_seeds for trial in trials) >= most


def n_chunks_of_parts(run: Run) -> list[int]:
    """Return how many chunks a study can have in flight in its search, and in each round."""
    options, parts, size = run.options, run.parts, run.parts.plan.chunk_size
    n_fresh = options.fresh_seeds_of(parts.looks)
    rounds = model.halving(min(options.n_validation_candidates, options.n_trials), n_fresh)
    of_rounds = [n_left * -(-n_new // size) for n_left, n_new in rounds if n_fresh]
    n_at_once = min(options.lag_of(parts.looks), options.n_trials)
    return [parts.n_chunks * n_at_once, *of_rounds]


def candidates(
    run: Run, trials: Sequence[TrialResult], smoothed: Mapping[int, float]
) -> list[TrialResult]:
    """Return the best trials by what the sampler was shown, one of each point, the best first."""
    sign = -1.0 if run.options.direction == "maximize" else 1.0
    complete = [
        (sign * smoothed.get(trial.number, trial.value), trial.number, trial)
        for trial in trials
        if trial.value is not None
    ]
    different: dict[str, TrialResult] = {}
    for _, _, trial in sorted(complete):
        different.setdefault(params_digest(trial.params), trial)
    return list(different.values())[: run.options.n_validation_candidates]


def is_validated(run: Run, trials: Sequence[TrialResult]) -> bool:
    """Tell whether the validation of these trials is finished, or there is none to be."""
    n_fresh = run.options.fresh_seeds_of(run.parts.looks)
    if not n_fresh or all(trial.value is None for trial in trials):
        return True
    said = run.directory.validation_record.read()
    return "found" in said and said["of"] == _of(run, trials)


def begin_validation(run: Run, trials: Sequence[TrialResult]) -> "Halving":
    """Write of what the validation is; drop what is on record of another loss or other seeds."""
    run.guard()
    directory = run.directory
    is_smoothed = isinstance(run.parts.sampler, SmoothedSampler)
    name = run.history.study_name
    smoothed = smoothed_study(load_study(directory.study_file, name)) if is_smoothed else None
    shown = {} if smoothed is None else smoothed.values()
    chosen, ledger = candidates(run, trials, shown), directory.validation_ledger
    before, now = directory.validation_record.read().get("of", {}), _of(run, trials)
    if any(before.get(name) != now[name] for name in ("losses", "fresh_seeds")):
        ledger.unlink(missing_ok=True)
        shutil.rmtree(directory.validation, ignore_errors=True)
    directory.cut_back(ledger, frames_end(ledger, LEDGER), fence=run.options.take_over)
    if run.options.retry_failed and (failed := failed_on_fresh_seeds(run, chosen)):
        with Ledger(ledger, run.guard, accept_changes=True) as opened:
            opened.begin_again(failed)
    directory.validation_record.write({"of": now, "smoothed": bool(shown)})
    with writing(directory.validation):  # losses may write files there
        directory.validation.mkdir(mode=0o700, exist_ok=True)
    plan = attrs.evolve(run.parts.plan, seeds=_fresh_seeds(run))
    n_seeds = run.options.fresh_seeds_of(run.parts.looks)
    args = chosen, plan, n_seeds, run.options.direction, _on_other_terms(run, chosen)
    if smoothed is None or not run.parts.looks.in_parts or _losses_changed(run):
        return Halving(*args)
    return Halving(*args, smoothed.values)


def failed_on_fresh_seeds(run: Run, chosen: Sequence[TrialResult]) -> list[int]:
    """Return the candidates, by number, of which the ledger has a failure."""
    numbers = [trial.number for trial in chosen]
    read = read_trials(run.directory.validation_ledger, numbers, n_seeds=0)
    return [number for number, one in read.items() if one.failure is not None]


def forget_found(run: Run) -> None:
    """Drop what an earlier validation found, since the search goes on; its losses are kept."""
    said = run.directory.validation_record.read()
    if "found" in said:
        run.write(run.directory.validation_record, {"of": said["of"]})


def write_validation(run: Run, found: Validation) -> None:
    """Write what the validation found."""
    said = run.directory.validation_record.read()
    # If another driver has taken over after that, the guard sees it.
    run.write(run.directory.validation_record, {**said, "found": attrs.asdict(found)})
    who = "" if run.directory.parent is None else f"{run.options.entry_id}: "
    run.log.write("validated", f"{who}{model.in_words(found)}")
    with contextlib.suppress(OSError):  # the loss wrote files
        run.directory.validation.rmdir()


def seeds_validated_on(directory: RunDirectory, plan: SeedPlan) -> NDArray[np.int64] | None:
    """Return the fresh seeds of a run's validation, in order; None if there was none."""
    of = directory.validation_record.read().get("of")
    if of is None:
        return None
    changes = directory.read_meta()["accepted_changes"]
    return model.fresh_seeds(_used_seeds(plan, changes), of["fresh_seeds"][0])


class Halving(Allocation):
    """Proposes candidates round by round, and gives each the seeds of the round.

    It is both where the points of an engine come from, and which seeds they get; each round has an
    engine of its own. `chosen` are the candidates, the best first. The last `n_seeds` seeds of the
    plan are for the winner's value, and the others choose it. The search's values of the trials
    `on_other_terms`, by number, do not count. `smoothed` takes what the fresh seeds say of
    candidates, and returns their smoothed values; none if they are not smoothed.
    """

    best = None
    n_asked = 0

    def __init__(
        self,
        chosen: Sequence[TrialResult],
        plan: SeedPlan,
        n_seeds: int,
        direction: str,
        on_other_terms: Collection[int] = (),
        smoothed: Callable[[Mapping[int, Estimate]], Mapping[int, float]] = lambda _: {},
    ) -> None:
        super().__init__(plan)
        self.n_rounds = 0
        #: How many evaluations there are to be in all, unless a seed fails.
        self.n_seeds = model.n_evaluations(len(chosen), n_seeds)
        self._sign = -1.0 if direction == "maximize" else 1.0
        self._on_other_terms = on_other_terms
        self._smoothed = smoothed
        self._n_choosing = len(plan.seeds) - n_seeds
        self._rounds = model.halving(len(chosen), n_seeds)
        self._n_each = 0  # seeds of a candidate by the end of the round
        self._chosen = {trial.number: trial for trial in chosen}
        self._left = list(chosen)  # the best first
        self._out: list[TrialResult] = []  # the best first
        self._errors: dict[int, str] = {}
        self._fresh: dict[int, NDArray[np.float64]] = {}  # those that choose the winner
        self._value: Estimate | None = None
        self._is_choosing = True
        self._n_done: dict[int, int] = {}  # evaluations of those that are not in flight
        self._queue: list[TrialResult] = []
        #: How many candidates of the round are not told.
        self.n_waiting = 0

    def begin_round(self) -> bool:
        """Begin the next round; tell whether there is one."""
        if self._value is not None:
            return False
        wanted = np.zeros(len(self.plan.seeds), dtype=np.bool_)
        self._is_choosing = self._is_choosing and len(self._left) > 1
        if self._is_choosing:
            self._n_each += next(self._rounds)[1]
            wanted[: self._n_each] = True
        else:
            wanted[self._n_choosing :] = True
            if not self._left:  # the winner failed, and the next best takes its place
                self._left, self._out = self._out[:1], self._out[1:]
        self._queue = list(self._left)
        self.n_waiting = len(self._queue)
        self._own = TrialSeeds((wanted,))
        self.n_rounds += 1
        return bool(self._queue)

    def unfinished(self) -> Sequence[Proposal]:
        """Return nothing: what was evaluated is in the ledger."""
        return ()

    def ask(self) -> Proposal | None:
        """Return the next candidate of the round; None if all are asked for."""
        if not self._queue:
            return None
        trial = self._queue.pop(0)
        self._n_done.pop(trial.number, None)  # the engine counts them again
        return Proposal(trial.number, trial.params)

    def tell(self, outcome: TrialOutcome) -> TrialResult:
        """Take how a candidate did in the round."""
        if outcome.error is not None:
            self._errors[outcome.number] = outcome.error
        trial = self._chosen[outcome.number]
        return attrs.evolve(
            trial, value=outcome.value, n_seeds=outcome.n_seeds, error=outcome.error
        )

    def take(self, trial: TrialResult, losses: NDArray[np.float64]) -> None:
        """Take the losses of a candidate; after the last of the round, see who goes on."""
        self.n_waiting -= 1
        self._n_done[trial.number] = int(np.isfinite(losses).sum())
        own = losses[self._own.looks[0]]
        if trial.value is not None and self._is_choosing:
            self._fresh[trial.number] = own
        elif trial.value is not None:
            self._value = estimate(own)
        if self.n_waiting:
            return
        left = [trial for trial in self._left if trial.number not in self._errors]
        if self._is_choosing:
            fresh = {trial.number: estimate(self._fresh[trial.number]) for trial in left}
            evidence = self._smoothed(fresh) or {  # what all seeds say of candidates
                trial.number: fresh[trial.number].mean
                if trial.number in self._on_other_terms
                else model.pooled(trial, fresh[trial.number])
                for trial in left
            }
            left.sort(key=lambda trial: self._sign * evidence[trial.number])
            n_kept = -(-len(self._left) // 2)
            left, self._out = left[:n_kept], [*left[n_kept:], *self._out]
        self._left = left

    def n_seeds_done(self, n_of_those_in_flight: int) -> int:
        """Return how many of the evaluations are done, of earlier rounds too."""
        return min(sum(self._n_done.values()) + n_of_those_in_flight, self.n_seeds)

    def found(self) -> Validation:
        """Return what the validation found."""
        sound = [trial for trial in (*self._left, *self._out) if trial.number not in self._errors]
        chose = [self._fresh[trial.number] for trial in sound if trial.number in self._fresh]
        shares = model.probabilities_best(chose, self._sign) or [1.0] * len(sound)
        fresh = {number: estimate(losses) for number, losses in self._fresh.items()}
        candidates = []
        for trial, share in zip(sound, shares, strict=True):
            one = model.candidate(trial, fresh.get(trial.number), None)
            candidates.append(attrs.evolve(one, probability_best=share))
        for number, trial in self._chosen.items():
            if number in self._errors:
                candidates.append(model.candidate(trial, None, self._errors[number]))
        if (value := self._value) is None:
            return Validation(tuple(candidates))
        interval, winner = confidence_interval(value), sound[0]
        own = winner.number, winner.params, value.mean, value.stderr, interval, value.n_seeds
        return Validation(tuple(candidates), *own)


def _on_other_terms(run: Run, chosen: Sequence[TrialResult]) -> set[int]:
    """Return the candidates, by number, that had other seeds than one another, or another loss."""
    if run.parts.looks.in_parts:
        return {trial.number for trial in chosen}
    if not _losses_changed(run):
        return set()
    path, n_seeds = run.directory.ledger, len(run.parts.plan.seeds)
    read = read_trials(path, [trial.number for trial in chosen], n_seeds)
    of_the_loss = {"loss", "entry_id"}
    return {number for number, one in read.items() if of_the_loss & {*one.changed_since}}


def _losses_changed(run: Run) -> bool:
    return any(decides_losses(one["changes"]) for one in run.history.accepted_changes)


def _fresh_seeds(run: Run) -> NDArray[np.int64]:
    used = _used_seeds(run.parts.plan, run.history.accepted_changes)
    n_seeds = run.options.fresh_seeds_of(run.parts.looks)
    return model.fresh_seeds(used, model.n_choosing(n_seeds) + n_seeds)


def _used_seeds(plan: SeedPlan, changes: Sequence[Mapping[str, Any]]) -> NDArray[np.int64]:
    """Return the seeds of the plan, with the largest of each plan that the run had before."""
    earlier = [one["highest_seed"] for one in changes if "highest_seed" in one]
    return np.concatenate([plan.seeds, np.array(earlier, dtype=np.int64)])


def _of(run: Run, trials: Sequence[TrialResult]) -> dict[str, Any]:
    depends_on, fresh = run.history.results_depend_on, _fresh_seeds(run)
    return {
        "losses": {name: depends_on[name] for name in LOSSES if name in depends_on},
        "fresh_seeds": [len(fresh), int(fresh.min()), int(fresh.max())],
        "direction": run.options.direction,
        "n_candidates": run.options.n_validation_candidates,
        "n_told": len(trials),
    }
