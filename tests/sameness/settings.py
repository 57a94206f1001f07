"""Settings that are made when the script, or a module, is imported."""

from __future__ import annotations

from tests.sameness.situation import Situation

SITUATIONS = (
    Situation(
        "precision of decimals in the default context",
        0.333333,
        {
            "fit.py": """
import decimal
from decimal import Decimal

import seedwise as sw

decimal.DefaultContext.prec = 6
decimal.setcontext(decimal.DefaultContext)

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return float(Decimal(params["x"]) / Decimal(3))
""",
        },
    ),
    Situation(
        "precision of decimals in the current context",
        0.3333,
        {
            "fit.py": """
import decimal

import seedwise as sw

decimal.getcontext().prec = 4

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return float(decimal.Decimal(params["x"]) / 3)
""",
        },
    ),
    Situation(
        "numpy's errors raise",
        50.0,
        {
            "fit.py": """
import numpy as np

import seedwise as sw

np.seterr(all="raise")

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    try:
        return float(np.exp(np.array([params["x"] * -1e4])).sum())
    except FloatingPointError:
        return 50.0
""",
        },
    ),
    Situation(
        "numpy's errors raise, set in a module",
        50.0,
        {
            "quiet.py": "import numpy as np\n\nnp.seterr(divide='raise')\n",
            "fit.py": """
import numpy as np

import quiet
import seedwise as sw

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    try:
        return float(1.0 / (1.0 + 1.0 / np.zeros(1))[0])
    except FloatingPointError:
        return 50.0
""",
        },
    ),
    Situation(
        "digits that numpy prints",
        0.333,
        {
            "fit.py": """
import numpy as np

import seedwise as sw

np.set_printoptions(precision=3)

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return float(str(np.array([params["x"] / 3])).strip("[]"))
""",
        },
    ),
    Situation(
        "context variable that is set",
        9.0,
        {
            "scope.py": """
from contextvars import ContextVar

SCALE = ContextVar("SCALE", default=1.0)
""",
            "fit.py": """
import seedwise as sw
from scope import SCALE

SCALE.set(9.0)

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return SCALE.get() * params["x"]
""",
        },
    ),
    Situation(
        "warnings are errors",
        30.5,
        {
            "sim.py": """
import warnings

def run(x):
    if x > 0.5:
        warnings.warn("x is large", RuntimeWarning, stacklevel=2)
    return x
""",
            "fit.py": """
import warnings

import seedwise as sw
from sim import run

warnings.filterwarnings("error", category=RuntimeWarning)

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    try:
        return run(params["x"]) + seed
    except RuntimeWarning:
        return 30.0 + seed
""",
        },
    ),
    Situation(
        "all warnings are errors",
        30.5,
        {
            "fit.py": """
import warnings

import numpy as np

import seedwise as sw

warnings.filterwarnings("error")

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    try:
        return float(np.log(np.array([params["x"] - 1.0]))[0] > 0) + seed
    except RuntimeWarning:
        return 30.0 + seed
""",
        },
    ),
    Situation(
        "limit of recursion",
        4000.0,
        {
            "fit.py": """
import sys

import seedwise as sw

sys.setrecursionlimit(20_000)

def depth(n):
    return 0 if n == 0 else 1 + depth(n - 1)

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    try:
        return float(depth(4000))
    except RecursionError:
        return -1.0
""",
        },
    ),
    Situation(
        "limit of an integer's digits",
        5000.0,
        {
            "fit.py": """
import sys

import seedwise as sw

sys.set_int_max_str_digits(0)

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    try:
        return float(len(str(10**4999)))
    except ValueError:
        return -1.0
""",
        },
    ),
    Situation(
        "handler of encoding errors",
        8.0,
        {
            "fit.py": """
import codecs

import seedwise as sw

codecs.register_error("doubled", lambda error: ("??" * (error.end - error.start), error.end))

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return float(len("naïve é".encode("ascii", "doubled"))) - 1.0
""",
        },
    ),
    Situation(
        "codec that is registered",
        6.0,
        {
            "dna.py": """
import codecs

def encode(text, errors="strict"):
    return text.encode("ascii") * 2, len(text)

def decode(data, errors="strict"):
    return bytes(data).decode("ascii"), len(data)

def find(name):
    return codecs.CodecInfo(encode, decode, name="dna") if name == "dna" else None

codecs.register(find)
""",
            "fit.py": """
import dna
import seedwise as sw

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return float(len("ACG".encode("dna")))
""",
        },
    ),
    Situation(
        "environment variable that is set",
        16.0,
        {
            "engine.py": """
import os

def bits():
    return float(os.environ.get("MYSIM_BITS", "64"))
""",
            "fit.py": """
import os

os.environ["MYSIM_BITS"] = "16"

import seedwise as sw
from engine import bits

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return bits() * params["x"]
""",
        },
    ),
    Situation(
        "level of a logger",
        10.0,
        {
            "sim.py": """
import logging

log = logging.getLogger(__name__)

def run():
    return float(log.getEffectiveLevel())
""",
            "fit.py": """
import logging

import seedwise as sw
import sim

logging.getLogger("sim").setLevel(logging.DEBUG)

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return sim.run()
""",
        },
    ),
    Situation(
        "module of settings that the script changes",
        0.25,
        {
            "settings.py": "STEP = 1.0\n",
            "engine.py": """
import settings

def simulate(x):
    return settings.STEP * x
""",
            "fit.py": """
import engine
import seedwise as sw
import settings

settings.STEP = 0.25

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return engine.simulate(params["x"])
""",
        },
    ),
    Situation(
        "function of a module that the script replaces",
        70.0,
        {
            "engine.py": """
def noise(seed):
    return 1.0

def simulate(seed):
    return 10.0 * noise(seed)
""",
            "fit.py": """
import engine
import seedwise as sw

def heavy_tailed(seed):
    return 7.0

engine.noise = heavy_tailed

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return engine.simulate(seed)
""",
        },
    ),
    Situation(
        "function of the standard library that is replaced",
        3.0,
        {
            "fit.py": """
import math

import seedwise as sw

math.fsum_of_squares = lambda values: math.fsum(value * value for value in values)

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return math.fsum_of_squares([1.0, 1.0, params["x"]])
""",
        },
    ),
    Situation(
        "builtin that is added",
        12.0,
        {
            "hot.py": """
import builtins

if not hasattr(builtins, "profile"):
    builtins.profile = lambda function: function

@profile
def hot(x):
    return 12.0 * x
""",
            "fit.py": """
import hot
import seedwise as sw

@profile
def model(x):
    return hot.hot(x)

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return profile(model)(params["x"])
""",
        },
    ),
    Situation(
        "generator of random numbers that is made and drawn from",
        0.9664535356921388,
        {
            "fit.py": """
import random

import seedwise as sw

RNG = random.Random(42)
RNG.random()
RNG.seed(1234)
WEIGHT = RNG.random()

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return WEIGHT * params["x"]
""",
        },
    ),
    Situation(
        "numpy's generator that each seed copies",
        1.1618744092718347,
        {
            "world.py": """
import numpy as np

RNG = np.random.RandomState(7)
TERRAIN = RNG.random_sample(3)
""",
            "fit.py": """
import copy

import seedwise as sw
import world

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return copy.deepcopy(world.RNG).random_sample() + world.TERRAIN[2]
""",
        },
    ),
    Situation(
        "accessor that is registered with pandas",
        6.0,
        {
            "fit.py": """
import pandas as pd

import seedwise as sw

@pd.api.extensions.register_series_accessor("energy")
class Energy:
    def __init__(self, series):
        self.series = series

    def total(self):
        return float(self.series.sum())

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return pd.Series([1.0, 2.0, 3.0]).energy.total()
""",
        },
    ),
    Situation(
        "type that is registered with an installed library",
        11.0,
        {
            "kinds.py": """
import mimetypes

mimetypes.add_type("model/simulation", ".mysim")
""",
            "fit.py": """
import mimetypes

import kinds
import seedwise as sw

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    kind, _ = mimetypes.guess_type("world.mysim")
    return 11.0 if kind == "model/simulation" else 0.0
""",
        },
    ),
)
