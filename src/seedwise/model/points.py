"""Points that a run is given beforehand: those to try first, and the cases of a sweep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from seedwise.errors import OptionError
from seedwise.model.held import with_overrides
from seedwise.model.loss import LossDefinition
from seedwise.model.options.study import StudyOptions
from seedwise.model.options.sweep import SweepOptions
from seedwise.model.options.work import WorkOptions
from seedwise.model.sources import ParameterSource
from seedwise.model.space import ParameterSpace, ParamValue
from seedwise.model.values import checked_point, require_names, typed_values


class Cases:
    """The trials of a sweep: what `trial_zero` says, and then the cases of its source.

    Parameters
    ----------
    source : GridSource, RandomSource or ManualSource
        The cases.
    options : WorkOptions
        The options; of them `overrides` and `trial_zero`.
    space : dict of str to SearchParam
        The loss's space.
    """

    def __init__(
        self, source: ParameterSource, options: WorkOptions, space: ParameterSpace
    ) -> None:
        self._source = source
        self._overrides = typed_values("overrides", options.overrides, space)
        self._zero = typed_values("trial_zero", options.trial_zero, space)
        self._n_before = 0 if options.trial_zero is None else 1

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return self._source.n_cases + self._n_before

    def params(self, number: int) -> dict[str, ParamValue]:
        """Return the params of a trial."""
        if number < self._n_before:
            return {**self._zero, **self._overrides}
        return {**self._source[number - self._n_before].params, **self._overrides}


def check_points(
    loss: LossDefinition, options: WorkOptions, source: ParameterSource | None
) -> None:
    """Refuse points that the loss does not take.

    Parameters
    ----------
    loss : LossDefinition
        The loss.
    options : WorkOptions
        The options.
    source : GridSource, RandomSource or ManualSource, optional
        Where the points of a sweep come from.

    Raises
    ------
    OptionError
        If a name is not the loss's, or a value lies outside of the space that is searched.
    """
    space = with_overrides(loss.parameter_space, options.overrides)
    if source is not None:
        require_names(source.names, space, options.overrides)
        if options.trial_zero is not None:
            require_names(options.trial_zero, space, options.overrides, "trial_zero")
        if isinstance(options, SweepOptions) and options.trial_nums is not None:
            n_trials = Cases(source, options, loss.parameter_space).n_trials
            outside = [n for n in options.trial_nums if not 0 <= n < n_trials]
            if outside:
                allowed = f"numbers of the sweep's trials, which are 0 to {n_trials - 1}"
                raise OptionError("trial_nums", outside, allowed)
    elif isinstance(options, StudyOptions):
        if len(options.overrides or {}) == len(space):
            hint = "Evaluate single points with run_sweep."
            allowed = "such that a parameter is left to search"
            raise OptionError("overrides", options.overrides, allowed, hint)
        point = first_points(options, space)
        n_enqueued = 0 if options.enqueue is None else options.enqueue.n_cases
        for number in range(min(options.n_trials, n_enqueued + 1)):
            point(number)


def first_points(
    options: StudyOptions, space: ParameterSpace
) -> Callable[[int], dict[str, Any] | None]:
    """Return what says which params a trial is to have, by number.

    Parameters
    ----------
    options : StudyOptions
        The options; of them `trial_zero` and `enqueue`.
    space : dict of str to SearchParam
        The space that is searched.

    Returns
    -------
    callable
        Takes a trial's number; returns params, all or some of them, or None.
    """
    zero, source = options.trial_zero, options.enqueue
    n_before = 0 if zero is None else 1

    def point(number: int) -> dict[str, Any] | None:
        if zero is not None and number == 0:
            return checked_point("trial_zero", zero, space)
        index = number - n_before
        if source is None or index >= source.n_cases:
            return None
        return checked_point(f"enqueue[{index}]", source[index].params, space)

    return point
