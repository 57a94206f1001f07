"""The points that a call gives, checked, and spaces with parameters held or around a point."""

import math
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from seedwise.errors import OptionError
from seedwise.model.options.race import is_number
from seedwise.model.options.study import StudyOptions, SweepOptions
from seedwise.model.options.work import WorkOptions
from seedwise.model.sources import ParameterSource
from seedwise.model.space import ParameterSpace, ParamValue, SearchParam, plain_scalar

# A number of steps this close to a whole number is whole.
_ROUNDING = 1e-9


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
    """Return a function of a trial's number that gives the params that the call set for it."""
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


def typed_values(
    name: str, values: Mapping[str, Any] | None, space: ParameterSpace
) -> dict[str, ParamValue]:
    """Return the values of a keyword in their parameters' types; ranges don't matter."""
    values = values or {}
    require_known(name, values, space)
    return {
        key: typed_value(f"{name}[{key!r}]", space[key], value) for key, value in values.items()
    }


def typed_value(name: str, param: SearchParam, value: Any) -> ParamValue:
    """Return a value in the type of its parameter; raise OptionError if it has another type."""
    value = plain_scalar(value)
    if param.dtype == "float" and is_number(value):
        return float(value)
    if param.dtype == "int" and is_number(value) and value == int(value):
        return int(value)
    if param.dtype == "str" and isinstance(value, str):
        return str.__str__(value)  # of a member of an enum of text, the text
    if param.dtype == "bool" and isinstance(value, bool):
        return value
    raise OptionError(name, value, f"of type {param.dtype}, as the loss's parameter is")


def checked_point(name: str, point: Mapping[str, Any], space: ParameterSpace) -> dict[str, Any]:
    """Return the point of a keyword in its parameters' types, without those that are held."""
    require_known(name, point, space)
    checked: dict[str, Any] = {}
    for key, value in point.items():
        param, where = space[key], f"{name}[{key!r}]"
        if len(set(param.allowed or param.range or ())) == 1:  # it is held
            continue
        checked[key] = typed_value(where, param, value)
        if param.allowed is not None and checked[key] not in param.allowed:
            raise OptionError(where, value, f"one of {list(param.allowed)!r}")
        if param.range is not None:
            low, high = param.range
            if not low <= checked[key] <= high:
                raise OptionError(where, value, f"within the range from {low!r} to {high!r}")
            n_steps = (checked[key] - low) / param.step if param.step is not None else 0
            if abs(n_steps - round(n_steps)) > _ROUNDING * max(1.0, abs(n_steps)):
                on_step = f"a whole number of steps of {param.step!r} from {low!r}"
                raise OptionError(where, value, on_step)
    return checked


def require_names(
    names: Iterable[str],
    space: ParameterSpace,
    overrides: Mapping[str, Any] | None,
    keyword: str = "source",
) -> None:
    """Refuse a source that does not name all parameters but those held, and no others."""
    given = set(names)
    require_known(keyword, given, space)
    missing = space.keys() - given - (overrides or {}).keys()
    if missing:
        allowed = f"names of all of the loss's parameters; missing: {sorted(missing)}"
        hint = "Add them, or hold them at a value with overrides."
        raise OptionError(keyword, sorted(given), allowed, hint)


def require_known(name: str, given: Iterable[str], space: ParameterSpace) -> None:
    """Raise OptionError if the keyword `name` gives parameters that the space does not have."""
    unknown = sorted(set(given) - space.keys())
    if unknown:
        raise OptionError(name, unknown, f"names of the loss's parameters: {', '.join(space)}")


def with_overrides(space: ParameterSpace, overrides: Mapping[str, Any] | None) -> ParameterSpace:
    """Return a space with some parameters held at a value, in or outside of their range."""
    held = typed_values("overrides", overrides, space)
    return {
        name: _held(param, held[name]) if name in held else param for name, param in space.items()
    }


def _held(param: SearchParam, value: ParamValue) -> SearchParam:
    if param.allowed is not None:
        return SearchParam(dtype=param.dtype, allowed=(value,))
    assert isinstance(value, int | float)  # a range is of numbers
    return SearchParam(dtype=param.dtype, range=(value, value), log=param.log and value > 0)


def refined_space(
    space: ParameterSpace, best: Mapping[str, ParamValue], factor: float
) -> ParameterSpace:
    """Return a space around a point, in which each range keeps this share of its width."""
    return {name: _refined(param, best[name], factor) for name, param in space.items()}


def _refined(param: SearchParam, best: ParamValue, factor: float) -> SearchParam:
    if param.range is None:
        return param
    assert not isinstance(best, str)  # a range is of numbers
    low, high = param.range
    if low == high:
        return param
    to, back = (math.log, math.exp) if param.log else (float, float)
    half = (to(high) - to(low)) * factor / 2
    # Whatever rounding does, the best point stays in the space, and no new points come into it.
    new_low = min(max(low, back(max(to(low), to(best) - half))), best)
    new_high = max(min(high, back(min(to(high), to(best) + half))), best)
    step = param.step or (1 if param.dtype == "int" else None)
    if step is not None:
        n_low = math.ceil((new_low - low) / step - _ROUNDING)
        n_best = round((best - low) / step)
        n_high = math.floor((new_high - low) / step + _ROUNDING)
        new_low = min(_stepped(low, min(n_low, n_best), step), best)
        new_high = max(min(_stepped(low, max(n_high, n_best), step), high), best)
    kind = int if param.dtype == "int" else float
    step = param.step if new_high > new_low else None
    if param.dtype == "int" and new_high - new_low < (step or 1):
        step = None  # Optuna refuses one that is larger than the range
    return attrs.evolve(param, range=(kind(new_low), kind(new_high)), step=step)


def _stepped(low: float, n_steps: int, step: float) -> float:
    # In decimal: in binary 3 * 0.1 is more than 0.3, and Optuna would miss the last step.
    return float(Decimal(str(low)) + n_steps * Decimal(str(step)))
