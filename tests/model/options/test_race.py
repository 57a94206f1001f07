"""The option `race`: what it may be, in Python, as JSON and on a command line."""

from __future__ import annotations

import math

import attrs
import pytest

from seedwise.errors import OptionError
from seedwise.model.options.fields import from_json, to_json
from seedwise.model.options.race import Race
from seedwise.model.options.study import RunOptions


@pytest.mark.parametrize(
    ("fields", "name", "allowed"),
    [
        ({"first_look": 1}, "first_look", "a whole number, 2 or above"),
        ({"first_look": 8.0}, "first_look", "a whole number, 2 or above"),
        ({"first_look": True}, "first_look", "a whole number, 2 or above"),
        ({"growth": 1}, "growth", "a finite number above 1"),
        ({"growth": math.nan}, "growth", "a finite number above 1"),
        ({"growth": math.inf}, "growth", "a finite number above 1"),
        ({"growth": 10**400}, "growth", "a finite number above 1"),
        ({"growth": "2"}, "growth", "a finite number above 1"),
        ({"level": 0}, "level", "a number above 0, and at most 0.5"),
        ({"level": 0.51}, "level", "a number above 0, and at most 0.5"),
        ({"level": math.nan}, "level", "a number above 0, and at most 0.5"),
        ({"level": None}, "level", "a number above 0, and at most 0.5"),
        ({"contender_seeds": 7}, "contender_seeds", "None, or a whole number from first_look=8"),
        ({"contender_seeds": 9.5}, "contender_seeds", "None, or a whole number from first_look=8"),
    ],
)
def test_what_is_not_allowed_is_refused_by_its_name(fields, name, allowed):
    with pytest.raises(OptionError) as caught:
        Race(**fields)
    assert caught.value.name == f"race.{name}"
    assert f"race.{name}={fields[name]!r}: must be {allowed}" in str(caught.value)


@pytest.mark.parametrize("race", ["yes", "on", 1, None, {"first_look": 8}, Race])
def test_an_option_that_is_no_race_is_refused(race):
    with pytest.raises(OptionError, match="must be 'auto', True, False, or a Race"):
        RunOptions.from_keywords({"race": race})


@pytest.mark.parametrize("race", ["auto", True, False, Race(first_look=3, contender_seeds=64)])
def test_a_race_comes_out_of_json_as_it_went_in(race):
    keywords = {"race": race}
    assert from_json(RunOptions, to_json(RunOptions, keywords)) == keywords


@pytest.mark.parametrize(
    ("text", "race"),
    [
        ("auto", "auto"),
        ("on", True),
        ("off", False),
        ("first_look=16,level=0.2", Race(first_look=16, level=0.2)),
        ("growth=3,contender_seeds=null", Race(growth=3)),
    ],
)
def test_a_race_is_read_from_a_command_line(text, race):
    assert attrs.fields(RunOptions).race.metadata["parse"](text) == race


@pytest.mark.parametrize(
    "text", ["yes", "", "first_look", "first_look=a", "looks=3", "level=0.2,"]
)
def test_what_is_not_a_race_on_a_command_line_is_refused_in_words(text):
    with pytest.raises(ValueError, match=f"^'{text}' is not a race: auto, on, off, or such as"):
        attrs.fields(RunOptions).race.metadata["parse"](text)
