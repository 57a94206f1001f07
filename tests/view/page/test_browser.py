"""The study page in a real browser: during a run, and from its folder."""

from __future__ import annotations

import json

import pytest

import seedwise as sw
from tests.browser import open_browser
from tests.testbed.daemons import poll
from tests.view.page.runs import ask, driver, served


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


def told(browser):
    return len(browser.column("trials", "best"))


def best(browser):
    return min(value for value in browser.column("trials", "value"))


def assert_clean(browser):
    assert browser.errors() == []
    assert browser.hosts() == {"127.0.0.1"}


def test_a_run_while_it_goes_on(browser, tmp_path):
    with driver(tmp_path, workers=2) as run:
        link, dashboard = run.link("study"), run.link("dashboard")
        assert [ask(one, token=False)[0] for one in (link, dashboard)] == [403, 403]
        browser.begin()

        browser.open(dashboard)
        poll(lambda: "Study" in browser.text(), "Dask's page to link to ours")
        assert browser.js("document.querySelector('a[href=study]').closest('ul') !== null")
        assert_clean(browser)

        browser.open(link)
        poll(lambda: "of 8 told" in browser.text(), "the page")
        assert told(browser) == 0
        for n_trials in (1, 3, 6):
            run.let(n_trials)
            poll(lambda n=n_trials: told(browser) == n, f"{n_trials} trials on the page")
        assert "token=" not in browser.js("location.href")
        assert "<i>a</i>" in browser.text()  # as text, not as an element
        assert "1 at work" in browser.text() or "2 at work" in browser.text()
        assert browser.column("workers", "at work")[-1] in (1, 2)

        browser.open(f"{link}&again")  # opened late it shows everything
        poll(lambda: told(browser) == 6, "all trials on a page that is opened late")
        assert_clean(browser)
        run.let(1000)
        said, _ = run.process.communicate(timeout=60)
        value, validated = map(float, said.split())
        assert told(browser) == 8
        assert best(browser) == value
        assert browser.column("trials", "best")[-1] == value
        poll(lambda: f"{validated:.6g} ± " in browser.text(), "the validated value")
        assert "seedwise show" in browser.text()


@sw.loss(name="plane", description="a plane", parameter_space={"x": (0, 1), "y": (0, 1)})
def plane(params, seed, context):
    if context["entry_id"] == "bad":
        raise ValueError("<script>alert(1)</script>")
    return params["x"] + 2 * params["y"] + seed % 2


def test_a_finished_sweep(browser, client, tmp_path):
    grid = sw.grid(x=[0.0, 0.5, 1.0], y=[0.0, 1.0])
    result = sw.run_sweep(
        plane, grid, n_seeds=4, cluster=client, run_root=tmp_path, run_name="s", progress=False
    )
    with served(result.run_dir) as link:
        assert ask(link, token=False)[0] == 403
        browser.begin()
        browser.open(link)
        poll(lambda: told(browser) == 6, "the cases")
        assert browser.column("trials", "value") == [trial.value for trial in result.trials]
        assert "x=0.5, y=1" in browser.column("cells", "at")
        assert sorted(browser.column("cells", "mean")) == sorted(t.value for t in result.trials)
        assert_clean(browser)


def test_entries_have_a_row_and_a_page_each(browser, client, tmp_path):
    result = sw.optimize_entries(
        plane,
        entry_ids=["anna", "bad", "Renée"],
        n_trials=3,
        n_seeds=4,
        cluster=client,
        run_root=tmp_path,
        run_name_prefix="e",
        progress=False,
    )
    with served(result.run_dir) as link:
        browser.begin()
        browser.open(link)
        poll(lambda: "Renée" in browser.text(), "the overview")
        words = browser.text()
        for entry, one in result.results_by_entry.items():
            assert f"{one.best_value:.6g}" in words, entry
        assert "ValueError: <script>alert(1)</script>" in words
        browser.open(f"{link}&entry=Ren%C3%A9e")
        poll(lambda: told(browser) == 3, "the page of an entry")
        assert best(browser) == result.best_values_by_entry["Renée"]
        assert "e / Renée" in " ".join(browser.text().split())
        browser.open(f"{link}&entry=..%2F..")
        poll(
            lambda: "no entry '../..'" in browser.text(),
            "what is said of an entry that is not there",
        )
        assert_clean(browser)


def test_a_run_that_another_process_is_at_work_on(browser, tmp_path):
    with driver(tmp_path, workers=1) as run:
        run.link("study")
        run.let(2)
        with served(tmp_path / "runs" / "page") as link:
            browser.begin()
            browser.open(link)
            poll(lambda: told(browser) == 2, "the told trials")
            run.let(5)
            poll(lambda: told(browser) == 5, "those that were told since")
            run.let(1000)
            said, _ = run.process.communicate(timeout=60)
            poll(lambda: "finished" in browser.text(), "the end")
            assert best(browser) == float(said.split()[0])
            assert_clean(browser)


@pytest.mark.slurm
def test_the_page_of_a_run_on_slurm(browser, slurm, tmp_path):
    with driver(tmp_path, cluster="slurm", workers=1) as run:
        link = run.link("study")
        assert ask(link, token=False)[0] == 403
        browser.begin()
        browser.open(link)
        run.let(3)
        poll(lambda: told(browser) == 3, "the told trials", 60)
        run.let(1000)
        said, _ = run.process.communicate(timeout=120)
        assert best(browser) == float(said.split()[0])
        assert browser.hosts() == {"127.0.0.1"}


def test_json_of_the_panels_pages_names_ours(tmp_path):
    with driver(tmp_path, workers=1) as run:
        plots = json.loads(ask(run.link("study"), "/individual-plots.json")[1])
        assert plots["Individual Study"] == "/individual-study"
        assert plots["Individual Task Stream"] == "/individual-task-stream"
