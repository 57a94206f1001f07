"""Fingerprints: the same in every process, and other ones when what goes by value changes."""

from __future__ import annotations

import ast
import collections
import functools
import json
import logging
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import tracemalloc
import types
import warnings
import weakref
from collections.abc import Callable

import numpy as np
import pytest

import seedwise as sw
from seedwise.usercode.fingerprint import fingerprint
from seedwise.usercode.pickling import dumps

FORMATTED = """
    '''A module of its own.'''
    # said

    def near(x, c, y):
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
            return "text in" " two parts"
"""

COUNTER = """
    n = $
    def loss(p, s):
        def count():
            global n
            n += 1
        count()
        return n
"""

#: What makes no difference.
SAME = {
    "comments and formatting": (FORMATTED, ast.unparse(ast.parse(textwrap.dedent(FORMATTED)))),
    "a counter": (COUNTER.replace("$", "0"), COUNTER.replace("$", "7")),
    "a docstring, and no return": ("def loss(p, s): print(s)", "def loss(p, s): 'a'; print(s)"),
    "a docstring in a class": (
        "class loss:\n 'a'\n @property\n def f(self): 'b'; return 1",
        "class loss:\n @property\n def f(self): return 1",
    ),
    "annotations of a function": (
        "def loss(params, seed): return seed",
        "def loss(params: dict, seed: int) -> float: return seed",
    ),
    "the rest of the script": (
        "def loss(p, s): return s * 2\nn_trials = 50\ndef other(): return 1",
        "import json\nn_trials = 100\ndef other(): return 2\n\ndef loss(p, s): return s * 2",
    ),
    "the decorator that makes it a loss": tuple(
        f"""
        import seedwise as sw
        @sw.loss(name={name!r}, description="d", parameter_space={{{name!r}: (0, 1)}}, {rest})
        def loss(params, seed): return seed
        """
        for name, rest in (("a", ""), ("b", "seed_start=3"))
    ),
    "the order of sets": (
        """
        S = {'a', 'b', 'c', ('d', 1), None, frozenset({'e', 'f'}), frozenset({'e', 'g'})}
        def loss(p, s): return s in S or s in {1, 2, 'h'}
        """,
        """
        S = {frozenset({'g', 'e'}), frozenset({'f', 'e'}), None, ('d', 1), 'c', 'b', 'a'}
        def loss(p, s): return s in S or s in {'h', 2, 1}
        """,
    ),
    "whether equal constants are one object": (
        "a = b = (1, 'x' * 3)\ndef loss(p, s): return a, b",
        "a, b = (1, 'xxx'), (int('1'), 'x' * 3)\ndef loss(p, s): return a, b",
    ),
}

