"""Fingerprints: the same in every process, and other ones when what is used changes."""

from __future__ import annotations

import argparse
import ast
import asyncio
import collections
import concurrent.futures
import dis
import functools
import inspect
import json
import logging
import os
import runpy
import signal
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import seedwise as sw
from seedwise.usercode.fingerprint import fingerprint

# Runs the main.py of each folder below the one it is given, as a script, and tells the
# fingerprints of what it calls `loss`; with a third argument it pickles that by value, too, and
# with "load" it reads these pickles.
RUNNER = """
import contextlib, importlib, json, os, pickle, runpy, sys, warnings
from pathlib import Path

import cloudpickle

from seedwise.usercode.pickling import dumps
from seedwise.usercode.fingerprint import _users_spec, fingerprint

warnings.simplefilter("ignore")
root, how = Path(sys.argv[1]), sys.argv[2]
told = {}
if how == "load":
    for file in sorted(root.rglob("loss.pickle")):
        with contextlib.suppress(AttributeError):
            told[str(file.parent.relative_to(root))] = fingerprint(pickle.loads(file.read_bytes()))
else:
    for main in sorted(root.rglob("main.py")):
        folder = str(main.parent)
        sys.path.insert(0, folder)
        before = set(sys.modules)
        importlib.invalidate_caches()
        _users_spec.cache_clear()

        def users():
            found = [(n, m) for n, m in sys.modules.items() if n not in before]
            return [(n, m) for n, m in found if str(getattr(m, "__file__", "")).startswith(folder)]

        def tell(loss):
            told[os.path.relpath(folder, root)] = fingerprint(loss)
            for _, module in users():
                cloudpickle.register_pickle_by_value(module)
            if how == "dump":
                with contextlib.suppress(pickle.PicklingError, TypeError):
                    (main.parent / "loss.pickle").write_bytes(dumps(loss))
            for _, module in users():
                cloudpickle.unregister_pickle_by_value(module)

        runpy.run_path(str(main), {"tell": tell}, run_name="__main__")
        sys.path.remove(folder)
        for name, _ in users():
            del sys.modules[name]
print(json.dumps(told))
"""


def files(main: str, **others: str) -> dict[str, str]:
    """Return a script and modules beside it by file name; ``pkg__x`` is pkg/x.py."""
    written = {"main.py": textwrap.dedent(main) + "\ntell(loss)\n"}
    for name, text in others.items():
        written[name.replace("__", "/", 1) + ".py"] = textwrap.dedent(text)
    return written


LOSS = """
    def loss(params, seed):
        return params["x"] * 2 + seed
"""

#: What makes no difference.
SAME = {
    "comments, formatting and docstrings": (
        files(
            """
            def near(x, c, y):
                return [v for v in x if (v and c) or (y and v)]

            def loss(params, seed):
                for x in params:
                    if x and seed or (seed > 2 and x):
                        continue
                    while x and isinstance(x, int):
                        x -= 1
                try:
                    return near([params["x"]], 1, 2)
                except ValueError:
                    return "text in" " two parts"
            """
        ),
        files(
            """
            '''A module of its own.'''
            # said

            def near(x, c, y):
                "What is near."
                return [
                    v
                    for v in x
                    if (v and c)
                    or (y and v)
                ]


            def loss(
                params,
                seed,
            ):
                '''The loss.

                In words.
                '''
                for x in params:
                    if (
                        x
                        and seed
                        or (
                            seed > 2 and x
                        )
                    ):
                        continue  # so
                    while (
                        x
                        and isinstance(x, int)
                    ):
                        x -= 1
                try:
                    # here
                    return near(
                        [params["x"]], 1,
                        2)
                except ValueError:
                    return "text in two parts"
            """
        ),
    ),
    "annotations of a function": (
        files(LOSS),
        files("def loss(params: dict, seed: int) -> float:\n    return params['x'] * 2 + seed\n"),
    ),
    "the rest of the script": (
        files(LOSS + "    n_trials = 50\n    def other(): return 1\n"),
        files("    import json\n    n_trials = 100\n" + LOSS + "    def other(): return 2\n"),
    ),
    "what is not used of a module": (
        files(
            "import helpers\ndef loss(p, s): return helpers.f(p)\n",
            helpers="""
            def f(p): return p
            def g(p): return 1
        """,
        ),
        files(
            "import helpers\ndef loss(p, s): return helpers.f(p)\n",
            helpers="""
            '''Helpers.'''
            LIMIT = 3
            def f(p): return p
            def g(p): return 2
        """,
        ),
    ),
    "a docstring in a class": (
        files(
            "class A:\n    'a'\n    def f(self): 'b'; return 1\ndef loss(p, s): return A().f()\n"
        ),
        files("class A:\n    def f(self):\n        return 1\ndef loss(p, s): return A().f()\n"),
    ),
    "a docstring in a class in a function": (
        files(
            "def loss(p, s):\n    class A:\n        'a'\n        x = 1\n    return A.x if p else 2"
        ),
        files("def loss(p, s):\n    class A:\n        x = 1\n    return A.x if p else 2"),
    ),
    "the decorator that makes it a loss": (
        files(
            "import seedwise as sw\n"
            "@sw.loss(name='a', description='a', parameter_space={'x': (0, 1)})\n"
            "def loss(params, seed): return seed\n"
        ),
        files(
            "import seedwise as sw\n"
            "@sw.loss(name='b', description='b', parameter_space={'y': (0, 2)}, seed_start=3)\n"
            "def loss(params, seed): return seed\n"
        ),
    ),
    "a counter": (
        files("n = 0\ndef loss(p, s):\n    global n\n    n += 1\n    return s\n"),
        files("n = 7\ndef loss(p, s):\n    global n\n    n += 1\n    return s\n"),
    ),
    "the order of a set": (
        files("S = {'a', 'b', 'c', ('d', 1), None}\ndef loss(p, s): return s in S\n"),
        files("S = {None, ('d', 1), 'c', 'b', 'a'}\ndef loss(p, s): return s in S\n"),
    ),
}

