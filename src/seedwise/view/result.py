"""A result, in lines for a terminal."""

from seedwise.errors import in_a_line
from seedwise.model.validation import in_words
from seedwise.results.entries import MultiOptimizeResult
from seedwise.results.study import OptimizeResult
from seedwise.results.sweep import SweepResult


def result_lines(result: OptimizeResult | MultiOptimizeResult | SweepResult) -> list[str]:
    """Return a result as lines, with numbers as Python writes them."""
    if isinstance(result, OptimizeResult):
        best = result.best
        found = [] if best is None else _point(best.value, best.params)
        return [*found, *_validated(result), result.outcome]
    if isinstance(result, MultiOptimizeResult):
        lines = [line for entry in result.entries for line in _entry(result, entry)]
        return [*lines, result.outcome]
    lines = [f"trials: {result.n_trials}", f"failed: {len(result.failed)}"]
    best = result.best
    if best is not None:
        lines += [f"best_trial: {best.number}", *_point(best.value, best.params)]
    return [*lines, result.outcome]


def _entry(result: MultiOptimizeResult, entry: str) -> list[str]:
    if entry in result.failed:
        return [f"{entry}:", f"  failed: {in_a_line(result.failed[entry])}"]
    if entry not in result.best_values_by_entry:
        return [f"{entry}:", "  no complete trial yet"]
    point = _point(result.best_values_by_entry[entry], result.best_params_by_entry[entry])
    point += _validated(result.results_by_entry[entry])
    return [f"{entry}:", *(f"  {line}" for line in point)]


def _point(value: float | None, params: dict[str, float | int | str | bool]) -> list[str]:
    return [f"best_value: {value!r}", *(f"{name}: {param!r}" for name, param in params.items())]


def _validated(result: OptimizeResult) -> list[str]:
    found = result.validation
    if found is None:
        return []
    if found.value is None:
        return [in_words(found)]
    return [
        f"validated_value: {found.value!r}",
        f"validated_stderr: {found.stderr!r}",
        f"validated_params: {found.params!r}",
    ]
