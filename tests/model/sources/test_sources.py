from __future__ import annotations

import enum
import itertools
import json
import math
import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from seedwise.errors import CaseIndexError, SourceError
from seedwise.model.sources import (
    GridSource,
    ManualSource,
    ParamCase,
    ParameterSource,
    RandomSource,
    grid,
    manual,
    random,
    source_from_manifest,
)
from seedwise.model.sources.distributions import (
    choice,
    loguniform,
    loguniform_int,
    randint,
    uniform,
)
from tests.model.sources.test_distributions import distributions, values

names = st.one_of(st.text(min_size=1, max_size=3), st.sampled_from(["self", "x", "rate", "a b"]))
seeds = st.one_of(st.integers(0, 2**128 - 1), st.sampled_from([0, 1, 2**32, 2**96, 2**128 - 1]))
axis_lists = st.lists(values, min_size=1, max_size=4, unique_by=repr)
long_axes = st.builds(
    lambda start, step: range(start, start + 2_000 * step, step),
    st.integers(-(2**70), 2**70),
    st.integers(-(2**70), 2**70).filter(bool),
)

SPACE = {
    "e": choice(["x", None, (1, 2.0), True]),
    "a": uniform(-1, 3),
    "b": loguniform(1e-5, 1e-1),
    "c": randint(-5, 10**12),
    "d": loguniform_int(1, 2**53),
}


def grids():
    axes = st.one_of(long_axes, axis_lists)
    return st.dictionaries(names, axes, min_size=1, max_size=4).map(lambda spec: grid(**spec))


def randoms():
    spaces = st.dictionaries(names, distributions(), min_size=1, max_size=4)
    return st.builds(random, spaces, st.integers(1, 2**100), seeds)


@st.composite
def manuals(draw: st.DrawFn):
    keys = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    case = st.fixed_dictionaries(dict.fromkeys(keys, values))
    tags = st.none() | st.lists(st.text(min_size=1, max_size=3), max_size=2)
    return manual(draw(st.lists(case, min_size=1, max_size=4)), draw(tags))


any_source = st.one_of(grids(), randoms(), manuals())
ONE_OF_EACH = [grid(a=[1, 2, 3], b=[1]), random(SPACE, 3, 7), manual([{"a": 1}] * 3)]
each_kind = pytest.mark.parametrize("source", ONE_OF_EACH, ids=lambda s: type(s).__name__)


def typed(params):
    """Return params so that they are equal only if their types and bits are, too."""
    return repr(params)


# What holds for every source.


@given(any_source, st.data())
def test_a_source_survives_json_with_its_types_and_bits(source, data):
    text = json.dumps(source.to_manifest_dict(), allow_nan=False)
    again = source_from_manifest(json.loads(text))
    assert again == source
    assert type(again) is type(source)
    assert again.to_manifest_dict() == source.to_manifest_dict()
    index = data.draw(st.integers(0, source.n_cases - 1))
    assert typed(again[index]) == typed(source[index])
    assert type(source).from_manifest_dict(source.to_manifest_dict()) == source


@given(any_source)
def test_a_source_survives_pickling(source):
    again = pickle.loads(pickle.dumps(source))
    assert again == source
    assert typed(again[0]) == typed(source[0])


@given(any_source)
def test_iteration_and_index_agree(source):
    for index, case in enumerate(itertools.islice(source, 10)):
        assert typed(case) == typed(source[index])
        assert case.index == index
        assert tuple(case.params) == source.names == tuple(sorted(case.params))


@given(any_source, st.data())
def test_the_order_of_access_changes_nothing(source, data):
    indices = data.draw(st.lists(st.integers(0, min(source.n_cases, 50) - 1), max_size=20))
    before = [typed(case) for case in itertools.islice(source, 50)]
    assert [typed(source[index]) for index in indices] == [before[index] for index in indices]


@given(any_source)
def test_values_are_plain(source):
    def check(value):
        if type(value) is tuple:
            for item in value:
                check(item)
        else:
            assert type(value) in (bool, int, float, str, type(None))

    for value in source[0].params.values():
        check(value)


