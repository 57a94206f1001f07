"""A source of listed cases."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from seedwise.errors import SourceError
from seedwise.errors.base import shown
from seedwise.model.options.hints import hinted
from seedwise.model.sources.case import Source
from seedwise.model.sources.manifests import (
    VERSION,
    CaseValue,
    checked_name,
    checked_source,
    decoded,
    decoded_dict,
    difference,
    encoded,
    plain_value,
)


@attrs.frozen(init=False, repr=False)
class ManualSource(Source):
    """A source of listed cases; index -1 is its last case.

    Parameters
    ----------
    cases : list of dict
        The params of each case, at least one case; all cases have the same names. Values are
        float, int, str, bool, None, or lists or tuples of these, which become tuples.
    tags : list of str, optional
        Labels that all cases get; None means no labels.

    Raises
    ------
    SourceError
        If a case has other names than the first one, or a value is not as above.

    Examples
    --------
    >>> from seedwise.model.sources import manual
    >>> manual([{"rate": 0.1}, {"rate": 0.2}], tags=["pilot"])[-1]
    ParamCase(index=1, params={'rate': 0.2}, tags=('pilot',))
    """

    FROM_END = True

    #: Sorted.
    names: tuple[str, ...]
    # Compared by repr, which tells 1, 1.0 and True apart.
    _rows: tuple[tuple[CaseValue, ...], ...] = attrs.field(eq=repr)
    tags: tuple[str, ...]

    @hinted
    def __init__(
        self, cases: Sequence[Mapping[str, Any]], tags: Sequence[str] | None = None
    ) -> None:
        if not isinstance(cases, list | tuple) or not cases:
            raise SourceError(f"cases={shown(cases)}: must be a list of dicts, with at least one")
        rows = [_case(index, case) for index, case in enumerate(cases)]
        names = tuple(sorted(rows[0]))
        if not names:
            raise SourceError("case 0 has no parameter")
        for index, row in enumerate(rows):
            if problem := difference(row, names, "additional"):
                raise SourceError(
                    f"case {index} {problem}: all cases must have the names of case 0"
                )
        self.__attrs_init__(
            names, tuple(tuple(row[name] for name in names) for row in rows), _checked_tags(tags)
        )

    @property
    def n_cases(self) -> int:
        """Number of cases."""
        return len(self._rows)

    def to_manifest_dict(self) -> dict[str, Any]:
        """Return the source as a dict that JSON can hold, for `source_from_manifest`."""
        cases = [
            {name: encoded(value) for name, value in zip(self.names, row, strict=True)}
            for row in self._rows
        ]
        return {"type": "manual", "version": VERSION, "cases": cases, "tags": [*self.tags]}

    @classmethod
    def from_manifest_dict(cls, manifest: Mapping[str, Any]) -> "ManualSource":
        """Return the source that `to_manifest_dict` wrote; SourceError for another dict."""
        fields = checked_source(manifest, "manual", ("cases", "tags"))
        if not isinstance(fields["cases"], list):
            raise SourceError(f"manifest: cases must be a list; got {shown(fields['cases'])}")
        cases = [
            {name: decoded(value, name) for name, value in decoded_dict(case, "a case").items()}
            for case in fields["cases"]
        ]
        return cls(cases, fields["tags"])

    def _params(self, position: int) -> dict[str, Any]:
        return dict(zip(self.names, self._rows[position], strict=True))


#: Called like a function, it is named like one.
manual = ManualSource


def _case(index: int, case: Any) -> dict[str, CaseValue]:
    if not isinstance(case, Mapping):
        raise SourceError(f"case {index} is {shown(case)}: must be a dict of name to value")
    try:
        return {checked_name(name): plain_value(value, name) for name, value in case.items()}
    except SourceError as error:
        raise SourceError(f"case {index}: {error.problem}", error.parameter) from None


def _checked_tags(tags: Any) -> tuple[str, ...]:
    if tags is None:
        return ()
    if not isinstance(tags, list | tuple) or not all(type(tag) is str and tag for tag in tags):
        raise SourceError(f"tags={shown(tags)}: must be a list of non-empty strings")
    return tuple(tags)
