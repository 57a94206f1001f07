"""What every source of parameters is: cases, each to be had by its index."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Protocol, SupportsIndex, runtime_checkable

import attrs

from seedwise.errors import CaseIndexError
from seedwise.errors.base import shown


@attrs.frozen
class ParamCase:
    """One case of a source: a point, and which one it is.

    Attributes
    ----------
    index : int
        Its index in the source.
    params : dict of str to object
        Its parameters, sorted by name. The dict is the caller's: changing it changes no source.
    tags : tuple of str
        The tags of the source.
    """

    index: int
    params: dict[str, Any]
    tags: tuple[str, ...] = ()


@runtime_checkable
class ParameterSource(Protocol):
    """What a sweep asks of its source; `grid`, `random` and `manual` make them."""

    @property
    def n_cases(self) -> int:
        """Number of cases, which may be more than `len` can say."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, sorted."""

    def __len__(self) -> int:
        """Return the number of cases; OverflowError from 2**63 on."""

    def __getitem__(self, index: SupportsIndex, /) -> ParamCase:
        """Return a case, without going through those before it."""

    def __iter__(self) -> Iterator[ParamCase]:
        """Iterate over the cases in order, making each when it is asked for."""

    def to_manifest_dict(self) -> dict[str, Any]:
        """Return what JSON can say of it, for `source_from_manifest`."""


class Source(ABC):
    """A `ParameterSource` but for its cases, which a subclass makes."""

    __slots__ = ()

    #: Whether index -1 is the last case.
    FROM_END: ClassVar[bool] = False

    @property
    @abstractmethod
    def n_cases(self) -> int:
        """Number of cases, which may be more than `len` can say."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, sorted."""

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
        """Return True: a source has a case, and may have more than `len` can say."""
        return True

    def __iter__(self) -> Iterator[ParamCase]:
        """Iterate over the cases in order, making each when it is asked for."""
        return map(self._case, range(self.n_cases))

    def __getitem__(self, index: SupportsIndex, /) -> ParamCase:
        """Return a case, without going through those before it.

        Parameters
        ----------
        index : int
            Which one, from 0. A negative one counts from the end of a manual source, and is out
            of range elsewhere.

        Returns
        -------
        ParamCase
            The case.

        Raises
        ------
        CaseIndexError
            If there is no such case; it is an IndexError.
        TypeError
            If `index` is a slice, or no whole number.
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

    def _case(self, position: int) -> ParamCase:
        return ParamCase(position, self._params(position), self.tags)


def _asked(index: Any) -> int:
    if isinstance(index, slice):
        raise TypeError(
            "a source can't be sliced, for it may have more cases than fit in memory; go through "
            "a part of it by itertools.islice(source, start, stop)"
        )
    try:
        return operator.index(index)
    except TypeError:
        raise TypeError(f"case index {shown(index)}: must be a whole number") from None
