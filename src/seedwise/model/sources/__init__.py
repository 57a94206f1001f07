"""The sources of a sweep: a grid, random draws, or listed cases."""

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import attrs
from numpy.random import PCG64, Generator, SeedSequence
from numpy.typing import NDArray

from seedwise.errors import SourceError
from seedwise.errors.base import shown
from seedwise.model.options.hints import hinted
from seedwise.model.sources.case import (
    VERSION,
    Axis,
    CaseValue,
    Source,
    about,
    axis,
    check_distinct,
    checked_name,
    comparable,
    decoded,
    decoded_axis,
    encoded,
    encoded_axis,
    plain_value,
    read_manifest,
)
from seedwise.model.sources.case import ParamCase as ParamCase
from seedwise.model.sources.case import ParameterSource as ParameterSource
from seedwise.model.sources.distributions import Distribution, distribution_from_manifest

# SeedSequence joins the words of the seed, filled up to 128 bits, and those of the index. A longer
# seed would read like another seed and index, and repeat their cases.
_SEED_BITS = 128


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

    TYPE = "grid"

    _parts: tuple[tuple[str, Axis], ...] = attrs.field(
        eq=lambda parts: tuple((name, comparable(values)) for name, values in parts)
    )

    @hinted
    def __init__(self, /, **values: Sequence[Any] | NDArray[Any]) -> None:
        if not values:
            raise SourceError("a grid needs a parameter, such as grid(rate=[0.1, 0.2])")
        axes: dict[str, Axis] = {}
        for name in sorted(values):
            with about(name):
                listed = axis(values[name], "values")
                check_distinct(listed)
            axes[checked_name(name)] = listed
        self.__attrs_init__(tuple(axes.items()))

    @property
    def n_cases(self) -> int:
        """Number of cases; it may be too large for `len`."""
        return math.prod(len(values) for _, values in self._parts)

    def to_manifest_dict(self) -> dict[str, Any]:
        """Return the source as a dict that JSON can hold, for `source_from_manifest`."""
        spec = {name: encoded_axis(values) for name, values in self._parts}
        return {"type": self.TYPE, "version": VERSION, "spec": spec}

    @classmethod
    def _read(cls, spec: Mapping[str, Any]) -> "GridSource":
        return cls(**{name: decoded_axis(values) for name, values in spec.items()})

    def _params(self, position: int) -> dict[str, Any]:
        values = []
        for _, listed in reversed(self._parts):
            position, digit = divmod(position, len(listed))
            values.append(listed[digit])
        return dict(zip(self.names, reversed(values), strict=True))


@attrs.frozen(init=False, repr=False)
class RandomSource(Source):
    """A source of independent draws; each case is the same at any time and place.

    Case i has random bits of its own, made from `seed` and i by `numpy.random.SeedSequence` and
    `numpy.random.PCG64`, whose streams numpy never changes. Its parameters are drawn from these
    bits in the order of their names. So a case depends neither on `n_trials` nor on the cases
    asked for before it, but it does depend on all parameters of the space.

    Parameters
    ----------
    space : dict of str to distribution
        What each parameter is drawn from: `uniform`, `loguniform`, `randint`, `loguniform_int` or
        `choice`.
    n_trials : int
        Number of cases, above 0.
    seed : int
        The number that the draws are made from: 0 to 2**128 - 1.

    Raises
    ------
    SourceError
        If the space is empty or holds something else than distributions, or a number is not as
        above.

    Examples
    --------
    >>> from seedwise.model.sources.distributions import choice, loguniform
    >>> from seedwise.model.sources import random
    >>> space = {"rate": loguniform(1e-4, 1e-1), "rule": choice(["adam", "sgd"])}
    >>> random(space, n_trials=10**9, seed=7)[999_999_999]
    ParamCase(index=999999999, params={'rate': 0.006598679783730578, 'rule': 'adam'}, tags=())
    """

    TYPE = "random"

    _parts: tuple[tuple[str, Distribution], ...]
    n_trials: int
    seed: int

    @hinted
    def __init__(self, space: Mapping[str, Distribution], n_trials: int, seed: int) -> None:
        given: Any = space
        if not isinstance(given, Mapping) or not given:
            allowed = "must be a dict of name to distribution, with at least one"
            raise SourceError(f"space={shown(given)}: {allowed}")
        checked = {checked_name(name): value for name, value in given.items()}
        for name, value in checked.items():
            if not isinstance(value, get_args(Distribution)):
                instead = "give a distribution, such as uniform(low, high) or choice([...])"
                raise SourceError(f"got {shown(value)}; {instead}", name)
        self.__attrs_init__(
            tuple((name, checked[name]) for name in sorted(checked)),
            _whole("n_trials", n_trials, 1),
            _whole("seed", seed, 0),
        )

    @property
    def space(self) -> dict[str, Distribution]:
        """The distribution of each parameter, sorted by name."""
        return dict(self._parts)

    @property
    def n_cases(self) -> int:
        """Number of cases; it may be too large for `len`."""
        return self.n_trials

    def to_manifest_dict(self) -> dict[str, Any]:
        """Return the source as a dict that JSON can hold, for `source_from_manifest`."""
        space = {name: distribution.to_manifest_dict() for name, distribution in self._parts}
        drawn = {"space": space, "n_trials": self.n_trials, "seed": self.seed}
        return {"type": self.TYPE, "version": VERSION, **drawn}

    @classmethod
    def _read(cls, space: Mapping[str, Any], n_trials: int, seed: int) -> "RandomSource":
        read = {name: distribution_from_manifest(space[name], name) for name in space}
        return cls(read, n_trials, seed)

    def _params(self, position: int) -> dict[str, Any]:
        rng = Generator(PCG64(SeedSequence(entropy=self.seed, spawn_key=(position,))))
        return {name: distribution.draw(rng) for name, distribution in self._parts}


