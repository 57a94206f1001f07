"""Modules and packages in all the ways in which they import one another."""

from __future__ import annotations

from tests.sameness.situation import Situation

SITUATIONS = (
    Situation(
        "package that imports its module, which imports the package",
        13.0,
        {
            "mysim/__init__.py": "from mysim.core import simulate\n",
            "mysim/core.py": """
import mysim.constants

def simulate(x):
    return mysim.constants.OFFSET + x
""",
            "mysim/constants.py": "OFFSET = 12.0\n",
            "fit.py": """
import seedwise as sw
from mysim import simulate

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return simulate(params["x"])
""",
        },
    ),
    Situation(
        "two modules that import each other",
        5.0,
        {
            "even.py": """
import odd

def steps(n):
    return 0.0 if n == 0 else 1.0 + odd.steps(n - 1)
""",
            "odd.py": """
import even

def steps(n):
    return 0.0 if n == 0 else 1.0 + even.steps(n - 1)
""",
            "fit.py": """
import even
import seedwise as sw

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return even.steps(5)
""",
        },
    ),
    Situation(
        "package that holds itself",
        4.0,
        {
            "mysim/__init__.py": """
import mysim

itself = mysim
SIZE = 4.0
""",
            "fit.py": """
import mysim
import seedwise as sw

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return mysim.itself.itself.SIZE
""",
        },
    ),
    Situation(
        "module that finds itself in sys.modules",
        14.0,
        {
            "models.py": """
import sys

THIS = sys.modules[__name__]

def linear(x):
    return 14.0 * x

def by_name(name):
    return getattr(THIS, name)
""",
            "fit.py": """
import models
import seedwise as sw

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return models.by_name("linear")(params["x"])
""",
        },
    ),
    Situation(
        "script that finds itself in sys.modules",
        15.0,
        {
            "fit.py": """
import sys

import seedwise as sw

THIS = sys.modules[__name__]

def linear(x):
    return 15.0 * x

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return getattr(THIS, "linear")(params["x"])
""",
        },
    ),
    Situation(
        "module that replaces itself in sys.modules",
        18.0,
        {
            "config.py": """
import sys

class Config:
    def __getattr__(self, name):
        if name == "size":
            return 18.0
        raise AttributeError(name)

sys.modules[__name__] = Config()
""",
            "fit.py": """
import config
import seedwise as sw

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return config.size
""",
        },
    ),
    Situation(
        "relative imports",
        23.0,
        {
            "mysim/__init__.py": "",
            "mysim/constants.py": "OFFSET = 20.0\n",
            "mysim/agents/__init__.py": "from .greedy import act\n",
            "mysim/agents/greedy.py": """
from .. import constants
from ..tools import clip

def act(x):
    return constants.OFFSET + clip(3.0 * x)
""",
            "mysim/tools.py": "def clip(x):\n    return min(x, 3.0)\n",
            "fit.py": """
import seedwise as sw
from mysim.agents import act

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return act(params["x"])
""",
        },
    ),
    Situation(
        "package without an __init__.py",
        24.0,
        {
            "mysim/core.py": "import mysim.deep.constants as constants\n\nSIZE = constants.SIZE\n",
            "mysim/deep/constants.py": "SIZE = 24.0\n",
            "fit.py": """
import seedwise as sw
from mysim import core

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return core.SIZE
""",
        },
    ),
    Situation(
        "package that imports its modules when they are used",
        25.0,
        {
            "mysim/__init__.py": """
import importlib

def __getattr__(name):
    if name == "heavy":
        return importlib.import_module("mysim.heavy")
    raise AttributeError(name)
""",
            "mysim/heavy.py": "SIZE = 25.0\n",
            "fit.py": """
import mysim
import seedwise as sw

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return mysim.heavy.SIZE
""",
        },
    ),
    Situation(
        "module that is imported by a name made at run time",
        26.0,
        {
            "models/__init__.py": "",
            "models/fast.py": "SIZE = 26.0\n",
            "models/slow.py": "SIZE = 27.0\n",
            "fit.py": """
import importlib

import seedwise as sw

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    kind = "fast" if params["x"] <= 1.0 else "slow"
    return importlib.import_module(f"models.{kind}").SIZE
""",
        },
    ),
    Situation(
        "module that only the loss imports",
        28.0,
        {
            "late.py": "import later\n\nSIZE = later.SIZE\n",
            "later.py": "SIZE = 28.0\n",
            "fit.py": """
import seedwise as sw

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    import late

    return late.SIZE
""",
        },
    ),
    Situation(
        "folder src that the script puts on the path",
        29.0,
        {
            "src/mysim/__init__.py": "SIZE = 29.0\n",
            "scripts/fit.py": """
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import mysim
import seedwise as sw

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return mysim.SIZE
""",
        },
        script="scripts/fit.py",
        command=("scripts/fit.py",),
    ),
    Situation(
        "module that is loaded by its path",
        31.0,
        {
            "configs/large.py": "SIZE = 31.0\n\nclass Config:\n    size = SIZE\n",
            "fit.py": """
import importlib.util
import sys
from pathlib import Path

import seedwise as sw

spec = importlib.util.spec_from_file_location("config", Path(__file__).parent / "configs/large.py")
config = importlib.util.module_from_spec(spec)
sys.modules["config"] = config
spec.loader.exec_module(config)

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return config.Config().size
""",
        },
    ),
    Situation(
        "import for the type checker alone",
        32.0,
        {
            "sim.py": """
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from a_package_that_is_not_here import World

def run(world: World | None) -> float:
    return 32.0
""",
            "fit.py": """
from __future__ import annotations

from typing import TYPE_CHECKING

import seedwise as sw
import sim

if TYPE_CHECKING:
    from sim_types import Params

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params: Params, seed: int) -> float:
    return sim.run(None)
""",
        },
    ),
    Situation(
        "faster module that may be missing",
        33.0,
        {
            "slow_sim.py": "def run(x):\n    return 33.0 * x\n",
            "fit.py": """
import seedwise as sw

try:
    from fast_sim_that_is_not_here import run
except ImportError:
    from slow_sim import run

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return run(params["x"])
""",
        },
    ),
    Situation(
        "names imported by a star",
        34.0,
        {
            "physics.py": """
__all__ = ["energy"]

_SCALE = 34.0

def energy(x):
    return _SCALE * x
""",
            "fit.py": """
import seedwise as sw
from physics import *

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return energy(params["x"])
""",
        },
    ),
    Situation(
        "module that uses its own name and file",
        35.0,
        {
            "mysim/__init__.py": "",
            "mysim/where.py": """
from pathlib import Path

def is_here():
    return (__name__, __package__, Path(__file__).name) == ("mysim.where", "mysim", "where.py")
""",
            "fit.py": """
from pathlib import Path

import seedwise as sw
from mysim.where import is_here

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return 35.0 if is_here() and Path(__file__).name == "fit.py" else 0.0
""",
        },
    ),
)
