"""Pickling by value."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap

from seedwise.usercode.pickling import dumps

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
