"""Objects of modules that cannot be pickled, whether the loss uses them or not."""

from __future__ import annotations

from tests.sameness.situation import Situation

SITUATIONS = (
    Situation(
        "library in C",
        1.0,
        {
            "native.py": """
import ctypes

LIBM = ctypes.CDLL("libm.so.6")
LIBM.cos.restype = ctypes.c_double
LIBM.cos.argtypes = [ctypes.c_double]
""",
            "fit.py": """
import seedwise as sw
from native import LIBM

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return LIBM.cos(0.0) * params["x"]
""",
        },
    ),
    Situation(
        "library in C that is not used",
        2.0,
        {
            "native.py": "import ctypes\n\nLIBC = ctypes.CDLL(None)\nSIZE = 2.0\n",
            "fit.py": """
import native
import seedwise as sw

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return native.SIZE
""",
        },
    ),
    Situation(
        "lock",
        3.0,
        {
            "shared.py": "import threading\n\nLOCK = threading.Lock()\nTABLE = {}\n",
            "fit.py": """
import threading

import seedwise as sw
from shared import LOCK, TABLE

OWN = threading.RLock()

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    with LOCK, OWN:
        TABLE[seed] = 3.0
        return TABLE[seed]
""",
        },
    ),
    Situation(
        "open file",
        4.0,
        {
            "data.txt": "4.0\n",
            "source.py": """
from pathlib import Path

FILE = open(Path(__file__).parent / "data.txt")

def value():
    FILE.seek(0)
    return float(FILE.read())
""",
            "fit.py": """
import seedwise as sw
import source

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return source.value()
""",
        },
    ),
    Situation(
        "connection to a database",
        5.0,
        {
            "store.py": """
import sqlite3

DB = sqlite3.connect(":memory:", check_same_thread=False)
DB.execute("create table rates (x real)")
DB.execute("insert into rates values (5.0)")
""",
            "fit.py": """
import seedwise as sw
from store import DB

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return DB.execute("select x from rates").fetchone()[0]
""",
        },
    ),
    Situation(
        "connection to a database of the thread that imports",
        5.0,
        {
            "fit.py": """
import sqlite3

import seedwise as sw

DB = sqlite3.connect(":memory:")
DB.execute("create table rates (x real)")
DB.execute("insert into rates values (5.0)")

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return DB.execute("select x from rates").fetchone()[0]
""",
        },
    ),
    Situation(
        "generator",
        10.0,
        {
            "primes.py": """
def numbers():
    n = 2
    while True:
        if all(n % k for k in range(2, n)):
            yield n
        n += 1

MORE = numbers()
FIRST = [next(MORE) for _ in range(3)]
""",
            "fit.py": """
import seedwise as sw
from primes import FIRST, MORE

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return float(sum(FIRST)) if MORE is not None else 0.0
""",
        },
    ),
    Situation(
        "socket",
        6.0,
        {
            "fit.py": """
import socket

import seedwise as sw

HERE, THERE = socket.socketpair()

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    HERE.sendall(b"6")
    return float(THERE.recv(1))
""",
        },
    ),
    Situation(
        "view of memory",
        7.0,
        {
            "fit.py": """
import seedwise as sw

VIEW = memoryview(bytes(range(10)))

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return float(VIEW[7])
""",
        },
    ),
    Situation(
        "pool of threads",
        8.0,
        {
            "fit.py": """
from concurrent.futures import ThreadPoolExecutor

import seedwise as sw

POOL = ThreadPoolExecutor(2)

def square(x):
    return x * x

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return float(sum(POOL.map(square, [2, 2])))
""",
        },
    ),
    Situation(
        "object that refuses to be pickled",
        9.0,
        {
            "compiled.py": """
class Compiled:
    def __call__(self, x):
        return 9.0 * x

    def __reduce__(self):
        raise TypeError("a compiled function cannot be pickled")

KERNEL = Compiled()
""",
            "fit.py": """
import seedwise as sw
from compiled import KERNEL

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return KERNEL(params["x"])
""",
        },
    ),
)
