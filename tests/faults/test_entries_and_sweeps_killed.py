"""Kill -9 of the driver in the middle of entries, and of a sweep."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

import seedwise as sw
from seedwise.folder.directory import RunDirectory
from seedwise.folder.ledger import Ledger
from tests.builders import ledger_end
from tests.faults.harness import Driver, driver, told_values, undisturbed
from tests.faults.loss import FAILING_ENTRY, SPACE, evaluations
from tests.testbed.daemons import poll

PACE_S = 0.003
N_SEEDS = 12
COUNTS = [1, pytest.param(40, marks=pytest.mark.full)]

ENTRIES = {
    "loss": "of_entry",
    "entry_ids": [f"p{number}" for number in range(6)],
    "n_trials": 12,
    "n_seeds": N_SEEDS,
    "race": True,
    "n_validation_seeds": 8,
    "n_validation_candidates": 3,
    "max_concurrent_entries": 2,
    "chunk_size": 4,
    "workers": 2,
    "progress": False,
}
SWEEP = {
    "loss": "filed",
    "source": sw.random(
        {
            "x": sw.uniform(-2.0, 2.0),
            "rate": sw.loguniform(1e-3, 1.0),
            "n": sw.randint(1, 9),
            "kind": sw.choice(["plain", "fancy"]),
        },
        n_trials=60,
        seed=4,
    ).to_manifest_dict(),
    "n_seeds": N_SEEDS,
    "chunk_size": 4,
    "workers": 2,
    "progress": False,
}
assert set(SWEEP["source"]["space"]) == set(SPACE)


def on_record(directory: RunDirectory) -> set[tuple[int, int]]:
    """Return trial and seed of what the ledgers have; of entry i the trials are 1000 i and up."""
    studies = {0: directory}
    for path in directory.entries.glob("p*"):
        studies[1000 * int(path.name.removeprefix("p"))] = RunDirectory(path)
    return {
        (first_trial + trial, first_seed + position)
        for first_trial, study in studies.items()
        for first_seed, path in ((0, study.ledger), (N_SEEDS, study.validation_ledger))
        for trial, position in _recorded(path, directory.path)
    }


def one_validates_and_another_searches(directory: RunDirectory) -> bool:
    entries = [RunDirectory(path) for path in directory.entries.glob("p*")]
    records = [entry.validation_record.read() for entry in entries]
    told = [len(told_values(entry)) for entry in entries if entry.name != f"p{FAILING_ENTRY}"]
    is_validating = any(one and "found" not in one for one in records)
    return is_validating and any(0 < n_told < ENTRIES["n_trials"] for n_told in told)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("keywords", "moment"),
    [
        pytest.param(ENTRIES, one_validates_and_another_searches, id="entries"),
        pytest.param(SWEEP, on_record, id="sweep", marks=pytest.mark.full),
    ],
)
@pytest.mark.parametrize("n_kills", COUNTS)
def test_kill_9_of_the_driver_changes_nothing(keywords, moment, n_kills, client, tmp_path):
    rng = random.Random(n_kills)
    expected = undisturbed(client, tmp_path, keywords)
    expected_files = files(tmp_path / "runs" / "undisturbed")
    # Of a run that is called again after its end, an entry goes on after the trial that failed.
    called_again = undisturbed(client, tmp_path, keywords)
    n_hits = n_runs = n_on_record = 0
    while n_hits < n_kills:
        n_runs += 1
        with driver(tmp_path, f"run{n_runs}", keywords, pace_s=PACE_S) as run:
            kills: list[tuple[int, set[tuple[int, int]]]] = []
            killed_at_its_end = False
            for _ in range(min(8, n_kills - n_hits)):
                run.start()
                # A random moment, by what was done by then: machines differ in how fast they are.
                if not n_hits:
                    run.set_pace(10 * PACE_S)
                    poll(lambda: moment(run.directory) or not run.running, "the first moment")
                else:
                    if rng.random() < 0.85:  # in the middle of the work, else as it starts
                        run.wait_for(rng.randint(1, 100))
                    time.sleep(rng.uniform(0, 0.1))
                if not run.kill():
                    break
                assert n_hits or moment(run.directory)
                run.set_pace(PACE_S)
                n_hits += 1
                kills.append((len(evaluations(run.evaluation_log)), on_record(run.directory)))
                n_on_record += len(kills[-1][1])
                killed_at_its_end = is_at_its_end(run)
                if killed_at_its_end or run.table_file.exists():
                    break
            finished = run.table if run.table_file.exists() else run.finish(client)
            assert finished == (called_again if killed_at_its_end else expected)
            assert files(run.directory.path) == expected_files
            nothing_on_record_is_evaluated_again(run.evaluation_log, kills)
    print(f"{n_hits} kills over {n_runs} runs, {n_on_record} seeds on record at kills")
    assert n_on_record > 0


def is_at_its_end(run: Driver) -> bool:
    """Tell whether a driver that was killed had only its table left to write."""
    has_begun = run.directory.has_begun and not run.table_file.exists()
    return has_begun and "completed_at_utc" in run.directory.read_meta()


def _recorded(path: Path, folder: Path) -> set[tuple[int, int]]:
    copy = folder.parent / "ledger-as-it-was"
    copy.write_bytes(path.read_bytes() if path.exists() else b"")
    copy.write_bytes(copy.read_bytes()[: ledger_end(copy)])
    with Ledger(copy) as ledger:
        return {
            (trial, result.start + offset)
            for trial, records in ledger._records.items()
            for _, result in records
            if result.losses is not None
            for offset in range(result.n_seeds)
        }


def nothing_on_record_is_evaluated_again(log, kills) -> None:
    evaluated = evaluations(log)
    for n_before, recorded in kills:
        again = {(trial, seed) for _, trial, seed in evaluated[n_before:]}
        assert not again & recorded


def files(run_dir: Path) -> dict[str, str]:
    """Return the files that the loss wrote, by their place below ``trials/``."""
    trials = run_dir / "trials"
    return {
        str(path.relative_to(trials)): path.read_text()
        for path in sorted(trials.rglob("*.txt"))
        if path.is_file()
    }
