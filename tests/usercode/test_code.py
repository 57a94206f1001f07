"""Code as it is saved: its id, its texts and its manifest."""

from __future__ import annotations

import ast
import json
import sys
import types
from pathlib import Path

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
    take_snapshot,
)
from tests.builders import code
from tests.usercode.programs import ProgramError, write

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


# The taking of a snapshot: which files are the user's own code, and what is in them.

PURE = "K = 1\n"

#: Files, how they are started, and the copies of the modules, without the folder's name.
SNAPSHOTS = {
    "a script alone": ({"main.py": "import json, numpy, seedwise"}, {"__main__": "main.py"}),
    "a script without a suffix": ({"fit": PURE, "start": "script('fit')"}, {"__main__": "fit.py"}),
    "modules that it imports, and they in turn": (
        {"main.py": "import a", "a.py": "import b", "b.py": PURE, "unused.py": PURE},
        {"__main__": "main.py", "a": "a.py", "b": "b.py"},
    ),
    "imports in functions and of names": (
        {
            "main.py": "def f():\n    from pkg.low import K\n    import b, pkg.deep.c\n",
            "b.py": "def g():\n    if 0:\n        import d",
            "d.py": PURE,
            "pkg/__init__.py": "",
            "pkg/low.py": "from . import side",
            "pkg/side.py": PURE,
            "pkg/deep/__init__.py": "from ..low import K",
            "pkg/deep/c.py": PURE,
        },
        {
            "__main__": "main.py",
            "b": "b.py",
            "d": "d.py",
            "pkg": "pkg/__init__.py",
            "pkg.low": "pkg/low.py",
            "pkg.side": "pkg/side.py",
            "pkg.deep": "pkg/deep/__init__.py",
            "pkg.deep.c": "pkg/deep/c.py",
        },
    ),
    "the whole of a package, without what is not its code": (
        {
            "main.py": "import pkg",
            "pkg/__init__.py": "",
            "pkg/by_name.py": PURE,
            "pkg/1-by-name.py": PURE,
            "pkg/deep/by_name.py": PURE,
            "other.py": PURE,
            "pkg/.hidden/a.py": PURE,
            "pkg/__pycache__/a.cpython-311.pyc": "",
            "pkg/venv/pyvenv.cfg": "",
            "pkg/venv/lib/a.py": PURE,
            "pkg/runs/mine/meta.json": "{}",
            "pkg/runs/mine/code/a.py": PURE,
            "pkg/runs/yours/driver.lease": "",
            "pkg/runs/yours/a.py": PURE,
            "pkg/data/table.csv": "1,2",
        },
        {
            "__main__": "main.py",
            "pkg": "pkg/__init__.py",
            "pkg.1-by-name": "pkg/1-by-name.py",
            "pkg.by_name": "pkg/by_name.py",
            "pkg.deep": None,
            "pkg.deep.by_name": "pkg/deep/by_name.py",
        },
        "pkg/data/table.csv",
    ),
    "a namespace package": (
        {"main.py": "import space.a.b", "space/a/b.py": PURE, "space/other.py": PURE},
        {"__main__": "main.py", "space": None, "space.a": None, "space.a.b": "space/a/b.py"},
    ),
    "a namespace package that is imported later": (
        {"main.py": "def f(): import space.a.b", "space/a/b.py": PURE},
        {"__main__": "main.py", "space": None, "space.a": None, "space.a.b": "space/a/b.py"},
    ),
    "modules that import one another": (
        {"main.py": "import a", "a.py": "import b", "b.py": "import a, c", "c.py": "import main"},
        {**{name: f"{name}.py" for name in "abc"}, "__main__": "main.py", "main": "main.py"},
    ),
    "what does not compile": (
        {
            "main.py": "import pkg\ntry:\n    import bad\nexcept SyntaxError: pass",
            "bad.py": "def f(:",
            "pkg/__init__.py": "",
            "pkg/bad.py": "def f(:",
        },
        {
            "__main__": "main.py",
            "bad": "bad.py",
            "pkg": "pkg/__init__.py",
            "pkg.bad": "pkg/bad.py",
        },
    ),
    "imports that lead nowhere": (
        {"main.py": "def f():\n    import not_there.at_all, os.pa\n    from ... import x"},
        {"__main__": "main.py"},
    ),
    "a module of a package": (
        {
            "pkg/__init__.py": "",
            "pkg/fit.py": "from . import a\ndef f():\n    from .b import K",
            "pkg/a.py": PURE,
            "pkg/b.py": PURE,
            "start": "module('pkg.fit')",
        },
        {
            "__main__": "pkg/fit.py",
            "pkg": "pkg/__init__.py",
            "pkg.a": "pkg/a.py",
            "pkg.b": "pkg/b.py",
            "pkg.fit": "pkg/fit.py",
        },
    ),
    "a package that is run": (
        {
            "pkg/__init__.py": "",
            "pkg/__main__.py": "from . import a",
            "pkg/a.py": PURE,
            "start": "module('pkg')",
        },
        {
            "pkg": "pkg/__init__.py",
            "pkg.a": "pkg/a.py",
            "pkg.__main__": "pkg/__main__.py",
        },
    ),
    "no script": ({"a.py": PURE, "start": "text('import a')"}, {"a": "a.py"}),
    "nothing": ({"start": "text('import json')"}, {}),
    "an installed script": (
        {"lib/site-packages/tool.py": PURE, "start": "script('lib/site-packages/tool.py')"},
        {},
    ),
    "an installed script that loads the user's modules": (
        {
            "lib/site-packages/tool.py": "import sys\nsys.path.insert(0, '.')\nimport a",
            "a.py": "def f():\n    import b",
            "b.py": PURE,
            "pkg/__init__.py": PURE,
            "start": "script('lib/site-packages/tool.py')",
        },
        {"a": "a.py", "b": "b.py"},
    ),
    "a script by a path that goes up": (
        {"main.py": PURE, "below/a.py": PURE, "start": "script('below/../main.py')"},
        {"__main__": "main.py"},
    ),
    "what is installed beside the script": (
        {
            "main.py": "import sys\nsys.path.insert(0, 'lib/site-packages')\nimport tool, a",
            "lib/site-packages/tool.py": PURE,
            "a.py": PURE,
        },
        {"__main__": "main.py", "a": "a.py"},
    ),
    "modules without a file": (
        {
            "main.py": "import sys, types\nsys.modules['made'] = types.ModuleType('made')\n"
            "sys.modules['a.b'] = made = types.ModuleType('other')\nmade.__file__ = 'main.py'\n"
            "sys.modules['odd'] = types.ModuleType('odd')\nsys.modules['odd'].__file__ = 'gone.py'"
        },
        {"__main__": "main.py"},
    ),
    "folders of the same name, and files": (
        {
            "src/main.py": "import sys\nsys.path += ['other/src', 'third/src']\nimport a, b",
            "other/src/a.py": PURE,
            "third/src/b.py": "def f(): import main",
            "start": "script('src/main.py')",
        },
        {
            "__main__": "src/main.py",
            "a": "other/src/a.py",
            "b": "third/src/b.py",
            "main": "src/main.py",
        },
    ),
}


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_what_a_snapshot_holds(name, programs, tmp_path):
    files, modules, *data = SNAPSHOTS[name]
    files = dict(files)
    start = files.pop("start", "script()")
    found = programs.run(write(tmp_path, files), f"{start}; answer = snapshot()")
    root = f"{tmp_path}/".removeprefix("/")
    copies = {name: copy and copy.removeprefix(root) for name, copy in found["modules"].items()}
    assert copies == modules
    kept = {file.removeprefix(root) for file in found["files"]}
    assert kept == {copy for copy in modules.values() if copy} | {*data}


