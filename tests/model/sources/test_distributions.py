from __future__ import annotations

import collections
import decimal
import json
import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from seedwise.errors import SourceError, SpaceError
from seedwise.model.sources.distributions import (
    Choice,
    below,
    choice,
    distribution_from_manifest,
    loguniform,
    loguniform_int,
    randint,
    uniform,
)
from seedwise.model.space import SearchParam, checked_space, search_param

finite = st.floats(-1e300, 1e300)
positive = st.floats(5e-324, 1e300)
words = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**64 - 2, 2**64 - 1]))
scalars = st.one_of(
    st.booleans(), st.integers(-(2**70), 2**70), finite, st.text(max_size=3), st.none()
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)


@st.composite
def distributions(draw: st.DrawFn):
    kind = draw(st.sampled_from([uniform, loguniform, randint, loguniform_int, choice]))
    if kind is choice:
        return choice(draw(st.lists(values, min_size=1, max_size=5)))
    number = {
        uniform: finite,
        loguniform: positive,
        randint: st.integers(-(2**53), 2**53),
        loguniform_int: st.integers(1, 2**53),
    }[kind]
    low, high = sorted(draw(st.tuples(number, number)))
    assume(low < high)
    return kind(low, high)


class Words:
    """A generator whose bits are given, and then go on as 0, which nothing rejects."""

    def __init__(self, *given_words):
        self.left = list(given_words)
        self.bit_generator = self

    def random_raw(self):
        return self.left.pop(0) if self.left else 0


