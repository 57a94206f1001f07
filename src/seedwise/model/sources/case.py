"""The shape of every source of parameters: cases, each found by its index."""

import operator
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol, Self, SupportsIndex, runtime_checkable

import attrs

from seedwise.errors import CaseIndexError
from seedwise.errors.base import shown
from seedwise.model.html import table_html
from seedwise.model.sources.values import read_manifest

_SHOWN = 5  # cases in a notebook


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
    #: Whether index -1 is the last case.
    FROM_END: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def _read(cls, **fields: Any) -> Self:
        """Return the source of a manifest's fields but for its type and version."""

    @classmethod
    def from_manifest_dict(cls, manifest: Mapping[str, Any]) -> Self:
        """Return the source that `to_manifest_dict` wrote; SourceError for another dict."""
        return read_manifest({cls.TYPE: cls._read}, manifest)

    @abstractmethod
    def _params(self, position: int) -> dict[str, Any]:
        """Return the parameters of one case."""

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
        asked = _asked(index)
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


def _asked(index: Any) -> int:
    if isinstance(index, slice):
        raise TypeError(
            "a source can't be sliced, because it may have more cases than fit in memory; iterate "
            "over a part of it with itertools.islice(source, start, stop)"
        )
    try:
        return operator.index(index)
    except TypeError:
        raise TypeError(f"case index {shown(index)}: must be a whole number") from None
