"""Rows of the table that benchmarks make: `python -m tests.benchmarks` shows all of them."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable

import attrs


@attrs.frozen
class Row:
    """A quantity, as measured in each turn.

    `target` is the least (`>=`) or most (`<=`) that the median may be, as in ">= 0.95".
    """

    case: str
    quantity: str
    values: list[float]
    unit: str = ""
    target: str = ""
    #: What else was seen, such as the times that make a ratio.
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the median meets the target; None if there is none."""
        if not self.target:
            return None
        sign, limit = self.target.split()
        median = statistics.median(self.values)
        return median >= float(limit) if sign == ">=" else median <= float(limit)

    def cells(self) -> list[str]:
        median, low, high = statistics.median(self.values), min(self.values), max(self.values)
        spread = f"{low:.3g} to {high:.3g}" if len(self.values) > 1 else ""
        met = {None: "", True: "yes", False: "**no**"}[self.is_met]
        figure = f"{median:.3g} {self.unit}".strip()
        return [self.case, self.quantity, figure, spread, self.target, met, self.note]


HEAD = ["case", "quantity", "median", "spread", "target", "met", "note"]


def markdown(rows: Iterable[Row]) -> str:
    lines = [HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def show(rows: Iterable[Row]) -> None:
    """Print each row as it is measured, and all as JSON in the last line."""
    seen = []
    for row in rows:
        seen.append(row)
        print(" | ".join(cell for cell in row.cells() if cell), file=sys.stderr, flush=True)
    print(json.dumps([attrs.asdict(row) for row in seen]))
