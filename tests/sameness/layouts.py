"""Where the loss stands, how it is made, and how the script is started."""

from __future__ import annotations

from tests.sameness.situation import Situation

_PLAIN = """
import seedwise as sw

OFFSET = 40.0

def simulate(x):
    return OFFSET + x

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return simulate(params["x"])
"""

_BY_ARGV = """
import sys

import seedwise as sw

KIND = sys.argv[1] if len(sys.argv) > 1 else "none"
SCALE = {"red": 70.0, "blue": 80.0}.get(KIND, 0.0)

@sw.loss(name=f"fit_{KIND}", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return SCALE * params["x"]
"""

_IMPORTS_IT = "import seedwise as sw\nfrom model import loss\n"

# slurptuna's, with the import line changed.
_SLURPTUNAS = (
    Situation("loss in the script", 41.0, {"fit.py": _PLAIN}),
    Situation(
        "loss in a module beside the script", 41.0, {"model.py": _PLAIN, "fit.py": _IMPORTS_IT}
    ),
    Situation(
        "loss_module names a module",
        41.0,
        {"model.py": _PLAIN, "fit.py": _IMPORTS_IT},
        options={"loss_module": "model"},
    ),
    Situation(
        "loss_module is a path",
        41.0,
        {"model.py": _PLAIN, "fit.py": _IMPORTS_IT},
        options={"loss_module": "model.py"},
    ),
    Situation(
        "loss_module is the script",
        41.0,
        {"fit.py": _PLAIN},
        options={"loss_module": "fit.py"},
    ),
    Situation(
        "argument that the script reads at import",
        80.0,
        {"fit.py": _BY_ARGV},
        command=("fit.py", "blue"),
    ),
    Situation(
        "argument that a module reads at import",
        70.0,
        {"model.py": _BY_ARGV, "fit.py": _IMPORTS_IT},
        command=("fit.py", "red"),
    ),
    Situation(
        "argument that the module of loss_module reads at import",
        70.0,
        {"model.py": _BY_ARGV, "fit.py": _IMPORTS_IT},
        command=("fit.py", "red"),
        options={"loss_module": "model"},
    ),
)

