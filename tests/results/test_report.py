"""Reports: their figures are those of the result, and their files need nothing else."""

from __future__ import annotations

import html.parser
import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import seedwise as sw
from seedwise.folder.directory import RunDirectory

SPACE = {"x": (0.0, 1.0), "kind": sw.search_param(allowed=["a", "b"])}


class Page(html.parser.HTMLParser):
    """The tables of a page, by the section that they are in; numbers with all digits."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[list[object]]]] = {}
        self.tags: list[str] = []
        self._section = ""
        self._in = ""
        self._cell: list[str] | None = None
        self._number: str | None = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._in = tag
        if tag == "h2":
            self._section = ""
        elif tag == "table":
            self.tables.setdefault(self._section, []).append([])
        elif tag == "tr":
            self.tables[self._section][-1].append([])
        elif tag in ("td", "th"):
            self._cell, self._number = [], None
        elif tag == "data":
            self._number = dict(attrs)["value"]

    def handle_data(self, data):
        if self._in == "h2":
            self._section += data
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, tag):
        self._in = ""
        if tag in ("td", "th") and self._cell is not None:
            text = "".join(self._cell)
            self.tables[self._section][-1][-1].append(
                text if self._number is None else float(self._number)
            )
            self._cell = None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def results(folder, client):
    """A result of each kind."""

    @sw.loss(name="bowl", description="a <script>alert(1)</script> & more", parameter_space=SPACE)
    def bowl(params, seed):
        if seed == 3 and params["x"] > 0.9:
            raise ValueError("<b>too far</b>")
        return (params["x"] - 0.3) ** 2 + np.random.default_rng(seed).normal(0, 0.1)

    where = {"cluster": client, "run_root": folder, "progress": False, "n_seeds": 64}
    search = {"n_trials": 24, "fail_on_chunk_error": False, **where}
    return {
        "run": sw.optimize_run(bowl, run_name="run", **search),
        "race": sw.optimize_run(
            bowl,
            run_name="race",
            race=True,
            n_validation_seeds=0,
            prune_failed_trials=True,
            **search,
        ),
        "entries": sw.optimize_entries(
            bowl, entry_ids=["anna", "b<en"], run_name_prefix="entries", **search
        ),
        "sweep": sw.run_sweep(
            bowl, sw.grid(x=[0.1, 0.3, 0.95], kind=["a", "b"]), run_name="sweep", **where
        ),
    }


def written(result: object, path: Path) -> tuple[str, Page]:
    text = result.report(path).read_text(encoding="utf-8")
    return text, Page(text)


def facts(tables):
    return {name: value for table in tables for name, value, *_ in table}


def test_a_run_is_reported_as_it_is(results, tmp_path):
    result = results["run"]
    _, page = written(result, tmp_path / "report.html")
    found, shown = result.validation, facts(page.tables["Result"])
    low, high = found.interval
    assert shown["mean loss"] == found.value
    assert shown["standard error"] == found.stderr
    assert (shown["95 % interval, low"], shown["95 % interval, high"]) == (low, high)
    assert shown["trial"] == found.number
    assert shown["x"] == found.params["x"]
    ((_, *candidates),) = page.tables["Validation on fresh seeds"]
    assert [row[:5] for row in candidates] == [
        [one.number, one.value, one.stderr, one.n_seeds, one.probability_best]
        for one in found.candidates
    ]
    work = facts(page.tables["Time and work"])
    assert work["evaluations of seeds"] >= sum(trial.n_seeds for trial in result.trials)


def test_how_busy_workers_were(results, tmp_path):
    status = RunDirectory(Path(results["sweep"].run_dir)).status
    status.write({**status.read(), "busy_share": 0.625})
    _, page = written(results["sweep"], tmp_path / "report.html")
    busy = facts(page.tables["Time and work"])["busy workers"]
    assert busy == "62% of their time, with the last driver"


def test_failures_have_their_cause_and_how_to_evaluate_them_again(results, tmp_path):
    result = results["race"]
    text, page = written(result, tmp_path / "report.html")
    failed = [trial for trial in result.trials if trial.error is not None]
    ((_, row),) = page.tables["Failures"]
    assert row[:3] == ["ValueError", len(failed), failed[0].number]
    replay = f"seedwise replay {result.run_dir} --trial {failed[0].number} --seed 3"
    assert row[4] == replay
    assert "raise ValueError(&#34;&lt;b&gt;too far&lt;/b&gt;&#34;)" in text


def test_a_race_says_what_it_saved(results, tmp_path):
    result = results["race"]
    text, page = written(result, tmp_path / "report.html")
    used, whole = sum(trial.n_seeds for trial in result.trials), 24 * 64
    assert used < whole
    assert f"The trials got {used:,} of the {whole:,} evaluations" in text
    assert facts(page.tables["Result"])["mean loss"] == result.best_value


def test_a_sweep_has_its_best_trials_in_order(results, tmp_path):
    result = results["sweep"]
    _, page = written(result, tmp_path / "report.html")
    (table,) = page.tables["The best 4 trials"]
    place = {name: at for at, name in enumerate(table[0])}
    complete = [trial for trial in result.trials if trial.value is not None]
    best = sorted(complete, key=lambda trial: trial.value)
    assert [row[place["number"]] for row in table[1:]] == [trial.number for trial in best]
    assert [row[place["stderr"]] for row in table[1:]] == [trial.stderr for trial in best]


def test_entries_have_a_row_each(results, tmp_path):
    result = results["entries"]
    page_text, page = written(result, tmp_path / "report.html")
    (table,) = page.tables["Result"]
    place = {name: at for at, name in enumerate(table[0])}
    values = result.validated_values_by_entry
    shown = {row[place["entry id"]]: row[place["validated value"]] for row in table[1:]}
    assert shown == values
    assert set(shown) == {"anna", "b<en"}
    assert any(remark.startswith("anna: ") for remark in result.remarks)
    assert re.search(r"<(p|li)>anna: ", page_text)
    of_one, _ = written(result.results_by_entry["anna"], tmp_path / "anna.html")
    assert f"<h1>bowl: {Path(result.run_dir).name}, anna</h1>" in of_one


@pytest.mark.parametrize("kind", ["run", "race", "entries", "sweep"])
def test_a_page_runs_nothing_and_fetches_nothing(results, kind, tmp_path):
    text, page = written(results[kind], tmp_path / "report.html")
    assert not {"script", "link", "iframe", "img", "b"} & set(page.tags)
    assert "&lt;script&gt;" in text
    addresses = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"') >]+)""", text)
    assert all(one.startswith(("#", "data:")) for one in addresses), addresses
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert "svg" in page.tags
    # What is black or white on paper is that of the page, which may be dark.
    figures = re.findall("<svg.*?</svg>", text, re.DOTALL)
    assert figures
    assert not re.search("#000000|#ffffff", "".join(figures))