def rng(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def drawn(distribution, n, seed=0):
    source = rng(seed)
    return [distribution.draw(source) for _ in range(n)]


# Where the values lie, whatever the bits.


@given(finite, finite, words)
def test_uniform_never_leaves_its_interval(one, other, word):
    low, high = sorted((one, other))
    assume(low < high)
    value = uniform(low, high).draw(Words(word))
    assert type(value) is float
    assert low <= value < high


@given(positive, positive, words, words)
def test_loguniform_never_leaves_its_interval(one, other, word, more):
    low, high = sorted((one, other))
    assume(low < high)
    value = loguniform(low, high).draw(Words(word, more))
    assert type(value) is float
    assert low <= value < high


@pytest.mark.parametrize("kind", [uniform, loguniform])
@pytest.mark.parametrize("low", [1.0, 3.0, 1e-3, 1e300, 5e-324])
@pytest.mark.parametrize("word", [0, 2**64 - 1])
def test_neighbouring_floats_leave_only_the_lower_one(kind, low, word):
    distribution = kind(low, math.nextafter(low, math.inf))
    assert distribution.draw(Words(word, word)) == low


def test_the_largest_word_would_round_to_high_if_it_were_let():
    low, high = 1.0, 1.0 + 2**-50
    assert low + (1 - 2**-53) * (high - low) == high
    assert uniform(low, high).draw(Words(2**64 - 1)) == math.nextafter(high, 0)


@given(st.integers(-(2**53), 2**53 - 1), st.integers(1, 2**54), st.lists(words, max_size=3))
def test_randint_never_leaves_its_interval(low, width, some):
    high = min(low + width, 2**53)
    value = randint(low, high).draw(Words(*some))
    assert type(value) is int
    assert low <= value <= high


@given(st.integers(1, 2**53 - 1), st.integers(1, 2**53), words, words)
def test_loguniform_int_never_leaves_its_interval(low, width, word, more):
    high = min(low + width, 2**53)
    value = loguniform_int(low, high).draw(Words(word, more))
    assert type(value) is int
    assert low <= value <= high


@pytest.mark.parametrize(("low", "high"), [(1, 2), (1, 2**53), (2**53 - 1, 2**53), (7, 10**9)])
def test_both_ends_of_the_integers_can_be_had(low, high):
    for make in (randint, loguniform_int):
        ends = set()
        # For randint, the last word that is not rejected is the last of a whole block.
        last = 2**64 - 2**64 % (high - low + 1) - 1 if make is randint else 2**64 - 1
        for word in (0, last):
            ends.add(make(low, high).draw(Words(word, word)))
        assert ends == {low, high}


@pytest.mark.parametrize("value", [2**53, 2**53 - 1, 2**53 - 12345, 2**52 + 1, 3, 2])
def test_every_integer_can_be_had_on_a_log_scale_and_not_only_every_thirtieth(value):
    with decimal.localcontext(prec=60):
        middle = (decimal.Decimal(value) + decimal.Decimal("0.5")).ln()
        share = int(middle / decimal.Decimal(2**53 + 1).ln() * 2**128)
    assert loguniform_int(1, 2**53).draw(Words(share >> 64, share % 2**64)) == value


def test_words_of_the_incomplete_block_are_rejected():
    n = 3 * 2**61
    assert [below(n, Words(word, 5)) for word in (n - 1, n, 2 * n - 1)] == [n - 1, 0, n - 1]
    assert below(n, Words(2 * n, 2**64 - 1, 5)) == 5
    assert below(2**64, Words(2**64 - 1)) == 2**64 - 1


# How the values are distributed. The bits are fixed, so that the tests are, too; with other bits
# each would fail by chance once in a thousand times.

P_FALSE_ALARM = 1e-3


@pytest.fixture(params=[4_000, pytest.param(20_000, marks=pytest.mark.full)])
def n(request):
    """How many values are drawn: of 4,000, a share that is off by 0.03 is noticed."""
    return request.param


def test_uniform_is_uniform(n):
    value = drawn(uniform(-3, 5), n)
    assert stats.kstest(value, stats.uniform(-3, 8).cdf).pvalue > P_FALSE_ALARM


@pytest.mark.parametrize(("low", "high"), [(1e-5, 1e2), (1e-300, 1e300), (2.0, 2.5)])
def test_loguniform_is_uniform_in_its_logarithm(low, high, n):
    logs = np.log(drawn(loguniform(low, high), n))
    shares = (logs - math.log(low)) / (math.log(high) - math.log(low))
    assert stats.kstest(shares, "uniform").pvalue > P_FALSE_ALARM


@pytest.mark.parametrize(("low", "high"), [(-2, 4), (0, 1), (10**15, 10**15 + 9)])
def test_randint_is_uniform(low, high, n):
    counts = collections.Counter(drawn(randint(low, high), n))
    observed = [counts[value] for value in range(low, high + 1)]
    assert sum(observed) == n
    assert stats.chisquare(observed).pvalue > P_FALSE_ALARM


def test_a_wide_randint_is_uniform(n):
    value = drawn(randint(-(2**53), 2**53), n)
    assert stats.kstest(value, stats.uniform(-(2.0**53), 2.0**54).cdf).pvalue > P_FALSE_ALARM


@pytest.mark.parametrize(("low", "high"), [(1, 12), (3, 9), (1, 2)])
def test_loguniform_int_has_the_probabilities_that_it_says(low, high, n):
    counts = collections.Counter(drawn(loguniform_int(low, high), n))
    numbers = range(low, high + 1)
    expected = [n * math.log((k + 1) / k) / math.log((high + 1) / low) for k in numbers]
    observed = [counts[k] for k in numbers]
    assert sum(observed) == n
    assert stats.chisquare(observed, expected).pvalue > P_FALSE_ALARM


def test_choice_draws_what_is_listed_twice_twice_as_often(n):
    counts = collections.Counter(drawn(choice(["a", "b", "a", None]), n))
    observed = [counts["a"], counts["b"], counts[None]]
    assert stats.chisquare(observed, [n / 2, n / 4, n / 4]).pvalue > P_FALSE_ALARM


# The same values at every time and place.


UNIFORM = ["0x1.8c3faf3f670a0p+0", "0x1.442f7e20b6740p-4", "-0x1.ac1612b58990cp-1"]
LOGUNIFORM = ["0x1.cec2cba2fc78bp-9", "0x1.e960a30d52183p-17", "0x1.256d744c9ae59p-6"]
RANDINT = [230706575052, 463259391496, 109844461051]
LOGUNIFORM_INT = [14536585952, 4, 9449156429725]
CHOICE = [74271, 251617, 996024]


def test_these_values_never_change():
    """Of the stream of PCG64, which numpy promises to keep."""
    assert [value.hex() for value in drawn(uniform(-1, 3), 3)] == UNIFORM
    assert [value.hex() for value in drawn(loguniform(1e-5, 1e-1), 3)] == LOGUNIFORM
    assert drawn(randint(-5, 10**12), 3) == RANDINT
    assert drawn(loguniform_int(1, 2**53), 3) == LOGUNIFORM_INT
    assert drawn(choice(range(10**6)), 3) == CHOICE


def test_the_logarithm_is_right_to_the_last_bit_where_that_is_known():
    half = Words(2**63, 0)
    assert loguniform(1, 4).draw(half) == 2.0
    half = Words(2**63, 0)
    assert loguniform(1e-200, 1e200).draw(half) == 1.0


def test_a_users_decimal_context_changes_nothing(monkeypatch):
    before = drawn(loguniform(1e-5, 1e-1), 3)
    monkeypatch.setattr(decimal.DefaultContext, "Emax", 3)
    with decimal.localcontext(prec=3, rounding=decimal.ROUND_UP):
        assert drawn(loguniform(1e-5, 1e-1), 3) == before


@pytest.mark.parametrize("name", ["PCG64", "PCG64DXSM", "Philox", "SFC64"])
def test_any_bit_generator_of_64_bits_will_do(name):
    source = np.random.Generator(getattr(np.random, name)(0))
    value = [uniform(0, 1).draw(source) for _ in range(2_000)]
    assert stats.kstest(value, "uniform").pvalue > P_FALSE_ALARM


def test_a_bit_generator_of_32_bits_is_refused():
    with pytest.raises(SourceError, match="MT19937 gives 32 bits at a time; draw from PCG64"):
        uniform(0, 1).draw(np.random.Generator(np.random.MT19937(0)))


# What they are made of.


@pytest.mark.parametrize("make", [uniform, loguniform, randint, loguniform_int])
def test_bounds_become_plain_numbers(make):
    kind = float if make in (uniform, loguniform) else int
    for low, high in [(1, 3), (1.0, 3.0), (np.int64(1), np.float32(3)), (Fraction(1), 3)]:
        distribution = make(low, high)
        assert distribution == make(1, 3)
        assert [type(distribution.low), type(distribution.high)] == [kind, kind]


def test_options_become_plain_values():
    options = (
        choice(np.array([1.5, 2])).options + choice([np.int8(3), np.bool_(True), [1]]).options
    )
    assert repr(options) == "(1.5, 2.0, 3, True, (1,))"


def test_choices_differ_by_the_types_of_their_options():
    assert choice([1]) != choice([1.0])
    assert choice([1]) != choice([True])
    assert choice([1, (2,)]) == choice((np.int64(1), [2]))


def test_a_choice_of_a_long_range_is_not_written_out():
    distribution = choice(range(0, 10**15, 5))
    assert all(value % 5 == 0 for value in drawn(distribution, 10))
    assert distribution.to_manifest_dict() == {
        "type": "choice",
        "options": {"range": [0, 10**15, 5]},
    }


LIMIT = "must be a whole number of at most 2**53"
BOTH = [uniform, loguniform, randint, loguniform_int]
BAD_BOUNDS = [
    *(
        (make, pair, sentence)
        for make in BOTH
        for pair, sentence in [
            ((math.nan, 1), "bound nan: must be a finite number"),
            ((1, math.inf), "bound inf: must be a finite number"),
            ((True, 2), "bound True: must be a finite number"),
            ((1, np.True_), "bound np.True_: must be a finite number"),
            (("1", 2), "bound '1': must be a finite number"),
            ((1, None), "bound None: must be a finite number"),
            ((1, 2j), "bound 2j: must be a finite number"),
            ((1, np.timedelta64(5, "ns")), "must be a finite number"),
            ((1, np.array([2])), "bound array([2]): must be a finite number"),
            ((1, 10**400), "must be a finite number"),
        ]
    ),
    (uniform, (2, 1), "low=2.0, high=1.0: low must be below high"),
    (uniform, (1, 1), "low must be below high; for a single value use choice([1.0])"),
    (uniform, (2**53, 2**53 + 1), "low must be below high"),
    (uniform, (-1e308, 1e308), "is wider than a float can say"),
    (loguniform, (0.5, 0.5), "for a single value use choice([0.5])"),
    (loguniform, (0, 1), "low=0.0: a log range must lie above 0"),
    (loguniform, (-1, 1), "low=-1.0: a log range must lie above 0"),
    (randint, (3, 3), "low must be below high; for a single value use choice([3])"),
    (randint, (4, 3), "low=4, high=3: low must be below high"),
    (randint, (0.5, 3), f"bound 0.5: {LIMIT}"),
    (randint, (0, Fraction(2**55 + 1, 2)), LIMIT),
    (randint, (0, 2**53 + 1), f"bound 9007199254740993: {LIMIT}"),
    (randint, (-(2**53) - 1, 0), LIMIT),
    (loguniform_int, (1, 2.5), f"bound 2.5: {LIMIT}"),
    (loguniform_int, (0, 5), "low=0: a log range must lie above 0"),
    (loguniform_int, (5, 5), "for a single value use choice([5])"),
    (loguniform_int, (1, 2**53 + 1), LIMIT),
]


@pytest.mark.parametrize(("make", "bounds", "sentence"), BAD_BOUNDS)
def test_wrong_bounds_are_refused(make, bounds, sentence):
    with pytest.raises(SourceError, match=re.escape(sentence)) as caught:
        make(*bounds)
    assert caught.value.parameter is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "options are empty; give at least one"),
        ("abc", "options 'abc': must be a list, tuple, range or array of one dimension"),
        ({1, 2}, "options {1, 2}: must be a list"),
        ({"a": 1}, "options {'a': 1}: must be a list"),
        (3, "options 3: must be a list"),
        (np.zeros((2, 2)), "must be a list, tuple, range or array of one dimension"),
        (range(10**30), "must be fewer than 2**63"),
        ([math.nan], "value nan: must be finite"),
        ([1, {}], "value {}: must be a float, int, str, bool or None"),
        ([b"a"], "value b'a': must be"),
    ],
)
def test_wrong_options_are_refused(options, sentence):
    for make in (choice, Choice):
        with pytest.raises(SourceError, match=re.escape(sentence)):
            make(options)