def test_an_editable_install_whose_finder_is_pythons(programs, tmp_path):
    """As setuptools makes them: no entry of ``sys.path`` leads to the package."""
    finder = """
        import importlib.util, sys
        class Finder:
            @classmethod
            def find_spec(cls, name, path=None, target=None):
                if name == "mine":
                    return importlib.util.spec_from_file_location(name, "work/mine/__init__.py")
        sys.meta_path.append(Finder)
        def f():
            import mine.low
    """
    files = {
        "main.py": finder,
        "work/mine/__init__.py": "",
        "work/mine/low.py": PURE,
        "work/mine/by_name.py": PURE,
    }
    found = programs.run(write(tmp_path, files), "script(); answer = snapshot()")
    root = f"{tmp_path}/".removeprefix("/")
    assert found["modules"] == {
        "__main__": f"{root}main.py",
        "mine": f"{root}work/mine/__init__.py",
        "mine.low": f"{root}work/mine/low.py",
        "mine.by_name": f"{root}work/mine/by_name.py",
    }


def test_a_project_behind_a_link_keeps_its_name(programs, tmp_path):
    write(tmp_path / "real", {"main.py": "import a", "a.py": PURE})
    (tmp_path / "link").symlink_to(tmp_path / "real")
    steps = "script('link/main.py'); answer = take_snapshot(None, {})[0].modules['a'].path"
    assert programs.run(tmp_path, steps) == f"{tmp_path}/link/a.py"


