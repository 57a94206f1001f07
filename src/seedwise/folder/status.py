"""A run's progress, as its folder tells it, whether a driver works on it or not."""

from datetime import UTC, datetime

import attrs

from seedwise.disk.files import read_as
from seedwise.folder.directory import RunDirectory
from seedwise.folder.lease import lease_holder
from seedwise.model.status import PoolStatus, RunStatus


def read_status(directory: RunDirectory) -> RunStatus:
    """Return a run's progress. It writes nothing, and disturbs no driver.

    A driver that was killed could not say so: without a living one, what it had in flight is
    pending. No file says how many of an entry's trials are in flight.
    """
    # The lease goes first: a driver says that a run is finished, and lets go of it after that.
    driver = lease_holder(directory.lease)
    # What the last driver said itself; it says nothing of a single entry.
    content = directory.status.read() if directory.parent is None else {}
    if (status := read_as(RunStatus, content)) is None:
        status = _reckoned(directory)
    pool = read_as(PoolStatus, content.get("pool"))
    status = attrs.evolve(status, driver=driver, pool=pool)
    if status.state == "finished":
        return attrs.evolve(status, pool=None)
    if driver is not None:
        return attrs.evolve(status, state="running")
    entries = status.entries
    if entries is not None:
        pending = entries.get("pending", 0) + entries.get("running", 0)
        entries = {**entries, "pending": pending, "running": 0}
    return attrs.evolve(
        status,
        pool=None,
        state="stopped",
        pending=status.pending + status.running,
        running=0,
        running_seeds=0,
        running_seeds_done=0,
        expected_end_utc=None,
        entries=entries,
    )


def _reckoned(directory: RunDirectory) -> RunStatus:
    """Return the progress by ``meta.json`` and ``summary.json``; the second may be missing."""
    meta = directory.read_meta()
    summary, written_at = directory.summary.read(), None
    if summary:
        written_s = directory.summary.path.stat().st_mtime
        written_at = datetime.fromtimestamp(written_s, UTC).isoformat(timespec="seconds")
    completed_at = meta.get("completed_at_utc")
    times = (meta["started_at_utc"], *meta["resumed_at_utc"], completed_at, written_at)
    keys = ("n_told", "n_failed", "n_pruned")
    n_told, n_failed, n_pruned = (summary.get(key, 0) for key in keys)
    # The options first: they are what a driver that has just begun was asked for.
    options = meta["options"]  # of a sweep they have no number: its source decides
    asked: int = options.get("n_trials", 0) * len(options.get("entry_ids", [0]))
    n_trials = max(asked or summary.get("n_trials", 0), n_told)
    if completed_at is not None and n_told:
        n_trials = n_told  # it may have come to its most seeds before
    return RunStatus(
        kind=meta["kind"],
        state="stopped" if completed_at is None else "finished",
        n_trials=n_trials,
        pending=n_trials - n_told,
        running=0,
        done=n_told - n_failed - n_pruned,
        failed=n_failed,
        pruned=n_pruned,
        started_at_utc=meta["started_at_utc"],
        updated_at_utc=max((at for at in times if at), key=datetime.fromisoformat),
        best_value=summary.get("best_value"),
        best_stderr=summary.get("best_stderr"),
        validated_value=summary.get("validated_value"),
        validated_stderr=summary.get("validated_stderr"),
    )