# Manifests.


@given(distributions())
def test_a_distribution_survives_json(distribution):
    again = distribution_from_manifest(json.loads(json.dumps(distribution.to_manifest_dict())))
    assert again == distribution
    assert repr(again) == repr(distribution)
    assert drawn(again, 3) == drawn(distribution, 3)


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        (3, "manifest 3: must be what a uniform or loguniform or randint or loguniform_int or"),
        ({}, "manifest {}: must be what a uniform or loguniform or"),
        ({"type": "normal"}, "must be what a uniform or loguniform or"),
        ({"type": ["uniform"]}, "must be what a uniform or loguniform or"),
        ({"type": "uniform", "low": 1}, "missing 1 required positional argument: 'high'"),
        ({"type": "uniform", "low": 1, "high": 2, "mid": 1}, "keyword argument 'mid'"),
        ({"type": "uniform", "low": 1, "high": 2, 3: 4}, "manifest {'type': 'uniform', 'low': 1"),
        ({"type": "uniform", "low": 1, "high": "2"}, "bound '2': must be a finite number"),
        ({"type": "uniform", "version": 2}, "this seedwise knows manifests of version 1"),
        ({"type": "choice", "options": 3}, "options 3: must be a list"),
        ({"type": "choice", "options": []}, "options are empty"),
        (
            {"type": "choice", "options": {"range": [0, 5, 0]}},
            "options {'range': [0, 5, 0]}: must be a list",
        ),
        ({"type": "choice", "options": {"range": [0, 5.0, 1]}}, "options {'range': [0, 5.0, 1]}"),
    ],
)
def test_a_wrong_manifest_is_refused_and_names_its_parameter(manifest, sentence):
    with pytest.raises(SourceError, match=f"^parameter 'x': .*{re.escape(sentence)}") as caught:
        distribution_from_manifest(manifest, "x")
    assert caught.value.parameter == "x"


