"""Pickling by value."""

from __future__ import annotations

import json.tool  # noqa: F401 - a module that has a loss here
import pickle
import subprocess
import sys
import textwrap
import types
from types import MethodType

import cloudpickle
import pytest

import seedwise as sw
from seedwise.usercode.pickling import dumps, goes_by_name, name_of, no_source

MODULE = """
import functools

def fails():
    raise ValueError("no way")  # this very line

class Model:
    def run(self):
        return fails()

def outer():
    return Model().run()
"""
LOAD = """
import pickle, sys, traceback
try:
    pickle.loads(sys.stdin.buffer.read())()
except ValueError:
    traceback.print_exc()
"""


def test_the_traceback_elsewhere_has_files_and_lines(tmp_path):
    file = tmp_path / "my_model.py"
    file.write_text(MODULE)
    script = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import cloudpickle, my_model
        from seedwise.usercode.pickling import dumps
        cloudpickle.register_pickle_by_value(my_model)
        sys.stdout.buffer.write(dumps(my_model.outer))
    """)
    pickled = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", LOAD], input=pickled.stdout, capture_output=True, check=True
    )
    traceback = loaded.stderr.decode()
    assert traceback.count(f'File "{file}"') == 3
    assert 'raise ValueError("no way")  # this very line' in traceback
    assert "dynamic-code" not in traceback


def test_all_else_is_as_it_was():
    def counter(start, step=2):
        n = start

        def count():
            nonlocal n
            n += step
            return n

        return count

    loaded = pickle.loads(dumps(counter(3)))
    assert (loaded(), loaded()) == (5, 7)
    assert loaded.__code__.co_filename == __file__
    text = "<dynamic-code>"
    assert pickle.loads(dumps(lambda: text))() == "<dynamic-code>"
    assert pickle.loads(dumps([1, {"a": 2.5}])) == [1, {"a": 2.5}]


# What goes by its name.


SOURCE = """
import os as operating, json.decoder
from math import sqrt
def top(): pass
class Outer:
    class Inner: pass
    def method(self): pass
def make():
    def made(): pass
    return made
made = make()
short = lambda: 1
again = top
def wrapped(): pass
inner, wrapped = wrapped, lambda: wrapped
try:
    def tried(): pass
except ValueError:
    def excepted(): pass
else:
    def elsed(): pass
finally:
    def at_last(): pass
for i in range(1):
    def looped(): pass
with open("/dev/null"):
    def within(): pass
match 1:
    case 1:
        def matched(): pass
if operating.sep == "/":
    def chosen(): pass
def twice(): pass
if __name__ == "__main__":
    def guarded(): pass
    def twice(): pass
else:
    def imported(): pass
if False:
    pass
elif __name__ == "__main__":
    def also_guarded(): pass
try:
    if __name__ == "__main__":
        def deep(): pass
finally:
    pass
"""
BY_NAME = {
    *("top", "Outer", "make", "tried", "elsed", "at_last", "looped", "within", "matched"),
    *("chosen", "again"),
}
BY_VALUE = {"made", "short", "inner", "wrapped", "twice", "guarded", "also_guarded", "deep"}


@pytest.fixture
def users(monkeypatch):
    """Return a module as the script has it, and what returns its source."""
    module = types.ModuleType("made_module")
    monkeypatch.setitem(sys.modules, "made_module", module)
    exec(SOURCE.replace("__name__ ==", "'__main__' =="), vars(module))
    return module, {"made_module": SOURCE.encode()}.get


@pytest.mark.parametrize("name", sorted(BY_NAME | BY_VALUE))
def test_what_an_import_defines_goes_by_its_name(name, users):
    module, source_of = users
    value = getattr(module, name)
    assert goes_by_name(value, source_of) == (name in BY_NAME)
    assert not goes_by_name(value, no_source)
    if name in BY_NAME:
        assert pickle.loads(dumps(value, source_of)) is value


def test_classes_and_methods_within_a_class(users):
    module, source_of = users
    for value in (module.Outer.Inner, module.Outer.method, module.Outer().method):
        assert pickle.loads(dumps(value, source_of)) == value or isinstance(value, MethodType)
    assert pickle.loads(dumps(module.Outer(), source_of)).__class__ is module.Outer


def test_what_is_to_go_by_value_does(users):
    module, source_of = users
    cloudpickle.register_pickle_by_value(module)
    try:
        assert not goes_by_name(module.top, source_of)
        assert pickle.loads(dumps(module.top, source_of)) is not module.top
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    assert goes_by_name(module.top, source_of)


def test_a_source_that_does_not_compile_defines_nothing(users):
    module, _ = users
    assert not goes_by_name(module.top, lambda _: b"def top(: pass")
    assert not goes_by_name(module.top, lambda _: b"def top(): pass\0")


def make_loss(name="made"):
    space = {"x": (0, 1)}
    decorate = sw.loss(name=name, description="m", parameter_space=space)
    return decorate(lambda params, seed: 1.0)


@pytest.mark.parametrize(
    ("variables", "source", "expected"),
    [
        (["loss"], "loss = 1", "loss"),
        (["loss"], "if __name__ == '__main__':\n    loss = 1", None),
        (["loss"], "loss = 1\nif __name__ == '__main__':\n    loss = 2", None),
        (["loss"], "loss = 1\nif __name__ == '__main__':\n    for loss in []: pass", None),
        (["loss"], "def f():\n    loss = 1", None),
        (["loss", "again"], "again = 1", "again"),
        (["loss", "again"], "a, (again, *b) = 1\nc = loss", "again"),
        (["loss"], "import losses as loss", "loss"),
        (["loss"], "from losses import *", None),
        (["loss"], "if (loss := 1): pass", "loss"),
        ([], "loss = 1", None),
    ],
)
def test_the_name_of_a_loss(variables, source, expected, monkeypatch):
    loss, module = make_loss(), types.ModuleType("made_module")
    monkeypatch.setitem(sys.modules, "made_module", module)
    vars(module).update(dict.fromkeys(variables, loss))
    source_of = {"made_module": source.encode()}.get
    found = name_of(loss, source_of)
    assert found == (None if expected is None else ("made_module", expected))
    if expected is not None:
        assert pickle.loads(dumps([loss, loss], source_of)) == [loss, loss]
        assert pickle.loads(dumps(loss, source_of)) is loss


def test_a_loss_of_an_installed_module_goes_by_its_name_there(monkeypatch):
    loss = make_loss()
    loss.function.__module__ = "json.tool"
    monkeypatch.setattr("json.tool.own_loss", loss, raising=False)
    assert name_of(loss, no_source) == ("json.tool", "own_loss")
