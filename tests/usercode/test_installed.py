"""What is installed, and what is the user's own."""

from __future__ import annotations

import ast
import sys
import types

import numpy as np
import pytest

import seedwise as sw
from seedwise.usercode.installed import (
    is_installed_class,
    is_installed_code,
    is_installed_file,
    is_installed_module,
)


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
