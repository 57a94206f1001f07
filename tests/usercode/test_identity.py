"""What of the user's code counts for a run, by edits that must and that must not be seen."""

from __future__ import annotations

import pytest

from seedwise.usercode.identity import difference, reached

#: A script with a package and a module beside it, as users write them.
SOURCES = {
    "__main__": '''
"""Fit a walk."""
import functools
import importlib
import sys
from functools import partial

import click
import numpy as np
import seedwise as sw

import helpers
from mysim import simulate as run_simulation
from mysim.models import *

N_TRIALS = 100
SCALE = 2.0
SPACE = {"x": (0.0, 1.0), "y": -1}
np.seterr(all="raise")
names = [name.strip() for name in "a, b".split(",")]
__all__ = ["walk", "plot"]


@sw.loss(name="walk", description="a walk", parameter_space=SPACE, vectorized=False)
def walk(params, seed):
    """Walk."""
    steps: int = 3
    model = helpers.make(kind="fast")
    backend = importlib.import_module("mysim.backend")
    return run_simulation(params, seed, model) * SCALE * steps + backend.shift  # of one walk


@sw.loss(name="other", description="another", parameter_space=SPACE)
def other(params, seed):
    return 1.0


def plot(result):
    import plots

    plots.draw(result, 1)


class Window:
    def show(self):
        return "shown"


@click.command()
@click.option("--n-trials", default=100)
def main(n_trials):
    result = sw.optimize_run(walk, n_trials=100, n_seeds=8)
    plot(result)


if __name__ == "__main__":
    main(n_trials=7)
else:
    helpers.prepare("worker")
''',
    "helpers": """
from typing import TYPE_CHECKING

import mysim.registry as registry
from mysim.base import Base

if TYPE_CHECKING:
    from mysim.unused import Result

TABLE = [1.0, 2.0, 3.0]
UNUSED = 5


def make(kind: str = "slow") -> "Result":
    return registry.MODELS[kind](TABLE)


def prepare(where):
    print(where)


def summarise(result: "Result"):
    return max(result)


@registry.register
def fast(table):
    return table[0]


@registry.register
def slow(table):
    return table[1]


class Exact(Base):
    order = 1


try:
    import numba
except ImportError:
    def jit(function):
        return function
else:
    jit = numba.njit
""",
    "mysim": "from .core import simulate\nfrom . import events\n__version__ = '1.0'\n",
    "mysim.core": '''
from dataclasses import dataclass


@dataclass
class Config:
    n_steps: int = 10
    rate: float = 0.5

    def doubled(self):
        """Return twice the rate."""
        return 2 * self.rate

    class Inner:
        depth = 1


def simulate(params, seed, model):
    from mysim import late

    match params:
        case {"x": float(x)}:
            start = x
        case _:
            start = 0.0
    scale = lambda value: value + 1
    if (total := scale(start)) > 3:
        total = late.cut(total)
    return total * model + Config().doubled() + getattr(late, "by_name")(seed)


async def stream(source):
    return f"{source:>10}"


def draw(result):
    return result
''',
    "mysim.late": """
LIMIT = 3

def cut(x):
    return min(x, LIMIT)

def by_name(seed):
    return 0
""",
    "mysim.base": """
KINDS = []

class Base:
    def __init_subclass__(cls):
        KINDS.append(cls)
""",
    "mysim.registry": """
MODELS = {}


def register(function):
    MODELS[function.__name__] = function
    return function
""",
    "mysim.backend": "shift = 0.25\nunused_shift = 0.5\n",
    "mysim.models": "def energy(x):\n    return 3 * x\n\nweight = 1\n",
    "mysim.events": "def __getattr__(name):\n    return 1\n\ndef on_end():\n    return 2\n",
    "mysim.unused": "class Result:\n    size = 1\n",
    "plots": "def draw(result, width):\n    return width\n",
}


def edited(module, old, new):
    assert SOURCES[module].count(old) == 1, "the text to replace is not there once"
    return SOURCES | {module: SOURCES[module].replace(old, new)}


def pieces(sources, name="walk", entry="__main__"):
    return reached(sources, entry, [name])


def differences(before, now, name="walk", entry="__main__"):
    one, other = (pieces(sources, name, entry) for sources in (before, now))
    return [
        key
        for key in sorted({*one, *other})
        if (one[key].text if key in one else None) != (other[key].text if key in other else None)
    ]