# In a loss's parameter space.


@pytest.mark.parametrize(
    ("distribution", "param"),
    [
        (uniform(0, 1), SearchParam("float", (0.0, 1.0))),
        (loguniform(1e-4, 1), SearchParam("float", (1e-4, 1.0), log=True)),
        (randint(1, 9), SearchParam("int", (1, 9))),
        (loguniform_int(1, 9), SearchParam("int", (1, 9), log=True)),
        (choice(["a", "b"]), SearchParam("str", allowed=("a", "b"))),
        (choice([1, 2.5]), SearchParam("float", allowed=(1.0, 2.5))),
        (choice([True, False]), SearchParam("bool", allowed=(True, False))),
    ],
)
def test_a_distribution_is_a_search_param(distribution, param):
    assert distribution.to_search_param() == param
    assert checked_space({"x": distribution}) == {"x": param}


def test_distributions_stand_beside_the_rest():
    space = {"a": (0, 1), "b": uniform(0, 1), "c": search_param(range=(0, 1))}
    assert len(set(checked_space(space).values())) == 1


@given(distributions())
def test_a_range_can_always_be_searched(distribution):
    if isinstance(distribution, Choice):
        return
    param = checked_space({"x": distribution})["x"]
    assert param.range == (distribution.low, distribution.high)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([1, "a"], "mixes types, or has one that is not float, int, str or bool"),
        ([None], "mixes types, or has one that is not"),
        ([(1, 2)], "mixes types, or has one that is not"),
        (["a", "a"], "holds a value twice"),
    ],
)
def test_what_only_a_source_can_draw_names_its_parameter(options, sentence):
    with pytest.raises(SpaceError, match=f"^parameter 'x': .*{sentence}"):
        checked_space({"ok": (0, 1), "x": choice(options)})


@pytest.mark.parametrize("spec", [uniform, 3, "uniform"])
def test_what_is_no_distribution_is_refused_with_all_that_there_is(spec):
    with pytest.raises(
        SpaceError, match=r"'x': got .*; give a tuple .* or a distribution such as uniform\(low"
    ):
        checked_space({"x": spec})
