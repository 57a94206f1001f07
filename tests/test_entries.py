"""optimize_entries: a study for each entry, equal to the one that it would have alone."""

from __future__ import annotations

import itertools
import json
import threading
import time
from pathlib import Path

import psutil
import pytest

import seedwise as sw
from seedwise.errors import (
    AllEntriesFailedError,
    ChangedRunError,
    DamagedFileError,
    EntryOfARunError,
    LossFailedError,
    NotARunError,
    OptionError,
)
from tests.losses import SPACE, bad_ben, own_bowl
from tests.tables import some, table

ENTRIES = ["anna", "ben", "p 03", "../evil"]
N_TRIALS = 12  # the first ten of TPE are random: two more see what was told


@pytest.fixture
def fit(client, tmp_path):
    def fit(loss=own_bowl, entry_ids=ENTRIES, **keywords):
        fixed = {"cluster": client, "run_root": tmp_path / "runs", "progress": False}
        few = {"n_trials": 4, "n_seeds": 12, "chunk_size": 5}
        return sw.optimize_entries(loss, entry_ids=entry_ids, **{**fixed, **few, **keywords})

    return fit


@pytest.fixture(scope="module")
def alone(client, tmp_path_factory):
    """Tables of each entry when it is optimised alone, of lag 1 and 3."""
    root = tmp_path_factory.mktemp("alone")

    def run(entry, index, lag):
        return sw.optimize_run(
            own_bowl,
            entry_id=entry,
            random_seed=123 + index,
            n_trials=N_TRIALS,
            n_seeds=12,
            max_concurrent_trials=lag,
            cluster=client,
            run_root=root,
            progress=False,
        )

    return {
        lag: {entry: table(run(entry, index, lag)) for index, entry in enumerate(ENTRIES)}
        for lag in (1, 3)
    }


def tables(result: sw.MultiOptimizeResult):
    return {entry: table(one) for entry, one in result.results_by_entry.items()}


def test_entries_differ(alone):
    """If this fails, equality below may hold for the wrong reason."""
    values = {str(rows) for lag in (1, 3) for rows in alone[lag].values()}
    assert len(values) == 8


@pytest.mark.parametrize(
    ("lag", "at_once", "chunk_size"),
    some(
        itertools.product([1, 3], [None, 1, 2], [3, 100]),
        (1, None, 3),
        (3, 2, 3),
        (1, 1, 100),
    ),
)
def test_each_entry_is_as_if_it_were_alone(fit, alone, lag, at_once, chunk_size):
    result = fit(
        n_trials=N_TRIALS,
        chunk_size=chunk_size,
        max_concurrent_trials=lag,
        max_concurrent_entries=at_once,
    )
    assert tables(result) == alone[lag]
    assert (result.n_entries, result.entries, result.failed) == (4, ENTRIES, {})
    assert list(result.results_by_entry) == ENTRIES


@pytest.mark.slurm
def test_each_entry_is_as_if_it_were_alone_on_slurm(fit, alone, slurm):
    result = fit(n_trials=N_TRIALS, cluster="slurm", workers=2, mem_per_cpu="512M", slurm_qos=None)
    assert tables(result) == alone[1]


@pytest.mark.slurm
@pytest.mark.full
@pytest.mark.timeout(1800)
def test_200_entries_on_slurm(fit, slurm, client, tmp_path):
    entries = [f"p{number:03}" for number in range(200)]
    with threads_counted() as counts:
        result = fit(
            entry_ids=entries,
            n_trials=10,
            n_seeds=20,
            chunk_size=10,
            cluster="slurm",
            workers=4,
            mem_per_cpu="512M",
            slurm_qos=None,
        )
    # One pool: all were up when the first entries were told, and none was started for another.
    middle = counts[len(counts) // 5 : -len(counts) // 5]
    assert len(middle) > 20
    assert max(middle) - min(middle) <= 1, "the driver's threads"
    for index, entry in enumerate(entries):
        one = sw.optimize_run(
            own_bowl,
            entry_id=entry,
            random_seed=123 + index,
            n_trials=10,
            n_seeds=20,
            cluster=client,
            run_root=tmp_path / "alone",
            progress=False,
        )
        assert table(one) == table(result.results_by_entry[entry])


class threads_counted:  # noqa: N801 - used as a function
    """Count this process's threads, ten times a second, but for the one that counts."""

    def __enter__(self) -> list[int]:
        self.counts: list[int] = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._count)
        self.thread.start()
        return self.counts

    def _count(self):
        while not self.ended.wait(0.1):
            self.counts.append(psutil.Process().num_threads() - 1)

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