COUNTS = [
    # the loss
    ("__main__", "return run_simulation", "return 2 * run_simulation", "walk()"),
    ("__main__", "walk(params, seed)", "walk(params, seed, context=None)", "walk()"),
    ("__main__", "steps: int = 3", "steps: int = 4", "walk()"),
    ("__main__", 'kind="fast"', 'kind="slow"', "walk()"),
    ("__main__", "def walk(", "async def walk(", "walk()"),
    ("__main__", '@sw.loss(name="walk"', '@functools.cache\n@sw.loss(name="walk"', "walk()"),
    # constants and what runs at import
    ("__main__", "SCALE = 2.0", "SCALE = 2", "SCALE"),
    ("__main__", "SCALE = 2.0", "SCALE = float(2.0)", "module level"),
    ("__main__", 'all="raise"', 'all="warn"', "module level"),
    ("__main__", '"a, b"', '"a, c"', "module level"),
    ("__main__", 'prepare("worker")', 'prepare("here")', "module level"),
    ("__main__", "import numpy as np", "import numpy as np, jax", "module level"),
    ("helpers", "3.0]", "4.0]", "TABLE"),
    ("helpers", "except ImportError:", "except ValueError:", "module level"),
    ("helpers", "print(where)", "print(where, 1)", "prepare()"),
    ("mysim", "from . import events", "from . import events, late", "module level"),
    ("mysim.backend", "0.25", "0.26", "shift"),
    ("mysim.registry", "MODELS = {}", "MODELS = {1: 2}", "MODELS"),
    # what it reaches
    ("helpers", 'kind: str = "slow"', 'kind: str = "fast"', "make()"),
    ("helpers", "table[0]", "table[2]", "fast()"),
    ("helpers", "@registry.register\ndef fast", "def fast", "fast()"),
    ("helpers", "order = 1", "order = 2", "class Exact"),
    ("mysim.base", "KINDS.append", "KINDS.insert", "class Base"),
    ("mysim.registry", "= function\n", "= [function]\n", "register()"),
    ("mysim.core", 'case {"x": float(x)}', 'case {"y": float(x)}', "simulate()"),
    ("mysim.core", "value + 1", "value - 1", "simulate()"),
    ("mysim.core", "(total := scale(start)) > 3", "(total := scale(start)) >= 3", "simulate()"),
    ("mysim.core", "n_steps: int = 10", "n_steps: float = 10", "class Config"),
    ("mysim.core", "depth = 1", "depth = 2", "class Config"),
    ("mysim.core", "@dataclass\n", "@dataclass(frozen=True)\n", "class Config"),
    ("mysim.late", "LIMIT = 3", "LIMIT = 4", "LIMIT"),
    ("mysim.late", "min(", "max(", "cut()"),
    ("mysim.late", "return 0", "return 1", "by_name()"),
    ("mysim.events", "return 1", "return 3", "__getattr__()"),
]


@pytest.mark.parametrize(("module", "old", "new", "piece"), COUNTS)
def test_an_edit_counts(module, old, new, piece):
    found = differences(SOURCES, edited(module, old, new))
    assert (module, piece.removesuffix("()").removeprefix("class ")) in found


DOES_NOT_COUNT = [
    # how it is written
    ("__main__", "# of one walk", "# of many walks, each by itself"),
    ("__main__", '"""Walk."""', '"""Walk on."""'),
    ("__main__", '"""Fit a walk."""\n', ""),
    (
        "__main__",
        "return run_simulation(params, seed, model)",
        "return run_simulation(\n        params, (seed), model,\n    )",
    ),
    ("__main__", 'kind="fast"', "kind='fast'"),
    ("mysim.core", '"""Return twice the rate."""', "# twice"),
    # what steers a run
    ("__main__", "main(n_trials=7)", "main(n_trials=8)\n    plot(None)"),
    ("__main__", 'if __name__ == "__main__":', 'if "__main__" == __name__ and sys.argv:'),
    ("__main__", "walk, n_trials=100", "walk, n_trials=2_000"),
    ("__main__", "default=100", "default=200"),
    ("__main__", "N_TRIALS = 100", "N_TRIALS = 200"),
    ("__main__", "N_TRIALS = 100\n", ""),
    ("__main__", 'name="walk", description="a walk"', 'name="walk2", description="my walk"'),
    ("__main__", "parameter_space=SPACE, vec", 'parameter_space={"x": (0, 2)}, vec'),
    # what is beside it
    ("__main__", "return 1.0", "return 2.0"),
    ("__main__", 'name="other"', 'name="another"'),
    ("__main__", "plots.draw(result, 1)", "plots.draw(result, 2)"),
    ("__main__", '"shown"', '"hidden"'),
    ("__main__", "class Window:", "def save(result):\n    return result\n\n\nclass Window:"),
    ("__main__", '__all__ = ["walk", "plot"]', '__all__ = ["walk", "plot", "main"]'),
    ("helpers", "UNUSED = 5", "UNUSED = 6"),
    ("helpers", "max(result)", "min(result)"),
    ("mysim", "'1.0'", "'1.1'"),
    ("mysim.backend", "= 0.5", "= 0.75"),
    ("mysim.core", ":>10}", ":>20}"),
    ("mysim.core", "    return result", "    return [result]"),
    ("mysim.events", "return 2", "return 4"),
    ("plots", "return width", "return 2 * width"),
]


