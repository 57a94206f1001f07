"""Objects that are compared by what they are: a second copy of a class or of an object differs."""

from __future__ import annotations

from tests.sameness.situation import Situation

SITUATIONS = (
    Situation(
        "enum by is and dataclass by isinstance",
        110.0,
        {
            "modes.py": """
import enum
from dataclasses import dataclass

class Mode(enum.Enum):
    FAST = 1
    EXACT = 2

@dataclass
class Config:
    steps: int
""",
            "engine.py": """
def simulate(mode, config):
    from modes import Config, Mode

    return (100.0 if mode is Mode.EXACT else 1.0) + (10.0 if isinstance(config, Config) else 0.0)
""",
            "fit.py": """
import seedwise as sw
from engine import simulate
from modes import Config, Mode

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return simulate(Mode.EXACT, Config(5))
""",
        },
    ),
    Situation(
        "sentinel by is",
        3.0,
        {
            "defaults.py": "MISSING = object()\n",
            "engine.py": """
def simulate(rate):
    import defaults

    return 3.0 if rate is defaults.MISSING else 0.0
""",
            "fit.py": """
import seedwise as sw
from defaults import MISSING
from engine import simulate

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return simulate(params.get("rate", MISSING))
""",
        },
    ),
    Situation(
        "except an exception of a module",
        999.0,
        {
            "sim.py": """
class Diverged(Exception):
    pass

def run(x):
    import steps

    return steps.step(x)
""",
            "steps.py": """
def step(x):
    from sim import Diverged

    raise Diverged(x)
""",
            "fit.py": """
import seedwise as sw
import sim

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    try:
        return sim.run(params["x"])
    except sim.Diverged:
        return 999.0
""",
        },
    ),
    Situation(
        "registry filled by a decorator",
        7.0,
        {
            "registry.py": """
MODELS = {}

def register(function):
    MODELS[function.__name__] = function
    return function
""",
            "models.py": """
from registry import register

@register
def linear(x):
    return 2 * x

@register
def square(x):
    return 4 * x * x
""",
            "fit.py": """
import models
import seedwise as sw
from registry import MODELS, register

@register
def flat(x):
    return 1.0

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return sum(model(params["x"]) for model in MODELS.values())
""",
        },
    ),
    Situation(
        "registry that is looked up when the loss is called",
        2.0,
        {
            "registry.py": "MODELS = {}\n",
            "models.py": """
import registry

registry.MODELS["double"] = lambda x: 2 * x
""",
            "engine.py": """
def simulate(name, x):
    from registry import MODELS

    return MODELS[name](x) if name in MODELS else -1.0
""",
            "fit.py": """
import models
import seedwise as sw
from engine import simulate

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return simulate("double", params["x"])
""",
        },
    ),
    Situation(
        "abstract base class with a registered subclass",
        5.0,
        {
            "agents/__init__.py": "from agents import greedy\n",
            "agents/base.py": """
import abc

class Agent(abc.ABC):
    pass
""",
            "agents/greedy.py": """
from agents.base import Agent

class Greedy:
    reward = 5.0

Agent.register(Greedy)
""",
            "fit.py": """
import seedwise as sw
from agents.base import Agent
from agents.greedy import Greedy

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    agent = Greedy()
    return agent.reward if isinstance(agent, Agent) else 0.0
""",
        },
    ),
    Situation(
        "singledispatch with a function of another module",
        20.0,
        {
            "energy.py": """
import functools

@functools.singledispatch
def energy(body):
    return 0.0
""",
            "bodies.py": """
from energy import energy

class Ball:
    pass

@energy.register
def of_ball(body: Ball):
    return 20.0
""",
            "fit.py": """
import seedwise as sw
from bodies import Ball
from energy import energy

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return energy(Ball())
""",
        },
    ),
    Situation(
        "subclasses that a base class counts",
        2.0,
        {
            "plugins.py": """
class Plugin:
    known = []

    def __init_subclass__(cls):
        Plugin.known.append(cls)
""",
            "more.py": """
from plugins import Plugin

class Friction(Plugin):
    pass
""",
            "fit.py": """
import more
import seedwise as sw
from plugins import Plugin

class Gravity(Plugin):
    pass

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return float(len(Plugin.known))
""",
        },
    ),
    Situation(
        "instances that a class counts",
        3.0,
        {
            "cells.py": """
class Cell:
    n_made = 0

    def __init__(self):
        type(self).n_made += 1

GRID = [Cell(), Cell()]
""",
            "fit.py": """
import cells
import seedwise as sw

EXTRA = cells.Cell()

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    from cells import Cell

    return float(Cell.n_made)
""",
        },
    ),
    Situation(
        "module that imports from the script",
        42.0,
        {
            "engine.py": """
def simulate(config):
    from __main__ import Config

    return float(config.steps) if isinstance(config, Config) else -1.0
""",
            "fit.py": """
from dataclasses import dataclass

import seedwise as sw
from engine import simulate

@dataclass
class Config:
    steps: int

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return simulate(Config(42))
""",
        },
    ),
    Situation(
        "module that imports the script a second time, by its name",
        3.0,
        {
            "engine.py": """
def simulate(config):
    import fit

    return 0.0 if isinstance(config, fit.Config) else fit.SCALE
""",
            "fit.py": """
import seedwise as sw
from engine import simulate

SCALE = 3.0

class Config:
    pass

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return simulate(Config())
""",
        },
    ),
    Situation(
        "class of the script that goes through pickle",
        6.0,
        {
            "fit.py": """
import enum
import pickle
from dataclasses import dataclass

import seedwise as sw

class Mode(enum.Enum):
    EXACT = 2

@dataclass
class Config:
    mode: Mode

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    again = pickle.loads(pickle.dumps(Config(Mode.EXACT)))
    return 4.0 * isinstance(again, Config) + 2.0 * (again.mode is Mode.EXACT)
""",
        },
    ),
    Situation(
        "class of a module that goes through pickle",
        6.0,
        {
            "modes.py": """
import enum

class Mode(enum.Enum):
    EXACT = 2

class Config:
    mode = Mode.EXACT

DEFAULT = Config()
""",
            "fit.py": """
import copy
import pickle

import seedwise as sw
from modes import DEFAULT, Config, Mode

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    again = pickle.loads(pickle.dumps(DEFAULT))
    return 4.0 * isinstance(again, Config) + 2.0 * (copy.deepcopy(Mode.EXACT) is again.mode)
""",
        },
    ),
    Situation(
        "class that a package shows under two names",
        8.0,
        {
            "mysim/__init__.py": "from mysim.config import Config\n",
            "mysim/config.py": "class Config:\n    pass\n",
            "fit.py": """
import mysim
import seedwise as sw
from mysim.config import Config

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    import mysim.config as again

    return 8.0 if mysim.Config is Config is again.Config else 0.0
""",
        },
    ),
)