@pytest.mark.full
def test_more_entries_take_no_more_threads(fit):
    fit(entry_ids=["warm", "up"], n_trials=2)
    most = []
    for n_entries in (2, 30):
        with threads_counted() as counts:
            fit(entry_ids=[f"e{number}" for number in range(n_entries)], n_trials=8)
        most.append(max(counts))
    assert most[1] <= most[0] + 1  # the client's own pool may still grow by one


# Failures.


def test_a_failed_entry_leaves_the_others_at_work(fit, tmp_path, capsys):
    good = fit(run_name_prefix="good")
    result = fit(bad_ben, run_name_prefix="bad", progress=True)
    assert list(result.failed) == ["ben"]
    assert result.outcome.startswith("3 fitted, 1 failed: ben: ValueError: ben does not like ")
    assert capsys.readouterr().err.splitlines()[-1] == f"seedwise: {result.outcome}"
    error = result.failed["ben"]
    assert isinstance(error, LossFailedError)
    assert "ben does not like" in str(error)
    assert f"seedwise replay {tmp_path}/runs/bad/entries/ben --trial 2" in str(error)
    assert f"To resume without this trial: seedwise resume {tmp_path}/runs/bad\n" in str(error)
    others = {entry: rows for entry, rows in tables(good).items() if entry != "ben"}
    assert tables(result) == others
    assert "ben" not in result.best_values_by_entry
    frame = result.to_dataframe().set_index("entry_id")
    assert frame.loc["ben", "error"] == result.outcome.partition("ben: ")[2]
    assert "ValueError: ben does not like" in error.traceback
    assert str(frame["n_trials"].dtype) == "Int64"
    assert frame.loc["anna", "best_value"] == result.best_values_by_entry["anna"]
    assert frame.loc["anna", "params_x"] == result.best_params_by_entry["anna"]["x"]


def test_a_failed_entry_goes_on_after_its_trial_when_the_run_is_called_again(fit):
    first = fit(bad_ben, run_name_prefix="bad")
    assert list(first.failed) == ["ben"]
    again = fit(bad_ben, run_name_prefix="bad")
    assert again.failed == {}
    states = [str(trial.state) for trial in again.results_by_entry["ben"].trials]
    assert states == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
    assert tables(again).items() >= tables(first).items()


def test_a_failed_seed_of_an_entry_is_replayed(fit):
    result = fit(bad_ben)
    folder = f"{result.run_dir}/entries/ben"
    with pytest.raises(ValueError, match="ben does not like"):
        sw.replay_seed(folder, trial=2, seed=0)
    replayed = sw.replay_seed(folder, trial=1)
    assert len(replayed.losses) == 12


def test_all_failed(fit):
    @sw.loss(name="bad", description="fails", parameter_space=SPACE)
    def bad(params, seed):
        raise ValueError("no way")

    with pytest.raises(
        AllEntriesFailedError, match=r"(?s)all 4 entries .* failed.*no way"
    ) as caught:
        fit(bad)
    assert list(caught.value.failed) == ENTRIES


def test_an_entry_without_a_complete_trial_has_failed(fit):
    @sw.loss(name="half", description="fails for ben", parameter_space=SPACE)
    def half(params, seed, context):
        return float("nan") if context["entry_id"] == "ben" else 1.0

    result = fit(half, fail_on_chunk_error=False)
    assert list(result.failed) == ["ben"]
    assert "no trial was completed" in str(result.failed["ben"])


# Folders and files.


def test_labels_are_safe_folders(fit, tmp_path):
    result = fit()
    folders = sorted(
        path.name for path in (tmp_path / "runs" / "own_bowl_entries_v0001" / "entries").iterdir()
    )
    assert folders == ["anna", "ben", "evil-0ae18d5d", "p_03-b7375eb1"]
    assert result.results_by_entry["../evil"].run_dir.endswith(f"/entries/{folders[2]}")


