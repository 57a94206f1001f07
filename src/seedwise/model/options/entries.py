"""The options of an optimisation of entries."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar

from seedwise.errors import OptionError
from seedwise.model.options import checks, texts
from seedwise.model.options.fields import Group, keyword_names, options_class
from seedwise.model.options.study import RunOptions, StudyOptions

_LONGEST_LABEL = 100


def _listed(value: Any) -> Any:
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
        _listed,
        type="iterable of str",
        default=(),
        flag="entries",
        parse=texts.names,
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
