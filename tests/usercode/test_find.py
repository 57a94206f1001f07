"""Losses by the file or module that they are in."""

from __future__ import annotations

import subprocess
import sys

import pytest

from seedwise.errors import LossNotFoundError, MainGuardError
from seedwise.usercode.find import argv_of, load_loss

WALK = """
import seedwise as sw
@sw.loss(name="the walk", description="w", parameter_space={"x": (0.0, 1.0)})
def walk(params, seed):
    return params["x"] + seed
"""
OTHER = WALK.replace("walk", "jump")


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """No module and no entry of ``sys.path`` outlives a test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def script(folder, text, name="a script.py"):
    path = folder / name
    path.write_text(text)
    return path


def refused(target):
    with pytest.raises(LossNotFoundError) as caught:
        load_loss(str(target))
    assert caught.value.target == str(target)
    return caught.value


@pytest.mark.parametrize("name", ["", ":walk", ":the walk"])
def test_by_variable_by_name_or_the_only_one(tmp_path, name):
    path = script(tmp_path, WALK)
    assert load_loss(f"{path}{name}")({"x": 0.5}, 1) == 1.5


def test_what_lies_beside_it_is_found_and_the_main_guard_does_not_run(tmp_path):
    (tmp_path / "beside.py").write_text("OFFSET = 7\n")
    text = f"import sys, beside\n{WALK}    + beside.OFFSET\nARGV = sys.argv\n"
    text += 'if __name__ == "__main__":\n    sw.optimize_run(walk)\n'
    path = script(tmp_path, text.replace("+ seed\n    + b", "+ seed + b"))
    before = list(sys.argv)
    loss = load_loss(f"{path}:walk")
    assert loss({"x": 0.5}, 1) == 8.5
    assert sys.path[0] == str(tmp_path)
    assert loss.function.__globals__["ARGV"] == [str(path)]
    assert sys.argv == before
    assert loss.function.__module__ == "a_script"


def test_a_script_that_is_called_as_a_module_that_is_there(tmp_path):
    json = sys.modules["json"]
    assert load_loss(f"{script(tmp_path, WALK, 'json.py')}:walk").name == "the walk"
    assert sys.modules["json"] is json


def test_a_loss_that_the_script_imports(tmp_path):
    script(tmp_path, WALK, "my_losses.py")
    path = script(tmp_path, "from my_losses import walk\nthe_same = walk\n")
    loss = load_loss(str(path))
    assert loss.name == "the walk"
    assert argv_of(loss) == (str(path),)  # as its import saw it


def test_a_module_of_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "a_package").mkdir()
    script(tmp_path / "a_package", WALK, "fit.py")
    monkeypatch.chdir(tmp_path)
    assert load_loss("a_package.fit:walk").name == "the walk"
    assert load_loss("a_package.fit").name == "the walk"


def test_relative_paths_and_a_colon_in_one(tmp_path, monkeypatch):
    (tmp_path / "a:b").mkdir()
    script(tmp_path / "a:b", WALK, "fit.py")
    monkeypatch.chdir(tmp_path)
    assert load_loss("a:b/fit.py:walk").name == "the walk"


@pytest.mark.parametrize(
    ("text", "name", "words", "losses"),
    [
        (WALK, ":jump", "there is no jump in it; its losses are walk.", ("walk",)),
        (WALK, ":sw", "sw is not a loss; its losses are walk.", ("walk",)),
        (WALK + OTHER, "", "its losses are walk, jump. Say which, such as ", ("walk", "jump")),
        (WALK + OTHER, ":fly", "there is no fly in it; its losses are ", ("walk", "jump")),
        ("x = 1\n", "", "there is no loss in it. Decorate the function with @seedwise", ()),
        ("x = 1\n", ":x", "there is no loss in it.", ()),
    ],
)
def test_which_losses_there_are(tmp_path, text, name, words, losses):
    error = refused(f"{script(tmp_path, text)}{name}")
    assert f"{error.target}: {words}" in str(error)
    assert error.losses == losses
    assert error.traceback is None


def test_no_such_file_or_module(tmp_path, monkeypatch):
    assert f"there is no file {tmp_path}/fit.py." in str(refused(tmp_path / "fit.py:walk"))
    script(tmp_path, WALK, "fit.txt")
    assert "fit.txt is not a .py file." in str(refused(tmp_path / "fit.txt:walk"))
    for target in ("no_such_module:walk", "no_such.module:walk", "no_such_module", ":walk"):
        assert "there is no module" in str(refused(target))


@pytest.mark.parametrize(
    ("text", "last", "shown"),
    [
        ("import no_such_thing\n", "ModuleNotFoundError: No module named", "line 1, in <module>"),
        ("def f():\n    return 1 / 0\nf()\n", "ZeroDivisionError: division", "line 2, in f"),
        ("x = \n", "SyntaxError: invalid syntax", "line 1"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3", "line 2, in <module>"),
    ],
)
def test_the_traceback_of_an_import_that_fails(tmp_path, text, last, shown):
    path = script(tmp_path, text)
    error = refused(path)
    assert f"{path}: its import fails:\n\nTraceback (most rec" in str(error) or "Syntax" in last
    assert error.traceback.splitlines()[-1].startswith(last)
    assert shown in error.traceback
    assert "importlib" not in error.traceback
    assert "usercode" not in error.traceback
    assert "a_script" not in sys.modules


@pytest.mark.parametrize(
    ("text", "last"),
    [("1 / 0\n", "ZeroDivisionError"), ("import no_such_thing\n", "ModuleNotFoundError")],
)
def test_the_traceback_of_a_module_whose_import_fails(tmp_path, monkeypatch, text, last):
    monkeypatch.chdir(tmp_path)
    script(tmp_path, text, "a_bad_one.py")
    (tmp_path / "a_bad_package").mkdir()
    script(tmp_path / "a_bad_package", text, "__init__.py")
    script(tmp_path / "a_bad_package", WALK, "fit.py")
    for target in ("a_bad_one:walk", "a_bad_package.fit:walk"):
        error = refused(target)
        assert "importlib" not in error.traceback
        assert error.traceback.splitlines()[-1].startswith(last)


def test_a_script_or_module_that_would_begin_a_run(tmp_path, monkeypatch):
    text = f"{WALK}result = sw.optimize_run(walk)\n"
    assert " begins a run" in str(refused(script(tmp_path, text)))
    monkeypatch.chdir(tmp_path)
    script(tmp_path, text, "begins.py")
    assert " begins a run" in str(refused("begins:walk"))


# The main guard: of the script that runs, and of a file before its import.

SCRIPT = """
import seedwise as sw

