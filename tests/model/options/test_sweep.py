"""The options of a sweep."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.errors import OptionError
from seedwise.model.options.fields import keyword_names
from seedwise.model.options.study import RunOptions, SweepOptions
from seedwise.model.options.work import WorkOptions


def given_options(**keywords) -> SweepOptions:
    return SweepOptions.from_keywords(keywords)


@given(st.lists(st.integers(-5, 10**20), min_size=1))
def test_trial_numbers_are_sorted_and_each_is_there_once(numbers):
    read = given_options(trial_nums=numbers).trial_nums
    assert read == tuple(sorted(set(numbers)))
    assert {type(number) for number in read} == {int}


@pytest.mark.parametrize(
    "numbers", [[3, 1, 3], (1, 3), {3, 1}, iter([3, 1]), range(1, 4, 2), np.array([3, 1, 1])]
)
def test_any_numbers_that_can_be_gone_through_are_taken(numbers):
    assert given_options(trial_nums=numbers).trial_nums == (1, 3)


def test_none_is_all_that_are_not_done():
    assert given_options().trial_nums is None
    assert given_options(trial_nums=None).trial_nums is None


@pytest.mark.parametrize("numbers", [[], (), iter([]), "3", 3, 3.5, b""])
def test_what_is_no_list_of_numbers_is_refused(numbers):
    with pytest.raises(OptionError, match="must be a list of at least one trial number"):
        given_options(trial_nums=numbers)


@pytest.mark.parametrize("numbers", [[1.0], ["3"], [None], [3, 1.5], np.array([[1, 2], [3, 4]])])
def test_what_is_no_whole_number_is_refused(numbers):
    with pytest.raises(OptionError, match="must be whole numbers") as caught:
        given_options(trial_nums=numbers)
    assert caught.value.name == "trial_nums"


def test_on_the_command_line_numbers_are_a_list():
    parse = attrs.fields_dict(SweepOptions)["trial_nums"].metadata["parse"]
    assert given_options(trial_nums=parse("3,1,2")).trial_nums == (1, 2, 3)


def test_a_sweep_has_what_all_runs_have_and_nothing_of_a_sampler():
    own = {"entry_id", "run_name", "trial_nums"}
    assert set(keyword_names(SweepOptions)) == {*keyword_names(WorkOptions), *own}
    of_a_study = set(keyword_names(RunOptions)) - set(keyword_names(SweepOptions))
    assert of_a_study >= {"sampler", "n_trials", "random_seed", "enqueue", "max_concurrent_trials"}
    for name in of_a_study:
        with pytest.raises(TypeError, match=f"unknown keyword '{name}'"):
            given_options(**{name: 3})


def test_what_was_given_is_known():
    assert given_options(trial_nums=[3], n_seeds=5).given == {"trial_nums", "n_seeds"}