def test_a_path_that_goes_up_from_behind_a_link_is_not_mistaken(programs, tmp_path):
    write(tmp_path, {"real/deep/a.py": PURE, "real/main.py": "import main", "main.py": "K = 2"})
    (tmp_path / "link").symlink_to(tmp_path / "real/deep")
    steps = """
        script("link/../main.py")
        code = take_snapshot(None, {"main": Path("main.py").absolute()})[0]
        answer = {name: source.decode() for name, source in code.sources.items()}
    """
    assert programs.run(tmp_path, steps) == {"__main__": "import main", "main": "K = 2"}


def test_in_a_test_it_holds_what_the_loss_needs():
    code, files = take_snapshot(None, {"tests.losses": None})
    assert set(code.modules) == set(code.sources) == {"tests", "tests.losses"}
    assert {Path(file).name for file in files} == {"__init__.py", "losses.py"}


def test_the_path_is_as_it_was(programs, tmp_path):
    steps = """
        text("import sys; sys.path[1:1] = ['lib', 'lib/site-packages', 'more']")
        code = take_snapshot(("a",), {})[0]
        answer = [code.path[:4], code.n_own, len(code.path) == len(sys.path), code.cwd, code.argv]
    """
    path, *rest = programs.run(tmp_path, steps)
    here = str(tmp_path)
    assert path == [here, f"{here}/lib", f"{here}/lib/site-packages", f"{here}/more"]
    assert rest == [2, True, here, ["a"]]


DATA = {
    "main.py": "import pkg",
    "pkg/__init__.py": "",
    "pkg/a.bin": b"1" * 60,
    "pkg/b.bin": b"1" * 60,
    "pkg/large.bin": b"1" * 101,
    "pkg/z.bin": b"1" * 40,
}
LIMITS = "import seedwise.usercode.code as limits\n"


def test_data_up_to_a_size(programs, tmp_path):
    steps = "limits._LARGEST_DATA_B, limits._MOST_DATA_B = 100, 110\nscript(); answer = snapshot()"
    found = programs.run(write(tmp_path, DATA), LIMITS + steps)
    assert [Path(file).name for file in found["files"]] == [
        *("main.py", "__init__.py", "a.bin", "z.bin")
    ]


@pytest.mark.parametrize(
    ("limit", "most"),
    [("_MOST_FILES = 5", "5 files or 100 MB"), ("_MOST_B = 1e2", "10000 files or 0 MB")],
)
def test_what_is_too_large_is_refused(limit, most, programs, tmp_path):
    write(tmp_path, DATA)
    with pytest.raises(ProgramError, match=f"has more than {most}, in {tmp_path}") as caught:
        programs.run(tmp_path, f"{LIMITS}limits.{limit}\nscript(); snapshot()")
    assert caught.value.kind == "SnapshotError"


def test_a_file_that_was_edited_is_read_again(programs, tmp_path):
    write(tmp_path, {"main.py": "import a", "a.py": "K = 1"})
    steps = """
        script()
        ids = [take_snapshot(None, {})[0].id for _ in range(2)]
        Path("a.py").write_text("K = 22")
        code = take_snapshot(None, {})[0]
        answer = [*ids, code.id, code.sources["a"].decode()]
    """
    first, again, edited, source = programs.run(tmp_path, steps)
    assert first == again != edited
    assert source == "K = 22"


def test_a_file_that_is_gone_by_now(programs, tmp_path):
    write(tmp_path, {"main.py": "import a, b\nfrom pathlib import Path\nPath('a.py').unlink()"})
    write(tmp_path, {"a.py": PURE, "b.py": PURE})
    found = programs.run(tmp_path, "script(); answer = snapshot()")
    assert set(found["modules"]) == {"__main__", "b"}