SITUATIONS = (
    *_SLURPTUNAS,
    Situation(
        "project with much of it",
        1111.333333,
        {
            "mysim/__init__.py": "from mysim.core import simulate\n",
            "mysim/core.py": """
import mysim.native
from mysim.modes import MODELS, Config

def simulate(mode, config):
    from mysim.modes import Mode

    exact = 1000.0 if mode is Mode.EXACT and isinstance(config, Config) else 0.0
    with mysim.native.LOCK:
        return exact + MODELS["hundred"]() + mysim.native.LIBM.cos(0.0)
""",
            "mysim/modes.py": """
import enum
from dataclasses import dataclass

MODELS = {}

class Mode(enum.Enum):
    FAST = 1
    EXACT = 2

@dataclass
class Config:
    rate: float

def register(function):
    MODELS[function.__name__] = function
    return function
""",
            "mysim/native.py": """
import ctypes
import threading

LIBM = ctypes.CDLL("libm.so.6")
LIBM.cos.restype = ctypes.c_double
LIBM.cos.argtypes = [ctypes.c_double]
LOCK = threading.Lock()
""",
            "mysim/rates.csv": "name,rate\nslow,10.0\n",
            "fit.py": """
import csv
import decimal
import functools
import sys
from pathlib import Path

import seedwise as sw
from mysim import simulate
from mysim.modes import Config, Mode, register

decimal.DefaultContext.prec = 6
decimal.setcontext(decimal.DefaultContext)
KIND = sys.argv[1]
with open(Path(__file__).parent / "mysim" / "rates.csv") as file:
    RATES = {row["name"]: float(row["rate"]) for row in csv.DictReader(file)}

@register
def hundred():
    return 100.0

@functools.cache
def third(x):
    return float(decimal.Decimal(x) / 3)

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    config = Config(RATES[KIND])
    return simulate(Mode.EXACT, config) + config.rate + third(params["x"])
""",
        },
        command=("fit.py", "slow"),
    ),
    Situation(
        "loss in a package",
        41.0,
        {
            "mysim/__init__.py": "",
            "mysim/losses.py": _PLAIN.replace("OFFSET = 40.0", "from .constants import OFFSET"),
            "mysim/constants.py": "OFFSET = 40.0\n",
            "fit.py": "import seedwise as sw\nfrom mysim.losses import loss\n",
        },
    ),
    Situation(
        "script in a package, started with -m",
        41.0,
        {
            "mysim/__init__.py": "",
            "mysim/fit.py": _PLAIN.replace("OFFSET = 40.0", "from .constants import OFFSET"),
            "mysim/constants.py": "OFFSET = 40.0\n",
        },
        script="mysim/fit.py",
        command=("-m", "mysim.fit"),
    ),
    Situation(
        "package, started with -m",
        41.0,
        {
            "mysim/__init__.py": "",
            "mysim/__main__.py": _PLAIN.replace("OFFSET = 40.0", "from mysim.more import OFFSET"),
            "mysim/more.py": "OFFSET = 40.0\n",
        },
        script="mysim/__main__.py",
        command=("-m", "mysim"),
    ),
    Situation(
        "script that is started from another folder",
        41.0,
        {
            "project/fit.py": _PLAIN.replace("OFFSET = 40.0", "from more import OFFSET"),
            "project/more.py": "OFFSET = 40.0\n",
            "elsewhere/notes.txt": "",
        },
        script="project/fit.py",
        command=("../project/fit.py",),
        folder="elsewhere",
    ),
    Situation(
        "script that has blanks in its name",
        41.0,
        {"my fit (final).py": _PLAIN},
        script="my fit (final).py",
        command=("my fit (final).py",),
    ),
    Situation("code on standard input", 41.0, {"fit.py": _PLAIN}, command=("-",)),
    Situation(
        "code on standard input with classes of its own",
        5.0,
        {
            "fit.py": """
import enum
from dataclasses import dataclass

import seedwise as sw

class Mode(enum.Enum):
    EXACT = 2

@dataclass
class Config:
    mode: Mode = Mode.EXACT

DEFAULT = Config()

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return 4.0 * isinstance(DEFAULT, Config) + 1.0 * (DEFAULT.mode is Mode.EXACT)
""",
        },
        command=("-",),
    ),
    Situation(
        "code on standard input with a cache",
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
        command=("-",),
    ),
    Situation(
        "code on standard input with a module",
        9.0,
        {
            "modes.py": "import enum\n\nclass Mode(enum.Enum):\n    EXACT = 9.0\n",
            "engine.py": """
def simulate(mode):
    from modes import Mode

    return mode.value if mode is Mode.EXACT else 0.0
""",
            "fit.py": """
import seedwise as sw
from engine import simulate
from modes import Mode

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return simulate(Mode.EXACT)
""",
        },
        command=("-",),
    ),
    Situation("code on the command line", 41.0, {"fit.py": _PLAIN}, command=("-c",)),
    Situation(
        "closure that a factory makes at import",
        42.0,
        {
            "fit.py": """
import seedwise as sw

def make(offset):
    @sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
    def loss(params, seed):
        return offset + params["x"]

    return loss

loss = make(41.0)
""",
        },
    ),
    Situation(
        "closure that a module's factory makes",
        42.0,
        {
            "factory.py": """
import seedwise as sw

class Offset:
    def __init__(self, value):
        self.value = value

def make(offset):
    @sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
    def loss(params, seed):
        assert isinstance(offset, Offset)
        return offset.value + params["x"]

    return loss
""",
            "fit.py": """
import seedwise as sw
from factory import Offset, make

loss = make(Offset(41.0))
""",
        },
    ),
    Situation(
        "loss that is made under the main guard",
        43.0,
        {
            "fit.py": """
import enum

import seedwise as sw

class Mode(enum.Enum):
    FAST = 1
    EXACT = 2

def value(mode, x):
    return 42.0 + x if mode is Mode.EXACT else 0.0

def make(mode):
    @sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
    def loss(params, seed):
        return value(mode, params["x"])

    return loss

if __name__ == "__main__":
    loss = make(Mode.EXACT)
""",
        },
    ),
    Situation(
        "loss that is made of a lambda",
        44.0,
        {
            "fit.py": """
import seedwise as sw

SCALE = 44.0
loss = sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})(
    lambda params, seed: SCALE * params["x"]
)
""",
        },
    ),
    Situation(
        "loss that is an object",
        45.0,
        {
            "fit.py": """
import seedwise as sw

class Model:
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, params, seed):
        return self.scale * params["x"] if isinstance(self, Model) else 0.0

loss = sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})(Model(45.0))
""",
        },
    ),
    Situation(
        "loss that is a method of an object",
        46.0,
        {
            "model.py": """
class Model:
    def __init__(self, scale):
        self.scale = scale

    def misfit(self, params, seed):
        return self.scale * params["x"] if isinstance(self, Model) else 0.0
""",
            "fit.py": """
import seedwise as sw
from model import Model

MODEL = Model(46.0)
decorate = sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
loss = decorate(MODEL.misfit)
""",
        },
    ),
    Situation(
        "loss that is a partial",
        47.0,
        {
            "fit.py": """
import functools

import seedwise as sw

def misfit(scale, params, seed):
    return scale * params["x"]

decorate = sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
loss = decorate(functools.partial(misfit, 47.0))
""",
        },
    ),
    Situation(
        "loss that exec defines",
        48.0,
        {
            "fit.py": '''
import seedwise as sw

SCALE = 48.0
MODEL = """
def misfit(params, seed):
    return SCALE * params["x"]
"""
exec(MODEL, globals())
decorate = sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
loss = decorate(misfit)
''',
        },
    ),
    Situation(
        "loss under a decorator of a module",
        49.0,
        {
            "tools.py": """
import functools

def doubled(function):
    @functools.wraps(function)
    def wrapper(params, seed):
        return 2.0 * function(params, seed)

    return wrapper
""",
            "fit.py": """
import seedwise as sw
from tools import doubled

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
@doubled
def loss(params, seed):
    return 24.5 * params["x"]
""",
        },
    ),
    Situation(
        "loss that reads its own source",
        2.0,
        {
            "model.py": """
def simulate(x):
    return x
""",
            "fit.py": """
import inspect

import model
import seedwise as sw

def shown(x):
    return x

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    same = inspect.getsource(model.simulate).split()[-2:] == ["return", "x"]
    return float(same) + float(inspect.getsource(shown).startswith("def shown(x):"))
""",
        },
    ),
    Situation(
        "pool of processes over a function of the script",
        14.0,
        {
            "fit.py": """
import multiprocessing

import seedwise as sw

def square(x):
    return x * x

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    with multiprocessing.Pool(2) as pool:
        return float(sum(pool.map(square, [1, 2, 3])))
""",
        },
    ),
    Situation(
        "pool of spawned processes over a function of the script",
        14.0,
        {
            "fit.py": """
import multiprocessing

import seedwise as sw

def square(x):
    return x * x

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return float(sum(pool.map(square, [1, 2, 3])))
""",
        },
    ),
    Situation(
        "executor of processes over a function of a module",
        14.0,
        {
            "work.py": "def square(x):\n    return x * x\n",
            "fit.py": """
from concurrent.futures import ProcessPoolExecutor

import seedwise as sw
import work

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    with ProcessPoolExecutor(1) as pool:
        return float(sum(pool.map(work.square, [1, 2, 3])))
""",
        },
    ),
    Situation(
        "coroutines in the loss",
        51.0,
        {
            "fit.py": """
import asyncio

import seedwise as sw

async def simulate(x):
    await asyncio.sleep(0)
    return 51.0 * x

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return asyncio.run(simulate(params["x"]))
""",
        },
    ),
)
