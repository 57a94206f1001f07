"""A source of all combinations of values."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from numpy.typing import NDArray

from seedwise.errors import SourceError
from seedwise.model.options.hints import hinted
from seedwise.model.sources.axes import (
    Axis,
    axis,
    axis_from_manifest,
    axis_to_manifest,
    check_distinct,
    comparable,
)
from seedwise.model.sources.case import Source
from seedwise.model.sources.manifests import VERSION, checked_name, checked_source, decoded_dict


@attrs.frozen(init=False, repr=False)
class GridSource(Source):
    """A source of all combinations of values.

    In the order of the names, its last parameter changes with every case, as in
    `itertools.product`. Values stay in the order in which they are given.

    Parameters
    ----------
    **values : list, tuple, range or ndarray of shape (n,)
        The values of each parameter: float, int, str, bool, None, or tuples of these. There must
        be at least one, and none twice.

    Raises
    ------
    SourceError
        If there is no parameter, or the values of one are not as above; it names that parameter.

    Examples
    --------
    >>> from seedwise.model.sources import grid
    >>> source = grid(rate=[0.01, 0.1], batch=[32, 64])
    >>> len(source)
    4
    >>> source[1]
    ParamCase(index=1, params={'batch': 32, 'rate': 0.1}, tags=())
    """

    _axes: tuple[tuple[str, Axis], ...] = attrs.field(
        eq=lambda axes: tuple((name, comparable(values)) for name, values in axes)
    )

    @hinted
    def __init__(self, /, **values: Sequence[Any] | NDArray[Any]) -> None:
        if not values:
            raise SourceError("a grid needs a parameter, such as grid(rate=[0.1, 0.2])")
        axes = {checked_name(name): axis(values[name], "values", name) for name in sorted(values)}
        for name, listed in axes.items():
            check_distinct(listed, name)
        self.__attrs_init__(tuple(axes.items()))

    @property
    def n_cases(self) -> int:
        """Number of cases; it may be too large for `len`."""
        return math.prod(len(values) for _, values in self._axes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, sorted."""
        return tuple(name for name, _ in self._axes)

    def to_manifest_dict(self) -> dict[str, Any]:
        """Return the source as a dict that JSON can hold, for `source_from_manifest`."""
        spec = {name: axis_to_manifest(values) for name, values in self._axes}
        return {"type": "grid", "version": VERSION, "spec": spec}

    @classmethod
    def from_manifest_dict(cls, manifest: Mapping[str, Any]) -> "GridSource":
        """Return the grid that `to_manifest_dict` wrote; SourceError for another dict."""
        fields = checked_source(manifest, "grid", ("spec",))
        spec = decoded_dict(fields["spec"], "spec")
        return cls(
            **{checked_name(name): axis_from_manifest(spec[name], "values", name) for name in spec}
        )

    def _params(self, position: int) -> dict[str, Any]:
        values = []
        for _, listed in reversed(self._axes):
            position, digit = divmod(position, len(listed))
            values.append(listed[digit])
        return dict(zip(self.names, reversed(values), strict=True))


#: Called like a function, it is named like one.
grid = GridSource
