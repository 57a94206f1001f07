"""The page as a document, and how it follows its feed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from bokeh.document import Document
from bokeh.models import Div, Select

import seedwise as sw
from seedwise.folder.find import existing_run
from seedwise.view.page import feed as feed_module
from seedwise.view.page import figures
from seedwise.view.page.feed import EntriesFeed, TrialsFeed, open_feed
from seedwise.view.page.pages import Page
from tests.builders import pool_status, run_status, trial


@sw.loss(
    name="plane",
    description="a plane",
    parameter_space={"x": (0, 1), "kind": sw.search_param(allowed=["a", "b"])},
)
def plane(params, seed, context):
    if context["entry_id"] == "bad":
        raise ValueError("<b>no</b>")
    return params["x"] + (params["kind"] == "b") + seed % 2


@pytest.fixture(scope="module")
def runs(client, tmp_path_factory):
    """A run, entries and a sweep, by name."""
    root = tmp_path_factory.mktemp("runs")
    same = {"n_seeds": 64, "cluster": client, "run_root": root, "progress": False}
    run = sw.optimize_run(plane, n_trials=6, race=True, run_name="run", **same)
    entries = sw.optimize_entries(
        plane, entry_ids=["anna", "bad"], n_trials=3, run_name_prefix="entries", **same
    )
    cases = sw.grid(x=[0.0, 0.5, 1.0], kind=["a", "b"])
    return {
        "run": run,
        "entries": entries,
        "sweep": sw.run_sweep(plane, cases, run_name="sweep", **same),
    }


def shown(folder):
    feed = open_feed(existing_run(folder))
    feed.refresh()
    doc = Document()
    page = Page(doc, feed)
    for _ in page.make():
        pass
    return feed, doc, page


def source(doc, name):
    return doc.get_model_by_name(name).data


def words(doc):
    return " ".join(one.text for one in doc.select({"type": Div}))


@pytest.mark.parametrize("name", ["run", "sweep"])
def test_it_shows_the_trials_of_the_result(runs, name):
    result = runs[name]
    feed, doc, _ = shown(result.run_dir)
    assert isinstance(feed, TrialsFeed)
    trials = source(doc, "trials")
    assert trials["value"].tolist() == [one.value for one in result.trials]
    assert trials["best"][-1] == result.best.value
    assert f"trial {result.best.number} at" in words(doc)
    assert f"{result.n_trials} of {result.n_trials} told" in words(doc)


def test_it_says_what_the_validation_found_and_what_seeds_were_saved(runs):
    result = runs["run"]
    _, doc, _ = shown(result.run_dir)
    assert f"{result.validated_value:.6g} ± " in words(doc)
    used = sum(one.n_seeds for one in result.trials)
    assert f"{used} of {6 * 64} that full trials would take" in words(doc)


def test_a_heat_map_shows_the_mean_of_each_pair(runs):
    result = runs["sweep"]
    _, doc, _ = shown(result.run_dir)
    cells = source(doc, "cells")
    means = dict(zip(cells["at"], cells["mean"], strict=True))
    assert means == {
        f"x={one.params['x']:g}, kind={one.params['kind']}": one.value for one in result.trials
    }
    across = next(one for one in doc.select({"type": Select}) if one.title == "across")
    across.value = "kind"
    cells = source(doc, "cells")
    assert set(cells["at"]) == {"kind=a, kind=a", "kind=b, kind=b"}
    np.testing.assert_allclose(cells["mean"], [1.0, 2.0])


def test_another_parameter_is_chosen(runs):
    _, doc, _ = shown(runs["run"].run_dir)
    select = next(one for one in doc.select({"type": Select}) if one.title == "parameter")
    assert select.options == ["x", "kind"]
    select.value = "kind"
    (figure,) = [
        one
        for one in doc.select({})
        if getattr(one, "title", None) is not None
        and getattr(one.title, "text", "") == "Loss against a parameter"
    ]
    assert figure.xaxis[0].axis_label == "kind"
    assert {one.glyph.x for one in figure.renderers if hasattr(one.glyph, "x")} == {"at kind"}


def test_entries_have_a_row_with_a_link_each(runs):
    result = runs["entries"]
    feed, doc, _ = shown(result.run_dir)
    assert isinstance(feed, EntriesFeed)
    ((anna, *done), (bad, *failed)) = feed.entries
    best = result.results_by_entry["anna"].best
    assert (anna, bad) == ("anna", "bad")
    assert done[:3] == ["done", "3", f"{best.value:.6g} ± {best.stderr:.2g}"]
    assert failed == ["failed", "1", "", "", "ValueError: <b>no</b>"]
    assert '<a href="?entry=anna">anna</a>' in words(doc)
    assert "ValueError: &lt;b&gt;no&lt;/b&gt;" in words(doc)
    assert "<b>" not in words(doc)


def test_only_what_is_new_is_sent_and_in_parts(runs, monkeypatch):
    monkeypatch.setattr(figures, "_MOST_SENT", 4)
    feed, doc, page = shown(runs["run"].run_dir)
    sent = []
    doc.on_change(lambda event: sent.append(getattr(event, "data", None)))
    assert len(source(doc, "trials")["value"]) == 4
    page.update()
    assert len(source(doc, "trials")["value"]) == 6
    feed.columns.add([trial(n, -1.0 - n, {"x": 0.5, "kind": "a"}) for n in range(6, 12)])
    sent.clear()
    page.update()
    assert len(source(doc, "trials")["value"]) == 10
    assert [len(data["value"]) for data in sent if data and "order" in data] == [4]
    (more,) = doc.session_callbacks  # it is asked for at once
    more.callback()
    assert source(doc, "trials")["best"][-1] == -12.0


def test_a_study_that_begins_anew_is_shown_anew(runs, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(runs["run"].run_dir, folder)
    feed, doc, page = shown(folder)
    journal = folder / "study.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    told = [at for at, line in enumerate(lines) if b'"state":1' in line]
    journal.write_bytes(b"".join(lines[: told[2] + 1]))
    feed.refresh(now=True)
    page.update()
    first = [one.value for one in runs["run"].trials][:3]
    assert source(doc, "trials")["value"].tolist() == first


def test_a_folder_that_cannot_be_read_is_said_and_may_be_again(runs, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(runs["run"].run_dir, folder)
    feed, doc, page = shown(folder)
    meta = folder / "meta.json"
    content = meta.read_bytes()
    meta.unlink()
    (folder / "status.json").unlink()
    feed.refresh(now=True)
    page.update()
    assert "there is no meta.json" in words(doc)
    meta.write_bytes(content)
    feed.refresh(now=True)
    page.update()
    assert "there is no meta.json" not in words(doc)


def test_far_losses_are_left_out_unless_they_are_asked_for(runs):
    feed, doc, page = shown(runs["run"].run_dir)
    select = next(one for one in doc.select({"type": Select}) if one.title == "losses shown")
    losses = [one.value for one in runs["run"].trials]
    (spread,) = {
        one.y_range
        for one in doc.select({})
        if hasattr(one, "y_range")
        and getattr(one.title, "text", "").startswith(("Best so far", "Loss against"))
    }
    best = feed.columns.best
    assert spread.start < best.value - best.stderr
    feed.columns.add([trial(9, 1e6, {"x": 0.5, "kind": "a"})])
    page.update()
    assert spread.end <= 2 * max(losses) + 1
    select.value = "all"
    assert spread.end > 1e6
    select.value = "the better half"
    assert spread.end <= max(losses) + 1


def test_the_workers_are_those_of_the_log_of_events_until_now(runs, tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    shutil.copytree(runs["run"].run_dir, folder)
    _, doc, _ = shown(folder)
    assert doc.get_model_by_name("workers") is None  # they are those of a cluster that was passed
    said = ["worker 0 joined", "worker 1 joined", "worker 0 left"]
    lines = [
        {"at_utc": f"2026-08-01T10:0{n}:00+00:00", "kind": text.split()[-1], "text": text}
        for n, text in enumerate(said)
    ]
    log = existing_run(folder).event_log
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    _, doc, _ = shown(folder)
    assert source(doc, "workers")["at work"] == [1, 2, 1]
    assert source(doc, "workers")["jobs that wait"] == [0, 0, 0]
    status = run_status(pool=pool_status())
    monkeypatch.setattr(feed_module, "read_status", lambda _: status)
    feed, doc, page = shown(folder)
    assert source(doc, "workers")["at work"] == [1, 2, 1, 1]
    first = source(doc, "workers")["time"][-1]
    feed.refresh(now=True)
    page.update()
    assert source(doc, "workers")["time"][-1] > first
