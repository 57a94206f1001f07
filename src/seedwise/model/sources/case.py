"""The shape of every source of parameters: cases, each found by its index, and their values."""

import contextlib
import math
import operator
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, ClassVar, Protocol, Self, SupportsIndex, TypeAlias, runtime_checkable

import attrs
import numpy as np

from seedwise.errors import CaseIndexError, SourceError
from seedwise.errors.base import shown
from seedwise.model.html import table_html

VERSION = 1

CaseValue: TypeAlias = "float | int | str | bool | tuple[CaseValue, ...] | None"
#: What a grid goes through, or a choice draws from.
Axis: TypeAlias = tuple[CaseValue, ...] | range

# Python's limit on writing ints (sys.set_int_max_str_digits) is never below 640 digits, so ints of
# this size can be written as JSON everywhere.
_MOST_BITS = 2048
_DEEPEST = 32
# A range of more values than this stays a range, in memory and in a manifest.
_LONGEST_LIST = 1000

_SHOWN = 5  # cases in a notebook


@contextlib.contextmanager
def about(parameter: str | None) -> Iterator[None]:
    """Have a SourceError in this block name a parameter."""
    try:
        yield
    except SourceError as error:
        raise SourceError(error.problem, error.parameter or parameter) from None


def plain_value(value: Any, depth: int = 0) -> CaseValue:
    """Return a value that a case may hold, as plain Python; raise SourceError for another."""
    if depth > _DEEPEST:
        raise SourceError(f"value is nested more than {_DEEPEST} levels deep")
    if type(value) is list or type(value) is tuple:
        return tuple(plain_value(item, depth + 1) for item in value)
    # The item() of a time span may be an int, which loses its unit.
    span = isinstance(value, np.timedelta64 | np.datetime64)
    plain = value.item() if isinstance(value, np.generic) and not span else value
    # Not isinstance: JSON would keep only the value of an enum.
    if type(plain) not in (bool, int, float, str, type(None)):
        allowed = "a float, int, str, bool or None, or a list or tuple of these"
        raise SourceError(f"value {shown(value)}: must be {allowed}")
    if isinstance(plain, float) and not math.isfinite(plain):
        raise SourceError(f"value {shown(value)}: must be finite")
    if isinstance(plain, int) and plain.bit_length() > _MOST_BITS:
        raise SourceError(f"value is an int of more than {_MOST_BITS} bits")
    return plain  # type: ignore[no-any-return]


def checked_name(name: Any) -> str:
    """Return a parameter's name; raise SourceError if it is not a string, or is empty."""
    if isinstance(name, np.str_):
        name = name.item()
    if type(name) is not str or not name:
        raise SourceError(f"parameter names are non-empty strings; got {shown(name)}")
    return name


def axis(values: Any, what: str) -> Axis:
    """Return the values of a list, tuple, range or 1-d array in their order, as plain Python.

    Equal values give equal axes, however they are given: more than 1,000 evenly spaced ints
    are a range, and everything else is a tuple. `what` they are is for a SourceError.
    """
    array = isinstance(values, np.ndarray) and values.ndim == 1
    if not array and type(values) not in (list, tuple, range):
        allowed = "a list, tuple, range or array of one dimension"
        raise SourceError(f"{what} {shown(values)}: must be {allowed}")
    try:
        n_values = len(values)
    except OverflowError:
        raise SourceError(f"{what} {shown(values)}: must be fewer than 2**63") from None
    if not n_values:
        raise SourceError(f"{what} are empty; give at least one")
    if isinstance(values, range) and n_values > _LONGEST_LIST:
        plain_value(values[0]), plain_value(values[-1])  # not too large
        return range(values[0], values[-1] + values.step, values.step)
    plain = tuple(map(plain_value, values))
    whole = [value for value in plain if type(value) is int]
    if n_values <= _LONGEST_LIST or len(whole) < n_values:
        return plain
    step = whole[1] - whole[0]
    same = range(whole[0], whole[0] + n_values * step, step or 1)
    return same if list(same) == whole else plain


def check_distinct(values: Axis) -> None:
    """Raise SourceError if a value is given twice; 1, 1.0 and True are three values."""
    seen = set()
    for value in () if isinstance(values, range) else values:
        if repr(value) in seen:
            raise SourceError(f"values hold {shown(value)} twice")
        seen.add(repr(value))


def comparable(values: Axis) -> Hashable:
    """Return a value that is equal for axes with equal values of equal types."""
    return values if isinstance(values, range) else repr(values)


def encoded(value: CaseValue) -> Any:
    """Return a value as JSON can hold it: a tuple is ``{"tuple": [...]}``."""
    return {"tuple": [*map(encoded, value)]} if isinstance(value, tuple) else value


def encoded_axis(values: Axis) -> Any:
    """Return an axis as JSON can hold it; a range is ``{"range": [start, stop, step]}``."""
    if isinstance(values, range):
        return {"range": [values.start, values.stop, values.step]}
    return [*map(encoded, values)]


def decoded(value: Any) -> Any:
    """Return the value that was encoded; other dicts are for its reader to refuse."""
    if isinstance(value, list):
        written = 'a tuple is written {"tuple": [...]}'
        raise SourceError(f"manifest: value {shown(value)}: {written}")
    if isinstance(value, dict) and value.keys() == {"tuple"} and isinstance(value["tuple"], list):
        return tuple(map(decoded, value["tuple"]))
    return value


