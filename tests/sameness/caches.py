"""Caches and what else a script keeps between the calls of its loss."""

from __future__ import annotations

from tests.sameness.situation import Situation

SITUATIONS = (
    Situation(
        "functools.cache",
        55.0,
        {
            "fit.py": """
import functools

import seedwise as sw

@functools.cache
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return float(fibonacci(10))
""",
        },
    ),
    Situation(
        "lru_cache on a method",
        12.0,
        {
            "fit.py": """
import functools

import seedwise as sw

class World:
    @functools.lru_cache(maxsize=None)
    def distance(self, a, b):
        return abs(a - b)

WORLD = World()

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return float(WORLD.distance(3, 15))
""",
        },
    ),
    Situation(
        "lru_cache in a module",
        12.0,
        {
            "world.py": """
import functools

@functools.lru_cache
def distance(a, b):
    return abs(a - b)

distance(1, 2)
""",
            "fit.py": """
import seedwise as sw
from world import distance

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return float(distance(3, 15))
""",
        },
    ),
    Situation(
        "singledispatch",
        21.0,
        {
            "fit.py": """
import functools

import seedwise as sw

@functools.singledispatch
def size(value):
    return 0.0

@size.register
def _(value: int):
    return 20.0

@size.register
def _(value: str):
    return 1.0

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return size(seed) + size("x")
""",
        },
    ),
    Situation(
        "cached_property",
        6.0,
        {
            "fit.py": """
import functools

import seedwise as sw

class World:
    @functools.cached_property
    def area(self):
        return 2.0 * 3.0

WORLD = World()

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return WORLD.area
""",
        },
    ),
    Situation(
        "context variable",
        7.0,
        {
            "fit.py": """
from contextvars import ContextVar

import seedwise as sw

SCALE = ContextVar("SCALE", default=1.0)

def simulate(x):
    return SCALE.get() * x

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    token = SCALE.set(7.0)
    try:
        return simulate(params["x"])
    finally:
        SCALE.reset(token)
""",
        },
    ),
    Situation(
        "attribute of each thread",
        8.0,
        {
            "fit.py": """
import threading

import seedwise as sw

LOCAL = threading.local()

def simulator():
    if not hasattr(LOCAL, "simulator"):
        LOCAL.simulator = lambda x: 8.0 * x
    return LOCAL.simulator

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return simulator()(params["x"])
""",
        },
    ),
    Situation(
        "dictionary of weak references",
        9.0,
        {
            "fit.py": """
import weakref

import seedwise as sw

class Node:
    pass

ROOT = Node()
SIZES = weakref.WeakKeyDictionary({ROOT: 9.0})

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return SIZES[ROOT]
""",
        },
    ),
    Situation(
        "weak reference to an object of a module",
        10.0,
        {
            "nodes.py": "class Node:\n    size = 10.0\n\nROOT = Node()\n",
            "fit.py": """
import weakref

import nodes
import seedwise as sw

ROOT = weakref.ref(nodes.ROOT)

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return ROOT().size
""",
        },
    ),
    Situation(
        "attribute of a function",
        11.0,
        {
            "fit.py": """
import seedwise as sw

def table(n):
    if n not in table.known:
        table.known[n] = 11.0
    return table.known[n]

table.known = {}

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return table(3)
""",
        },
    ),
)
