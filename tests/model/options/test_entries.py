"""The options of entries: what their folders are called, and what each is optimised with."""

from __future__ import annotations

import re

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.errors import OptionError
from seedwise.model.options.study import EntriesOptions, RunOptions, entry_labels
from seedwise.model.sources import manual

#: Ids as people have them, and all others.
IDS = st.one_of(
    st.text("abAB01 _.-/\\é中\n\0'\"$", min_size=1, max_size=8),
    st.text(min_size=1),
    st.sampled_from(["..", ".", "-rf", "~", "a" * 101, "b/" * 80, "con", "entries"]),
)


def given_options(**keywords) -> EntriesOptions:
    return EntriesOptions.from_keywords({"entry_ids": ["anna", "ben"], **keywords})


# Labels.


@given(st.lists(IDS, max_size=6, unique_by=str.casefold))
def test_labels_are_names_of_folders_and_each_is_another(ids):
    labels = entry_labels(tuple(ids))
    assert list(labels) == ids
    for label in labels.values():
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", label)
        assert label != ".."
    assert len({label.casefold() for label in labels.values()}) == len(ids)


@given(IDS)
def test_a_label_is_the_same_whoever_else_is_there(entry):
    alone = entry_labels((entry,))[entry]
    assert entry_labels((entry, "somebody else of whom nobody has heard"))[entry] == alone


@pytest.mark.parametrize("entry", ["anna", "S-01.b_2", "x.", "a" * 100])
def test_an_id_that_is_the_name_of_a_folder_is_its_label(entry):
    assert entry_labels((entry,)) == {entry: entry}


@pytest.mark.parametrize(
    ("entry", "stem"),
    [
        ("p 01", "p_01"),
        ("a / b", "a_b"),
        ("../p2", "p2"),
        ("..", "entry"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("__init__", "init"),
        ("größe", "gr_e"),
        ("中", "entry"),
        ("~/x", "x"),
        ("a" * 101, "a" * 91),
    ],
)
def test_other_labels_are_near_to_the_ids_and_have_a_digest(entry, stem):
    assert re.fullmatch(rf"{stem}-[0-9a-f]{{8}}", entry_labels((entry,))[entry])


def test_long_ids_of_the_same_beginning_have_folders_of_their_own():
    ids = tuple(f"{'session ' * 20}{number}" for number in range(5))
    labels = entry_labels(ids)
    assert len(set(labels.values())) == 5
    assert {len(label) for label in labels.values()} == {100}
    assert entry_labels(ids) == labels


@pytest.mark.parametrize(
    "ids",
    [
        ("é", "ü"),
        ("é", "e\N{COMBINING ACUTE ACCENT}"),
        ("Renée", "Ren_e", "Ren e"),
        ("p 1", "p_1"),
        ("a/b", "c", "a b"),
        ("..", "entry"),
        ("中", "日"),
    ],
)
def test_ids_that_differ_in_replaced_characters_only_are_told_apart(ids):
    labels = entry_labels(ids)
    assert len({label.casefold() for label in labels.values()}) == len(ids)
    assert given_options(entry_ids=ids).entry_ids == ids
    for entry in ids:  # a run that has more or fewer entries finds the same folders
        assert entry_labels((entry,))[entry] == labels[entry]


def test_ids_that_differ_in_case_only_are_refused():
    """Else the order of the ids would decide which is which."""
    with pytest.raises(OptionError, match="'P1' and 'p1' would both have the folder 'p1'"):
        entry_labels(("P1", "p1"))
    assert entry_labels(("P 1", "p 1"))["P 1"] != entry_labels(("p 1",))["p 1"]


def meeting(real):
    """Return the function with all short digests equal."""
    return lambda label, entry, n_bytes: (
        f"{label}-0" if n_bytes == 4 else real(label, entry, n_bytes)
    )


@pytest.mark.parametrize("ids", [("a", "b", "a"), ("a b", "a b")])
def test_an_id_that_is_there_twice_is_refused(ids):
    for call in (entry_labels, lambda ids: given_options(entry_ids=ids)):
        with pytest.raises(OptionError, match="without duplicates") as caught:
            call(ids)
        assert caught.value.value == ids[-1]


# Entries.


@pytest.mark.parametrize(
    ("ids", "read"),
    [
        (["anna", "ben"], ("anna", "ben")),
        (("anna",), ("anna",)),
        (iter(["anna", "ben"]), ("anna", "ben")),
        ({"anna": 1, "ben": 2}, ("anna", "ben")),
        (range(3), ("0", "1", "2")),
        ([7, "seven"], ("7", "seven")),
        (np.array([11, 12]), ("11", "12")),
        (np.array(["anna", "ben"]), ("anna", "ben")),
    ],
)
def test_entries_are_text_in_the_order_in_which_they_are_given(ids, read):
    entry_ids = given_options(entry_ids=ids).entry_ids
    assert entry_ids == read
    assert {type(entry) for entry in entry_ids} == {str}


@pytest.mark.parametrize("ids", ["anna", b"anna", 3, None, [], (), iter([])])
def test_what_is_no_list_of_entries_is_refused(ids):
    with pytest.raises(OptionError, match="must be a list of at least one entry"):
        given_options(entry_ids=ids)


def test_entries_are_asked_for():
    with pytest.raises(OptionError, match="must be a list of at least one entry"):
        EntriesOptions.from_keywords({"n_trials": 3})


@pytest.mark.parametrize("ids", [["anna", ""], [" "], ["anna", "\t\n"]])
def test_an_empty_id_is_refused(ids):
    with pytest.raises(OptionError, match="ids that are not empty"):
        given_options(entry_ids=ids)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_concurrent_entries", 0),
        ("max_concurrent_entries", True),
        ("run_name_prefix", "a/b"),
        ("run_name_prefix", ""),
    ],
)
def test_a_bad_value_is_refused(name, value):
    with pytest.raises(OptionError) as caught:
        given_options(**{name: value})
    assert caught.value.name == name


@pytest.mark.parametrize("name", ["entry_id", "run_name"])
def test_what_each_entry_has_of_its_own_is_no_option_of_all(name):
    with pytest.raises(TypeError, match=f"unknown keyword '{name}'"):
        given_options(**{name: "anna"})


def test_the_folder_of_all_is_called_by_the_prefix():
    assert given_options(run_name_prefix="mine").run_name == "mine"
    assert given_options().run_name is None


# The options of one.


def test_the_options_of_an_entry_are_those_of_a_run_of_it_alone():
    keywords = {
        "n_trials": 7,
        "random_seed": 40,
        "seeds": [5, 3, 9],
        "sampler": "random",
        "enqueue": manual([{"x": 0.5}]),
        "overrides": {"n": 4},
        "timeout": 60.0,
        "max_concurrent_trials": 3,
    }
    options = given_options(**keywords, run_name_prefix="mine", max_concurrent_entries=1)
    for index, entry in enumerate(("anna", "ben")):
        own = options.of_entry(index)
        alone = RunOptions.from_keywords(
            {**keywords, "random_seed": 40 + index, "entry_id": entry}
        )
        assert type(own) is RunOptions
        for field in attrs.fields(RunOptions):
            if field.name != "given":
                assert getattr(own, field.name) == getattr(alone, field.name), field.name
        assert own.given == set(keywords)


def test_seeds_of_samplers_go_on_from_the_default():
    options = given_options(entry_ids=list("abc"))
    default = RunOptions().random_seed
    seeds = [options.of_entry(index).random_seed for index in range(3)]
    assert seeds == [default, default + 1, default + 2]