#: What makes one: a script or modules with ``1``, ``2`` in place of ``$``.
CHANGED = {
    "the code": files("def loss(p, s): return p + $"),
    "an operator": files("def loss(p, s): return p << $ if $ == 1 else p >> $"),
    "what is tried": files(
        """
        def loss(p, s):
            if $ == 1:
                pass
            try:
                a(); b()
            except ValueError:
                c()
        """
    ),
    "a default": files("def loss(p, s, k=$): return k"),
    "a default by keyword": files("def loss(p, s, *, k=$): return k"),
    "a constant": files("K = $\ndef loss(p, s): return K"),
    "a constant in a dict": files("K = {'a': [$]}\ndef loss(p, s): return K"),
    "an array": files(
        "import numpy as np\nK = np.array([[1., $], [2, 3]])\ndef loss(p, s): return K"
    ),
    "an array of objects": files(
        "import numpy as np\nK = np.array([None, 'a', $], object)\ndef loss(p, s): return K"
    ),
    "a frame": files(
        "import pandas as pd\nK = pd.DataFrame({'a': ['x', 'y'], 'b': [1, $]})\n"
        "def loss(p, s): return K"
    ),
    "a generator": files(
        "import numpy as np\nrng = np.random.default_rng($)\ndef loss(p, s): return rng.random()"
    ),
    "a random state": files(
        "import numpy as np\nrng = np.random.RandomState($)\ndef loss(p, s): return rng"
    ),
    "a random number generator": files(
        "import random\nrng = random.Random($)\ndef loss(p, s): return rng.random()"
    ),
    "a set": files("K = {'a', 'b', ('c', $)}\ndef loss(p, s): return K"),
    "a set in the code": files("def loss(p, s): return s in {'a', 'b', 'c', $}"),
    "a path and a date": files(
        "import datetime, pathlib, re\n"
        "K = [pathlib.Path('a$'), datetime.date(2020, 1, 1), re.compile('b')]\n"
        "def loss(p, s): return K"
    ),
    "a pattern": files("import re\nK = re.compile('b$')\ndef loss(p, s): return K"),
    "a helper": files("def f(x): return x + $\ndef loss(p, s): return f(s)"),
    "a helper's helper": files(
        "def g(x): return x * $\ndef f(x): return g(x)\ndef loss(p, s): return f(s)"
    ),
    "helpers that call one another": files(
        """
        def f(x): return g(x - 1) if x else 0
        def g(x): return f(x - $)
        def loss(p, s): return f(s) + g(s) + loss(p, s - 1)
        """
    ),
    "a helper in a comprehension": files(
        "def f(x): return x + $\ndef loss(p, s): return [f(x) for x in [lambda: f(1)]]"
    ),
    "a function of a module": files(
        "import helpers\ndef loss(p, s): return helpers.f(s)", helpers="def f(x): return x + $"
    ),
    "a constant of a module": files(
        "import helpers as h\ndef loss(p, s): return s < h.K", helpers="K = $"
    ),
    "a module under another name": files(
        "import helpers\ndef loss(p, s):\n    m = helpers\n    return m.f(s)",
        helpers="def f(x): return x + $",
    ),
    "a name from a module": files(
        "from helpers import f\ndef loss(p, s): return f(s)",
        helpers="from deeper import g\ndef f(x): return g(x)",
        deeper="import deepest\ndef g(x): return deepest.K",
        deepest="K = $",
    ),
    "a module of a package": files(
        "import pkg.sub\ndef loss(p, s): return pkg.sub.f(s)",
        pkg____init__="",
        pkg__sub="from . import low\ndef f(x): return low.K",
        pkg__low="from pkg import sub\nK = $",
    ),
    "a module that is imported in the function": files(
        "def loss(p, s):\n    import late\n    return late.f(s)",
        late="if __name__: raise SystemExit('not to be imported')\ndef f(x): return x + $",
    ),
    "a name that is imported in the function": files(
        "def loss(p, s):\n    from pkg.late import f\n    return f(s)",
        pkg____init__="",
        pkg__late="from . import low\nfrom .low import K\ndef f(x): return low.K",
        pkg__low="import pkg.late\nK = $",
    ),
    "a closure": files(
        "def make(k):\n    def loss(p, s): return k\n    return loss\nloss = make($)"
    ),
    "a function in a closure": files(
        "def make(k):\n    def loss(p, s): return k(s)\n    return loss\n"
        "loss = make(lambda s: s + $)"
    ),
    "a lambda": files("loss = [None, lambda p, s: s + 1, lambda p, s: s + $][$]"),
    "a lambda that calls": files("def f(x): return $\nloss = lambda p, s: f(s)"),
    "what is bound": files(
        "from functools import partial\ndef f(k, p, s): return k\nloss = partial(f, $)"
    ),
    "the function that is bound": files(
        "from functools import partial\ndef f(k, p, s): return k + $\nloss = partial(f, 3, p=1)"
    ),
    "a wrapped function": files(
        """
        import functools
        def twice(f):
            @functools.wraps(f)
            def inner(*args): return f(*args) + f(*args)
            return inner
        @twice
        def loss(p, s): return s + $
        """
    ),
    "a wrapper": files(
        """
        import functools
        def twice(f):
            @functools.wraps(f)
            def inner(*args): return f(*args) * $
            return inner
        @twice
        def loss(p, s): return s
        """
    ),
    "a cached function": files(
        "import functools\n@functools.lru_cache\ndef f(x): return x + $\n"
        "def loss(p, s): return f(s)"
    ),
    "a context manager": files(
        """
        import contextlib
        @contextlib.contextmanager
        def at(x): yield x + $
        def loss(p, s):
            with at(s) as y:
                return y
        """
    ),
    "a method": files("class A:\n    def f(self): return $\ndef loss(p, s): return A().f()"),
    "an attribute of a class": files("class A:\n    k = $\ndef loss(p, s): return A.k"),
    "a base class": files(
        "class A:\n    def f(self): return $\nclass B(A): pass\ndef loss(p, s): return B().f()"
    ),
    "a property and the like": files(
        """
        class A:
            __slots__ = ("x",)
            @property
            def f(self): return 1
            @classmethod
            def g(cls): return super().x
            @staticmethod
            def h(): return $
        def loss(p, s): return A().f
        """
    ),
    "a method of another class": files(
        """
        class A:
            def f(self): return B()
        class B:
            def g(self): return A, $
        def loss(p, s): return A()
        """
    ),
    "a bound method": files(
        "class A:\n    def __init__(self, k): self.k = k\n    def f(self, p, s): return self.k\n"
        "loss = A($).f"
    ),
    "a bound method's code": files("class A:\n    def f(self, p, s): return $\nloss = A().f"),
    "a callable instance": files(
        "class A:\n    def __init__(self): self.k = self, $\n"
        "    def __call__(self, p, s): return 1\nloss = A()"
    ),
    "a callable instance's code": files(
        "import threading\n"
        "class A:\n    def __init__(self): self.lock = threading.Lock()\n"
        "    def __call__(self, p, s): return $\nloss = A()"
    ),
    "what an instance with a lock holds": files(
        "import threading\n"
        "class A:\n    def __init__(self): self.lock, self.k = threading.Lock(), $\n"
        "    def __call__(self, p, s): return self.k\nloss = A()"
    ),
    "slots": files(
        "class A:\n    __slots__ = ('k', 'l')\n    def __init__(self): self.k = $\n"
        "a = A()\ndef loss(p, s): return a.k"
    ),
    "a dataclass": files(
        """
        from dataclasses import dataclass, field
        @dataclass(frozen=True)
        class A:
            a: int = 3
            b: list = field(default_factory=lambda: [$])
        def loss(p, s): return A().b
        """
    ),
    "a dataclass's instance": files(
        """
        from dataclasses import dataclass
        @dataclass
        class A:
            a: "int"
            b: list[int]
        a = A(1, [$])
        def loss(p, s): return a
        """
    ),
    "an attrs class": files(
        """
        import attrs
        @attrs.frozen
        class A:
            a: int = 3
            b: int = $
        def loss(p, s): return A(1)
        """
    ),
    "a named tuple": files(
        """
        from typing import NamedTuple
        class A(NamedTuple):
            a: int
            b: int = 2
        a = A($)
        def loss(p, s): return a
        """
    ),
    "an enum": files(
        """
        from enum import Enum
        class A(Enum):
            ONE = $
            THREE = 3
            def f(self): return 1
        def loss(p, s): return A.THREE.f()
        """
    ),
    "a method of an enum": files(
        """
        from enum import Enum
        class A(Enum):
            ONE = 1
            def f(self): return $
        def loss(p, s): return A.ONE.f()
        """
    ),
    "an abstract class": files(
        """
        import abc, typing
        T = typing.TypeVar("T")
        class A(abc.ABC, typing.Generic[T]):
            @abc.abstractmethod
            def f(self): return 1
        class B(A[int]):
            def f(self): return $
        def loss(p, s): return isinstance(B(), A) and B().f()
        """
    ),
    "an attribute of a function": files(
        "def f(x): return f.scale\nf.scale = $\ndef loss(p, s): return f(s)"
    ),
    "another loss that is used": files(
        "import seedwise as sw\n"
        "@sw.loss(name='a', description='a', parameter_space={'x': (0, 1)})\n"
        "def inner(params, seed): return $\n"
        "@sw.loss(name='b', description='b', parameter_space={'x': (0, 1)})\n"
        "def loss(params, seed): return inner(params, seed)"
    ),
    "an instance that names itself": files(
        "class Node: pass\na, b = Node(), Node()\na.other, b.other, b.k = b, a, [a, b, $]\n"
        "def loss(p, s): return {a: b}[a]"
    ),
    "a seed": files("import optuna\nloss = optuna.samplers.TPESampler(seed=$)"),
    "an option": files("import optuna\nloss = optuna.samplers.TPESampler(n_startup_trials=$)"),
    "the code of an option": files(
        "import optuna\nloss = optuna.samplers.TPESampler(seed=1, gamma=lambda n: $)"
    ),
    "an option of CMA-ES": files("import optuna\nloss = optuna.samplers.CmaEsSampler(popsize=$)"),
    "an option of NSGA-II": files(
        "import optuna\nloss = optuna.samplers.NSGAIISampler(population_size=$ + 1)"
    ),
    "a grid": files("import optuna\nloss = optuna.samplers.GridSampler({'x': [1, 2, $ + 2]})"),
    "the seed of a sequence": files("import optuna\nloss = optuna.samplers.QMCSampler(seed=$)"),
    "the kind of a sequence": files(
        "import optuna\nloss = optuna.samplers.QMCSampler(qmc_type=['sobol', 'halton'][$ - 1])"
    ),
    "a sampler in a sampler": files(
        "import optuna\nbase = optuna.samplers.RandomSampler(seed=$)\n"
        "loss = optuna.samplers.PartialFixedSampler({'x': 1}, base)"
    ),
    "a sampler of one's own": files(
        """
        import optuna
        class Mine(optuna.samplers.RandomSampler):
            def sample_independent(self, *args): return $
        loss = Mine()
        """
    ),
}


