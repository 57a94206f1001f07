"""Figures of the space: how the loss and its noise depend on the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seedwise.errors import NoFigureError, OptionError
from seedwise.results.plots import draw
from seedwise.results.plots.draw import Floats, Scale, Trials
from seedwise.results.plots.runs import RunPlots
from seedwise.results.tables import TrialsResult
from seedwise.study.importance import importances, optuna_trials
from seedwise.study.smoothed import smoothed_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of fewer, an importance is chance.
_FEWEST_TRIALS = 10


class SpacePlots(RunPlots):
    """Figures of trials by their parameters."""

    _result: TrialsResult

    def params(self, ax: Any = None) -> NDArray[Any]:
        """Draw each parameter's values over the search: whether, where and when it settled.

        The better the trial, the darker it is.

        Parameters
        ----------
        ax : sequence of matplotlib.axes.Axes, optional
            Where to draw, one for each parameter that varies; None makes a figure.

        Returns
        -------
        ndarray of matplotlib.axes.Axes, shape (n_parameters,)
            Where it was drawn.
        """
        trials = Trials(self._result)
        scales = trials.scales()
        axes = draw.panels("params", scales, ax)
        for one, scale in zip(axes, scales.values(), strict=True):
            drawn = draw.coloured(one, trials, trials.number, scale.positions)
            scale.mark(one, "y")
            draw.label_trials(one, trials)
        is_cut = trials.colour_range()[1] < np.nanmax(trials.badness)
        tip = trials.worse_end if is_cut else "neither"
        axes[0].figure.colorbar(drawn, ax=list(axes), label="loss", extend=tip)
        return axes

    def slices(self, ax: Any = None) -> NDArray[Any]:
        """Draw the value of each trial against each of its parameters.

        Points, bars and marks are as in `history`. A star is on the trial that won the validation,
        or else on the best one. Trials of one category lie beside one another, in their order.

        Parameters
        ----------
        ax : sequence of matplotlib.axes.Axes, optional
            Where to draw, one for each parameter that varies; None makes a figure.

        Returns
        -------
        ndarray of matplotlib.axes.Axes, shape (n_parameters,)
            Where it was drawn.
        """
        trials = Trials(self._result)
        scales = trials.scales()
        axes = draw.panels("slices", scales, ax, sharey=True)
        for one, scale in zip(axes, scales.values(), strict=True):
            x = scale.spread
            draw.trials(one, trials, x)
            _draw_star(one, trials, x, trials.value)
            scale.mark(one, "x")
            draw.label_loss(one)
        draw.legend_of_all(axes, is_new=ax is None)
        return axes

    def contour(self, x: str, y: str, ax: Axes | None = None) -> Axes:
        """Draw trials by two parameters, coloured by their values, over a smooth surface.

        The surface is the mean of the Gaussian process that smooths the values of a search (see
        `sampler`), at the other parameters of the trial with the star: the one that won the
        validation, or else the best. Where neighbours do not predict a trial's value, or with
        fewer than 10 trials, there is no surface.

        Parameters
        ----------
        x, y : str
            Names of two parameters that vary.
        ax : matplotlib.axes.Axes, optional
            Where to draw; None makes a figure.

        Raises
        ------
        OptionError
            If these are not the names of two such parameters.
        """
        trials = Trials(self._result)
        scales = trials.scales()
        for keyword, name in (("x", x), ("y", y)):
            if name not in scales:
                raise OptionError(keyword, name, f"a parameter that varies: {', '.join(scales)}")
        if x == y:
            raise OptionError("y", y, "another parameter than x")
        pair = scales[x], scales[y]
        surface = self._surface(trials, pair)
        ax = draw.axes("contour", ax)
        from matplotlib.patheffects import withStroke

        if surface is not None:
            style = {"shading": "nearest", "rasterized": True, **draw.colours(trials)}
            ax.pcolormesh(*(scale.cells()[0] for scale in pair), surface, **style)
        places = pair[0].spread, pair[1].positions
        drawn = draw.coloured(ax, trials, *places, edgecolors="white", linewidths=0.6)
        # So that the rings are seen on bright ground, too.
        drawn.set_path_effects([withStroke(linewidth=1.4, foreground=draw.BLACK)])
        _draw_star(ax, trials, *places)
        pair[0].mark(ax, "x")
        pair[1].mark(ax, "y")
        is_cut = surface is not None and len(scales) > 2
        label = "loss; surface through the star" if is_cut else "loss"
        ax.figure.colorbar(drawn, ax=ax, label=label, extend=trials.worse_end)
        draw.legend(ax)
        return ax

    def importance(self, ax: Axes | None = None) -> Axes:
        """Draw how much it depends on each parameter whether a trial is among the best tenth.

        It is Optuna's PED-ANOVA of the trials (Watanabe et al., PED-ANOVA, IJCAI 2023), as shares
        of 1. With fewer than 50 trials it is rough.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; None makes a figure.

        Raises
        ------
        NoFigureError
            If fewer than 10 trials are complete, or all have the same value.
        """
        trials = Trials(self._result)
        values = trials.value[trials.is_complete]
        if len(values) < _FEWEST_TRIALS or len({*values}) == 1:
            problem = f"it needs {_FEWEST_TRIALS} complete trials, of different values"
            raise NoFigureError("importance", problem)
        space = {name: scale.param for name, scale in trials.scales().items()}
        told = optuna_trials(self._result.trials, space)
        shares = importances(told, list(space), self._result.direction)
        ax = draw.axes("importance", ax)
        names = sorted(shares, key=lambda name: shares[name])
        drawn = ax.barh(names, [shares[name] for name in names], color=draw.BLUE)
        ax.bar_label(drawn, fmt="%.2f", padding=3)
        ax.set(xlabel="importance for being among the best tenth", xlim=(0, 1.1))
        return ax

    def noise(self, ax: Any = None) -> NDArray[Any]:
        """Draw the noise against each parameter: where more seeds would help.

        Open circles are the standard deviation over a trial's seeds, and filled ones the standard
        error of its value. Of trials that the race dropped there is only the latter.

        Parameters
        ----------
        ax : sequence of matplotlib.axes.Axes, optional
            Where to draw, one for each parameter that varies; None makes a figure.

        Returns
        -------
        ndarray of matplotlib.axes.Axes, shape (n_parameters,)
            Where it was drawn.

        Raises
        ------
        NoFigureError
            If no trial has a standard error, as with a single seed.
        """
        trials = Trials(self._result)
        if np.isnan(trials.stderr).all():
            raise NoFigureError("noise", "no trial has a standard error: each has a single seed")
        deviation = trials.stderr * np.sqrt(trials.n_seeds)
        spread: Floats = np.where(trials.is_dropped, np.nan, deviation)
        scales = trials.scales()
        axes = draw.panels("noise", scales, ax, sharey=True)
        for one, scale in zip(axes, scales.values(), strict=True):
            label = "standard deviation over seeds"
            draw.points(one, scale.spread, spread, color=draw.ORANGE, mfc="white", label=label)
            draw.points(one, scale.spread, trials.stderr, color=draw.BLUE, label="standard error")
            scale.mark(one, "x")
            draw.label_loss(one, "noise of the loss")
            if (trials.stderr > 0).any():
                one.set_yscale("log")
        draw.legend_of_all(axes, is_new=ax is None)
        return axes

    def _surface(self, trials: Trials, pair: tuple[Scale, Scale]) -> Floats | None:
        """Return the mean losses at the cells of two axes, the first along a row."""
        at: dict[str, Sequence[Any]]
        (_, columns), (_, rows) = (scale.cells() for scale in pair)
        scales, params = trials.scales(), self._result.trials[trials.winner].params
        if not scales.keys() <= params.keys():  # the space was changed since
            return None
        at = {name: [params[name]] * (len(rows) * len(columns)) for name in scales}
        at[pair[0].name] = columns * len(rows)
        at[pair[1].name] = [value for value in rows for _ in columns]
        told = optuna_trials(self._result.trials, {n: one.param for n, one in scales.items()})
        is_maximum = self._result.direction == "maximize"
        means = smoothed_at(told, at, is_maximum, trials.n_plan())
        return None if means is None else means.reshape(len(rows), len(columns))


def _draw_star(ax: Axes, trials: Trials, x: Floats, y: Floats) -> None:
    """Draw a star on the winner."""
    row, found = trials.winner, trials.result.validation
    what = "best" if found is None or found.number is None else "validated"
    style: dict[str, Any] = {"color": draw.VERMILLION, "mec": draw.BLACK, "ms": 13, "zorder": 5}
    ax.plot(x[row], y[row], "*", label=f"trial {trials.number[row]}, {what}", **style)
