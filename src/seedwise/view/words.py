"""What several views write in the same way: columns, and how far a run is."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from seedwise.model.status import Row, RunStatus, figure_rows, pool_rows, validation_words


def bars(status: RunStatus) -> list[tuple[str, int, int, str]]:
    """Return the bars of a run: a title, how many are done, of how many, and words that say so."""
    told = [f"{status.n_told} of {status.n_trials} told"]
    told += [f"{status.failed} failed"] if status.failed else []
    told += [f"{status.pruned} pruned"] if status.pruned else []
    shown = [("trials", status.n_told, status.n_trials, ", ".join(told))]
    if status.running_seeds:
        done, total, n_trials = status.running_seeds_done, status.running_seeds, status.running
        words = f"{done} of {total} seeds of {n_trials} trial{'' if n_trials == 1 else 's'}"
        shown.append(("running", done, total, words))
    if status.validation_seeds:
        done, total = status.validation_seeds_done, status.validation_seeds
        shown.append(("validation", done, total, validation_words(status)))
    return shown


def live_rows(status: RunStatus) -> list[Row]:
    """Return the rows below the bars: how quick the run is, its best, and its workers."""
    now_utc = datetime.now(UTC)
    rows = [*figure_rows(status, now_utc), *pool_rows(status, now_utc)]
    return [row for row in rows if row[0] != "excluded"]  # each is said when it happens


def aligned(
    columns: Sequence[Sequence[str]], align: Callable[[str, int], str] = str.ljust
) -> list[str]:
    """Return columns as lines."""
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(align(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]


def cut(text: str, width: int) -> str:
    """Return a text, cut to a width."""
    return text if len(text) <= width else f"{text[: width - 3]}..."