#: What makes one: code with ``1``, ``2`` in place of ``$``.
CHANGED = {
    "the code": "def loss(p, s): return p + $",
    "a default": "def loss(p, s, k=$): return k",
    "a keyword's default": "def loss(p, s, *, k=$): return k",
    "a constant of a comprehension": "def loss(p, s): return ['$' for _ in p]",
    "a constant of a generator": "def loss(p, s): return list('$' for _ in p)",
    "a constant of a lambda": "loss = lambda p, s: '$'",
    "a constant": "K = $\ndef loss(p, s): return K",
    "a constant in a dict": "K = {'a': [$]}\ndef loss(p, s): return K",
    "an array": "import numpy as np\nloss = np.array([[1., $], [2, 3]])",
    "an array of objects": "import numpy as np\nloss = np.array([[1], $], dtype=object)",
    "a frame": """
        import pandas as pd
        loss = pd.DataFrame({'a': ['x', 'y'], 'b': [1, $]}, index=['k', 'l'])
        """,
    "a frame of objects": "import pandas as pd\nloss = pd.DataFrame({'a': [[1], [$]]})",
    "a generator of numpy": "import numpy as np\nloss = np.random.default_rng($).random",
    "an old generator of numpy": "import numpy as np\nloss = np.random.RandomState($).rand",
    "a random number generator": "import random\nloss = random.Random($).random",
    "a set": "K = {'a', 'b', ('c', $)}\ndef loss(p, s): return K",
    "a set of a constant": "def loss(p, s): return s in {'a', 'b', $}",
    "a set of what has sets": """
        class Node: pass
        loss = {Node() for _ in range(9)}
        for i, node in enumerate(loss):
            node.i, node.others = i * $, loss - {node}
        """,
    "a pattern": "import re\nloss = re.compile('b$')",
    "a helper": "def f(x): return x + $\ndef loss(p, s): return f(s)",
    "a closure": """
        def make(k):
            def loss(p, s): return k
            return loss
        loss = make($)
        """,
    "a lambda": "loss = [None, lambda p, s: s + 1, lambda p, s: s + $][$]",
    "what is bound": "from functools import partial\nloss = partial(lambda k, p, s: k, $)",
    "a wrapper": """
        import functools
        def twice(f):
            @functools.wraps(f)
            def inner(*args): return f(*args) * $
            return inner
        @twice
        def loss(p, s): return s
        """,
    "what a library wraps": """
        import contextlib
        @contextlib.contextmanager
        def loss(p, s): yield $
        """,
    "a cached function": "import functools\nloss = functools.lru_cache(lambda x: x + $)",
    "a method": """
        class A:
            def f(self): return $
        def loss(p, s): return A().f()
        """,
    "a property": """
        class A:
            @property
            def f(self): return $
        loss = A
        """,
    "a base class": """
        class A:
            def f(self): return $
        class B(A): __slots__ = 'a'
        loss = B
        """,
    "a bound method": """
        class A:
            def __init__(self, k): self.k = k
            def f(self, p, s): return self.k
        loss = A($).f
        """,
    "a callable instance": """
        class A:
            def __init__(self): self.k = self, $
            def __call__(self, p, s): return 1
        loss = A()
        """,
    "what an instance with a lock holds": """
        import threading
        class A:
            def __init__(self): self.lock, self.k = threading.Lock(), $
        loss = A()
        """,
    "what a thread or a context has": """
        import contextvars, threading
        loss = threading.local(), contextvars.ContextVar('a', default=$)
        loss[0].k = $
        """,
    "an instance of a dataclass": """
        from dataclasses import dataclass
        @dataclass
        class A:
            a: "int"
            b: list[int]
        loss = A(1, [$])
        """,
    "an instance of attrs": """
        import attrs
        @attrs.frozen
        class A:
            a: int
            b: list[int] = attrs.field(factory=list)
        loss = A(1, [$])
        """,
    "an enum": """
        from enum import Enum
        class A(Enum):
            ONE = $
            THREE = 3
            def f(self): return 1
        def loss(p, s): return A.THREE.f()
        """,
    "another loss that is used": """
        import seedwise as sw
        @sw.loss(name='a', description='a', parameter_space={'x': (0, 1)})
        def inner(params, seed): return $
        def loss(params, seed): return inner(params, seed)
        """,
    "an instance that names itself": """
        class Node: pass
        a, b = Node(), Node()
        a.other, b.other, b.k = b, a, [a, b, $]
        loss = {a: b}
        """,
    "a seed": "import optuna\nloss = optuna.samplers.TPESampler(seed=$)",
    "an option": "import optuna\nloss = optuna.samplers.TPESampler(n_startup_trials=$)",
    "the code of an option": "import optuna\nloss = optuna.samplers.TPESampler(gamma=lambda n: $)",
    "a grid": "import optuna\nloss = optuna.samplers.GridSampler({'x': [1, 2, $ + 2]}, seed=1)",
    "the seed of a sequence": "import optuna\nloss = optuna.samplers.QMCSampler(seed=$)",
    "a sampler in a sampler": """
        from optuna.samplers import PartialFixedSampler, RandomSampler
        loss = PartialFixedSampler({'x': 1}, RandomSampler(seed=$))
        """,
    "a sampler of one's own": """
        import optuna
        class Mine(optuna.samplers.RandomSampler):
            def sample_independent(self, *args): return $
        loss = Mine()
        """,
}
VARIANTS = {f"{name} {i}": CHANGED[name].replace("$", str(i)) for name in CHANGED for i in (1, 2)}