@each_kind
def test_a_source_is_what_a_sweep_asks_for(source):
    assert isinstance(source, ParameterSource)
    assert len(source) == source.n_cases == len(list(source)) == 3
    assert source


@each_kind
@pytest.mark.parametrize("index", [2, np.int8(2), np.uint64(2), np.array(2)])
def test_every_whole_number_is_an_index(source, index):
    case = source[index]
    assert case == source[2]
    assert type(case.index) is int


@each_kind
@pytest.mark.parametrize("index", [3, 10**30, -4, np.int64(3)])
def test_an_index_out_of_range(source, index):
    with pytest.raises(CaseIndexError, match=rf"there is no case {index}: .* are 0 to 2$") as bad:
        source[index]
    assert (bad.value.index, bad.value.n_cases) == (index, 3)
    assert isinstance(bad.value, IndexError)


@pytest.mark.parametrize("source", ONE_OF_EACH[:2], ids=["grid", "random"])
def test_only_a_manual_source_counts_from_its_end(source):
    with pytest.raises(CaseIndexError, match="there is no case -1:"):
        source[-1]
    written = manual([{"a": 1}, {"a": 2}])
    assert written[-1] == written[1] == ParamCase(1, {"a": 2})
    assert written[-2] == written[0]


@each_kind
def test_what_is_no_index(source):
    with pytest.raises(TypeError, match=r"can't be sliced, .* itertools\.islice\(source"):
        source[0:2]
    for index in (1.0, "1", None, (1,)):
        with pytest.raises(TypeError, match=re.escape(f"case index {index!r}: must be a whole")):
            source[index]


@each_kind
def test_a_cases_params_are_the_callers_own(source):
    before = typed(source[0])
    source[0].params.clear()
    next(iter(source)).params.clear()
    assert typed(source[0]) == before


@each_kind
def test_iteration_is_lazy_and_can_begin_again(source):
    cases = iter(source)
    assert next(cases) == next(iter(source)) == source[0]
    assert next(cases) == source[1]


@each_kind
def test_a_source_says_what_it_is(source):
    assert repr(source).startswith(f"<{type(source).__name__} of 3 cases, ('a'")


# The grid.


@given(st.dictionaries(names, axis_lists, min_size=1, max_size=4))
def test_a_grid_is_the_product_of_its_sorted_axes(spec):
    source = grid(**spec)
    keys = sorted(spec)
    expected = [
        dict(zip(keys, row, strict=True)) for row in itertools.product(*map(spec.get, keys))
    ]
    assert source.names == tuple(keys)
    assert len(source) == len(expected)
    assert typed([case.params for case in source]) == typed(expected)
    assert typed([source[i].params for i in range(len(source))]) == typed(expected)


@given(
    st.dictionaries(names, st.integers(1, 10**6), min_size=1, max_size=12),
    st.integers(0, 10**80),
)
def test_the_digits_of_a_large_grid_are_those_of_its_index(lengths, index):
    source = grid(**{name: range(n) for name, n in lengths.items()})
    assert source.n_cases == math.prod(lengths.values())
    index %= source.n_cases
    value = 0
    for name, digit in source[index].params.items():
        value = value * lengths[name] + digit
    assert value == index


def test_a_grid_beyond_what_len_can_say():
    source = grid(**{f"x{i:02}": range(10) for i in range(30)})
    assert source.n_cases == 10**30
    assert set(source[10**30 - 1].params.values()) == {9}
    assert next(iter(source)) == source[0]
    assert source
    assert "1000000000000000000000000000000 cases" in repr(source)
    with pytest.raises(OverflowError):
        len(source)
    with pytest.raises(CaseIndexError):
        source[10**30]


def test_a_grid_of_more_cases_than_python_can_write_down():
    source = grid(**{f"x{i}": range(10) for i in range(5000)})
    assert "an int" in repr(source) or "a int" in repr(source)
    with pytest.raises(CaseIndexError, match="there is no case -1:"):
        source[-1]
    assert set(source[source.n_cases - 1].params.values()) == {9}


