"""The figures of a run of entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from seedwise.model.validation import Validation
from seedwise.results.plots import draw
from seedwise.results.plots.workers import RunPlots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_NAMES = 60
_HONEST, _BEST = "validated, 95 % interval", "best of the search ± standard error"


class EntryPlots(RunPlots):
    """The figures of a run of entries, as its `plot` gives them.

    Each method draws on matplotlib axes and returns them, and raises MissingExtraError without
    matplotlib. Each entry has figures of its own, such as
    ``result.results_by_entry["anna"].plot.history()``: see `TrialPlots`.

    Examples
    --------
    >>> import random
    >>> import tempfile
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import matplotlib.pyplot as plt
    >>> import seedwise as sw
    >>> @sw.loss(name="walk", description="where it ends", parameter_space={"drift": (-1, 1)})
    ... def walk(params, seed, context):
    ...     return params["drift"] + random.Random(seed).gauss(0, 0.1) * len(context["entry_id"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     keywords = {"n_trials": 3, "n_seeds": 20, "run_root": folder, "progress": False}
    ...     result = sw.optimize_entries(walk, entry_ids=["anna", "ben"], **keywords)
    ...     [label.get_text() for label in result.plot.entries().get_yticklabels()]
    ['anna', 'ben']
    >>> plt.close("all")
    """

    def __init__(
        self, run_dir: str, columns: Mapping[str, Any], found: Mapping[str, Validation | None]
    ) -> None:
        super().__init__(run_dir)
        self._columns = columns
        self._found = found

    def entries(self, ax: Axes | None = None) -> Axes:
        """Draw the value of each entry: the validated one, or else the best of its search.

        Bars of validated values are their 95 % confidence intervals, and those of best ones their
        standard errors. An entry that failed has a cross at the left edge.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; None makes a figure.

        Returns
        -------
        matplotlib.axes.Axes
            Where it was drawn, the first entry at the top.
        """
        columns, names = self._columns, self._columns["entry_id"]
        y = np.arange(len(names))
        best, stderr = np.array(columns["best_value"]), np.array(columns["best_stderr"])
        found = [self._found.get(name) for name in names]
        values = np.array([one and one.value for one in found], float)
        ends = [(one and one.interval) or (np.nan, np.nan) for one in found]
        reach = np.abs(np.array(ends).T - values)
        size = (6.4, float(np.clip(1.4 + 0.22 * len(names), 2.4, 14)))
        ax = draw.axes("entries", ax, size)
        is_valid, failed = ~np.isnan(values), [error is not None for error in columns["error"]]
        for rows, x, error, style in (
            (is_valid, values, reach, {"marker": "D", "color": draw.GREEN, "label": _HONEST}),
            (~is_valid & ~np.isnan(best), best, stderr, {"color": draw.BLUE, "label": _BEST}),
        ):
            if rows.any():
                draw.points(ax, x[rows], y[rows], xerr=error[..., rows], **style)
        if any(failed):
            at_left = ax.get_yaxis_transform()
            x, style = np.full(sum(failed), 0.02), {"marker": "x", "color": draw.VERMILLION}
            draw.points(ax, x, y[failed], transform=at_left, label="failed", **style)
        step = -(-len(names) // _MOST_NAMES)
        ax.set(xlabel="loss", ylabel="entry", ylim=(len(names) - 0.5, -0.5))
        ax.set_yticks(y[::step], names[::step])
        draw.legend(ax)
        return ax
