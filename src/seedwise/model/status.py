"""The progress of a run and the state of its workers, as values and in words."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

import attrs

from seedwise.model.html import table_html
from seedwise.model.words import end_words, percent_words, rate_words, value_words

_TRIAL_STATES = ("pending", "running", "done", "failed", "pruned")

#: What a row of a table is about, and what it says.
Row: TypeAlias = tuple[str, str]


@attrs.frozen(kw_only=True)
class RunStatus:
    """The progress of a run, as `run_status` reads it from the run's folder.

    Attributes
    ----------
    kind : {"run", "entries", "sweep"}
        Which function began it: `optimize_run`, `optimize_entries` or `run_sweep`.
    state : {"running", "finished", "stopped"}
        Whether a driver works on it. A stopped run can be resumed.
    n_trials : int
        How many trials the run is to have, those of all entries together; of a finished run, how
        many it has. Until then there may be fewer, by `max_total_seeds`.
    pending, running, done, failed, pruned : int
        How many trials have not begun, are in flight, are complete, have failed, and were pruned.
    running_seeds, running_seeds_done : int
        How many seeds the trials in flight get at most, and how many are evaluated.
    trials_per_s : float or None
        Trials that the current or last driver told in a second; None before the first.
    seeds_per_s : float or None
        Seeds that the workers of this driver evaluated in a second, those of a validation
        included; None before the first. A seed counts when its chunk is back.
    busy_share : float or None
        Share of its workers' time that went into chunks, from 0 to 1; None if their time is
        unknown, as on a cluster that was passed, and while it is short against a chunk, since a
        chunk counts when it is back.
    seeds_saved : int
        How many seeds the complete trials did without, against all of the run's seeds for each, as
        `race` gave them fewer. Seeds that were evaluated ahead in vain are not taken off.
    expected_end_utc : str or None
        When the last trial will be told at that rate, or, when all are told, the validation be
        done, in ISO 8601; None if unknown, as with `max_total_seeds`.
    started_at_utc, updated_at_utc : str
        When the run began, and when a driver last reported its progress, in ISO 8601.
    best_value : float or None
        Mean loss of the best trial so far; None if there is none, and for a run of entries, which
        has one for each entry. As the best of many noisy means it is biased towards the better
        side.
    best_stderr : float or None
        Standard error of `best_value`; None for a single seed, or without a value.
    validation_seeds, validation_seeds_done : int
        How many evaluations of fresh seeds the validation of the best trials takes, and how many
        of these are done; 0 while there is none, and after it.
    validated_value, validated_stderr : float or None
        Mean loss of the validation's winner on fresh seeds that had no part in choosing it, and
        its standard error; None without a validation or before its end, and for a run of entries.
    entries : dict of str to int or None
        How many entries are ``pending``, ``running``, ``done`` and ``failed``; None for a run
        without entries.
    driver : str or None
        The driver that works on it, in words; None if there is none.
    pool : PoolStatus or None
        How many workers it has and wants; None if no driver works on it, or if that is unknown, as
        for a cluster that was passed.
    """

    kind: str
    state: str
    n_trials: int
    pending: int
    running: int
    done: int
    failed: int
    pruned: int
    running_seeds: int = 0
    running_seeds_done: int = 0
    trials_per_s: float | None = None
    seeds_per_s: float | None = None
    busy_share: float | None = None
    seeds_saved: int = 0
    expected_end_utc: str | None = None
    started_at_utc: str
    updated_at_utc: str
    best_value: float | None = None
    best_stderr: float | None = None
    validation_seeds: int = 0
    validation_seeds_done: int = 0
    validated_value: float | None = None
    validated_stderr: float | None = None
    entries: dict[str, int] | None = None
    driver: str | None = None
    pool: "PoolStatus | None" = None

    @property
    def n_told(self) -> int:
        """How many trials are told."""
        return self.done + self.failed + self.pruned

    def _repr_html_(self) -> str:
        """Show the progress as a table in a notebook."""
        return table_html(all_rows(self, datetime.now(UTC)))


@attrs.frozen(kw_only=True)
class PoolStatus:
    """How many workers a run has and wants.

    Attributes
    ----------
    least, most : int
        Bounds of the number of workers; ``seedwise scale`` changes them.
    wanted : int
        How many workers the work can keep busy, within the bounds.
    joined : int
        How many are working or ready to work.
    pending : int
        How many were asked for and have not joined yet.
    lost : int
        How many were lost since this driver began, whether they were replaced or not.
    waiting : str or None
        Why the pending ones wait, in words, and what could be done about it; None if
        none is pending, or if unknown.
    expected_start_utc : str or None
        When the next of them will start, as Slurm expects, in ISO 8601; None if unknown.
    excluded_nodes : dict of str to str
        Nodes that no further jobs go to, as jobs ended there before their worker joined; by name,
        each with the reason.
    """

    least: int
    most: int
    wanted: int
    joined: int
    pending: int
    lost: int = 0
    waiting: str | None = None
    expected_start_utc: str | None = None
    excluded_nodes: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class PoolNews:
    """Something that happened to the workers of a run."""

    #: submitted, joined, lost, alike, left, refused, excluded, scaled, unknown, or known (again).
    kind: str
    #: What happened, in a sentence without a full stop.
    text: str
    #: The Slurm job that it happened to, if one.
    job_id: str | None = None
    #: Whether to show it to whoever watches the run.
    warns: bool = False


def said(rows: Mapping[str, object]) -> list[Row]:
    """Return rows without those that say nothing, in text."""
    return [(title, str(words)) for title, words in rows.items() if words]


def all_rows(
    status: RunStatus, now_utc: datetime, driver: str | None = None, losses: Sequence[Row] = ()
) -> list[Row]:
    """Return all of the progress, with what is known besides: of its driver, and lost workers."""
    rows = said({status.kind: status.state, "driver": status.driver or driver})
    rows += [*pool_rows(status, now_utc), *losses]
    return [*rows, *trial_rows(status), *figure_rows(status, now_utc)]


def pool_rows(status: RunStatus, now_utc: datetime) -> list[Row]:
    """Return what is to be said of the workers."""
    pool = status.pool
    if pool is None:
        return []
    rows = said({"workers": workers_words(pool), "waiting": waiting_words(pool, now_utc)})
    excluded = pool.excluded_nodes.items()
    return rows + [("excluded", f"node {node}: {why}") for node, why in excluded]


def trial_rows(status: RunStatus) -> list[Row]:
    """Return how many trials there are in each state, and how far a validation is."""
    if not status.n_trials:  # the run has just begun
        return [("trials", "not counted yet")]
    n_trials, width = status.n_trials, len(str(status.n_trials))
    told = f"{status.n_told} of {n_trials} told, {percent_words(status.n_told, n_trials)} %"
    rows = [("trials", told)]
    for state in _TRIAL_STATES:
        count = getattr(status, state)
        row = f"{count:>{width}}  {percent_words(count, n_trials):>5} %"
        if state == "running" and status.running_seeds:
            row += f"  {status.running_seeds_done} of their {status.running_seeds} seeds done"
        rows.append((f"  {state}", row))
    if status.validation_seeds:
        rows.append(("validation", f"{validation_words(status)} done"))
    return rows


def figure_rows(status: RunStatus, now_utc: datetime) -> list[Row]:
    """Return how quick a run is, when it ends, and the best that it has found."""
    past = "" if status.state == "running" else ", while it ran"
    both = (status.trials_per_s, status.seeds_per_s)
    rate, seeds = ("" if one is None else f"{rate_words(one)}{past}" for one in both)
    saved = f"{status.seeds_saved} saved by the race" if status.seeds_saved else ""
    busy, end = status.busy_share, status.expected_end_utc
    best, value = status.best_value, status.validated_value
    fresh = "" if value is None else value_words(value, status.validated_stderr)
    entries = (status.entries or {}).items()
    rows = {
        "rate": rate,
        "seeds": "; ".join(filter(None, (seeds, saved))),
        "busy": None if busy is None else f"{100 * busy:.0f} % of the workers' time",
        "expected end": end and end_words(end, now_utc),
        "best so far": None if best is None else value_words(best, status.best_stderr),
        "validated": fresh and f"{fresh} on fresh seeds",
        "entries": ", ".join(f"{count} {state}" for state, count in entries),
    }
    return said(rows)


def workers_words(pool: PoolStatus) -> str:
    """Return how many workers are at work, pending and wanted."""
    wanted = min(max(pool.wanted, pool.least), pool.most)  # it follows new bounds a moment later
    words = f"{_present(pool)} of {wanted} wanted"
    if (pool.least, pool.most) != (wanted, wanted):
        words += f" ({pool.least} to {pool.most})"
    words += _leaving(pool)
    return f"{words}, {pool.lost} lost so far" if pool.lost else words


def scaled_words(pool: PoolStatus) -> str:
    """Return how many workers there are, after how many are wanted."""
    return f"{_present(pool)}{_leaving(pool)}"


def _present(pool: PoolStatus) -> str:
    return f"{pool.joined} at work" + (f", {pool.pending} pending" if pool.pending else "")


def _leaving(pool: PoolStatus) -> str:
    n_leaving = pool.joined - pool.most
    if n_leaving <= 0:
        return ""
    return f", {n_leaving} {'leaves after its' if n_leaving == 1 else 'leave after their'} chunk"


def waiting_words(pool: PoolStatus, now_utc: datetime) -> str:
    """Return why workers are pending and when they are expected; nothing if unknown."""
    end = pool.expected_start_utc
    start = end and f"expected start {end_words(end, now_utc)}"
    return "; ".join(filter(None, (pool.waiting, start)))


def validation_words(status: RunStatus) -> str:
    """Return how many of the evaluations are done, such as ``300 of 1280 fresh seeds``."""
    return f"{status.validation_seeds_done} of {status.validation_seeds} fresh seeds"