@pytest.mark.parametrize(("module", "old", "new"), DOES_NOT_COUNT)
def test_an_edit_does_not_count(module, old, new):
    assert differences(SOURCES, edited(module, old, new)) == []


#: Small scripts whose loss reaches the number 1 only by a way of its own.
WAYS = {
    "a string as the name": 'def loss(): return globals()["one"]()\ndef one(): return 1',
    "an attribute": "import m\ndef loss(): return m.one()\n# m\ndef one(): return 1",
    "a global": (
        "n = 0\ndef loss():\n    set_n()\n    return n\ndef set_n():\n    global n\n    n = 1"
    ),
    "a base class": "class loss(Base): pass\nclass Base: n = 1",
    "a metaclass": (
        "ALL = []\nclass Meta(type):\n    def __init__(cls, *a): ALL.append(cls)\n"
        "class Base(metaclass=Meta): pass\nclass A(Base): n = 1\ndef loss(): return ALL"
    ),
    "the subclasses": "class B: pass\nclass A(B): n = 1\ndef loss(): return B.__subclasses__()",
    "a partial decorator": (
        "from functools import partial\nALL = []\ndef keep(f, of): ALL.append(f)\n"
        "@partial(keep, of=2)\ndef one(): return 1\ndef loss(): return ALL"
    ),
    "a decorated method": (
        "ALL = []\ndef keep(f): ALL.append(f)\nclass A:\n    @keep\n    def one(self): return 1\n"
        "def loss(): return ALL"
    ),
    "a decorator that gives way": (
        "try:\n    from numba import njit\nexcept ImportError:\n    def njit(f): return use(f)\n"
        "@njit\ndef one(): return 1\ndef loss(): return 0"
    ),
    "a library's registry": (
        "from lib import register\n@register('x')\ndef one(): return 1\ndef loss(): return 0"
    ),
    "a registry of a library's module": (
        "import lib\n@lib.registry.add('x')\ndef one(): return 1\ndef loss(): return 0"
    ),
    "a metaclass without a base": (
        "ALL = []\nclass Meta(type):\n    def __init__(cls, *a): ALL.append(cls)\n"
        "class A(metaclass=Meta): n = 1\ndef loss(): return ALL"
    ),
    "a dispatch by annotation": (
        "from functools import singledispatch\n@singledispatch\ndef loss(x): return 0\n"
        "@loss.register\ndef _(x: A1): return 0"
    ),
    "an entry point": "def loss(): return load('m:one')\n# m\ndef one(): return 1",
    "a package around it": "def loss():\n    import p.q\n# p\nprint(1)\n# p.q\n",
    "two names at once": "low = high = 1\ndef loss(): return high",
    "a guard with an alternative": (
        "if __name__ == '__main__' or A:\n    print(1)\ndef loss(): pass"
    ),
    "a decorator of the user's called loss": (
        "import mine\n@mine.loss(1)\ndef loss(): pass\n# mine\ndef loss(n): return n"
    ),
    "a lazy submodule": "import p\ndef loss(): return p.q.x\n# p\nlazy = 0\n# p.q\nx = 1",
    "a relative import": (
        "from p.q import x\ndef loss(): return x\n# p.q\nfrom .r import x\n# p.r\nx = 1"
    ),
    "a package run by -m": "from . import q\ndef loss(): return q.x\n# p\n# p.q\nx = 1",
    "an import by a string": "def loss(): return __import__('p.q')\n# p.q\nprint(1)",
    "a constant in numexpr's text": "n = 1\ndef loss(): return evaluate('2*n + x')",
    "a loop at the top": "def loss(): return 0\nfor i in range(1):\n    print(i)",
    "a branch": "if A:\n    def loss(): return 1\nelse:\n    def loss(): return 0",
    "a guard's else": "if __name__ != '__main__':\n    n = print(1)\ndef loss(): return 0",
    "another guard": "if __name__ == '__mp_main__':\n    print(1)\ndef loss(): return 0",
    "a default": "def loss(n=one()): return n\ndef one(): return 1",
    "a pattern": (
        "def loss(x):\n    match x:\n        case Point(one=0): pass\ndef one(): return 1"
    ),
    "a thing that is not known": "def other(): return 1",
    "another name for it": (
        "from m import one as two\ndef loss(): return two()\n# m\ndef one(): return 1"
    ),
    "a hook for subclasses": (
        "ALL = []\nclass B:\n    def __init_subclass__(cls): ALL.append(cls)\n"
        "class A(B): n = 1\ndef loss(): return ALL"
    ),
    "a relative import by a string": (
        "import p\ndef loss(): return load('.q', 'p')\n# p\nlazy = 0\n# p.q\nprint(1)"
    ),
    "a relative module": "import p\ndef loss(): pass\n# p\nfrom . import q\n# p.q\nprint(1)",
    "a relative star": (
        "from p import q\ndef loss(): return q.x()\n"
        "# p\n# p.q\nfrom .r import *\n# p.r\nx = one\ndef one(): return 1"
    ),
    "all constants": "n = 1\ndef loss(): return vars()['N'.lower()]",
    "a decorator that is not known": "@keep\ndef one(): return 1\ndef loss(): pass",
    "a guard with a condition": (
        "if __name__ != '__main__' and A: pass\nelse: print(1)\ndef loss(): pass"
    ),
    "a newer syntax that names": (
        "import m, k\ndef loss(): pass\n# m\nuse(one) from\n# k\ndef one(): return 1"
    ),
    "a newer syntax": "from m import one\ndef loss(): return one()\n# m\nfrom = 1",
    "a newer syntax that imports": (
        "import m\ndef loss(): pass\n# m\nimport k\nfrom =\n# k\nprint(1)"
    ),
}