def decoded_axis(values: Any) -> Any:
    """Return the axis that was encoded; what was not is for its reader to refuse."""
    if isinstance(values, dict) and values.keys() == {"range"}:
        ends = values["range"]
        if isinstance(ends, list) and [type(end) for end in ends] == [int] * 3 and ends[2]:
            return range(*ends)
    return [*map(decoded, values)] if isinstance(values, list) else values


def read_manifest(readers: Mapping[str, Callable[..., Any]], manifest: Any) -> Any:
    """Return what the reader of a manifest's type makes of its other fields, or SourceError."""
    try:
        fields = {**manifest}
        # It is checked first: another version may have other types and fields.
        version = fields.pop("version", VERSION)
        if type(version) is not int or version != VERSION:
            known = f"this seedwise knows manifests of version {VERSION}"
            raise SourceError(f"manifest: version={shown(version)}: {known}")
        return readers[fields.pop("type")](**fields)
    except SourceError:
        raise
    except Exception as error:
        wrote = f"what a {' or '.join(readers)} writes in version {VERSION}"
        why = f"{type(error).__name__}: {error}"
        raise SourceError(f"manifest {shown(manifest)}: must be {wrote} ({why})") from None


@attrs.frozen
class ParamCase:
    """One case of a source: a point and its index.

    Attributes
    ----------
    index : int
        Its index in the source.
    params : dict of str to object
        Its parameters, sorted by name. The dict is a copy: changing it does not change the source.
    tags : tuple of str
        The tags of the source.
    """

    index: int
    params: dict[str, Any]
    tags: tuple[str, ...] = ()


@runtime_checkable
class ParameterSource(Protocol):
    """What a sweep needs from its source; `grid`, `random` and `manual` make one."""

    @property
    def n_cases(self) -> int:
        """Number of cases; it may be too large for `len`."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, sorted."""

    def __len__(self) -> int:
        """Return the number of cases; OverflowError from 2**63 on."""

    def __getitem__(self, index: SupportsIndex, /) -> ParamCase:
        """Return a case without making those before it."""

    def __iter__(self) -> Iterator[ParamCase]:
        """Iterate over the cases in order, making each when it is asked for."""

    def to_manifest_dict(self) -> dict[str, Any]:
        """Return the source as a dict that JSON can hold, for `source_from_manifest`."""


class Source(ParameterSource):
    """A source but for what a subclass says of its cases."""

    __slots__ = ()

    TYPE: ClassVar[str]
    #: A function of a manifest's fields, but for its type and version.
    _read: ClassVar[Any]
    #: Whether index -1 is the last case.
    FROM_END: ClassVar[bool] = False
    #: What there is of each parameter, sorted by name.
    _parts: tuple[tuple[str, Any], ...]

    @classmethod
    def from_manifest_dict(cls, manifest: Mapping[str, Any]) -> Self:
        """Return the source that `to_manifest_dict` wrote; SourceError for another dict."""
        source: Self = read_manifest({cls.TYPE: cls._read}, manifest)
        return source

    @abstractmethod
    def _params(self, position: int) -> dict[str, Any]:
        """Return the parameters of one case."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, sorted."""
        return tuple(name for name, _ in self._parts)

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags of all cases."""
        return ()

    def __len__(self) -> int:
        """Return the number of cases; OverflowError from 2**63 on."""
        return self.n_cases

    def __bool__(self) -> bool:
        """Return True: a source is never empty, and `len` may fail."""
        return True

    def __iter__(self) -> Iterator[ParamCase]:
        """Iterate over the cases in order, making each when it is asked for."""
        return map(self._case, range(self.n_cases))

    def __getitem__(self, index: SupportsIndex, /) -> ParamCase:
        """Return a case without making those before it.

        Parameters
        ----------
        index : int
            Index of the case, from 0. A negative index counts from the end of a manual source,
            and is out of range for the others.

        Returns
        -------
        ParamCase
            The case.

        Raises
        ------
        CaseIndexError
            If there is no such case; it is an IndexError.
        TypeError
            If `index` is a slice, or not a whole number.
        """
        asked: Any = index
        if isinstance(asked, slice):
            raise TypeError(
                "a source can't be sliced, because it may have more cases than fit in memory; "
                "iterate over a part of it with itertools.islice(source, start, stop)"
            )
        try:
            asked = operator.index(asked)
        except TypeError:
            raise TypeError(f"case index {shown(index)}: must be a whole number") from None
        n_cases = self.n_cases
        position = asked + n_cases if asked < 0 and self.FROM_END else asked
        if not 0 <= position < n_cases:
            raise CaseIndexError(asked, n_cases)
        return self._case(position)

    def __repr__(self) -> str:
        """Return the type, the number of cases and the names."""
        return f"<{type(self).__name__} of {shown(self.n_cases)} cases, {shown(self.names)}>"

    def _repr_html_(self) -> str:
        """Show the number of cases, and the first of them, as tables in a notebook."""
        first = [self._case(position) for position in range(min(_SHOWN, self.n_cases))]
        rows = [[case.index, *(case.params.get(name) for name in self.names)] for case in first]
        about = [("source", type(self).__name__), ("cases", shown(self.n_cases))]
        about += [("tags", ", ".join(self.tags))] if self.tags else []
        return table_html(about) + table_html(rows, ["case", *self.names])

    def _case(self, position: int) -> ParamCase:
        return ParamCase(position, self._params(position), self.tags)