def test_ids_that_differ_outside_ascii_only_have_results_of_their_own(fit):
    result = fit(entry_ids=["é", "ü"], n_trials=2)
    folders = {Path(one.run_dir) for one in result.results_by_entry.values()}
    assert len(folders) == 2
    written = [json.loads((folder / "meta.json").read_text()) for folder in folders]
    assert {meta["options"]["entry_id"] for meta in written} == {"é", "ü"}


def test_the_summary_is_rewritten_as_entries_finish(fit, tmp_path):
    @sw.loss(name="reader", description="reads", parameter_space={"x": (0.0, 1.0)})
    def reader(params, seed, context):
        summary = context["trial_dir"].parents[4] / "summary.json"
        ended = json.loads(summary.read_text())["best_params_by_entry"]
        return float(len(ended))

    result = fit(reader, max_concurrent_entries=1, n_trials=1, n_seeds=1)
    assert list(result.best_values_by_entry.values()) == [0.0, 1.0, 2.0, 3.0]
    summary = json.loads((tmp_path / "runs/reader_entries_v0001/summary.json").read_text())
    assert summary["entries"] == ENTRIES
    assert summary["best_values_by_entry"] == result.best_values_by_entry


def test_status(fit):
    result = fit(bad_ben)
    status = sw.run_status(result.run_dir)
    assert (status.kind, status.state) == ("entries", "finished")
    assert status.entries == {"pending": 0, "running": 0, "done": 3, "failed": 1}
    assert (status.done, status.failed, status.pending) == (14, 1, 1)


# Going on.


def test_a_run_that_is_done_needs_no_workers(fit, tmp_path):
    first = fit(run_name_prefix="mine")
    result = fit(run_name_prefix="mine", cluster="127.0.0.1:1")  # nobody answers there
    assert tables(result) == tables(first)


def test_more_trials_and_more_entries(fit, alone):
    fit(run_name_prefix="mine", entry_ids=ENTRIES[:2])
    result = fit(run_name_prefix="mine", n_trials=N_TRIALS)
    assert tables(result) == alone[1]


def test_other_entries_in_front_are_refused(fit, tmp_path):
    fit(run_name_prefix="mine", entry_ids=ENTRIES[:2])
    with pytest.raises(ChangedRunError, match="random_seed: was '123', is '124'"):
        fit(run_name_prefix="mine", entry_ids=["zoe", "anna", "ben"])
    folders = sorted(path.name for path in (tmp_path / "runs/mine/entries").iterdir())
    assert folders == ["anna", "ben"]


def test_resume_run_goes_on_with_all(fit, client, alone):
    first = fit()
    result = sw.resume_run(first.run_dir, n_trials=N_TRIALS, cluster=client)
    assert isinstance(result, sw.MultiOptimizeResult)
    assert tables(result) == alone[1]


def test_a_damaged_entry_leaves_the_others_at_work(fit):
    first = fit(run_name_prefix="mine")
    journal = Path(first.results_by_entry["ben"].study_file)
    content = bytearray(journal.read_bytes())
    content[200] ^= 1
    journal.write_bytes(content)
    Path(first.results_by_entry["p 03"].run_dir, "meta.json").write_text("{")
    result = fit(run_name_prefix="mine", n_trials=6)
    assert {entry: type(error) for entry, error in result.failed.items()} == {
        "ben": DamagedFileError,
        "p 03": NotARunError,
    }
    assert len(result.results_by_entry["anna"].trials) == 6


@pytest.mark.full
def test_after_a_timeout_all_entries_go_on(fit):
    @sw.loss(name="slow", description="takes its time", parameter_space={"x": (0, 1)})
    def slow(params, seed):
        import time

        time.sleep(0.02)
        return params["x"]

    few = {"n_trials": 20, "n_seeds": 5, "max_concurrent_entries": 1, "run_name_prefix": "mine"}
    first = fit(slow, timeout=0.7, **few)
    assert sw.run_status(first.run_dir).state == "stopped"
    assert "../evil" in first.failed  # it was not asked
    result = fit(slow, **few)
    assert result.failed == {}
    assert {len(one.trials) for one in result.results_by_entry.values()} == {20}