def _whole(name: str, value: Any, low: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if isinstance(value, bool) or number < low or number.bit_length() > _SEED_BITS:
        allowed = f"a whole number from {low} to 2**{_SEED_BITS} - 1"
        raise SourceError(f"{name}={shown(value)}: must be {allowed}")
    return number


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

    TYPE = "manual"
    FROM_END = True

    # Compared by repr, which tells 1, 1.0 and True apart.
    _parts: tuple[tuple[str, tuple[CaseValue, ...]], ...] = attrs.field(eq=repr)
    tags: tuple[str, ...]

    @hinted
    def __init__(
        self, cases: Sequence[Mapping[str, Any]], tags: Sequence[str] | None = None
    ) -> None:
        if not isinstance(cases, list | tuple) or not cases:
            raise SourceError(f"cases={shown(cases)}: must be a list of dicts, with at least one")
        rows = [_case(index, case) for index, case in enumerate(cases)]
        if not rows[0]:
            raise SourceError("case 0 has no parameter")
        for index, row in enumerate(rows):
            if one_sided := row.keys() ^ rows[0].keys():
                problem = f"only one of case 0 and case {index} has {shown(sorted(one_sided))}"
                raise SourceError(f"{problem}: all cases must have the same names")
        tags = () if tags is None else tags
        if not isinstance(tags, list | tuple) or not all(type(tag) is str and tag for tag in tags):
            raise SourceError(f"tags={shown(tags)}: must be a list of non-empty strings")
        parts = tuple((name, tuple(row[name] for row in rows)) for name in sorted(rows[0]))
        self.__attrs_init__(parts, tuple(tags))

    @property
    def n_cases(self) -> int:
        """Number of cases."""
        return len(self._parts[0][1])

    def to_manifest_dict(self) -> dict[str, Any]:
        """Return the source as a dict that JSON can hold, for `source_from_manifest`."""
        encoded_cases = ({k: encoded(v) for k, v in case.params.items()} for case in self)
        cases = {"cases": [*encoded_cases], "tags": [*self.tags]}
        return {"type": self.TYPE, "version": VERSION, **cases}

    @classmethod
    def _read(cls, cases: Any, tags: Any) -> "ManualSource":
        return cls([{name: decoded(case[name]) for name in case} for case in cases], tags)

    def _params(self, position: int) -> dict[str, Any]:
        return {name: values[position] for name, values in self._parts}


def _case(index: int, case: Any) -> dict[str, CaseValue]:
    if not isinstance(case, Mapping):
        raise SourceError(f"case {index} is {shown(case)}: must be a dict of name to value")
    plain = {}
    try:
        for name, value in case.items():
            checked = checked_name(name)
            with about(checked):
                plain[checked] = plain_value(value)
    except SourceError as error:
        raise SourceError(f"case {index}: {error.problem}", error.parameter) from None
    return plain


# Called like functions, they are named like functions.
grid = GridSource
random = RandomSource
manual = ManualSource


def source_from_manifest(manifest: Mapping[str, Any]) -> GridSource | RandomSource | ManualSource:
    """Return the source that a manifest describes.

    Parameters
    ----------
    manifest : dict
        What a source's `to_manifest_dict` returned, also after a way through JSON.

    Returns
    -------
    GridSource, RandomSource or ManualSource
        A source that equals the one that wrote the manifest, down to the types of its values.

    Raises
    ------
    SourceError
        If no source wrote it: it has other keys or types, or another version.

    Examples
    --------
    >>> import json
    >>> from seedwise.model.sources import grid, source_from_manifest
    >>> source = grid(size=[1, 2.0, (3, True)])
    >>> source_from_manifest(json.loads(json.dumps(source.to_manifest_dict()))) == source
    True
    """
    readers = {cls.TYPE: cls._read for cls in (GridSource, RandomSource, ManualSource)}
    source: GridSource | RandomSource | ManualSource = read_manifest(readers, manifest)
    return source
