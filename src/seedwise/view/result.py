"""A result, and its table: in lines for a terminal, as JSON, and as a file."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from seedwise.errors import MissingExtraError, OptionError, in_a_line
from seedwise.model.validation import in_words
from seedwise.results.entries import MultiOptimizeResult
from seedwise.results.study import OptimizeResult
from seedwise.results.sweep import SweepResult
from seedwise.view.words import aligned, cut

Result: TypeAlias = OptimizeResult | MultiOptimizeResult | SweepResult

_MOST_ROWS = 100
_WIDEST = 60


def result_lines(result: Result) -> list[str]:
    """Return a result as lines, with numbers as Python writes them."""
    if isinstance(result, OptimizeResult):
        found = [] if result.best is None else _point(result.best.value, result.best.params)
        return [*found, *_validated(result), result.outcome]
    if isinstance(result, MultiOptimizeResult):
        lines = [line for entry in result.entries for line in _entry(result, entry)]
        return [*lines, result.outcome]
    lines = [f"trials: {result.n_trials}", f"failed: {len(result.failed)}"]
    if (best := result.best) is not None:
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


def table_lines(result: Result, most: int = _MOST_ROWS) -> list[str]:
    """Return the table of a result as lines; of more than `most` rows the first and the last."""
    columns = result.columns()
    n_rows = _n_rows(columns)
    head = n_rows if n_rows <= most else most // 2
    shown = [*range(head), *range(max(head, n_rows - most // 2), n_rows)]
    cells = [[name, *(_cell(values[row]) for row in shown)] for name, values in columns.items()]
    rows = aligned(cells, str.rjust)
    if len(shown) < n_rows:
        rows.insert(1 + head, f"... {n_rows - len(shown)} more; seedwise export has them all")
    return rows


def table_json(result: Result) -> str:
    """Return the columns of a result's table, and the result, as a JSON object.

    What is missing is null. JSON has no infinity: it is the text "inf" or "-inf".
    """
    columns = {
        name: [_json_value(value) for value in _plain(values)]
        for name, values in result.columns().items()
    }
    found: dict[str, Any] = {"columns": columns, "outcome": result.outcome}
    if not isinstance(result, MultiOptimizeResult):  # its rows are the best of the entries
        best = result.best
        fields = ("number", "value", "stderr", "n_seeds", "params")
        found["best"] = best and {name: getattr(best, name) for name in fields}
    if isinstance(result, OptimizeResult) and result.validation is not None:
        found["validation"] = attrs.asdict(result.validation)
    return json.dumps(found, allow_nan=False)


def write_table(result: Result, path: Path) -> int:
    """Write the table of a result to a .csv or .parquet file; return the number of its rows."""
    if path.suffix not in (".csv", ".parquet"):
        raise OptionError("file", str(path), "a name that ends in .csv or .parquet")
    if not path.parent.is_dir():
        hint = f"There is no folder {path.parent}: make it first."
        raise OptionError("file", str(path), "in a folder that exists", hint)
    columns = result.columns()
    path.write_bytes(_csv(columns) if path.suffix == ".csv" else _parquet(result, path))
    return _n_rows(columns)


def _n_rows(columns: Mapping[str, Any]) -> int:
    return min(map(len, columns.values()))


def _csv(columns: Mapping[str, Any]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*map(_plain, columns.values()), strict=True):
        writer.writerow(["" if _is_missing(value) else value for value in row])
    return text.getvalue().encode()


def _parquet(result: Result, path: Path) -> bytes:
    file = io.BytesIO()
    try:
        result.to_dataframe().to_parquet(file, engine="pyarrow")
    except ImportError:
        raise MissingExtraError("a .parquet file", extra="parquet") from None
    except (TypeError, ValueError) as error:  # pyarrow's own errors are of these kinds
        hint = f"Parquet can't hold the table: {error}"
        raise OptionError("file", str(path), "a name that ends in .csv", hint) from error
    return file.getvalue()


def _plain(values: Any) -> Sequence[Any]:
    plain: Sequence[Any] = values.tolist() if hasattr(values, "tolist") else values
    return plain


def _json_value(value: Any) -> Any:
    if _is_missing(value):
        return None
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _cell(value: Any) -> str:
    if _is_missing(value):
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return cut(" ".join(str(value).split()), _WIDEST)