@given(long_axes)
def test_long_evenly_spaced_ints_are_one_axis_however_they_are_written(axis):
    source = grid(x=axis)
    assert grid(x=list(axis)) == source
    assert grid(x=range(axis.start, axis.stop - axis.step // abs(axis.step) + 1, axis.step))
    assert len(json.dumps(source.to_manifest_dict())) < 300
    assert [source[i].params["x"] for i in (0, 1, 1999)] == [axis[0], axis[1], axis[1999]]


@pytest.mark.parametrize(
    "change",
    [
        lambda v: [*v[:-1], v[-1] + 1],
        lambda v: [*v[:700], v[701], v[700], *v[702:]],
        lambda v: [*v[:-1], float(v[-1])],
        lambda v: [float(v[0]), *v[1:]],
        lambda v: [*v[:5], True, *v[6:]],
        lambda v: [v[0], v[0] - 1, *v[2:]],
        lambda v: [*v, 10**15],
    ],
)
def test_long_lists_that_are_no_range_stay_as_they_are(change):
    listed = change(list(range(10, 1510)))
    source = grid(x=listed)
    assert source != grid(x=range(10, 1510))
    assert typed([case.params["x"] for case in source]) == typed(listed)
    assert source_from_manifest(json.loads(json.dumps(source.to_manifest_dict()))) == source


def test_a_range_without_end_takes_no_memory():
    source = grid(a=range(0, 10**18, 3), b=range(10**18))
    assert source[source.n_cases - 1].params == {"a": 10**18 - 1, "b": 10**18 - 1}
    assert source == grid(a=range(0, 10**18 + 1, 3), b=range(10**18))


def test_grids_are_equal_by_values_and_types():
    assert grid(a=[1, 2], b=[3]) == grid(b=(3,), a=np.array([1, 2]))
    assert grid(a=[1, 2]) != grid(a=[2, 1])
    assert grid(a=[1]) != grid(a=[1.0])
    assert grid(a=[1]) != grid(a=[True])
    assert grid(a=[(1,)]) != grid(a=[(1.0,)])
    assert grid(a=[1]) != manual([{"a": 1}])


def test_one_one_and_true_are_three_values():
    assert typed([c.params["a"] for c in grid(a=[1, 1.0, True, "1"])]) == "[1, 1.0, True, '1']"


class Colour(enum.StrEnum):
    RED = "red"


MUST = "must be a float, int, str, bool or None, or a list or tuple of these"
LISTED = "must be a list, tuple, range or array of one dimension"
WRONG_VALUES = [
    (math.nan, "value nan: must be finite"),
    (np.float64(math.inf), "value np.float64(inf): must be finite"),
    (1j, f"value 1j: {MUST}"),
    (b"a", f"value b'a': {MUST}"),
    ({"a": 1}, f"value {{'a': 1}}: {MUST}"),
    ({1}, f"value {{1}}: {MUST}"),
    (Colour.RED, f"{MUST}"),
    (np.array([1]), f"value array([1]): {MUST}"),
    (np.datetime64(5, "ns"), MUST),
    (np.timedelta64(5, "ns"), MUST),
    (2**2048, "value is an int of more than 2048 bits"),
    ([-(10**5000)], "value is an int of more than 2048 bits"),
    ((1, [2, {3}]), f"value {{3}}: {MUST}"),
]


@pytest.mark.parametrize(("value", "sentence"), WRONG_VALUES)
def test_values_that_no_case_may_hold_name_their_parameter(value, sentence):
    pattern = f"^parameter 'x': .*{re.escape(sentence)}"
    for make in (
        lambda: grid(ok=[1], x=[1, value]),
        lambda: manual([{"ok": 1, "x": 1}, {"ok": 1, "x": value}]),
    ):
        with pytest.raises(SourceError, match=pattern) as caught:
            make()
        assert caught.value.parameter == "x"


def test_a_list_in_itself_is_refused():
    knot: list = []
    knot.append(knot)
    with pytest.raises(SourceError, match="'x': value is nested more than 32 levels deep"):
        grid(x=[knot])


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ("abc", f"values 'abc': {LISTED}"),
        ({1, 2}, f"values {{1, 2}}: {LISTED}"),
        ({"a": 1}, f"values {{'a': 1}}: {LISTED}"),
        (3, f"values 3: {LISTED}"),
        (None, f"values None: {LISTED}"),
        (np.float64(3), LISTED),
        (np.zeros((1, 2)), LISTED),
        (np.array(3), LISTED),
        (iter([1]), LISTED),
        ([], "values are empty; give at least one"),
        (np.array([]), "values are empty"),
        (range(0), "values are empty"),
        (range(10**30), "must be fewer than 2**63"),
        (range(2**3000, 2**3000 + 5000), "an int of more than 2048 bits"),
        ([1, 2, 1], "values hold 1 twice"),
        ([np.int64(1), 1], "values hold 1 twice"),
        ([[1, 2], (1, 2)], "values hold (1, 2) twice"),
        ([None, None], "values hold None twice"),
    ],
)
def test_axes_that_are_none(values, sentence):
    with pytest.raises(SourceError, match=f"^parameter 'x': .*{re.escape(sentence)}"):
        grid(ok=[1], x=values)


