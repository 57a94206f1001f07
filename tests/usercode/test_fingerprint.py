"""Fingerprints: the same in every process, and other ones when what goes by value changes."""

from __future__ import annotations

import ast
import collections
import dis
import functools
import json
import logging
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import types
import weakref
from collections.abc import Callable

import cloudpickle
import numpy as np
import pytest

import seedwise as sw
from seedwise.usercode.fingerprint import fingerprint

#: What makes no difference.
SAME = {
    "comments, formatting and docstrings": (
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
            """,
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
            """,
    ),
    "annotations of a function": (
        """
            def loss(params, seed):
                return params["x"] * 2 + seed
            """,
        """
            def loss(params: dict, seed: int) -> float:
                return params['x'] * 2 + seed
            """,
    ),
    "the rest of the script": (
        """
            def loss(params, seed):
                return params["x"] * 2 + seed
            n_trials = 50
            def other(): return 1
            """,
        """
            import json
            n_trials = 100

            def loss(params, seed):
                return params["x"] * 2 + seed
            def other(): return 2
            """,
    ),
    "a docstring in a class": (
        """
            class A:
                'a'
                def f(self): 'b'; return 1
            def loss(p, s): return A().f()
            """,
        """
            class A:
                def f(self):
                    return 1
            def loss(p, s): return A().f()
            """,
    ),
    "the decorator that makes it a loss": (
        """
            import seedwise as sw
            @sw.loss(name='a', description='a', parameter_space={'x': (0, 1)})
            def loss(params, seed): return seed
            """,
        """
            import seedwise as sw
            @sw.loss(name='b', description='b', parameter_space={'y': (0, 2)}, seed_start=3)
            def loss(params, seed): return seed
            """,
    ),
    "a counter": (
        """
            n = 0
            def loss(p, s):
                global n
                n += 1
                return s
            """,
        """
            n = 7
            def loss(p, s):
                global n
                n += 1
                return s
            """,
    ),
    "the order of a set": (
        """
            S = {'a', 'b', 'c', ('d', 1), None}
            def loss(p, s): return s in S
            """,
        """
            S = {None, ('d', 1), 'c', 'b', 'a'}
            def loss(p, s): return s in S
            """,
    ),
}

#: What makes one: code with ``1``, ``2`` in place of ``$``.
CHANGED = {
    "the code": "def loss(p, s): return p + $",
    "a default": "def loss(p, s, k=$): return k",
    "a constant": """
        K = $
        def loss(p, s): return K
        """,
    "a constant in a dict": """
        K = {'a': [$]}
        def loss(p, s): return K
        """,
    "an array": """
        import numpy as np
        K = np.array([[1., $], [2, 3]])
        def loss(p, s): return K
        """,
    "a frame": """
        import pandas as pd
        K = pd.DataFrame({'a': ['x', 'y'], 'b': [1, $]})
        def loss(p, s): return K
        """,
    "a generator": """
        import numpy as np
        rng = np.random.default_rng($)
        def loss(p, s): return rng.random()
        """,
    "a random number generator": """
        import random
        rng = random.Random($)
        def loss(p, s): return rng.random()
        """,
    "a set": """
        K = {'a', 'b', ('c', $)}
        def loss(p, s): return K
        """,
    "a pattern": """
        import re
        K = re.compile('b$')
        def loss(p, s): return K
        """,
    "a helper": """
        def f(x): return x + $
        def loss(p, s): return f(s)
        """,
    "a closure": """
        def make(k):
            def loss(p, s): return k
            return loss
        loss = make($)
        """,
    "a lambda": "loss = [None, lambda p, s: s + 1, lambda p, s: s + $][$]",
    "what is bound": """
        from functools import partial
        def f(k, p, s): return k
        loss = partial(f, $)
        """,
    "a wrapper": """
        import functools
        def twice(f):
            @functools.wraps(f)
            def inner(*args): return f(*args) * $
            return inner
        @twice
        def loss(p, s): return s
        """,
    "a cached function": """
        import functools
        @functools.lru_cache
        def f(x): return x + $
        def loss(p, s): return f(s)
        """,
    "a method": """
        class A:
            def f(self): return $
        def loss(p, s): return A().f()
        """,
    "a base class": """
        class A:
            def f(self): return $
        class B(A): pass
        def loss(p, s): return B().f()
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
            def __call__(self, p, s): return self.k
        loss = A()
        """,
    "a dataclass's instance": """
        from dataclasses import dataclass
        @dataclass
        class A:
            a: "int"
            b: list[int]
        a = A(1, [$])
        def loss(p, s): return a
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
        @sw.loss(name='b', description='b', parameter_space={'x': (0, 1)})
        def loss(params, seed): return inner(params, seed)
        """,
    "an instance that names itself": """
        class Node: pass
        a, b = Node(), Node()
        a.other, b.other, b.k = b, a, [a, b, $]
        def loss(p, s): return {a: b}[a]
        """,
    "a seed": """
        import optuna
        loss = optuna.samplers.TPESampler(seed=$)
        """,
    "an option": """
        import optuna
        loss = optuna.samplers.TPESampler(n_startup_trials=$)
        """,
    "the code of an option": """
        import optuna
        loss = optuna.samplers.TPESampler(seed=1, gamma=lambda n: $)
        """,
    "a grid": """
        import optuna
        loss = optuna.samplers.GridSampler({'x': [1, 2, $ + 2]})
        """,
    "the seed of a sequence": """
        import optuna
        loss = optuna.samplers.QMCSampler(seed=$)
        """,
    "a sampler in a sampler": """
        import optuna
        base = optuna.samplers.RandomSampler(seed=$)
        loss = optuna.samplers.PartialFixedSampler({'x': 1}, base)
        """,
    "a sampler of one's own": """
        import optuna
        class Mine(optuna.samplers.RandomSampler):
            def sample_independent(self, *args): return $
        loss = Mine()
        """,
}


