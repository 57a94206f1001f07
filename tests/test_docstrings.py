"""Every example in a docstring runs, and sections are for what users see."""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib
import inspect
import pkgutil
import re

import pytest

import seedwise
from seedwise.cluster.place import Demand, Place, RunTag
from seedwise.driver import workplace
from seedwise.model.options.work import ExecutionMode, WorkOptions

MODULES = [info.name for info in pkgutil.walk_packages(seedwise.__path__, "seedwise.")]


@pytest.fixture
def workers_of_all_tests(client, monkeypatch):
    """Have runs that would start local workers use those of the session."""

    def open_shared(options: WorkOptions, demand: Demand, tag: RunTag) -> Place:
        assert options.place == "local"
        return Place(
            client=client,
            mode=ExecutionMode.SINGLE,
            description="the workers of all tests",
            slots=demand.workers(2),
            dashboard=None,
            closing=contextlib.ExitStack(),
        )

    monkeypatch.setattr(workplace, "open_place", open_shared)


def run_examples(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.usefixtures("workers_of_all_tests")
def test_examples_of_a_module(name):
    run_examples(name)


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("seedwise.api")])
def test_examples_of_a_module_with_workers_of_their_own(name):
    run_examples(name)


#: Their docstrings are made from the options.
WITH_OPTIONS = ["check_run", "optimize_run", "optimize_entries", "run_sweep"]


@pytest.mark.parametrize("name", WITH_OPTIONS)
def test_examples_of_a_function_with_options_are_among_them(name):
    module = inspect.getmodule(getattr(seedwise, name))
    assert module.__name__ in MODULES
    found = doctest.DocTestFinder().find(module)
    (tests,) = [test for test in found if test.name == f"{module.__name__}.{name}"]
    assert tests.examples


# The numpydoc sections of internal names would repeat their signatures.

SECTION = re.compile(
    r"^(Parameters|Returns|Yields|Raises|Attributes|Notes|Examples)\n-{4,}", re.MULTILINE
)

#: The public names with their modules, and the classes that public ones are made of.
PUBLIC = {
    (one.__module__, one.__qualname__)
    for value in (getattr(seedwise, name) for name in dir(seedwise))
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
