"""What a report says of what was found."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seedwise.errors import replay_command
from seedwise.model.trials import TrialResult, failure_kind
from seedwise.model.validation import Validation
from seedwise.results.plots.search import TrialPlots
from seedwise.results.report.formats import Block, Cell, Section, facts
from seedwise.results.tables import TrialsResult

_MOST_ROWS = 20
_FAILED_SEED = re.compile(r"^seed (-?\d+): ")


def found_sections(result: TrialsResult, more: Iterable[Section] = ()) -> Iterator[Section]:
    """Yield what a search or a sweep found; `more` is what only the one or the other has."""
    yield "Result", list(_result(result))
    yield "Remarks", as_words([f"{one[:1].upper()}{one[1:]}" for one in result.remarks])
    yield from more
    yield from _pictures(result)
    yield "Failures", list(_failures(result))


def _result(result: TrialsResult) -> Iterator[Block]:
    found, best = result.validation, result.best
    if best is None:
        yield Block(sentences=["No trial is complete."])
        return
    point: TrialResult | Validation = best
    seeds, interval = "seeds", dict[str, Cell]()
    why = "As the best of many noisy means, the mean is biased to the better."
    if found is not None and found.interval is not None:
        point, seeds = found, "fresh seeds"
        low, high = found.interval
        interval = {"95 % interval, low": low, "95 % interval, high": high}
        why = "The mean is of fresh seeds that had no part in the choice."
    yield facts({**(point.params or {})})
    means = {"mean loss": point.value, "standard error": point.stderr, **interval}
    yield facts({**means, seeds: point.n_seeds, "trial": point.number})
    yield Block(sentences=[why])


def validation_section(found: Validation) -> Section:
    """Return what fresh seeds said of the candidates."""
    columns = ["trial", "mean loss", "± standard error", "fresh seeds", "probability best"]
    columns += ["in the search", "± standard error", "seeds", "why it failed"]
    fields = ["number", "value", "stderr", "n_seeds", "probability_best"]
    fields += ["search_value", "search_stderr", "search_n_seeds", "error"]
    rows = [[getattr(one, name) for name in fields] for one in found.candidates]
    how = (
        "The best trials of the search were evaluated on fresh seeds, the better ones on more. "
        "The choice counts what the search knew, too, often of neighbouring trials; the "
        "probabilities do not. The winner's value above is of further fresh seeds."
    )
    return "Validation on fresh seeds", [Block(sentences=[how]), Block(columns=columns, rows=rows)]


def best_section(result: TrialsResult) -> Section:
    """Return the best trials as a table."""
    columns = {name: one for name, one in result.columns().items() if name != "error"}
    values = np.asarray(columns["value"])
    sign = 1 if result.direction == "minimize" else -1
    n_shown = min(_MOST_ROWS, (~np.isnan(values)).sum())  # NaN goes last
    best = np.argsort(sign * values, kind="stable")[:n_shown].tolist()
    return f"The best {len(best)} trials", [table(columns, best)] if best else []


def _pictures(result: TrialsResult) -> Iterator[Section]:
    """Yield figures, as far as there are trials to draw."""
    best = result.best
    if best is None:
        return
    plot = TrialPlots(result)
    yield "Search", [Block("Each trial, and the best so far", draw=plot.history)]
    slices = [Block("Each parameter and the loss", draw=plot.slices)]
    if result.n_trials > 1:
        slices.append(Block("The importance of each parameter", draw=plot.importance))
    yield "Parameters", slices
    if best.stderr is not None:
        running = Block("The running mean over seeds", draw=plot.seeds)
        yield "Noise", [Block("Standard errors", draw=plot.noise), running]
    used = sum(trial.n_seeds for trial in result.trials)
    whole = result.n_trials * len(result.seeds)
    if used < whole:
        why = (
            f"The trials got {used:,} of the {whole:,} evaluations that all seeds for each of "
            "them would have taken."
        )
        yield "Seeds saved", [Block(sentences=[why]), Block("Seeds of each trial", draw=plot.race)]


def _failures(result: TrialsResult) -> Iterator[Block]:
    by_kind: dict[str, list[TrialResult]] = {}
    for trial in result.trials:
        if trial.error is not None:
            by_kind.setdefault(failure_kind(trial.error), []).append(trial)
    if not by_kind:
        return
    rows, tracebacks = list[tuple[Cell, ...]](), []
    for kind, (first, *others) in sorted(by_kind.items(), key=lambda item: -len(item[1])):
        seed = _FAILED_SEED.match(error := first.error or "")
        replay = replay_command(Path(result.run_dir), first.number, int(seed[1]) if seed else None)
        rows.append((kind, 1 + len(others), first.number, error, replay))
        if (text := result.traceback(first.number)) is not None:
            tracebacks.append(Block(f"Traceback of trial {first.number}", text=text))
    columns = ["kind", "trials", "such as trial", "error", "to evaluate it again"]
    yield Block(columns=columns, rows=rows)
    yield from tracebacks


def as_words(sentences: Sequence[str]) -> list[Block]:
    """Return remarks as sentences; those of an entry begin with its name."""
    return [Block(sentences=[f"{one}." for one in sentences])] if sentences else []


def table(columns: dict[str, Any], rows: Sequence[int]) -> Block:
    """Return some rows of a result's table, without empty columns."""
    names = {
        name: name.removeprefix("params_").replace("_params_", ": ").replace("_", " ")
        for name, values in columns.items()
        if any(values[row] is not None and values[row] == values[row] for row in rows)  # no NaN
    }
    cells = [[columns[name][row] for name in names] for row in rows]
    return Block(columns=list(names.values()), rows=cells)