def defined(text: str, **names: object) -> object:
    """Return what code defines, as a cell of a notebook does: without a source."""
    namespace = {"__name__": "__main__", **names}
    exec(compile(textwrap.dedent(text), "<cell>", "exec", dont_inherit=True), namespace)
    return namespace["loss"]


def digest(text: str) -> str:
    return fingerprint(defined(text)).digest


def variants() -> dict[str, str]:
    return {f"{name} {i}": CHANGED[name].replace("$", str(i)) for name in CHANGED for i in (1, 2)}


def elsewhere(texts: dict[str, str]) -> dict[str, str]:
    """Return the digests of code in a process that hashes strings in another way."""
    steps = """
        import json, sys, textwrap, warnings
        from seedwise.usercode.fingerprint import fingerprint
        warnings.simplefilter("ignore")
        found = {}
        for name, text in json.load(sys.stdin).items():
            namespace = {"__name__": "__main__"}
            exec(compile(textwrap.dedent(text), "<cell>", "exec"), namespace)
            found[name] = fingerprint(namespace["loss"]).digest
        print(json.dumps(found))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(steps)],
        input=json.dumps(texts),
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def digests_elsewhere():
    return elsewhere(variants())


@pytest.mark.parametrize("name", SAME)
def test_what_makes_no_difference(name):
    one, other = SAME[name]
    assert digest(one) == digest(other)


@pytest.mark.filterwarnings("ignore")  # experimental samplers
@pytest.mark.parametrize("name", CHANGED)
def test_what_changes_it_does_so_in_every_process(name, digests_elsewhere):
    first, second = (digest(CHANGED[name].replace("$", str(i))) for i in (1, 2))
    assert first != second
    assert [first, second] == [digests_elsewhere[f"{name} {i}"] for i in (1, 2)]


def test_it_has_16_hex_digits():
    assert len(bytes.fromhex(fingerprint(None).digest)) == 8


SAMPLERS = ["TPE", "Random", "CmaEs", "QMC", "NSGAII", "BruteForce", "GP"]


@pytest.mark.filterwarnings("ignore")  # experimental samplers
def test_a_sampler_without_a_seed_is_the_same_in_every_process_and_when_it_was_pickled():
    texts = {name: f"import optuna\nloss = optuna.samplers.{name}Sampler()" for name in SAMPLERS}
    here = {name: digest(text) for name, text in texts.items()}
    assert elsewhere(texts) == here
    assert len(set(here.values())) == len(SAMPLERS)
    for name, text in texts.items():
        copied = pickle.loads(cloudpickle.dumps(defined(text)))
        assert fingerprint(copied).digest == here[name]


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
    names = fingerprint(defined(BY_NAME), source_of).names
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