def test_a_grid_without_parameters_or_names():
    with pytest.raises(SourceError, match="a grid needs a parameter, such as grid"):
        grid()
    with pytest.raises(SourceError, match="parameter names are non-empty strings; got ''"):
        grid(**{"": [1]})


# Random draws.

GOLDEN = {
    (0, 0): ["0x1.62c8b5ff9abeep+1", "0x1.82590dc9f233bp-13", 971831268450, 5602919, (1, 2.0)],
    (7, 0): ["0x1.1880ffd49c595p+1", "0x1.119644771eba2p-16", 64089646622, 432827840802, None],
    (7, 1): ["0x1.d83b60ed737fcp-1", "0x1.2253a8f5a7d40p-16", 692046155588, 32, (1, 2.0)],
    (7, 2**32): ["0x1.3eedddc34066cp+1", "0x1.9f81cfccc65fap-13", 807312680051, 40252008577, True],
    (7, 10**9 - 1): [
        "0x1.6d0a9552f6ffep+0",
        "0x1.a34532555d2f1p-14",
        48809489381,
        30585891273413,
        "x",
    ],
    (2**128 - 1, 2**64 + 3): [
        "0x1.05d6c3a70f25ep+1",
        "0x1.4778e3b5a6c35p-11",
        280956758445,
        15976,
        True,
    ],
}


@pytest.mark.parametrize(("seed", "index"), GOLDEN)
def test_these_cases_never_change(seed, index):
    params = random(SPACE, 2**100, seed)[index].params
    assert list(params) == ["a", "b", "c", "d", "e"]
    found = [value.hex() if isinstance(value, float) else value for value in params.values()]
    assert typed(found) == typed(GOLDEN[seed, index])


def test_the_same_cases_in_another_process_with_other_hashes():
    sources = [random(SPACE, 10**9, 7), grid(a=[1, 2.0, (True, None)], b=["x", "y"])]
    code = (
        "import json, sys\n"
        "from seedwise.model.sources import source_from_manifest\n"
        "for manifest in json.load(sys.stdin):\n"
        "    source = source_from_manifest(manifest)\n"
        "    print([source[i] for i in (5, 0, 3)])\n"
    )
    given_manifests = json.dumps([source.to_manifest_dict() for source in sources])
    expected = "".join(f"{[source[i] for i in (5, 0, 3)]}\n" for source in sources)
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=given_manifests,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == expected


@given(seeds, st.integers(0, 2**90), st.integers(1, 2**90))
def test_a_case_does_not_depend_on_the_number_of_trials(seed, index, more):
    one, other = random(SPACE, index + 1, seed), random(SPACE, index + 1 + more, seed)
    assert typed(one[index]) == typed(other[index])