def small(text):
    first, *others = text.split("\n# ")
    return {"__main__": first} | {
        name.strip(): body for name, _, body in (other.partition("\n") for other in others)
    }


@pytest.mark.parametrize("text", WAYS.values(), ids=WAYS)
def test_a_way_to_reach_code(text):
    assert text.count("1") == 1
    assert differences(small(text), small(text.replace("1", "2")), "loss")


IN_A_PACKAGE = {
    "a constant of the package": "from . import n\ndef loss(): return n\n# p\nn = 1",
    "a function of the package": (
        "from . import one\ndef loss(): return one()\n# p\ndef one(): return 1"
    ),
    "what the package takes from a module": (
        "from . import one\ndef loss(): return one()\n"
        "# p\nfrom .core import one\n# p.core\ndef one(): return 1"
    ),
    "what the import of the package does": "def loss(): return 0\n# p\nprint(1)",
    "what the package sets in a module": (
        "from .consts import n\ndef loss(): return n\n"
        "# p\nfrom . import consts\nconsts.n = 1\n# p.consts\nn = 0"
    ),
    "what a module patches that the package imports": (
        "n = 0\ndef loss(): return n\n# p\nfrom . import patch\n"
        "# p.patch\nfrom . import fit\nfit.n = 1"
    ),
}


@pytest.mark.parametrize("text", IN_A_PACKAGE.values(), ids=IN_A_PACKAGE)
@pytest.mark.parametrize("entry", ["p.fit", "p.models.fit"])
def test_a_loss_in_a_package_reaches_the_packages_around_it(text, entry):
    """Python imports them before the module of the loss."""
    text = text.replace("from .", "from .." if entry.count(".") > 1 else "from .", 1)
    before, after = ({entry: "", **small(one)} for one in (text, text.replace("1", "2")))
    for sources in (before, after):
        sources[entry] = sources.pop("__main__")
        sources.setdefault("p.models", "")
    pieces = [
        {key: piece.text for key, piece in reached(sources, entry, ["loss"]).items()}
        for sources in (before, after)
    ]
    assert pieces[0] != pieces[1]


