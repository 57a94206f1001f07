"""What several views write in the same way: columns, and bars that fill."""

from collections.abc import Callable, Sequence

from seedwise.model.status import RunStatus, validation_words


def bars(status: RunStatus) -> list[tuple[str, int, int, str]]:
    """Return the bars that fill as a run goes on: of its trials, and of the seeds in flight.

    Each has a title, how many are done, of how many, and words that say so.
    """
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


def aligned(columns: Sequence[Sequence[str]], align: Callable[[str, int], str]) -> list[str]:
    """Return columns as lines; `align` is such as `str.ljust`."""
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(align(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]
