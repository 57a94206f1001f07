"""The options of each kind of run, beyond those that all have."""

import hashlib
import operator
import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, ClassVar

from seedwise.errors import OptionError
from seedwise.model.options import checks
from seedwise.model.options.fields import Group, keyword_names, options_class
from seedwise.model.options.race import race_from_json, race_from_text, race_to_json
from seedwise.model.options.work import WorkOptions

if TYPE_CHECKING:
    from seedwise.model.racing import Looks  # with numpy

# Options of all runs but those of entries, which have one of each for every entry.
_ENTRY_ID = "Participant, condition or data set; the loss gets it in `context`."
_RUN_NAME = (
    "Name of the run's folder. If it holds a run, that run is resumed, up to `n_trials`. None is "
    "a new run, named after the loss, with the next free number."
)

_LONGEST_LABEL = 100

# Trials in flight where each has a part of the seeds. One would leave most of a wide cluster idle;
# with four, the search learns a little less of each seed (docs/understand/racing.md).
_LAG_OF_PARTS = 4


def _source(manifest: dict[str, Any]) -> Any:
    from seedwise.model.sources import source_from_manifest  # with numpy

    return source_from_manifest(manifest)


def _manual(cases: Any) -> Any:
    from seedwise.model.sources import manual  # with numpy

    return manual(cases)


def _ids(value: Any) -> Any:
    # The order counts, and that of a set differs between processes.
    if isinstance(value, str | bytes | AbstractSet) or not hasattr(value, "__iter__"):
        return value
    return tuple(str(entry) for entry in value)


def entry_labels(entry_ids: Sequence[str]) -> dict[str, str]:
    """Return the folder name of each entry: letters, digits, ``_``, ``-`` and ``.`` only.

    An id that is not such a name, or is long, has a digest in its folder's name, which depends on
    the id alone. Raises OptionError if an entry is given twice, or if two differ in case only, as
    some file systems ignore case.

    >>> entry_labels(("p-01", "p 01"))
    {'p-01': 'p-01', 'p 01': 'p_01-7f1f4dcf'}
    """
    labels: dict[str, str] = {}
    taken: dict[str, str] = {}
    for entry in entry_ids:
        if entry in labels:
            raise OptionError("entry_ids", entry, "without duplicates", "It is given twice.")
        label = re.sub(r"[^A-Za-z0-9_.-]+", "_", entry).strip("_").lstrip(".-_") or "entry"
        if label != entry or len(label) > _LONGEST_LABEL:
            text = entry.encode(errors="backslashreplace")
            digest = hashlib.blake2b(text, digest_size=4).hexdigest()
            label = f"{label[: _LONGEST_LABEL - 9]}-{digest}"
        other = taken.setdefault(label.casefold(), entry)
        if other != entry:
            hint = f"{other!r} and {entry!r} would both have the folder {label!r}."
            raise OptionError("entry_ids", entry, "ids that differ in more than case", hint)
        labels[entry] = label
    return labels


def _numbers(value: Any) -> Any:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return value
    try:
        return tuple(sorted({operator.index(number) for number in value}))
    except TypeError:
        raise OptionError("trial_nums", value, "whole numbers") from None


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
        "Number of fresh seeds, not used in the search, whose mean is the winner's "
        "`validated_value`. Half as many others choose it among the candidates, once the search "
        "has ended. A finished run can be called again to be validated, or "
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
        "Number k of trials in flight at once. Trial n is asked for once trials 0 to n - k are "
        "told, and no others, so k is part of what decides the result. None is 4 if each trial "
        "gets a part of the seeds, as with `race='auto'`, and 1 otherwise.",
        default=None,
    )
    enqueue: Any = Group.SEARCH.option(
        "Points to try after `trial_zero` and before the sampler is asked. The sampler chooses "
        "what a case does not name. On the command line a point, such as x=0.3,n=2.",
        checks.source,
        type="GridSource, RandomSource or ManualSource",
        default=None,
        parse=checks.point,
        several=True,
        from_toml=_manual,
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

    run_name: str | None = Group.FILES.option(_RUN_NAME, checks.folder_name, default=None)
    entry_id: str | None = Group.SEARCH.option(_ENTRY_ID, default=None)


@options_class
class EntriesOptions(StudyOptions):
    """The options of an optimisation of entries, checked when they are made."""

    kind: ClassVar[str] = "entries"
    name_keyword: ClassVar[str] = "run_name_prefix"
    name_suffix: ClassVar[str] = "_entries"

    entry_ids: Iterable[str] = Group.SEARCH.option(
        "Participants, conditions or data sets, with a study for each. The loss gets its entry as "
        "``context['entry_id']``. The sampler's seed for entry i is ``random_seed + i``. On the "
        "command line anna,ben.",
        None,
        _ids,
        type="iterable of str",
        default=(),
        flag="entries",
        parse=checks.names,
    )
    run_name_prefix: str | None = Group.FILES.option(
        "Name of the run's folder, which holds the folders of the entries. If it holds a run, "
        "that run is resumed. None is a new run, named after the loss, with ``_entries`` and the "
        "next free number.",
        checks.folder_name,
        default=None,
    )
    max_concurrent_entries: int | None = Group.PLACE.option(
        "Number of entries that are worked on at once; they progress together. None is all of "
        "them.",
        default=None,
    )

    def __attrs_post_init__(self) -> None:
        """Refuse no entries, and a seed that is too large for the last entry to have one."""
        super().__attrs_post_init__()
        entries = self.entry_ids
        if not isinstance(entries, tuple) or not entries:
            raise OptionError("entry_ids", entries, "a list of at least one entry")
        for entry in entries:
            if not entry.strip():
                raise OptionError("entry_ids", entry, "ids that are not empty")
        entry_labels(entries)
        last = self.random_seed + len(entries) - 1
        if last >= 2**32:
            hint = f"Entry i has random_seed + i, and the last would have {last}."
            raise OptionError("random_seed", self.random_seed, "below 2**32 for each entry", hint)

    @property
    def run_name(self) -> str | None:
        """The name of the run's folder, under the name that other options have for it."""
        return self.run_name_prefix

    def of_entry(self, index: int) -> RunOptions:
        """Return the options of one entry, as if it were optimised alone; they name no folder."""
        own = set(keyword_names(RunOptions))
        same = own - {"run_name", "entry_id", "random_seed"}
        options = RunOptions(
            **{name: getattr(self, name) for name in same},
            entry_id=tuple(self.entry_ids)[index],
            random_seed=self.random_seed + index,
        )
        object.__setattr__(options, "given", self.given & own)
        return options


@options_class
class SweepOptions(WorkOptions):
    """The options of a sweep, checked when they are made."""

    kind: ClassVar[str] = "sweep"
    name_suffix: ClassVar[str] = "_sweep"

    run_name: str | None = Group.FILES.option(_RUN_NAME, checks.folder_name, default=None)
    entry_id: str | None = Group.SEARCH.option(_ENTRY_ID, default=None)
    trial_nums: Iterable[int] | None = Group.SEARCH.option(
        "Evaluate only these trials; those that are finished already are evaluated again. None is "
        "all that are not finished. On the command line 3,1,2.",
        checks.allowing(
            lambda value: isinstance(value, tuple) and value, "a list of at least one trial number"
        ),
        _numbers,
        type="iterable of int",
        default=None,
        parse=checks.integers,
    )