NO_WAYS = {
    "an import that is not used": (
        "from m import plot\ndef loss(): pass\n# m\ndef plot(): return 1"
    ),
    "__all__ in two steps": (
        "def loss(): pass\n__all__ = ['plot']\n__all__ += ['x']\ndef plot(): return 1"
    ),
    "an import that does not run": "def loss(): pass\ndef plot():\n    import m\n# m\nprint(1)",
    "a class of a library": "import lib\ndef loss(): pass\nclass Plot(lib.Plot): n = 1",
    "a module of no import": "def loss(): pass\n# m\nprint(1)",
}


@pytest.mark.parametrize("text", NO_WAYS.values(), ids=NO_WAYS)
def test_no_way_to_reach_code(text):
    assert text.count("1") == 1
    assert differences(small(text), small(text.replace("1", "2")), "loss") == []


ORDERS = {
    "a function and an import": ("from m import f", "def f(): pass", True),
    "two constants": ("f = 1", "f = 2", True),
    "two functions": ("def g(): pass", "def f(): pass", False),
    "a function and a statement": ("print()", "def f(): pass", False),
    "two statements": ("print()", "print(1)", True),
}


@pytest.mark.parametrize(("one", "two", "counts"), ORDERS.values(), ids=ORDERS)
def test_an_order(one, two, counts):
    loss = "def loss(): return f + g"
    before, now = (small("\n".join(parts)) for parts in ((one, two, loss), (loss, two, one)))
    assert bool(differences(before, now, "loss")) == counts


@pytest.mark.parametrize(
    "source",
    [
        "x = " + " + ".join(["y"] * 900) + "\n",
        "x = " + "0x" + "f" * 20_000 + "\n",
        "x = '\\ud800' '\\d'\r\ny = 1\x0c\r\n",
        "x = " + "(" * 150 + ")" * 150,
        "x = 1\0",
        "x = '\ud800'",
        "x = " + "-" * 20_000 + "1",
        "\ufeffx = 1",
    ],
    ids=["deep", "large", "odd", "nested", "null", "half", "deeper", "mark"],
)
def test_unusual_sources(source):
    now = source + "\nprint(x)\n"
    assert "module level" in {each[1] for each in differences({"m": source}, {"m": now}, "", "m")}


def test_a_type_alias():
    """Before Python 3.12 it can't be parsed, and then all of the source counts."""
    before, now = (small(f"type A = list[{of}]\ndef loss(): pass") for of in ("int", "str"))
    assert differences(before, now, "loss") == [("__main__", "module level")]


def test_the_difference_shows_what_was_and_what_is():
    now = edited("helpers", "print(where)", "print(where)\n    raise ValueError(where)")
    now |= {"__main__": edited("__main__", "SCALE = 2.0", "SCALE = 3.0")["__main__"]}
    now["__main__"] = now["__main__"].replace("main(n_trials=7)", "main(n_trials=8)")
    assert difference(pieces(SOURCES), pieces(now)).splitlines() == [
        "  __main__: SCALE",
        "    @@ -1 +1 @@",
        "    -SCALE = 2.0",
        "    +SCALE = 3.0",
        "  helpers: prepare",
        "    @@ -2 +2,2 @@",
        "         print(where)",
        "    +    raise ValueError(where)",
    ]
    assert difference(pieces(SOURCES), pieces(SOURCES)) == ""


def test_what_comes_and_what_goes_is_shown():
    before = small("def loss(): return a()\ndef a(): return 1")
    now = small("def loss(): return b()\ndef b(): return 1")
    shown = difference(pieces(before, "loss"), pieces(now, "loss"))
    assert "-def a(): return 1" in shown
    assert "+def b(): return 1" in shown


def test_a_long_difference_is_cut():
    text = "\n".join(f"def f{i}():\n    return {{0}}\n" for i in range(30))
    calls = "def loss(): return " + " + ".join(f"f{i}()" for i in range(30))
    before, now = (small(f"{text.replace('{0}', str(i))}\n{calls}") for i in range(2))
    lines = difference(pieces(before, "loss"), pieces(now, "loss")).splitlines()
    assert len(lines) == 41
    assert lines[-1].endswith("more lines")
