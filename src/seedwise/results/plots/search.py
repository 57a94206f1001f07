"""The figures of results with trials: in their order, and of single seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from seedwise.errors import OptionError
from seedwise.results.plots import draw
from seedwise.results.plots.draw import Floats, Trials
from seedwise.results.plots.space import SpacePlots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# So many lines can be told apart, also in grey.
_COLOURS = (draw.BLUE, draw.VERMILLION, draw.GREEN, draw.ORANGE, draw.BLACK, draw.SKY)
_LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
_BY_DEFAULT = 4


class TrialPlots(SpacePlots):
    """The figures of a result with trials, as its `plot` gives them.

    Each method draws on matplotlib axes and returns them: on those that it is given, or on new
    ones, in a figure that a notebook shows. Axes of parameters are logarithmic where they are
    searched so. All raise MissingExtraError without matplotlib, NoCompleteTrialError if no trial
    is complete, and OptionError if they are not given as many axes as they draw on.

    Examples
    --------
    >>> import random
    >>> import tempfile
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import matplotlib.pyplot as plt
    >>> import seedwise as sw
    >>> @sw.loss(name="walk", description="a walk", parameter_space={"x": (-1, 1), "y": (-1, 1)})
    ... def walk(params, seed):
    ...     return params["x"] ** 2 + 0.1 * params["y"] + random.Random(seed).gauss(0, 0.1)
    >>> figure, (left, right) = plt.subplots(1, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     source = sw.random({"x": sw.uniform(-1, 1), "y": sw.uniform(-1, 1)}, 30, seed=1)
    ...     result = sw.run_sweep(walk, source, n_seeds=20, run_root=folder, progress=False)
    ...     result.plot.history(ax=left).get_ylabel()
    ...     [ax.get_xlabel() for ax in result.plot.slices()]
    ...     result.plot.params().shape, result.plot.noise().shape
    ...     result.plot.contour("x", "y", ax=right).get_ylabel()
    ...     result.plot.importance().get_xlabel()
    ...     result.plot.seeds([0, 3]).get_xlabel(), result.plot.compare(0, 3).get_ylabel()
    ...     result.plot.race().get_ylabel()
    'loss'
    ['x', 'y']
    ((2,), (2,))
    'y'
    'importance for being among the best tenth'
    ('seeds', 'seeds')
    'seeds'
    >>> plt.close("all")
    """

    def history(self, ax: Axes | None = None) -> Axes:
        """Draw the value of each trial, and the best so far.

        Bars and the band are standard errors; with a single seed there are none. Trials that the
        race dropped are open circles. Crosses at the edge are trials that failed, and triangles
        those far worse than the others. At the end is the validated value, if there is one, with
        its 95 % confidence interval.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; None makes a figure.
        """
        trials = Trials(self._result)
        ax = draw.axes("history", ax)
        draw.trials(ax, trials, trials.number)
        rows = trials.best_so_far()
        is_shown = np.diff(rows, prepend=-1) > 0  # each new best, and the last one to the end
        is_shown[-1] = True
        number, rows = trials.number[is_shown], rows[is_shown]
        value, stderr = trials.value[rows], np.nan_to_num(trials.stderr[rows])
        label = f"best so far{trials.and_error}"
        ax.step(number, value, where="post", color=draw.BLACK, label=label)
        ends = value - stderr, value + stderr
        ax.fill_between(number, *ends, step="post", color=draw.BLACK, alpha=0.2, lw=0)
        found = self._result.validation
        if found is not None and found.value is not None and found.interval is not None:
            after = np.array([trials.number[-1] + max(1.0, 0.03 * trials.number[-1])])
            reach = np.abs(np.array(found.interval) - found.value)[:, None]
            style = {"marker": "D", "color": draw.GREEN, "capsize": 3, "zorder": 4, "yerr": reach}
            style["label"] = f"trial {found.number} validated, 95 % interval"
            draw.points(ax, after, np.array([found.value]), **style)
            if not ax.get_autoscaley_on():  # it is shown whatever is too far off
                low, high = ax.get_ylim()
                ax.set_ylim(min(low, found.interval[0]), max(high, found.interval[1]))
        draw.label_trials(ax, trials)
        ax.set_ylabel("loss")
        draw.legend(ax)
        return ax

    def race(self, ax: Axes | None = None) -> Axes:
        """Draw how many seeds each trial's value is of, out of all seeds of the run.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; None makes a figure.

        Returns
        -------
        matplotlib.axes.Axes
            Where it was drawn. Its legend says what share of the seeds was saved.
        """
        trials = Trials(self._result)
        ax = draw.axes("race", ax)
        kinds = (
            ("dropped by the race", trials.is_complete & trials.is_dropped, draw.SKY, "white"),
            ("trial", trials.is_complete & ~trials.is_dropped, draw.BLUE, draw.BLUE),
        )
        for label, rows, colour, face in kinds:
            if rows.any():
                x, seeds = trials.number[rows], trials.n_seeds[rows]
                if len(trials.number) <= draw.MANY:
                    ax.vlines(x, 0, seeds, color=colour, lw=0.8)
                draw.points(ax, x, seeds, color=colour, mfc=face, label=label)
        n_all = len(self._result.seeds)
        n_most, n_had = n_all * trials.is_complete.sum(), trials.n_seeds[trials.is_complete].sum()
        label = f"all {n_all:,} seeds; {1 - n_had / n_most:.0%} of {n_most:,} were saved"
        ax.axhline(n_all, color=draw.BLACK, ls="--", label=label)
        draw.label_trials(ax, trials)
        ax.set(ylabel="seeds", ylim=(0, 1.05 * n_all))
        draw.legend(ax)
        return ax

    def seeds(self, trials: int | Sequence[int] | None = None, ax: Axes | None = None) -> Axes:
        """Draw the running mean of trials over their seeds: whether they had enough.

        Bands are standard errors. The seeds are in the order of the run's.

        Parameters
        ----------
        trials : int or sequence of int, optional
            Numbers of up to 6 trials. None is the candidates of the validation, or else the best
            trials, up to 4.
        ax : matplotlib.axes.Axes, optional
            Where to draw; None makes a figure.

        Raises
        ------
        OptionError
            If these are more, or not numbers of finished trials that have losses.
        NoCompleteTrialError
            If no trial is complete, and no numbers are given.
        """
        numbers = self._chosen() if trials is None else np.atleast_1d(trials).tolist()
        if not 1 <= len(numbers) <= len(_COLOURS):
            raise OptionError("trials", trials, f"1 to {len(_COLOURS)} numbers of trials")
        of_each = {}
        for number in numbers:
            losses = self._result.losses(number)
            of_each[number] = losses[np.isfinite(losses)]
            if not len(of_each[number]):
                raise OptionError("trials", number, "the number of a trial that has losses")
        ax = draw.axes("seeds", ax)
        ends: list[float] = []
        for (number, losses), colour, line in zip(of_each.items(), _COLOURS, _LINES, strict=False):
            n, mean, stderr = _running(losses)
            marker = "." if len(n) == 1 else ""
            ax.plot(n, mean, color=colour, ls=line, marker=marker, label=f"trial {number}")
            ax.fill_between(n, mean - stderr, mean + stderr, color=colour, alpha=0.2, lw=0)
            # The first means are noise, and would hide the rest.
            later, reach = slice(len(n) // 10, None), np.nan_to_num(stderr)
            ends += [*(mean - reach)[later], *(mean + reach)[later]]
        margin = 0.05 * (max(ends) - min(ends))
        if margin > 0:
            ax.set_ylim(min(ends) - margin, max(ends) + margin)
        ax.set(xlabel="seeds", ylabel="mean loss so far ± standard error")
        ax.locator_params(axis="x", integer=True)
        draw.legend(ax)
        return ax

    def compare(self, a: int, b: int, ax: Axes | None = None) -> Axes:
        """Draw how the losses of two trials differ seed by seed, as `compare` of the result does.

        Parameters
        ----------
        a, b : int
            Numbers of complete trials.
        ax : matplotlib.axes.Axes, optional
            Where to draw; None makes a figure.

        Returns
        -------
        matplotlib.axes.Axes
            Where it was drawn: a histogram of the differences, first less second, with their mean
            and its 95 % confidence interval.

        Raises
        ------
        OptionError
            If the two can't be compared.
        """
        found = self._result.compare(a, b)
        differences = self._result.losses(a) - self._result.losses(b)
        ax = draw.axes("compare", ax)
        bins = int(np.clip(np.sqrt(found.n_seeds), 5, 50))
        differences = differences[np.isfinite(differences)]
        ax.hist(differences, bins=bins, color=draw.SKY, edgecolor="white")
        label = f"mean {found.difference:.3g}"
        if found.interval is not None:
            low, high = found.interval
            ax.axvspan(low, high, color=draw.VERMILLION, alpha=0.25, lw=0)
            label += f", 95 % interval {low:.3g} to {high:.3g}"
        ax.axvline(found.difference, color=draw.VERMILLION, lw=2, label=label)
        ax.axvline(0, color=draw.BLACK, ls="--", label="no difference")
        ax.set(xlabel=f"loss of trial {a} less that of trial {b}, same seed", ylabel="seeds")
        ax.locator_params(axis="y", integer=True)
        draw.legend(ax)
        return ax

    def _chosen(self) -> list[int]:
        """Return the numbers of the trials that are drawn by default."""
        trials, found = Trials(self._result), self._result.validation
        if found is not None:
            return [one.number for one in found.candidates][:_BY_DEFAULT]
        ranked = trials.number[np.argsort(trials.sign * trials.value, kind="stable")]  # NaN last
        return [int(number) for number in ranked[: min(_BY_DEFAULT, trials.is_complete.sum())]]


def _running(losses: Floats) -> tuple[Floats, Floats, Floats]:
    """Return 1, 2, ..., and of so many losses the mean and its standard error."""
    n = np.arange(1.0, len(losses) + 1)
    center = losses.mean()
    mean = np.cumsum(losses - center) / n
    squares = np.cumsum((losses - center) ** 2) - n * mean**2
    with np.errstate(divide="ignore", invalid="ignore"):
        stderr: Floats = np.sqrt(np.maximum(squares, 0) / (n - 1) / n)
    stderr[0] = np.nan
    return n, center + mean, stderr
