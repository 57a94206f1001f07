"""A result, and its table: in lines for a terminal, as JSON, and as a file."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from seedwise.errors import MissingExtraError, OptionError, in_a_line
from seedwise.model.validation import in_words
from seedwise.results.entries import MultiOptimizeResult
from seedwise.results.report.formats import shown
from seedwise.results.study import OptimizeResult
from seedwise.results.sweep import SweepResult
from seedwise.view.status import aligned, cut

Result: TypeAlias = OptimizeResult | MultiOptimizeResult | SweepResult

_MOST_ROWS = 100
_WIDEST = 60


def result_lines(result: Result) -> list[str]:
    """Return a result as lines, with numbers as Python writes them."""
    if not isinstance(result, MultiOptimizeResult):
        return [*_found(result), result.outcome]
    lines = []
    for entry in result.entries:
        one = result.results_by_entry.get(entry)
        found = (one and _found(one)) or ["no complete trial yet"]
        if entry in result.failed:
            found = [f"failed: {in_a_line(result.failed[entry])}"]
        lines += [f"{entry}:", *(f"  {line}" for line in found)]
    return [*lines, result.outcome]


def _found(result: OptimizeResult | SweepResult) -> list[str]:
    best, validated, said = result.best, result.validation, list[tuple[str, object]]()
    if isinstance(result, SweepResult):
        said += [("trials", result.n_trials), ("failed", len(result.failed))]
        said += [("best_trial", best.number)] if best else []
    said += [("best_value", best.value), *best.params.items()] if best else []
    if validated is not None and validated.value is not None:
        names = ("value", "stderr", "params")
        said += [(f"validated_{name}", getattr(validated, name)) for name in names]
    lines = [f"{name}: {value!r}" for name, value in said]
    return [*lines, in_words(validated)] if validated and validated.value is None else lines


def table_lines(result: Result, most: int = _MOST_ROWS) -> list[str]:
    """Return the table of a result as lines; of more than `most` rows the first and the last."""
    columns = result.columns()
    n_rows = min(map(len, columns.values()))
    head = n_rows if n_rows <= most else most // 2
    rows = [*range(head), *range(max(head, n_rows - most // 2), n_rows)]
    cells = [
        [name, *(cut(" ".join(shown(values[row]).split()), _WIDEST) for row in rows)]
        for name, values in columns.items()
    ]
    lines = aligned(cells, str.rjust)
    if len(rows) < n_rows:
        lines.insert(1 + head, f"... {n_rows - len(rows)} more; seedwise export has them all")
    return lines


def table_json(result: Result) -> str:
    """Return a result and its table as JSON: null is missing, and "inf" or "-inf" infinite."""
    columns = {
        name: [str(one) if one in (math.inf, -math.inf) else one for one in _plain(values)]
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
    columns, text = result.columns(), io.StringIO()
    if path.suffix == ".csv":
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([columns, *zip(*map(_plain, columns.values()), strict=True)])
        path.write_bytes(text.getvalue().encode())
    else:
        path.write_bytes(_parquet(result, path))
    return min(map(len, columns.values()))


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


def _plain(values: Any) -> list[Any]:
    """Return a column in Python's own values; what is missing is None."""
    plain = values.tolist() if hasattr(values, "tolist") else values
    return [None if value != value else value for value in plain]  # NaN alone is not itself
