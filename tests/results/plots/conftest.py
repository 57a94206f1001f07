"""Figures are drawn, so that whatever matplotlib warns of fails the test, and closed."""

from __future__ import annotations

import matplotlib as mpl
import pytest

mpl.use("agg")

import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def figures_are_drawn_and_closed():
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")
