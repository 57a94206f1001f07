"""Every example in a docstring runs."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import seedwise

MODULES = [info.name for info in pkgutil.walk_packages(seedwise.__path__, "seedwise.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module(name):
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def test_examples_of_optimize_run():
    """Its docstring is made from the options, so that doctest does not find it by itself."""
    import seedwise as sw

    finder = doctest.DocTestFinder()
    runner = doctest.DocTestRunner()
    tests = [t for t in finder.find(sw.optimize_run, "optimize_run", globs={}) if t.examples]
    assert tests
    for test in tests:
        assert runner.run(test).failed == 0
