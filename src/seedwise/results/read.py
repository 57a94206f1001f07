"""The reading of a result from a run's folder, whether a driver works on the run or not."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from seedwise.errors import SeedwiseError
from seedwise.folder import stop_note
from seedwise.folder.directory import RunDirectory
from seedwise.folder.trial_table import FollowedRows, TableRows, read_rows
from seedwise.model.options.study import SweepOptions, entry_labels
from seedwise.model.options.work import ExecutionMode
from seedwise.model.points import Cases
from seedwise.model.sources import source_from_manifest
from seedwise.model.space import space_from_json
from seedwise.model.trials import TrialResult
from seedwise.results.entries import MultiOptimizeResult
from seedwise.results.study import OptimizeResult, read_validation
from seedwise.results.sweep import SweepResult, SweepTrials
from seedwise.study.follow import FollowedStudy
from seedwise.study.proposer import read_trials


def read_result(
    directory: RunDirectory,
) -> OptimizeResult | MultiOptimizeResult | SweepResult:
    """Read what is told of a run by now."""
    meta = directory.read_meta()
    if meta["kind"] == "entries":
        return _read_entries(directory)
    if meta["kind"] == "sweep":
        return read_sweep(directory, read_rows(directory.trial_table))
    return read_study(directory)


def read_study(
    directory: RunDirectory, trials: Sequence[TrialResult] | None = None
) -> OptimizeResult:
    """Read what is told of a study by now; `trials` are those that it tells, if they are known."""
    meta = directory.read_meta()
    if trials is None:
        trials = read_trials(directory.study_file, meta["study_name"])
    return OptimizeResult(
        study_name=meta["study_name"],
        trials=tuple(trials),
        validation=read_validation(directory),
        **_fields(directory, meta),
    )


def _cases(meta: Mapping[str, Any]) -> Cases:
    """Return the cases of a sweep, by its ``meta.json``."""
    options, space = meta["options"], space_from_json(meta["parameter_space"])
    given = {name: options[name] for name in ("overrides", "trial_zero")}
    return Cases(source_from_manifest(meta["source"]), SweepOptions(**given), space)


def read_sweep(
    directory: RunDirectory, rows: TableRows, cases: Cases | None = None
) -> SweepResult:
    """Return what these rows tell of a sweep; `cases` are its own, if they are known."""
    meta = directory.read_meta()
    cases = _cases(meta) if cases is None else cases
    trials = SweepTrials(rows, cases)
    fields = {**_fields(directory, meta), "n_trials": len(trials), "trials": trials}
    return SweepResult(rows=rows, cases=cases, **fields)


def _fields(directory: RunDirectory, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that results with trials share."""
    seeds = meta["options"]["seeds"]
    if seeds is None:
        seeds = np.arange(meta["n_seeds"]) + int(meta["seed_start"])
    return {
        "loss_name": meta["loss_name"],
        "run_dir": str(directory.path),
        "mode": ExecutionMode(meta["mode"]),
        "direction": meta["options"]["direction"],
        "seeds": np.array(seeds, dtype=np.int64),
    }


def entry_folders(directory: RunDirectory) -> dict[str, RunDirectory]:
    """Return the folders of a run's entries, which may not be there yet; none of another run."""
    labels = entry_labels(directory.read_meta()["options"].get("entry_ids", ()))
    home = directory.entries
    return {entry: RunDirectory(home / label, directory) for entry, label in labels.items()}


def _read_entries(directory: RunDirectory) -> MultiOptimizeResult:
    folders = entry_folders(directory)
    said_failed = directory.summary.read().get("failed", {})
    results: dict[str, OptimizeResult] = {}
    failed: dict[str, Exception] = {}
    for entry, one in folders.items():
        try:
            if entry in said_failed:
                failed[entry] = _error(one, said_failed[entry])
            elif one.has_begun:
                results[entry] = read_study(one)
        except SeedwiseError as error:  # the others can still be read
            failed[entry] = error
    return entries_result(directory, list(folders), results, failed)


def entries_result(
    directory: RunDirectory,
    entries: list[str],
    results: Mapping[str, OptimizeResult],
    failed: Mapping[str, Exception],
) -> MultiOptimizeResult:
    """Return the result of a run of entries, by the results and errors of those that have some."""
    meta = directory.read_meta()
    results = {entry: results[entry] for entry in entries if entry in results}
    best = {entry: trial for entry, one in results.items() if (trial := one.best) is not None}
    return MultiOptimizeResult(
        loss_name=meta["loss_name"],
        n_entries=len(entries),
        entries=entries,
        results_by_entry=results,
        best_values_by_entry={entry: results[entry].best_value for entry in best},
        best_params_by_entry={entry: dict(trial.params) for entry, trial in best.items()},
        run_dir=str(directory.path),
        mode=ExecutionMode(meta["mode"]),
        failed={entry: failed[entry] for entry in entries if entry in failed},
    )


def _error(directory: RunDirectory, said: str) -> Exception:
    """Return the error of an entry that failed; `said` is what the run's summary says of it."""
    note = stop_note.read(directory)
    if note is not None and not note.seen:
        return note.error
    _ = read_study(directory).best_trial  # raises if there is none
    return SeedwiseError(said)


def follow(directory: RunDirectory) -> Callable[[], tuple[bool, Sequence[TrialResult]]]:
    """Return what reads the trials told since its last call, and whether to take all anew."""
    meta = directory.read_meta()
    if meta["kind"] != "sweep":
        return FollowedStudy(directory.study_file, meta["study_name"]).news
    followed, cases = FollowedRows(directory.trial_table), _cases(meta)

    def news() -> tuple[bool, Sequence[TrialResult]]:
        anew, rows = followed.news()
        return anew, SweepTrials(rows, cases)

    return news