@pytest.mark.parametrize("kind", ["run", "race", "entries", "sweep"])
def test_markdown_has_the_same_tables(results, kind, tmp_path):
    result = results[kind]
    _, page = written(result, tmp_path / "report.html")
    text = result.report(tmp_path / "report.md").read_text(encoding="utf-8")
    n_rows = sum(len(table) for tables in page.tables.values() for table in tables)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heads = [line for line in lines if set(line) <= set("|- ") and "-" in line]
    no_head = [line for line in lines if line == "|  |  |"]
    assert len(lines) - len(heads) - len(no_head) == n_rows
    assert "\\<script\\>" in text


def test_the_code_is_told_from_that_of_the_commit(tmp_path, client, monkeypatch):
    (tmp_path / "committed_fit.py").write_text(
        "import seedwise as sw\n"
        '@sw.loss(name="flat", description="flat", parameter_space={"x": (0.0, 1.0)})\n'
        "def flat(params, seed):\n"
        "    return params['x'] + seed\n"
    )

    def git(*words: str) -> None:
        who = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        subprocess.run(["git", "-C", tmp_path, *who, *words], check=True, capture_output=True)

    git("init")
    git("add", "committed_fit.py")
    git("commit", "-m", "first")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for old, new in (("nothing", "nothing"), ("+ seed", "+ 2 * seed")):
        file = tmp_path / "committed_fit.py"
        file.write_text(file.read_text().replace(old, new))
        module = importlib.import_module("committed_fit")
        result = sw.optimize_run(
            module.flat, n_trials=2, n_seeds=2, cluster=client, run_root="runs", progress=False
        )
        del sys.modules["committed_fit"]
        text = result.report(tmp_path / "report.md").read_text()
        assert ("| as committed |" in text) == (old == "nothing")
        assert ("+    return params['x'] + 2 * seed" in text) == (old != "nothing")


def test_another_suffix_is_refused(results, tmp_path):
    with pytest.raises(sw.OptionError, match=r"report.pdf.*ends in .html or .md"):
        results["run"].report(tmp_path / "report.pdf")


def test_without_a_complete_trial_the_rest_is_there(tmp_path, client):
    @sw.loss(name="bad", description="bad", parameter_space={"x": (0.0, 1.0)})
    def bad(params, seed):
        raise ValueError("always")

    with pytest.raises(sw.NoCompleteTrialError):
        sw.optimize_run(
            bad,
            n_trials=2,
            n_seeds=2,
            cluster=client,
            run_root=tmp_path,
            run_name="bad",
            fail_on_chunk_error=False,
            progress=False,
        )
    path = sw.open_run(tmp_path / "bad").report()
    page = Page(path.read_text())
    assert path == tmp_path / "bad" / "report.html"
    assert page.tables["Failures"][0][1][:2] == ["ValueError", 2]
    assert "Result" not in page.tables
