"""Code as it is saved: its id, its texts and its manifest."""

from __future__ import annotations

import ast
import json
import sys
import types

import attrs
import numpy as np
import pytest

import seedwise as sw
from seedwise.usercode.code import (
    Code,
    Module,
    is_installed_class,
    is_installed_code,
    is_installed_file,
    is_installed_module,
)
from tests.builders import code

PACKAGE = Module("/home/me/pkg", None, is_package=True)
COMPILED = Module("/home/me/fast.so", "me/fast.so")


def test_a_manifest_holds_all_but_the_sources():
    made = code({"a": "K = 1"}, argv=("fit.py", "1"), path=("/home/me",), script_name="a.b")
    made = attrs.evolve(made, modules={**made.modules, "pkg": PACKAGE, "fast": COMPILED})
    manifest = json.loads(json.dumps(made.to_manifest()))
    assert "K = 1" not in json.dumps(manifest)
    again = Code.from_manifest(manifest, made.sources)
    assert again == made
    assert again.id == made.id


def test_what_can_be_read():
    made = code({"a": "K = 1"})
    made = attrs.evolve(made, modules={**made.modules, "pkg": PACKAGE, "fast": COMPILED})
    assert made.texts() == {"a": "K = 1"}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (b"\xef\xbb\xbfK = 1\r\n", "K = 1\n"),
        ("# coding: latin-1\nK = 'é'".encode("latin-1"), "# coding: latin-1\nK = 'é'"),
        (b"# coding: what\nK = 1", "# coding: what\nK = 1"),
        (b"K = '\xff'", "K = '\\xff'"),
    ],
)
def test_a_text_is_what_python_reads(source, text):
    made = code({"a": ""})
    assert attrs.evolve(made, sources={"a": source}).texts() == {"a": text}


def test_the_id_tells_files_and_names_and_nothing_else():
    made = code({"a": "K = 1", "b": ""})
    same = code({"b": "", "a": "K = 1"}, cwd="/", path=("/",), argv=("x",), folder="/elsewhere")
    assert same.id == made.id
    assert len(bytes.fromhex(made.id)) == 8
    others = [
        code({"a": "K = 2", "b": ""}),
        code({"a": "K = 1", "c": ""}),
        code({"a": "K = 1"}),
        code(),
        attrs.evolve(made, hashes={**made.hashes, "data.csv": "1"}),
        attrs.evolve(made, modules={**made.modules, "pkg": PACKAGE}),
    ]
    assert len({made.id, *(other.id for other in others)}) == len(others) + 1


# What is installed, and what is the user's own.


def define(file, module):
    """Return a class and a function as if they came from a file and a module."""
    namespace = {"__name__": module}
    exec(compile("class A: pass\ndef f(): pass", file, "exec"), namespace)
    return namespace["A"], namespace["f"].__code__


@pytest.mark.parametrize(
    ("file", "installed"),
    [
        (ast.__file__, True),
        (np.__file__, True),
        (sw.__file__, True),
        ("/sw/apps/python/site-packages/a.py", True),
        ("/usr/lib/python3/dist-packages/a.py", True),
        (f"{sys.prefix}/project/model.py", False),
        ("/home/me/site-packages.py", False),
        (__file__, False),
    ],
)
def test_files(file, installed):
    assert is_installed_file(file) is installed


def test_modules():
    assert all(map(is_installed_module, (ast, np, sw, sys)))
    assert not is_installed_module(sys.modules[__name__])
    assert not is_installed_module(types.ModuleType("made_here"))
    console_script = types.ModuleType("__main__")
    console_script.__file__ = ast.__file__
    assert not is_installed_module(console_script)


def test_classes_and_code_without_a_file_are_where_their_module_is():
    assert all(map(is_installed_class, (int, ast.NodeVisitor, np.ndarray)))
    for module, installed in (("ast", True), (__name__, False), ("not_loaded", False)):
        class_, code = define("<string>", module)
        assert is_installed_class(class_) is installed
        assert is_installed_code(code, module) is installed


def test_code_is_where_its_file_is():
    assert is_installed_code(define(ast.__file__, __name__)[1], __name__)
    assert not is_installed_code(define(__file__, "ast")[1], "ast")
    assert is_installed_code(define("<frozen os>", "not_loaded")[1])
