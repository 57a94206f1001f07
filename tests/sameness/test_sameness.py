"""The loss is the same program wherever it runs: one value by hand, and in every other place.

To add a situation, add an entry to the module of its kind.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.sameness.places import Project
from tests.sameness.situations import SITUATIONS

#: The others are in the full tests. "project with much of it" is one of several kinds.
AT_EACH_PUSH = ("project with much of it", "module that imports from the script")
ON_SLURM_AT_EACH_PUSH = ("project with much of it",)


def cases(*chosen: str):
    return [
        pytest.param(one, id=one.name, marks=[] if one.name in chosen else pytest.mark.full)
        for one in SITUATIONS
    ]


def test_each_situation_has_a_name_of_its_own():
    names = Counter(situation.name for situation in SITUATIONS)
    assert max(names.values()) == 1
    assert set(AT_EACH_PUSH) <= set(names)


@pytest.mark.parametrize("situation", cases(*AT_EACH_PUSH))
def test_one_value_by_hand_and_on_this_machine(situation, tmp_path):
    project = Project(situation, tmp_path)
    found = project.by_hand() | project.in_threads_and_disturbed() | project.in_processes()
    places = ("by hand", "threads", "isolated", "resumed", "replayed", "processes")
    assert found == dict.fromkeys(places, repr(situation.value))


@pytest.mark.slurm
@pytest.mark.parametrize("situation", cases(*ON_SLURM_AT_EACH_PUSH))
def test_the_same_value_on_slurm(situation, slurm, tmp_path):
    assert Project(situation, tmp_path).on_slurm() == {"Slurm": repr(situation.value)}
