"""The options of a sweep."""

import operator
from collections.abc import Iterable
from typing import Any, ClassVar

from seedwise.errors import OptionError
from seedwise.model.options import checks, texts
from seedwise.model.options.fields import Group, options_class
from seedwise.model.options.work import ENTRY_ID, RUN_NAME, WorkOptions


def _listed(value: Any) -> Any:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return value
    try:
        return tuple(sorted({operator.index(number) for number in value}))
    except TypeError:
        raise OptionError("trial_nums", value, "whole numbers") from None


@options_class
class SweepOptions(WorkOptions):
    """The options of a sweep, checked when they are made."""

    kind: ClassVar[str] = "sweep"
    name_suffix: ClassVar[str] = "_sweep"

    run_name: str | None = Group.FILES.option(RUN_NAME, checks.folder_name, default=None)
    entry_id: str | None = Group.SEARCH.option(ENTRY_ID, default=None)
    trial_nums: Iterable[int] | None = Group.SEARCH.option(
        "Evaluate only these trials; those that are finished already are evaluated again. None is "
        "all that are not finished. On the command line 3,1,2.",
        checks.allowing(
            lambda value: isinstance(value, tuple) and value, "a list of at least one trial number"
        ),
        _listed,
        type="iterable of int",
        default=None,
        parse=texts.integers,
    )
