"""The trials of a sweep, followed in their table."""

from __future__ import annotations

from seedwise.folder.directory import RunDirectory
from seedwise.folder.ledger import params_digest
from seedwise.folder.trial_table import TrialTable
from seedwise.model.sources import grid
from seedwise.model.space import space_to_json
from seedwise.results.read import follow
from tests.results.test_sweep import CASES, SPACE, trial


def news(followed):
    anew, trials = followed()
    return anew, [(one.number, one.value, one.params) for one in trials]


def expected(*numbers):
    return [(number, float(number), CASES.params(number)) for number in numbers]


def test_each_trial_comes_once_until_some_are_evaluated_again(tmp_path):
    directory, source = RunDirectory(tmp_path), grid(x=[0.0, 0.5, 1.0], kind=["a", "b"])
    options = {"overrides": None, "trial_zero": None}
    meta = {"kind": "sweep", "source": source.to_manifest_dict(), "options": options}
    directory.meta.write({**meta, "parameter_space": space_to_json(SPACE)})
    followed = follow(directory)
    assert news(followed) == (False, [])

    def tell(*numbers):
        trials = [trial(number, float(number)) for number in numbers]
        table.add(trials, [params_digest(one.params) for one in trials])

    with TrialTable(directory.trial_table) as table:
        tell(2)
        assert news(followed) == (True, expected(2))  # there is a file now
        tell(0, 1)
        assert news(followed) == (False, expected(0, 1))
        assert news(followed) == (False, [])
        table.begin_again([1, 2])
        tell(2)
        assert news(followed) == (True, expected(0, 2))
        tell(4)
        assert news(followed) == (False, expected(4))