#: What cloudpickle can't pickle by value: locks, modules that hold one another, lru_cache.
NOT_PICKLED = {
    "a cached function",
    "a callable instance's code",
    "a module of a package",
    # These go with the path on which they are found.
    "a module that is imported in the function",
    "a name that is imported in the function",
    "what an instance with a lock holds",
    "slots",  # a class that was unpickled has none
}


def write(folder: Path, content: dict[str, str]) -> None:
    for name, text in content.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def told(root: Path, hash_seed: int, how: str = "tell", cwd: Path | None = None) -> dict[str, str]:
    """Run all scripts below a folder in one process, or load what they pickled."""
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, str(root), how],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Tell the fingerprints of all cases, in four processes, the last of which unpickles."""
    root = tmp_path_factory.mktemp("fingerprints")
    for i, pair in enumerate(SAME.values()):
        for variant, content in enumerate(pair):
            write(root / f"same{i}" / str(variant), content)
    for i, content in enumerate(CHANGED.values()):
        for variant in range(2):
            own = {name: text.replace("$", str(variant + 1)) for name, text in content.items()}
            write(root / f"changed{i}" / str(variant), own)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    return (
        told(root, 1),
        told(root, 2),
        told(root, 3, "dump"),
        told(root, 4, "load", cwd=elsewhere),
    )


@pytest.mark.parametrize("case", range(len(SAME)), ids=list(SAME))
def test_what_makes_no_difference(found, case):
    one, other, *_ = found
    assert one[f"same{case}/0"] == one[f"same{case}/1"] == other[f"same{case}/1"]


@pytest.mark.parametrize("case", range(len(CHANGED)), ids=list(CHANGED))
def test_what_changes_it(found, case):
    one, other, *_ = found
    assert one[f"changed{case}/0"] != one[f"changed{case}/1"]
    for variant in range(2):
        assert one[f"changed{case}/{variant}"] == other[f"changed{case}/{variant}"]


@pytest.mark.parametrize("case", range(len(CHANGED)), ids=list(CHANGED))
def test_it_is_the_same_where_it_was_unpickled(found, case):
    one, _, dumped, loaded = found
    for variant in range(2):
        name = f"changed{case}/{variant}"
        assert one[name] == dumped[name]
        if list(CHANGED)[case] not in NOT_PICKLED:
            assert one[name] == loaded[name]


def test_it_has_16_hex_digits():
    assert len(bytes.fromhex(fingerprint(None))) == 8


def test_a_sampler_without_a_seed_is_the_same_in_every_process(tmp_path):
    samplers = ["TPE", "Random", "CmaEs", "QMC", "NSGAII", "BruteForce", "GP"]
    for name in samplers:
        main = f"import optuna\nloss = optuna.samplers.{name}Sampler()"
        write(tmp_path / name, files(main))
        write(
            tmp_path / f"copied{name}", files(f"import copy\n{main}\nloss = copy.deepcopy(loss)")
        )
    one, other = told(tmp_path, 1), told(tmp_path, 2)
    assert one == other
    assert len(set(one.values())) == len(samplers)
    assert all(one[name] == one[f"copied{name}"] for name in samplers)


def test_a_script_that_runs_for_itself(tmp_path):
    """As a user has it: run twice, then changed where it does not matter, then where it does."""
    script = """
        from fingers import fingerprint
        import seedwise as sw

        CENTRE = 0.3

        @sw.loss(name="walk", description="where it ends", parameter_space={"x": (0, 1)})
        def walk(params, seed):
            return abs(params["x"] - CENTRE) + noise(seed)

        def noise(seed):
            return seed in {"some", "words", "in", "a", "set"}

        if __name__ == "__main__":
            print(fingerprint(walk), 50)
    """
    write(tmp_path, {"fingers.py": "from seedwise.usercode.fingerprint import fingerprint"})

    def run(hash_seed: str, *change: str) -> str:
        text = textwrap.dedent(script)
        assert not change or change[0] in text
        (tmp_path / "script.py").write_text(text.replace(*change) if change else text)
        done = subprocess.run(
            [sys.executable, "script.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()[0]

    before = run("1")
    assert run("2") == before
    assert run("3", "50", "100") == before
    assert run("4", "import seedwise", "# said\n\nimport seedwise") == before
    assert run("5", "words", "word") != before
    assert run("6", "0.3", "0.4") != before


@pytest.mark.parametrize(
    "module", [argparse, asyncio.base_events, concurrent.futures._base, inspect, signal]
)
def test_formatting_makes_no_difference_to_any_code(module):
    """The compiler shortens jumps within a line; these modules have such code."""
    source = Path(module.__file__).read_text(encoding="utf-8")
    formatted = ast.unparse(ast.parse(source))
    assert formatted != source
    codes = [compile(text, "x", "exec", dont_inherit=True) for text in (source, formatted)]
    assert fingerprint(codes[0]) == fingerprint(codes[1])


def test_a_loss_counts_by_how_it_is_called(monkeypatch):
    def define(function, **options):
        space = {"x": (0, 1)}
        monkeypatch.setattr("seedwise.model.loss._registry", {})
        return sw.loss(name="a", description="a", parameter_space=space, **options)(function)

    def plain(params, seed):
        return 1

    assert fingerprint(define(plain)) == fingerprint(define(plain, seed_start=3))
    assert fingerprint(define(plain)) != fingerprint(define(plain, vectorized=True))


class Odd:
    def __reduce_ex__(self, protocol):
        raise RuntimeError("not to be had")

    def __getattr__(self, name):
        raise RuntimeError(name)


class Liar:
    def __eq__(self, other):
        raise RuntimeError

    __hash__ = None

    @property
    def __class__(self):
        raise RuntimeError("whose am I?")


def strange():
    circle = []
    circle.append(circle)
    chain = None
    for _ in range(5000):
        chain = {"next": chain}
    nest = ()
    for _ in range(5000):
        nest = (nest,)
    empty = (lambda: empty_cell).__closure__
    if chain is None:
        empty_cell = 1
    return {
        "a lock": threading.Lock(),
        "a generator": (i for i in ()),
        "a module": ast,
        "an object": object(),
        "a big number": 10**10000,
        "no number": float("nan"),
        "a lone surrogate": "\udc80",
        "one that fails": Odd(),
        "one that lies": Liar(),
        "a circle": circle,
        "a long chain": chain,
        "a deep nest": nest,
        "an empty cell": empty,
        "builtins": [len, [].append, str.join, object.__init__, "".__len__, type, int.real],
        "generic": [list[int], int | str, Callable[[int], str]],
        "arrays": [np.zeros(()), np.zeros((0, 3)), np.array(["a"]), np.zeros(2, "M8[s]")],
        "structured": np.zeros(2, [("a", "f8"), ("b", "i4")]),
        "masked": np.ma.masked_array([1, 2], [True, False]),
        "collections": [collections.Counter("a"), collections.deque([1]), range(3), slice(1)],
        "weak": weakref.WeakKeyDictionary(),
        "a logger": logging.getLogger("a"),
    }


@pytest.mark.parametrize("name", list(strange()))
def test_nothing_makes_it_fail(name):
    one, other = strange()[name], strange()[name]
    assert fingerprint(one) == fingerprint(other)


def test_a_chain_of_many_helpers():
    def chain(last: int):
        namespace = {}
        lines = [f"def f{i}(x): return f{i + 1}(x)" for i in range(3000)]
        exec("\n".join([*lines, f"def f3000(x): return {last}"]), namespace)
        return namespace["f0"]

    assert fingerprint(chain(1)) == fingerprint(chain(1))
    assert fingerprint(chain(1)) != fingerprint(chain(2))


def test_what_it_did_before_makes_no_difference():
    """Bytecode adapts to what it is called with; caches fill."""

    @functools.lru_cache
    def cached(x):
        return x

    @functools.singledispatch
    def single(x):
        return cached(x)

    def loss(params, seed):
        return sum(single(i) + len(str(i)) for i in range(seed))

    before = fingerprint(loss)
    assert [loss({}, 100) for _ in range(100)]
    assert fingerprint(loss) == before
    assert "ADAPTIVE" not in str([*dis.get_instructions(loss)])


def test_it_reads_no_source(tmp_path):
    """What was edited since it was imported is not what runs."""
    (tmp_path / "edited.py").write_text("def f(): return 1\n")
    namespace = runpy.run_path(str(tmp_path / "edited.py"))
    before = fingerprint(namespace["f"])
    (tmp_path / "edited.py").write_text("def f(): return 2\n")
    assert fingerprint(namespace["f"]) == before
