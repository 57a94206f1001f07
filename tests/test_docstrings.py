"""Every example in a docstring runs, and sections are for what users see."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import re

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


# The numpydoc sections of internal names would repeat their signatures.

SECTION = re.compile(
    r"^(Parameters|Returns|Yields|Raises|Attributes|Notes|Examples)\n-{4,}", re.MULTILINE
)

#: The public names with their modules, and the classes that public ones are made of.
PUBLIC = {
    (one.__module__, one.__qualname__)
    for value in (getattr(seedwise, name) for name in seedwise.__all__)
    for one in (inspect.getmro(value) if isinstance(value, type) else [value])
    if hasattr(one, "__qualname__")
}


@pytest.mark.parametrize("name", MODULES)
def test_sections_are_for_public_names(name):
    tree = ast.parse(inspect.getsource(importlib.import_module(name)))
    documented = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = [
        f"{top.name}: {node.name}"
        for top in tree.body
        if isinstance(top, documented) and (name, top.name) not in PUBLIC
        for node in ast.walk(top)
        if isinstance(node, documented) and SECTION.search(ast.get_docstring(node) or "")
    ]
    assert not found
