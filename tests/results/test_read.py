"""The trials of a sweep, followed in their table."""

from __future__ import annotations

from seedwise.folder.ledger import params_digest
from seedwise.folder.trial_table import TrialTable
from seedwise.results.read import _FollowedSweep
from tests.results.test_sweep import CASES, trial


def news(followed):
    anew, trials = followed.news()
    return anew, [(one.number, one.value, one.params) for one in trials]


def expected(*numbers):
    return [(number, float(number), CASES.params(number)) for number in numbers]


def test_each_trial_comes_once_until_some_are_evaluated_again(tmp_path):
    path = tmp_path / "trials.table"
    followed = _FollowedSweep(path, CASES)
    assert news(followed) == (False, [])

    def tell(*numbers):
        trials = [trial(number, float(number)) for number in numbers]
        table.add(trials, [params_digest(one.params) for one in trials])

    with TrialTable(path) as table:
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