SAMPLERS = {
    name: f"import optuna\nloss = optuna.samplers.{name}Sampler()"
    for name in ("TPE", "Random", "CmaEs", "QMC", "NSGAII", "BruteForce", "GP")
}

#: What has a state that differs from process to process.
GLOBAL = {
    "numpy's generator": "import numpy as np\nloss = np.random.rand",
    "Python's generator": "from random import gauss, random\ndef loss(p, s): gauss(random())",
    "a class in a registry": """
        import abc
        class A(abc.ABC): pass
        A.register(int)
        def loss(p, s): return isinstance(s, A)
        isinstance(1, A)
        """,
}


def defined(text: str) -> object:
    """Return what code defines, as a cell of a notebook does: without a source."""
    namespace = {"__name__": "__main__"}
    with warnings.catch_warnings(action="ignore"):  # experimental samplers
        exec(compile(textwrap.dedent(text), "<cell>", "exec", dont_inherit=True), namespace)
    return namespace["loss"]


def digest(text: str) -> str:
    return fingerprint(defined(text))[0]


def in_json() -> None:
    """Print the digests of what standard input defines, and of what was pickled there."""
    found = {}
    for name, (text, pickled) in json.load(sys.stdin).items():
        copy = pickle.loads(bytes.fromhex(pickled))
        found[name] = [digest(text), fingerprint(copy)[0]]
    print(json.dumps(found))