def test_the_order_in_which_a_space_is_written_changes_nothing():
    turned = dict(reversed(SPACE.items()))
    assert random(turned, 5, 1) == random(SPACE, 5, 1)
    assert typed(list(random(turned, 5, 1))) == typed(list(random(SPACE, 5, 1)))


indices = st.one_of(
    st.integers(0, 2**100), st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**64, 2**96 + 1])
)


@given(seeds, indices, seeds, indices)
def test_no_two_pairs_of_seed_and_index_share_their_bits(seed, index, other_seed, other_index):
    assume((seed, index) != (other_seed, other_index))
    space = {"x": uniform(0, 1), "y": randint(0, 2**53)}
    one, other = random(space, 2**101, seed)[index], random(space, 2**101, other_seed)[other_index]
    assert one.params != other.params


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(1, 2**32 - 1))
def test_pairs_whose_words_follow_one_another_alike_share_nothing(a, b, c):
    """Joined without filling up, (a) and (b, c) would be the words of (a, b) and (c)."""
    pairs = {(a, b + (c << 32)), (a + (b << 32), c), (a, c), (c, a), (a, b)}
    found = [random({"x": uniform(0, 1)}, 2**64, seed)[index].params["x"] for seed, index in pairs]
    assert len(set(found)) == len(pairs)


def test_a_thousand_neighbours_of_a_hundred_seeds_all_differ():
    space = {"x": uniform(0, 1)}
    found = {case.params["x"] for seed in range(100) for case in random(space, 1000, seed)}
    assert len(found) == 100_000


@given(seeds)
def test_a_case_is_not_what_the_bare_seed_gives(seed):
    """A loss that seeds its own generator with the source's seed is not in step with it."""
    case = random({"x": uniform(0, 1)}, 1, seed)[0]
    assert case.params["x"] != np.random.default_rng(seed).random()


def test_cases_are_independent_of_their_neighbours():
    """With these bits; others would fail by chance once in a million times."""
    found = [case.params["x"] for case in random({"x": uniform(0, 1)}, 20_000, 3)]
    assert stats.kstest(found, "uniform").pvalue > 1e-6
    assert stats.spearmanr(found[:-1], found[1:]).pvalue > 1e-6


def test_a_source_of_more_cases_than_len_can_say():
    source = random(SPACE, 2**128 - 1, 1)
    assert source
    assert source[2**128 - 2].index == 2**128 - 2
    with pytest.raises(OverflowError):
        len(source)


def test_what_a_random_source_was_made_of():
    source = random(SPACE, np.int64(5), seed=np.uint8(1))
    assert source == RandomSource(SPACE, 5, 1)
    assert source.space == SPACE
    assert list(source.space) == sorted(SPACE)
    assert [type(source.n_trials), type(source.seed)] == [int, int]
    source.space.clear()
    assert source.names == ("a", "b", "c", "d", "e")


TRIALS = "must be a whole number from 1 to 2**128 - 1"
SEED = "must be a whole number from 0 to 2**128 - 1"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (({}, 1, 1), "space={}: must be a dict of name to distribution, with at least one"),
        (([uniform(0, 1)], 1, 1), "must be a dict of name to distribution"),
        (({"x": (0, 1)}, 1, 1), "parameter 'x': got (0, 1); give a distribution, such as uni"),
        (({"x": 1}, 1, 1), "parameter 'x': got 1; give a distribution"),
        ((dict.fromkeys([3], uniform(0, 1)), 1, 1), "names are non-empty strings; got 3"),
        (({"": uniform(0, 1)}, 1, 1), "names are non-empty strings; got ''"),
        ((SPACE, 0, 1), f"n_trials=0: {TRIALS}"),
        ((SPACE, -1, 1), f"n_trials=-1: {TRIALS}"),
        ((SPACE, 1e9, 1), f"n_trials=1000000000.0: {TRIALS}"),
        ((SPACE, True, 1), f"n_trials=True: {TRIALS}"),
        ((SPACE, "5", 1), f"n_trials='5': {TRIALS}"),
        ((SPACE, 2**128, 1), f": {TRIALS}"),
        ((SPACE, 1, -1), f"seed=-1: {SEED}"),
        ((SPACE, 1, 1.0), f"seed=1.0: {SEED}"),
        ((SPACE, 1, None), f"seed=None: {SEED}"),
        ((SPACE, 1, False), f"seed=False: {SEED}"),
        ((SPACE, 1, 2**128), f"seed=340282366920938463463374607431768211456: {SEED}"),
    ],
)
def test_random_sources_that_are_none(arguments, sentence):
    for make in (random, RandomSource):
        with pytest.raises(SourceError, match=re.escape(sentence)):
            make(*arguments)


