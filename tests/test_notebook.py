"""What a notebook shows: the progress of a run, and its results as tables."""

from __future__ import annotations

import html
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest

import seedwise as sw
from seedwise.model.html import columns_html, table_html
from seedwise.model.options.work import ExecutionMode
from seedwise.model.validation import ValidatedTrial, Validation
from seedwise.results.entries import MultiOptimizeResult
from seedwise.view.faces import NotebookBar, in_notebook
from tests.builders import pool_status, run_status
from tests.kernel import kernel, outputs_of
from tests.model.test_check_report import report
from tests.view.test_slurm_limits import LIMITS

EVIL = "<script>alert('x')</script>"

LOSS = """
import random
import time
import seedwise as sw

@sw.loss(name="walk", description="a walk", parameter_space={"drift": (-1.0, 1.0)})
def walk(params, seed):
    time.sleep(0.02)
    return (params["drift"] - 0.3) ** 2 + random.Random(seed).gauss(0, 0.1)
"""
RUN = "result = sw.optimize_run(walk, n_trials=12, n_seeds=40, workers=1, run_root={root!r})"


def text_of(table: str) -> str:
    """Return what a table says, after a look at how it says it."""
    assert "color" not in table
    assert not re.search(r"<script|<style|on\w+=", table)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", table)).split())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_run_in_a_notebook_has_a_bar_that_updates_and_nothing_red(tmp_path):
    source = str(Path(sw.__file__).parents[1])
    path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    with kernel(tmp_path, PYTHONPATH=path) as (_, frontend):
        assert outputs_of(LOSS, frontend) == []
        shown = outputs_of(RUN.format(root=str(tmp_path)), frontend)
        ((kind, result),) = outputs_of("result", frontend)
        ((_, imported),) = outputs_of("'ipywidgets' in __import__('sys').modules", frontend)
    kinds = [kind for kind, _ in shown]
    assert set(kinds) == {"stream", "display_data", "update_display_data"}, shown
    assert {content["name"] for kind, content in shown if kind == "stream"} == {"stdout"}
    said = "".join(content["text"] for kind, content in shown if kind == "stream")
    assert said.startswith(f"seedwise: run folder {tmp_path / 'walk_v0001'}\n")
    assert "  best so far  " in said
    assert kinds.count("display_data") == 1
    bars = [content for kind, content in shown if kind != "stream"]
    assert len({content["transient"]["display_id"] for content in bars}) == 1
    first, *others, last = [content["data"]["text/html"] for content in bars]
    assert '<progress value="' in first
    assert any(" of 12 told" in text_of(bar) for bar in others)
    assert last == ""
    assert kind == "execute_result"
    assert "validated best in the search" in text_of(result["data"]["text/html"])
    assert imported["data"]["text/plain"] == "False"


def test_where_no_kernel_is_there_is_no_notebook(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook()
    assert "IPython" not in sys.modules  # nothing was imported to find out
    for shell, expected in [(None, False), (SimpleNamespace(), False)]:
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda s=shell: s))
        assert in_notebook() is expected
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert in_notebook()


def test_lines_alone_need_no_display(capsys):
    NotebookBar(shows_progress=False).write(["a note"], run_status())
    assert capsys.readouterr() == ("seedwise: a note\n", "")


def test_a_table_is_escaped_and_of_many_rows_the_first_are_shown():
    assert text_of(table_html([(EVIL, EVIL)], [EVIL, EVIL])) == " ".join([EVIL] * 4)
    assert text_of(table_html([("x", 1 / 3, None, float("nan"), 7, "a")])) == "x 0.333333 7 a"
    said = text_of(columns_html({"n": range(60), "of": [60] * 60}))
    assert said.startswith("n of 0 60 1 60 ")
    assert said.endswith(" 49 60 …")
    assert text_of(columns_html({"n": range(50)})).endswith(" 48 49")


@pytest.fixture(scope="module")
def results(client, tmp_path_factory):
    """Results of each kind, of a loss with a parameter that means harm."""

    @sw.loss(name="evil", description="a plane", parameter_space={EVIL: (0.0, 1.0)})
    def plane(params, seed):
        return params[EVIL] + seed % 3

    options = {"cluster": client, "n_seeds": 40, "progress": False}
    options["run_root"] = str(tmp_path_factory.mktemp("results"))
    return (
        sw.optimize_run(plane, n_trials=12, **options),
        sw.run_sweep(plane, sw.manual([{EVIL: 0.25}, {EVIL: 0.75}]), **options),
        sw.optimize_entries(plane, entry_ids=["anna", EVIL], n_trials=3, **options),
    )


def test_a_result_shows_its_honest_value_and_its_best(results):
    result = results[0]
    said = text_of(result._repr_html_())
    found, best = result.validation, result.best_trial
    assert f"value {found.value:.6g} ± {found.stderr:.2g} {best.value:.6g} ±" in said
    low, high = found.interval
    assert f"95 % interval {low:.6g} to {high:.6g} trial {found.number} {best.number}" in said
    assert f"{EVIL} {found.params[EVIL]:.6g} {best.params[EVIL]:.6g}" in said
    assert f"loss evil trials 12 complete seeds 40 folder {result.run_dir}" in said
    assert all(remark in said for remark in result.remarks)
    alone = text_of(attrs.evolve(result, validation=None)._repr_html_())
    assert alone.startswith("best in the search value ")
    assert "interval" not in alone


