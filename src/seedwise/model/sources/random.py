"""A source of independent draws, each of which can be made alone."""

import operator
from collections.abc import Mapping
from typing import Any, get_args

import attrs
from numpy.random import PCG64, Generator, SeedSequence

from seedwise.errors import SourceError
from seedwise.errors.base import shown
from seedwise.model.options.hints import hinted
from seedwise.model.sources.case import Source
from seedwise.model.sources.distributions import Distribution, distribution_from_manifest
from seedwise.model.sources.manifests import VERSION, checked_name, checked_source, decoded_dict

# SeedSequence joins the words of the seed, filled up to 128 bits, and those of the index. A longer
# seed would read like another seed and index, and repeat their cases.
_SEED_BITS = 128


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

    _space: tuple[tuple[str, Distribution], ...]
    n_trials: int
    seed: int

    @hinted
    def __init__(self, space: Mapping[str, Distribution], n_trials: int, seed: int) -> None:
        self.__attrs_init__(
            _checked_space(space), _whole("n_trials", n_trials, 1), _whole("seed", seed, 0)
        )

    @property
    def space(self) -> dict[str, Distribution]:
        """The distribution of each parameter, sorted by name."""
        return dict(self._space)

    @property
    def n_cases(self) -> int:
        """Number of cases; it may be too large for `len`."""
        return self.n_trials

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, sorted."""
        return tuple(name for name, _ in self._space)

    def to_manifest_dict(self) -> dict[str, Any]:
        """Return the source as a dict that JSON can hold, for `source_from_manifest`."""
        space = {name: distribution.to_manifest_dict() for name, distribution in self._space}
        return {
            "type": "random",
            "version": VERSION,
            "space": space,
            "n_trials": self.n_trials,
            "seed": self.seed,
        }

    @classmethod
    def from_manifest_dict(cls, manifest: Mapping[str, Any]) -> "RandomSource":
        """Return the source that `to_manifest_dict` wrote; SourceError for another dict."""
        fields = checked_source(manifest, "random", ("space", "n_trials", "seed"))
        space = decoded_dict(fields["space"], "space")
        return cls(
            {checked_name(name): distribution_from_manifest(space[name], name) for name in space},
            fields["n_trials"],
            fields["seed"],
        )

    def _params(self, position: int) -> dict[str, Any]:
        rng = Generator(PCG64(SeedSequence(entropy=self.seed, spawn_key=(position,))))
        return {name: distribution.draw(rng) for name, distribution in self._space}


#: Called like a function, it is named like one.
random = RandomSource


def _checked_space(space: Any) -> tuple[tuple[str, Distribution], ...]:
    if not isinstance(space, Mapping) or not space:
        raise SourceError(
            f"space={shown(space)}: must be a dict of name to distribution, with at least one"
        )
    checked = {checked_name(name): value for name, value in space.items()}
    for name, value in checked.items():
        if not isinstance(value, get_args(Distribution)):
            raise SourceError(
                f"got {shown(value)}; give a distribution, such as uniform(low, high) or "
                "choice([...])",
                name,
            )
    return tuple((name, checked[name]) for name in sorted(checked))


def _whole(name: str, value: Any, low: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if isinstance(value, bool) or number < low or number.bit_length() > _SEED_BITS:
        allowed = f"a whole number from {low} to 2**{_SEED_BITS} - 1"
        raise SourceError(f"{name}={shown(value)}: must be {allowed}")
    return number
