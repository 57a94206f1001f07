"""The stub says of functions with options what the functions say: names, types, docs."""

from __future__ import annotations

import ast
import inspect
import re

import pytest

import seedwise as sw
from tests.stub import MARK, STUB, functions_with_options, stub_text

MADE = {
    node.name: node
    for node in ast.parse(STUB.read_text(encoding="utf-8").partition(MARK)[2]).body
    if isinstance(node, ast.FunctionDef | ast.ClassDef)
}


def test_the_stub_is_what_the_definitions_make():
    # After a change of an option: python -m tests.stub
    assert STUB.read_text(encoding="utf-8") == stub_text()


def test_all_functions_with_options_are_in_it():
    assert {*functions_with_options(), "SlurmOptions"} == set(MADE)
    assert "optimize_run" in MADE


def entries(name):
    doc = ast.get_docstring(MADE[name])
    return dict(re.findall(r"^(\w+) : (.*\n(?: {4}.*\n)+)", doc, re.MULTILINE))


@pytest.mark.parametrize("name", MADE)
def test_an_editor_sees_docs_of_all_keywords(name):
    public = inspect.getdoc(getattr(sw, name))
    shown = entries(name)
    if "The others are described in `optimize_run`." in ast.get_docstring(MADE[name]):
        shown = entries("optimize_run") | shown
    keywords = inspect.signature(getattr(sw, name)).parameters
    assert all(f"{keyword} : {shown[keyword]}" in public for keyword in keywords)
    assert ast.get_docstring(MADE[name])[-200:] in public


@pytest.mark.parametrize("name", MADE)
def test_an_editor_sees_names_types_and_defaults(name):
    public = getattr(sw, name)
    parameters = inspect.signature(public).parameters.values()
    keywords = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]
    if isinstance(MADE[name], ast.ClassDef):
        fields = [node for node in MADE[name].body if isinstance(node, ast.AnnAssign)]
        assert [node.target.id for node in fields] == keywords
        assert all(node.value is not None for node in fields)
    else:
        arguments = MADE[name].args
        assert [node.arg for node in arguments.kwonlyargs] == keywords
        assert all(node.annotation is not None for node in arguments.kwonlyargs)
        assert None not in arguments.kw_defaults