@pytest.fixture(scope="module")
def elsewhere():
    """Return the digests of a process that hashes strings in another way."""
    texts = VARIANTS | SAMPLERS | GLOBAL
    done = subprocess.run(
        [sys.executable, "-c", f"import {__name__} as here; here.in_json()"],
        input=json.dumps(
            {name: (text, dumps(defined(text)).hex()) for name, text in texts.items()}
        ),
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", SAME)
def test_what_makes_no_difference(name):
    one, other = SAME[name]
    assert digest(one) == digest(other)


@pytest.mark.parametrize("name", CHANGED)
def test_what_changes_it_does_so_in_every_process_and_when_it_was_pickled(name, elsewhere):
    first, second = f"{name} 1", f"{name} 2"
    assert digest(VARIANTS[first]) != digest(VARIANTS[second])
    for each in (first, second):
        assert elsewhere[each] == [digest(VARIANTS[each])] * 2


def test_what_is_far_away_counts():
    lists = [[i] for i in range(200_001)]
    before = fingerprint(lists)
    lists[-1][0] = 0
    assert fingerprint(lists) != before


def test_samplers_without_a_seed_are_the_same_in_every_process(elsewhere):
    here = {name: digest(text) for name, text in SAMPLERS.items()}
    assert {name: set(elsewhere[name]) for name in SAMPLERS} == {n: {d} for n, d in here.items()}
    assert len(set(here.values())) == len(SAMPLERS)


@pytest.mark.parametrize("name", GLOBAL)
def test_what_a_process_has_of_its_own_does_not_count(name, elsewhere):
    assert digest(GLOBAL[name]) == elsewhere[name][0]


def test_it_has_16_hex_digits():
    assert len(bytes.fromhex(fingerprint(None)[0])) == 8


# What goes by its name.


@pytest.fixture
def helpers(monkeypatch):
    """Make a module of the user's own, and return what gives its source."""
    module = types.ModuleType("helpers")
    monkeypatch.setitem(sys.modules, "helpers", module)

    def define(text: str):
        vars(module).update({"__name__": "helpers"})
        exec(compile(text, "/home/me/helpers.py", "exec", dont_inherit=True), vars(module))
        return {"helpers": text.encode()}.get

    return define


BY_NAME = """
    import helpers
    from helpers import f, Model
    def loss(params, seed): return f(seed) + Model().run() + helpers.K
"""
HELPERS = "K = {0}\ndef f(x): return x + {0}\nclass Model:\n    def run(self): return {0}\n"


def test_what_goes_by_its_name_counts_by_its_name_only(helpers):
    source_of = helpers(HELPERS.format(1))
    loss = defined(BY_NAME)
    before, by_value = fingerprint(loss, source_of), fingerprint(loss)
    source_of = helpers(HELPERS.format(2))
    loss = defined(BY_NAME)
    assert fingerprint(loss, source_of) == before
    assert fingerprint(loss) != by_value
    assert fingerprint(defined(BY_NAME.replace("f(seed)", "0")), source_of) != before


def test_the_names_that_lead_on_are_told(helpers):
    source_of = helpers(HELPERS.format(1))
    _, names = fingerprint(defined(BY_NAME), source_of)
    assert names >= {"helpers", "f", "Model", "run", "K"}
    assert "seed" not in names


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


def nested(wrap: Callable[[object], object]) -> object:
    return functools.reduce(lambda inner, _: wrap(inner), range(5000), None)


def circle() -> list[object]:
    found: list[object] = []
    found.append(found)
    return found


STRANGE: dict[str, Callable[[], object]] = {
    "a lock": threading.Lock,
    "a generator": lambda: (i for i in ()),
    "a module": lambda: ast,
    "an object": object,
    "a big number": lambda: 10**10000,
    "no number": lambda: float("nan"),
    "a lone surrogate": lambda: "\udc80",
    "one that fails": Odd,
    "one that lies": Liar,
    "a circle": circle,
    "a long chain": lambda: nested(lambda inner: {"next": inner}),
    "a deep nest": lambda: nested(lambda inner: (inner,)),
    "an empty cell": types.CellType,
    "builtins": lambda: [len, [].append, str.join, object.__init__, "".__len__, type, int.real],
    "generic": lambda: [list[int], int | str, Callable[[int], str]],
    "arrays": lambda: [np.zeros(()), np.zeros((0, 3)), np.array(["a"]), np.zeros(2, "M8[s]")],
    "structured": lambda: np.zeros(2, [("a", "f8"), ("b", "i4")]),
    "masked": lambda: np.ma.masked_array([1, 2], [True, False]),
    "collections": lambda: [collections.Counter("a"), collections.deque([1]), range(3), slice(1)],
    "weak": weakref.WeakKeyDictionary,
    "a logger": lambda: logging.getLogger("a"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_nothing_makes_it_fail(name):
    assert fingerprint(STRANGE[name]()) == fingerprint(STRANGE[name]())


@pytest.mark.parametrize("last", ["f3000(x): return {}", "f3000(x, k={}): return k"])
def test_a_chain_of_many_helpers(last):
    lines = [f"def f{i}(x): return f{i + 1}(x)" for i in range(3000)]
    text = "\n".join([*lines, f"def {last}", "loss = f0"])
    assert digest(text.format(1)) == digest(text.format(1)) != digest(text.format(2))


class Node:
    pass


def test_sets_of_what_has_sets_of_all_others_end():
    nodes = {Node() for _ in range(30)}
    for node in nodes:
        node.others = nodes - {node}
    assert fingerprint(node) == fingerprint(node)


@pytest.mark.parametrize(
    "large",
    [
        lambda: bytes(30_000_000),
        lambda: "x" * 30_000_000,
        lambda: np.ones(3_750_000),
        lambda: np.ones((1500, 2500)).T[::-1],
    ],
)
def test_large_data_is_copied_once_at_most(large):
    value = large()
    tracemalloc.start()
    fingerprint([value])
    peak_b = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_b < 33_000_000


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
