"""The loss is the same program wherever it runs: one value by hand, and in every other place.

To add a situation, add an entry to the module of its kind.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.sameness.places import Project
from tests.sameness.situations import SITUATIONS

#: Has several kinds in one; the others are in the full tests.
AT_EACH_PUSH = "project with much of it"
CASES = [
    pytest.param(one, id=one.name, marks=[] if one.name == AT_EACH_PUSH else pytest.mark.full)
    for one in SITUATIONS
]


def test_each_situation_has_a_name_of_its_own():
    names = Counter(situation.name for situation in SITUATIONS)
    assert max(names.values()) == 1
    assert AT_EACH_PUSH in names


@pytest.mark.parametrize("situation", CASES)
def test_one_value_by_hand_and_on_this_machine(situation, tmp_path):
    project = Project(situation, tmp_path)
    found = project.by_hand() | project.in_threads_and_disturbed() | project.in_processes()
    places = ("by hand", "threads", "isolated", "resumed", "replayed", "processes")
    assert found == dict.fromkeys(places, repr(situation.value))


@pytest.mark.slurm
@pytest.mark.parametrize("situation", CASES)
def test_the_same_value_on_slurm(situation, slurm, tmp_path):
    assert Project(situation, tmp_path).on_slurm() == {"Slurm": repr(situation.value)}
