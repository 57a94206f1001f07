"""The options of an optimisation, beyond those that all runs have."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from seedwise.model.options import checks
from seedwise.model.options.fields import Forms, option
from seedwise.model.options.work import ENTRY_ID, RUN_NAME, WorkOptions


def _source(manifest: dict[str, Any]) -> Any:
    from seedwise.model.sources import source_from_manifest  # with numpy

    return source_from_manifest(manifest)


@attrs.frozen(kw_only=True)
class StudyOptions(WorkOptions):
    """The options of a study, checked when they are made."""

    n_trials: int = option(
        10,
        "int",
        "Total number of trials, including those of a run that is resumed.",
        checks.positive,
    )
    sampler: Any = option(
        "tpe",
        "str or optuna.samplers.BaseSampler",
        f"Sampler: {', '.join(map(repr, checks.SAMPLERS))}, or an Optuna sampler of your own. A "
        "copy of it is used. Seed it, or the run can't be repeated.",
        checks.sampler,
        forms=Forms(choices=checks.SAMPLERS),
    )
    random_seed: int = option(
        123,
        "int",
        "Seed of the sampler; an Optuna sampler that you pass has its own.",
        checks.sampler_seed,
    )
    max_concurrent_trials: int = option(
        1,
        "int",
        "Number k of trials in flight at once. Trial n is asked for when exactly the trials up to "
        "n - k are told, so k is part of what decides the result.",
        checks.positive,
    )
    enqueue: Any = option(
        None,
        "GridSource, RandomSource or ManualSource",
        "Points to try after `trial_zero` and before the sampler is asked. The sampler chooses "
        "what a case does not name.",
        checks.source,
        forms=Forms(to_json=lambda source: source.to_manifest_dict(), from_json=_source),
    )
    refine_search_factor: float | None = option(
        None,
        "float",
        "Resume a run in a smaller space around its best trial. Each range keeps this share of "
        "its width, on the scale of the parameter and within the old bounds. Above 0 and below 1. "
        "None leaves the space as it is.",
        checks.part,
    )
    fail_on_chunk_error: bool = option(
        True,
        "bool",
        "Stop the run, with the loss's own traceback, at a trial whose loss raises or does not "
        "return a finite number. With False the trial is marked FAIL and the run continues.",
        checks.truth,
    )
    prune_failed_trials: bool = option(
        False,
        "bool",
        "Mark a failed trial PRUNED, so that the sampler keeps away from its point, and continue "
        "the run. With False it is marked FAIL, which samplers ignore.",
        checks.truth,
    )


@attrs.frozen(kw_only=True)
class RunOptions(StudyOptions):
    """The options of a run, checked when they are made."""

    kind: ClassVar[str] = "run"

    run_name: str | None = RUN_NAME
    entry_id: str | None = ENTRY_ID