def test_status_of_a_run_that_is_gone_on_with(fit):
    first = fit(run_name_prefix="mine")
    for n_trials in (4, 6):
        fit(run_name_prefix="mine", n_trials=n_trials)
        status = sw.run_status(first.run_dir)
        assert (status.done, status.pending, status.n_trials) == (4 * n_trials, 0, 4 * n_trials)


def test_what_a_failed_entry_has_out_is_forgotten(fit, tmp_path):
    log = tmp_path / "log"
    summary = tmp_path / "runs" / "failing" / "summary.json"

    @sw.loss(name="orphans", description="fails at once for a", parameter_space={"x": (0, 1)})
    def orphans(params, seed, context):
        if context["entry_id"] == "a" and seed == 0:
            raise ValueError("no way")
        with log.open("a") as file:
            file.write(f"{context['entry_id']}\n")
        while context["entry_id"] == "a" and "a" not in json.loads(summary.read_text())["failed"]:
            time.sleep(0.005)
        return params["x"]

    result = fit(
        orphans,
        ["a", "b"],
        run_name_prefix="failing",
        n_trials=4,
        n_seeds=50,
        chunk_size=1,
        race=False,
        max_concurrent_trials=4,
        trial_retry_attempts=0,
    )
    assert list(result.failed) == ["a"]
    evaluated = log.read_text().split()
    assert evaluated.count("b") == 200
    assert evaluated.count("a") < 100


def test_an_entry_is_not_gone_on_with_alone(fit):
    result = fit()
    with pytest.raises(EntryOfARunError, match=r"resume .*own_bowl_entries_v0001$"):
        sw.resume_run(result.results_by_entry["anna"].run_dir)


def test_each_entry_is_refined_around_its_own_best(fit):
    first = fit(run_name_prefix="mine", n_trials=8)
    result = fit(run_name_prefix="mine", n_trials=11, refine_search_factor=0.1)
    for entry, one in result.results_by_entry.items():
        best_x = first.best_params_by_entry[entry]["x"]
        assert all(abs(trial.params["x"] - best_x) <= 0.2 + 1e-9 for trial in one.trials[8:])
        assert one.trials[:8] == first.results_by_entry[entry].trials


# Together.


def test_entries_progress_together(fit, tmp_path):
    log = tmp_path / "order"

    @sw.loss(name="ordered", description="notes its turn", parameter_space={"x": (0.0, 1.0)})
    def ordered(params, seed, context):
        with log.open("a") as file:
            file.write(f"{context['entry_id']} {context['trial_number']}\n")
        return params["x"]

    entries = [f"e{number}" for number in range(5)]
    fit(ordered, entries, n_trials=8, n_seeds=1, cluster="local", workers=1)
    at = dict.fromkeys(entries, -1)
    for line in log.read_text().splitlines():
        entry, trial = line.split()
        at[entry] = int(trial)
        assert max(at.values()) - min(at.values()) <= 2, line
    assert set(at.values()) == {7}


# Bad input.


@pytest.mark.parametrize(
    ("entry_ids", "words"),
    [
        ([], "at least one"),
        ("anna", "a list of at least one entry"),
        ({"anna", "ben"}, "a list of at least one entry"),
        (["anna", " "], "not empty"),
        (["anna", "ben", "anna"], r"'anna'.*twice"),
    ],
)
def test_bad_entries(fit, tmp_path, entry_ids, words):
    with pytest.raises(OptionError, match=words):
        fit(entry_ids=entry_ids)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "keywords",
    [
        {"max_concurrent_entries": 0},
        {"n_trials": 0},
        {"run_name_prefix": "a/b"},
        {"overrides": {"y": 1.0}},
        {"random_seed": 2**32 - 2},
    ],
)
def test_bad_options(fit, tmp_path, keywords):
    with pytest.raises(OptionError, match=next(iter(keywords))):
        fit(**keywords)
    assert not (tmp_path / "runs").exists()


def test_a_new_run_is_not_refined(fit, tmp_path):
    with pytest.raises(OptionError, match="refine_search_factor"):
        fit(refine_search_factor=0.5)
    assert not list((tmp_path / "runs").iterdir())
