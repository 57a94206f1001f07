"""The options of an optimisation, beyond those that all runs have."""

from typing import TYPE_CHECKING, Any, ClassVar

from seedwise.model.options import checks, texts
from seedwise.model.options.fields import Group, options_class
from seedwise.model.options.race import race_from_json, race_from_text, race_to_json
from seedwise.model.options.work import ENTRY_ID, RUN_NAME, WorkOptions

if TYPE_CHECKING:
    from seedwise.model.racing import Looks  # with numpy

# Trials in flight where each has a part of the seeds. One would leave most of a wide cluster idle;
# with four, the search learns a little less of each seed (docs/racing.md).
_LAG_OF_PARTS = 4


def _source(manifest: dict[str, Any]) -> Any:
    from seedwise.model.sources import source_from_manifest  # with numpy

    return source_from_manifest(manifest)


def _listed(cases: Any) -> Any:
    from seedwise.model.sources import manual  # with numpy

    return manual(cases)


@options_class
class StudyOptions(WorkOptions):
    """The options of a study, checked when they are made."""

    n_trials: int = Group.LENGTH.option(
        "Total number of trials, including those of a run that is resumed.", default=10
    )
    race: Any = Group.LENGTH.option(
        "How many seeds a trial gets. 'auto' gives each trial an eighth of the seeds, 16 at "
        "least, and the next trial those that follow; with fewer than 32 seeds, all trials get "
        "all. True drops a trial early that is worse than the best so far, with the defaults of "
        "`Race`. False gives all trials all seeds. On the command line auto, on, off, or such as "
        "first_look=16,level=0.2.",
        checks.race,
        type="'auto', bool or Race",
        default="auto",
        parse=race_from_text,
        from_toml=race_from_json,
        to_json=race_to_json,
        from_json=race_from_json,
    )
    max_total_seeds: int | None = Group.LENGTH.option(
        "Once the trials have so many seeds together, the search ends, whatever `n_trials` says; "
        "trials in flight are finished. Those of the validation do not count. None is no limit.",
        default=None,
    )
    n_validation_seeds: int | None = Group.LENGTH.option(
        "Fresh seeds, which are not used in the search. Once it ends, the best trial is chosen "
        "among the candidates on half as many, and its value is the mean of so many others: "
        "`validated_value` of the result. A finished run can be called again to be validated, or "
        "validated otherwise. 0 is no validation. None is `n_seeds` if trials get fewer seeds "
        "than that, else 0.",
        checks.fresh_seeds,
        default=None,
    )
    n_validation_candidates: int = Group.LENGTH.option(
        "How many of the best trials are validated, if `n_validation_seeds` is not 0.", default=8
    )
    sampler: Any = Group.SEARCH.option(
        f"Sampler: {', '.join(map(repr, checks.SAMPLERS))}, or an Optuna sampler of your own. A "
        "copy of it is used. Seed it, or the run can't be repeated. 'auto' is 'tpe' if all trials "
        "get all seeds. With fewer, 'auto' (TPE) and 'gp' are shown values that are smoothed over "
        "the trials.",
        checks.sampler,
        type="str or optuna.samplers.BaseSampler",
        default="auto",
        choices=checks.SAMPLERS,
    )
    random_seed: int = Group.SEARCH.option(
        "Seed of the sampler; an Optuna sampler that you pass has its own.",
        checks.sampler_seed,
        default=123,
    )
    max_concurrent_trials: int | None = Group.PLACE.option(
        "Number k of trials in flight at once. Trial n is asked for when exactly the trials up to "
        "n - k are told, so k is part of what decides the result. None is 4 if each trial gets a "
        "part of the seeds, as with `race='auto'`, and 1 otherwise.",
        default=None,
    )
    enqueue: Any = Group.SEARCH.option(
        "Points to try after `trial_zero` and before the sampler is asked. The sampler chooses "
        "what a case does not name. On the command line a point, such as x=0.3,n=2.",
        checks.source,
        type="GridSource, RandomSource or ManualSource",
        default=None,
        parse=texts.point,
        several=True,
        from_toml=_listed,
        to_json=lambda source: source.to_manifest_dict(),
        from_json=_source,
    )
    refine_search_factor: float | None = Group.SEARCH.option(
        "Resume a run in a smaller space around its best trial. Each range keeps this share of "
        "its width, on the scale of the parameter and within the old bounds. Above 0 and below 1. "
        "None leaves the space as it is.",
        checks.part,
        default=None,
    )
    fail_on_chunk_error: bool = Group.FAILURES.option(
        "Stop the run, with the loss's own traceback, at a trial whose loss raises or does not "
        "return a finite number. With False the trial is marked FAIL and the run continues.",
        default=True,
    )
    prune_failed_trials: bool = Group.FAILURES.option(
        "Mark a failed trial PRUNED, so that the sampler keeps away from its point, and continue "
        "the run. With False it is marked FAIL, which samplers ignore.",
        default=False,
    )

    def lag_of(self, looks: "Looks") -> int:
        """Return `max_concurrent_trials`, or what it is by default if trials have these looks."""
        return self.max_concurrent_trials or (_LAG_OF_PARTS if looks.in_parts else 1)

    def fresh_seeds_of(self, looks: "Looks") -> int:
        """Return `n_validation_seeds`, or what it is by default if trials have these looks."""
        if self.n_validation_seeds is not None:
            return self.n_validation_seeds
        return looks.n_plan if looks.saves else 0


@options_class
class RunOptions(StudyOptions):
    """The options of a run, checked when they are made."""

    kind: ClassVar[str] = "run"

    run_name: str | None = Group.FILES.option(RUN_NAME, checks.folder_name, default=None)
    entry_id: str | None = Group.SEARCH.option(ENTRY_ID, default=None)
