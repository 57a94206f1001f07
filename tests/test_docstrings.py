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


#: Their docstrings are made from the options, so that doctest does not find them by itself.
WITH_OPTIONS = ["check_run", "optimize_run", "optimize_entries", "run_sweep"]


@pytest.mark.parametrize("name", WITH_OPTIONS)
def test_examples_of_a_function_with_options(name):
    function = getattr(seedwise, name)
    finder = doctest.DocTestFinder()
    runner = doctest.DocTestRunner()
    tests = [test for test in finder.find(function, name, globs={}) if test.examples]
    assert tests
    for test in tests:
        assert runner.run(test).failed == 0
