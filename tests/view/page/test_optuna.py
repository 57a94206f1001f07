"""The studies of a run in optuna-dashboard, which can't change them."""

from __future__ import annotations

import json

import pytest

import seedwise as sw
from seedwise.api.page import show_optuna
from seedwise.errors import NotARunError
from tests.testbed.daemons import poll
from tests.view.page.runs import ask, driver, served


def studies(link):
    """Return the names of the studies, with what is told of each."""
    found = json.loads(ask(link, "/api/studies")[1])["study_summaries"]
    return {
        one["study_name"]: json.loads(ask(link, f"/api/studies/{one['study_id']}?after=0")[1])
        for one in found
    }


def n_complete(link):
    (study,) = studies(link).values()
    return sum(trial["state"] == "Complete" for trial in study["trials"])


WRITES = {
    "delete the study": ("DELETE", "/api/studies/0", None),
    "rename it": ("POST", "/api/studies/0/rename", {"study_name": "x"}),
    "make another": ("POST", "/api/studies", {"study_name": "y", "directions": ["minimize"]}),
    "a note of it": ("PUT", "/api/studies/0/note", {"body": "hi", "version": 1}),
    "a note of a trial": ("PUT", "/api/studies/0/0/note", {"body": "hi", "version": 1}),
    "tell a trial": ("POST", "/api/trials/6/tell", {"state": "COMPLETE", "values": [-9.0]}),
}


@pytest.mark.full
def test_a_run_is_followed_and_cannot_be_changed(tmp_path):
    folder = tmp_path / "runs" / "page"
    with driver(tmp_path, workers=1) as run:
        run.link("study")
        run.let(2)
        with served(folder, "--optuna") as link:
            assert ask(link, token=False)[0] == 403
            assert ask(link, "/api/studies", token=False)[0] == 403
            assert b"<html" in ask(link)[1]
            poll(lambda: n_complete(link) == 2, "the told trials")
            run.let(5)
            poll(lambda: n_complete(link) == 5, "those that were told since")
            before = (folder / "study.journal").read_bytes()
            for what, (method, path, body) in WRITES.items():
                assert ask(link, path, method, body=json.dumps(body))[0] >= 400, what
            assert (folder / "study.journal").read_bytes() == before
            run.let(1000)
            said, _ = run.process.communicate(timeout=60)
            poll(lambda: n_complete(link) == 8, "all trials")
            (study,) = studies(link).values()
            assert study["best_trials"][0]["values"] == [float(said.split()[0])]


@sw.loss(name="line", description="a line", parameter_space={"x": (0, 1)})
def line(params, seed):
    return params["x"] + seed % 2


@pytest.mark.full
def test_all_entries_are_in_one_view(client, tmp_path):
    same = {"n_seeds": 4, "cluster": client, "run_root": tmp_path, "progress": False}
    result = sw.optimize_entries(
        line, entry_ids=["anna", "Renée"], n_trials=3, run_name_prefix="e", **same
    )
    with served(result.run_dir, "--optuna") as link:
        best = {name: one["best_trials"][0]["values"][0] for name, one in studies(link).items()}
    assert best == result.best_values_by_entry


def test_a_sweep_has_no_study(client, tmp_path):
    same = {"n_seeds": 4, "cluster": client, "run_root": tmp_path, "progress": False}
    result = sw.run_sweep(line, sw.grid(x=[0.0]), **same)
    with pytest.raises(NotARunError, match="a sweep has no Optuna study; --page shows it"):
        show_optuna(result.run_dir, print)