@sw.loss(name="line", description="a line", parameter_space={"x": (0.0, 1.0)})
def line(params, seed):
    return params["x"] + seed

def main():
    r = sw.optimize_run(line, n_trials=1, n_seeds=2, workers=1, progress=False)
    print(r.n_trials)

"""


def run(tmp_path, tail, *arguments):
    script = tmp_path / "package" / "__main__.py"
    script.parent.mkdir()
    script.write_text(SCRIPT + tail)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        input=SCRIPT + tail,
        capture_output=True,
        text=True,
        check=False,
    )


GUARDED = [
    'if __name__ == "__main__":\n    main()\n',
    "if '__main__' == __name__:\n    for _ in range(1):\n        main()\n",
    "try:\n    if __name__ == '__main__':\n        main()\nfinally:\n    pass\n",
]


@pytest.mark.parametrize(
    ("arguments", "tail"),
    [
        (["package/__main__.py"], GUARDED[0]),
        *(
            pytest.param(["package/__main__.py"], tail, marks=pytest.mark.full)
            for tail in GUARDED[1:]
        ),
        (["-m", "package"], "main()\n"),  # spawned processes do not import it
        (["-"], "main()\n"),  # nor what has no file
    ],
)
def test_a_script_that_runs(tmp_path, arguments, tail):
    done = run(tmp_path, tail, *arguments)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


@pytest.mark.parametrize(("line", "tail"), [(12, "main()\n"), (13, "if sw:\n    main()\n")])
def test_a_script_without_main_guard(tmp_path, line, tail):
    done = run(tmp_path, tail, "package/__main__.py")
    assert done.returncode == 1
    assert MainGuardError.__name__ in done.stderr
    assert f"__main__.py, line {line}: workers import this script" in done.stderr
    assert 'if __name__ == "__main__":' in done.stderr
    # Once, from the script itself: no worker was started that would have made the call again.
    assert done.stderr.count("Traceback") == 1
    assert not (tmp_path / "runs").exists()


# A file that is imported to find a loss in it.


@pytest.mark.parametrize(
    "call",
    [
        "result = sw.optimize_run(line)",
        "from seedwise import optimize_run as fit\nfit(line)",
        "def fit():\n    sw.run_sweep(line, sw.grid(x=[1]))\nfit()",
        "def fit():\n    inner()\ndef inner():\n    sw.check_run(line)\nfit()",
        "fit = getattr(sw, 'optimize_' + 'entries')\nfit(line, entry_ids=['a'])",
        "class A:\n    r = sw.optimize_run(line)",
    ],
)
def test_a_file_that_would_begin_a_run(tmp_path, call):
    path = tmp_path / "begins_a_run.py"
    path.write_text(f"{SCRIPT}{call}\n")
    begins = " begins a run, and would do so at each import. Put it under if __name__ =="
    with pytest.raises(LossNotFoundError, match=begins) as caught:
        load_loss(f"{path}:line")
    assert caught.value.target == f"{path}:line"


def test_a_file_that_begins_no_run(tmp_path):
    path = tmp_path / "begins_no_run.py"
    guarded = 'if __name__ == "__main__" and True:\n    main()\n'
    path.write_text(f"{SCRIPT}later = lambda: sw.optimize_run(line)\n{guarded}")
    assert load_loss(f"{path}:line").name == "line"
