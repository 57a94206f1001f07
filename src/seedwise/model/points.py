"""The points that a call gives: those to try first, and the cases of a sweep."""

from collections.abc import Callable
from typing import Any

from seedwise.errors import OptionError
from seedwise.model.options.study import StudyOptions
from seedwise.model.options.sweep import SweepOptions
from seedwise.model.options.work import WorkOptions
from seedwise.model.sources import ParameterSource
from seedwise.model.space import ParameterSpace, ParamValue
from seedwise.model.values import checked_point, require_names, typed_values


class Cases:
    """The points of a sweep's trials: `trial_zero` if given, then the cases of its source.

    `overrides` apply to all of them. Raises OptionError if a name is not the loss's, or
    `trial_nums` names a trial that the sweep does not have.
    """

    def __init__(
        self, source: ParameterSource, options: WorkOptions, space: ParameterSpace
    ) -> None:
        self._source = source
        self._overrides = typed_values("overrides", options.overrides, space)
        require_names(source.names, space, options.overrides)
        if options.trial_zero is not None:
            require_names(options.trial_zero, space, options.overrides, "trial_zero")
        self._zero = typed_values("trial_zero", options.trial_zero, space)
        self._n_before = 0 if options.trial_zero is None else 1
        if isinstance(options, SweepOptions) and options.trial_nums is not None:
            outside = [n for n in options.trial_nums if not 0 <= n < self.n_trials]
            if outside:
                allowed = f"numbers of the sweep's trials, which are 0 to {self.n_trials - 1}"
                raise OptionError("trial_nums", outside, allowed)

    @property
    def n_trials(self) -> int:
        """Number of the sweep's trials."""
        return self._source.n_cases + self._n_before

    def params(self, number: int) -> dict[str, ParamValue]:
        """Return the params of a trial."""
        if number < self._n_before:
            return {**self._zero, **self._overrides}
        return {**self._source[number - self._n_before].params, **self._overrides}


def first_points(
    options: StudyOptions, space: ParameterSpace
) -> Callable[[int], dict[str, Any] | None]:
    """Return a function of a trial's number that gives the params that the call set for it.

    These are all or some; None leaves all of them to the sampler. Raises OptionError.
    """
    if len(options.overrides or {}) == len(space):
        hint = "Evaluate single points with run_sweep."
        allowed = "values of some parameters, so that one at least is left to search"
        raise OptionError("overrides", options.overrides, allowed, hint)
    zero, source = options.trial_zero, options.enqueue
    n_before = 0 if zero is None else 1

    def point(number: int) -> dict[str, Any] | None:
        if zero is not None and number == 0:
            return checked_point("trial_zero", zero, space)
        index = number - n_before
        if source is None or index >= source.n_cases:
            return None
        return checked_point(f"enqueue[{index}]", source[index].params, space)

    n_enqueued = 0 if source is None else source.n_cases
    for number in range(min(options.n_trials, n_enqueued + 1)):
        point(number)
    return point