# Cases that are written down.


@given(st.lists(st.fixed_dictionaries({"b": values, "a": values}), min_size=1, max_size=5))
def test_manual_cases_are_as_they_are_written(cases):
    source = manual(cases)
    assert source.names == ("a", "b")
    expected = [{"a": case["a"], "b": case["b"]} for case in cases]
    assert typed([case.params for case in source]) == typed(expected)
    assert all(case.tags == () for case in source)


def test_manual_values_become_plain_and_lists_tuples():
    written = {"a": np.float32(0.5), "b": [np.int64(1), [True]], "c": np.str_("x"), "d": None}
    (case,) = manual([written])
    assert typed(case.params) == "{'a': 0.5, 'b': (1, (True,)), 'c': 'x', 'd': None}"


def test_manual_tags_go_to_all_cases():
    source = manual([{"a": 1}, {"a": 2}], tags=["pilot", "v2"])
    assert [case.tags for case in source] == [("pilot", "v2")] * 2
    assert source.tags == ("pilot", "v2")
    assert source != manual([{"a": 1}, {"a": 2}])


def test_a_manual_source_keeps_what_it_was_given():
    written = [{"a": [1, 2]}]
    source = manual(written)
    written[0]["a"].append(3)
    written.append({"a": 4})
    assert [case.params for case in source] == [{"a": (1, 2)}]


def test_manual_sources_are_equal_by_values_and_types():
    assert manual([{"a": 1, "b": 2}]) == manual(({"b": 2, "a": np.int8(1)},))
    assert manual([{"a": 1}]) != manual([{"a": 1.0}])
    assert manual([{"a": 1}]) != manual([{"a": True}])
    assert manual([{"a": 0.0}]) != manual([{"a": -0.0}])


@pytest.mark.parametrize(
    ("cases", "sentence"),
    [
        ([], "cases=[]: must be a list of dicts, with at least one"),
        ({"a": 1}, "cases={'a': 1}: must be a list of dicts"),
        ("ab", "cases='ab': must be a list of dicts"),
        (iter([{}]), "must be a list of dicts"),
        ([{"a": 1}, [("a", 1)]], "case 1 is [('a', 1)]: must be a dict of name to value"),
        ([{}], "case 0 has no parameter"),
        ([{"a": 1}, {"a": 1, 2: 3}], "case 1: parameter names are non-empty strings; got 2"),
        (
            [{"a": 1, "b": 1}, {"a": 1}],
            "only one of case 0 and case 1 has ['b']: all cases must have the same names",
        ),
        ([{"a": 1}, {"a": 1}, {"b": 1, "a": 1}], "only one of case 0 and case 2 has ['b']: all"),
        (
            [{"a": 1, "d": 2}, {"b": 1, "c": 2}],
            "only one of case 0 and case 1 has ['a', 'b', 'c', 'd']: all",
        ),
        ([{"a": 1}, {"a": {}}], "parameter 'a': case 1: value {}: must be"),
    ],
)
def test_manual_cases_that_are_none(cases, sentence):
    for make in (manual, ManualSource):
        with pytest.raises(SourceError, match=re.escape(sentence)):
            make(cases)


