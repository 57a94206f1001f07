"""What a report says of what was found."""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from seedwise.errors import replay_command
from seedwise.model.trials import TrialResult, failure_kind
from seedwise.model.validation import Validation
from seedwise.results.plots.seeds import TrialPlots
from seedwise.results.report.blocks import (
    Block,
    Cell,
    Facts,
    Picture,
    Section,
    Table,
    Text,
    Words,
)
from seedwise.results.tables import TrialsResult

_MOST_ROWS = 20
_FAILED_SEED = re.compile(r"^seed (-?\d+): ")


def study_sections(result: TrialsResult, found: Validation | None) -> Iterator[Section]:
    """Yield what a search found, and its validation if there was one."""
    yield Section("Result", list(_result(found, result.best)))
    yield Section("Remarks", as_words(result.remarks))
    if found is not None:
        yield Section("Validation on fresh seeds", list(_validation(found)))
    yield from _pictures(result)
    yield Section("Failures", list(_failures(result)))


def sweep_sections(result: TrialsResult) -> Iterator[Section]:
    """Yield what a sweep found."""
    yield Section("Result", list(_result(None, result.best)))
    yield Section("Remarks", as_words(result.remarks))
    columns = {name: one for name, one in result.columns().items() if name != "error"}
    sign = 1 if result.direction == "minimize" else -1
    values = columns["value"].tolist()
    rows = sorted(
        (row for row, value in enumerate(values) if not math.isnan(value)),
        key=lambda row: sign * values[row],
    )
    if best := rows[:_MOST_ROWS]:
        yield Section(f"The best {len(best)} trials", [table(columns, best)])
    yield from _pictures(result)
    yield Section("Failures", list(_failures(result)))


def _result(found: Validation | None, best: TrialResult | None) -> Iterator[Block]:
    if best is None:
        yield Words(["No trial is complete."])
        return
    if found is not None and found.interval is not None:
        low, high = found.interval
        rows: dict[str, Cell] = {
            "mean loss": found.value,
            "standard error": found.stderr,
            "95 % interval, low": low,
            "95 % interval, high": high,
            "fresh seeds": found.n_seeds,
            "trial": found.number,
        }
        params, why = (
            found.params or {},
            "The mean is of fresh seeds that had no part in the choice.",
        )
    else:
        rows = {
            "mean loss": best.value,
            "standard error": best.stderr,
            "seeds": best.n_seeds,
            "trial": best.number,
        }
        params, why = (
            best.params,
            "As the best of many noisy means, the mean is biased to the better.",
        )
    yield Facts({**params})
    yield Facts(rows)
    yield Words([why])


def _validation(found: Validation) -> Iterator[Block]:
    columns = ["trial", "mean loss", "± standard error", "fresh seeds", "probability best"]
    columns += ["in the search", "± standard error", "seeds", "why it failed"]
    rows = [
        (
            *(one.number, one.value, one.stderr, one.n_seeds, one.probability_best),
            *(one.search_value, one.search_stderr, one.search_n_seeds, one.error),
        )
        for one in found.candidates
    ]
    how = (
        "The best trials of the search were evaluated on fresh seeds, which chose the winner. Its "
        "value above is of further fresh seeds."
    )
    yield Words([how])
    yield Table(columns, rows)


def _pictures(result: TrialsResult) -> Iterator[Section]:
    """Yield figures, as far as there are trials to draw."""
    best = result.best
    if best is None:
        return
    plot, has_noise = TrialPlots(result), best.stderr is not None
    yield Section("Search", [Picture("Each trial, and the best so far", plot.history)])
    slices: list[Block] = [Picture("Each parameter and the loss", plot.slices)]
    if result.n_trials > 1:
        slices.append(Picture("The importance of each parameter", plot.importance))
    yield Section("Parameters", slices)
    noise: list[Block] = [Picture("Standard errors", plot.noise)] if has_noise else []
    if has_noise:
        noise.append(Picture("The running mean over seeds", plot.seeds))
    yield Section("Noise", noise)
    used = sum(trial.n_seeds for trial in result.trials)
    whole = result.n_trials * len(result.seeds)
    if used < whole:
        words = (
            f"The trials got {used:,} of the {whole:,} evaluations that all seeds for each of "
            "them would have taken."
        )
        yield Section("Seeds saved", [Words([words]), Picture("Seeds of each trial", plot.race)])


def _failures(result: TrialsResult) -> Iterator[Block]:
    by_kind: dict[str, list[TrialResult]] = {}
    for trial in result.trials:
        if trial.error is not None:
            by_kind.setdefault(failure_kind(trial.error), []).append(trial)
    if not by_kind:
        return
    rows: list[tuple[Cell, ...]] = []
    tracebacks = []
    for kind, trials in sorted(by_kind.items(), key=lambda item: -len(item[1])):
        first = trials[0]
        error = first.error or ""
        seed = _FAILED_SEED.match(error)
        replay = replay_command(Path(result.run_dir), first.number, int(seed[1]) if seed else None)
        rows.append((kind, len(trials), first.number, error, replay))
        if (text := result.traceback(first.number)) is not None:
            tracebacks.append(Text(f"Traceback of trial {first.number}", text))
    yield Table(["kind", "trials", "such as trial", "error", "to evaluate it again"], rows)
    yield from tracebacks


def as_words(sentences: Sequence[str]) -> list[Block]:
    """Return remarks as sentences."""
    return [Words([f"{one[:1].upper()}{one[1:]}." for one in sentences])] if sentences else []


def table(columns: dict[str, Any], rows: Sequence[int]) -> Table:
    """Return some rows of a result's table, without empty columns."""
    names = {
        name: name.removeprefix("params_").replace("_params_", ": ").replace("_", " ")
        for name, values in columns.items()
        if any(_cell(values[row]) is not None for row in rows)
    }
    cells = [[_cell(columns[name][row]) for name in names] for row in rows]
    return Table(list(names.values()), cells)


def _cell(value: Any) -> Cell:
    plain: Cell = value.item() if hasattr(value, "item") else value
    return None if isinstance(plain, float) and math.isnan(plain) else plain