def test_a_result_without_a_trial_or_a_folder_is_shown(results):
    none = attrs.evolve(results[0], trials=(), validation=None, run_dir="runs/gone")
    assert text_of(none._repr_html_()).endswith("seeds 40 folder runs/gone")


def test_a_sweep_shows_its_best(results):
    said = text_of(results[1]._repr_html_())
    assert said.startswith("best in the search value 1.225 ±")
    assert f"{EVIL} 0.25 loss evil trials 2 complete seeds 40 folder" in said


def test_entries_are_the_rows_of_a_table(results):
    result = results[2]
    said = text_of(result._repr_html_())
    assert said.startswith("entry_id best_value best_stderr")
    assert f"anna {result.best_values_by_entry['anna']:.6g}" in said
    assert f"{EVIL} {result.best_values_by_entry[EVIL]:.6g}" in said
    assert f"entries 2 fitted folder {result.run_dir}" in said


def test_of_many_entries_the_first_are_shown(tmp_path):
    entries, error = [f"p{n}" for n in range(80)], ValueError(EVIL)
    none = MultiOptimizeResult(
        "walk",
        80,
        entries,
        {},
        {},
        {},
        "gone",
        ExecutionMode.SINGLE,
        dict.fromkeys(entries, error),
    )
    assert f"p49 {'ValueError: ' + EVIL} …" in text_of(none._repr_html_())


def test_a_handle_shows_where_the_run_is_and_how_far(results):
    handle = sw.connect(results[0].run_dir)
    said = text_of(handle._repr_html_())
    assert said.startswith(f"folder {handle.path} run finished trials 12 of 12 told, 100.0 %")
    assert f"validated {results[0].validated_value:.6g}" in said


WINNER = ValidatedTrial(3, {"x": 1}, 0.5, 0.25, 10, 0.75, 0.125, (0.5, 1.0), 8, 0.9375)
LOSER = ValidatedTrial(4, {"x": 2}, 0.6, None, 1, error=f"ValueError: {EVIL}")

SHOWN = [
    (
        run_status(pool=pool_status(waiting=EVIL), best_value=1.5, best_stderr=0.25),
        f"of 8 wanted (2 to 10) waiting {EVIL} trials 3 of 20 told, 15.0 % pending 16 80.0 %",
    ),
    (run_status(best_value=1.5, best_stderr=0.25), "best so far 1.5 ± 0.25"),
    (
        sw.Comparison(0.5, 0.125, (0.25, 0.75), 40),
        "difference 0.5 stderr 0.125 interval 0.25, 0.75 n_seeds 40",
    ),
    (sw.Comparison(0.5, None, None, 1), "difference 0.5 stderr interval n_seeds 1"),
    (
        Validation((WINNER, LOSER), 3, {"x": 1}, 0.5, 0.25, (0.0, 1.0), 16),
        "winner validated 0.5 ± 0.25 on 16 fresh seeds (95 % interval 0 to 1): trial 3 at x=1",
    ),
    (
        Validation((WINNER, LOSER), 3, {"x": 1}, 0.5, 0.25, (0.0, 1.0), 16),
        f"0.5 0.25 10 0.75 0.125 0.5, 1 8 0.9375 4 x=2 0.6 1 0 0 ValueError: {EVIL}",
    ),
    (Validation((LOSER,)), "winner validation: all 1 candidates failed on fresh seeds"),
    (sw.grid(**{EVIL: [1, 2, 3], "y": [0.5]}), f"source GridSource cases 3 case {EVIL} y 0 1 0.5"),
    (sw.random({"x": sw.choice([EVIL])}, 2, 0), f"RandomSource cases 2 case x 0 {EVIL} 1 {EVIL}"),
    (sw.grid(x=range(10**6)), "cases 1000000 case x 0 0 1 1 2 2 3 3 4 4"),
    (LIMITS, "cluster deep-thought version 23.11.4 user anna"),
    (LIMITS, "cpu True up 14400 1800"),
    (LIMITS, "long 10 1209600 2 4"),
    (attrs.evolve(LIMITS, partitions=(), accounts=(), qos=()), "user anna"),
    (attrs.evolve(LIMITS, unknown=("qos",), unanswered={"sacctmgr": EVIL}), "qos unknown"),
    (attrs.evolve(LIMITS, unanswered={"sacctmgr": EVIL}), f"unanswered {{'sacctmgr': {EVIL!r}}}"),
    (report(loss_name=EVIL), f"loss loss {EVIL!r} gave 0.5 for seed 0"),
    (report(warnings=(EVIL,)), f"advice {EVIL}"),
]


@pytest.mark.parametrize(("value", "words"), SHOWN)
def test_what_a_value_shows(value, words):
    assert words in text_of(value._repr_html_())