@pytest.mark.parametrize("tags", ["pilot", [1], [""], {"a"}, 3])
def test_tags_that_are_none(tags):
    with pytest.raises(SourceError, match=r"tags=.*: must be a list of non-empty strings"):
        manual([{"a": 1}], tags)


# Manifests.


def test_the_manifests_of_version_1():
    assert grid(b=[1, 2.0], a=[(1, (True, None)), "x"]).to_manifest_dict() == {
        "type": "grid",
        "version": 1,
        "spec": {"a": [{"tuple": [1, {"tuple": [True, None]}]}, "x"], "b": [1, 2.0]},
    }
    space = {"x": uniform(0, 1), "y": choice([(1, 2), "a"])}
    assert random(space, 5, 2**100).to_manifest_dict() == {
        "type": "random",
        "version": 1,
        "space": {
            "x": {"type": "uniform", "low": 0.0, "high": 1.0},
            "y": {"type": "choice", "options": [{"tuple": [1, 2]}, "a"]},
        },
        "n_trials": 5,
        "seed": 2**100,
    }
    assert manual([{"b": (), "a": None}], ["t"]).to_manifest_dict() == {
        "type": "manual",
        "version": 1,
        "cases": [{"a": None, "b": {"tuple": []}}],
        "tags": ["t"],
    }


def test_a_manifest_of_version_1_gives_these_cases():
    text = (
        '{"type": "random", "version": 1, "n_trials": 2000000000, "seed": 7, "space": {"a": '
        '{"type": "uniform", "low": -1, "high": 3}}}'
    )
    source = source_from_manifest(json.loads(text))
    assert source[10**9 - 1].params["a"].hex() == GOLDEN[7, 10**9 - 1][0]


GRID = {"type": "grid", "version": 1, "spec": {"a": [1]}}
RANDOM = random({"a": uniform(0, 1)}, 5, 1).to_manifest_dict()
MANUAL = manual([{"a": 1}]).to_manifest_dict()
KNOWN = "this seedwise knows manifests of version 1"


def without(manifest, key):
    return {name: value for name, value in manifest.items() if name != key}


WRITES = "must be what a grid or random or manual writes in version 1"

WRONG_MANIFESTS = [
    (3, f"manifest 3: {WRITES}"),
    ([GRID], WRITES),
    ("grid", f"manifest 'grid': {WRITES}"),
    ({}, f"manifest {{}}: {WRITES}"),
    (
        {**GRID, "type": "sobol"},
        f"manifest {{'type': 'sobol', 'version': 1, 'spec': {{'a': [1]}}}}: {WRITES}",
    ),
    ({**GRID, "type": ["grid"]}, WRITES),
    ({**GRID, "version": 2}, f"version=2: {KNOWN}"),
    ({**GRID, "version": 2, "type": "sobol"}, f"version=2: {KNOWN}"),
    ({**GRID, "version": "1"}, f"version='1': {KNOWN}"),
    ({**GRID, "version": True}, f"version=True: {KNOWN}"),
    (without(GRID, "spec"), f"{WRITES} (TypeError: GridSource._read() missing 1 required"),
    ({**GRID, "seed": 1}, "got an unexpected keyword argument 'seed'"),
    ({**GRID, 3: 1}, WRITES),
    ({**GRID, "spec": [1]}, f"'spec': [1]}}: {WRITES}"),
    ({**GRID, "spec": {}}, "a grid needs a parameter"),
    ({**GRID, "spec": {3: [1]}}, f"'spec': {{3: [1]}}}}: {WRITES}"),
    ({**GRID, "spec": {"": [1]}}, "parameter names are non-empty strings; got ''"),
    ({**GRID, "spec": {"a": 1}}, "parameter 'a': values 1: must be a list"),
    ({**GRID, "spec": {"a": []}}, "parameter 'a': values are empty"),
    ({**GRID, "spec": {"a": [{"tuple": 1}]}}, "parameter 'a': value {'tuple': 1}: must be a"),
    ({**GRID, "spec": {"a": [{"tuple": "xy"}]}}, "parameter 'a': value {'tuple': 'xy'}: must be"),
    ({**GRID, "spec": {"a": [[1, 2]]}}, "manifest: value [1, 2]: a tuple is written"),
    ({**GRID, "spec": {"a": {"range": [0, 5]}}}, "parameter 'a': values {'range': [0, 5]}: must"),
    ({**GRID, "spec": {"a": {"range": [0, 5, 0]}}}, "parameter 'a': values {'range': [0, 5, 0]}"),
    ({**MANUAL, "cases": [{"a": [1]}]}, "manifest: value [1]: a tuple is written"),
    ({**GRID, "spec": {"a": [{"list": [1]}]}}, "parameter 'a': value {'list': [1]}: must be a"),
    ({**GRID, "spec": {"a": [{"tuple": [], "b": 1}]}}, "parameter 'a': value {'tuple': []"),
    ({**GRID, "spec": {"a": [1, 1]}}, "parameter 'a': values hold 1 twice"),
    ({**GRID, "spec": {"a": [math.nan]}}, "parameter 'a': value nan: must be finite"),
    ({**GRID, "spec": {"a": {"range": [1, "2", 1]}}}, "parameter 'a': values {'range': [1, '2'"),
    (without(RANDOM, "seed"), "missing 1 required positional argument: 'seed'"),
    (without(RANDOM, "n_trials"), "missing 1 required positional argument: 'n_trials'"),
    ({**RANDOM, "n_trials": 5.0}, f"n_trials=5.0: {TRIALS}"),
    ({**RANDOM, "seed": True}, f"seed=True: {SEED}"),
    ({**RANDOM, "space": {}}, "space={}: must be a dict of name to distribution"),
    ({**RANDOM, "space": 3}, f"'space': 3, 'n_trials': 5, 'seed': 1}}: {WRITES}"),
    ({**RANDOM, "space": {"a": 1}}, "parameter 'a': manifest 1: must be what a uniform or"),
    ({**RANDOM, "space": {"a": {"type": "x"}}}, "parameter 'a': manifest {'type': 'x'}: must be"),
    (without(MANUAL, "tags"), "missing 1 required positional argument: 'tags'"),
    ({**MANUAL, "cases": {"a": 1}}, f"'cases': {{'a': 1}}, 'tags': []}}: {WRITES}"),
    ({**MANUAL, "cases": [1]}, f"'cases': [1], 'tags': []}}: {WRITES}"),
    ({**MANUAL, "cases": []}, "cases=[]: must be a list of dicts, with at least one"),
    ({**MANUAL, "cases": [{3: 1}]}, "parameter names are non-empty strings; got 3"),
    ({**MANUAL, "tags": "x"}, "tags='x': must be a list of non-empty strings"),
]


@pytest.mark.parametrize(("manifest", "sentence"), WRONG_MANIFESTS)
def test_wrong_manifests_are_refused(manifest, sentence):
    with pytest.raises(SourceError, match=re.escape(sentence)):
        source_from_manifest(manifest)


@pytest.mark.parametrize(
    ("cls", "manifest", "sentence"),
    [
        (GridSource, RANDOM, "must be what a grid writes"),
        (RandomSource, MANUAL, "must be what a random writes"),
        (ManualSource, GRID, "must be what a manual writes"),
    ],
)
def test_a_manifest_of_another_type_is_refused(cls, manifest, sentence):
    with pytest.raises(SourceError, match=sentence):
        cls.from_manifest_dict(manifest)


def test_a_manifest_nested_without_end_is_refused():
    knot: dict = {"tuple": []}
    knot["tuple"].append(knot)
    with pytest.raises(SourceError, match=WRITES):
        source_from_manifest({**GRID, "spec": {"a": [knot]}})


def test_reading_a_manifest_does_not_change_it():
    for manifest in (GRID, RANDOM, MANUAL):
        before = json.dumps(manifest)
        source_from_manifest(manifest)
        assert json.dumps(manifest) == before
