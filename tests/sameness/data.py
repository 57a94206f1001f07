"""Data files, found in all the ways in which scripts find them."""

from __future__ import annotations

import io

import numpy as np

from tests.sameness.situation import Situation


def _npy(values: list[float]) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(values))
    return file.getvalue()


SITUATIONS = (
    Situation(
        "file beside the script, read at import",
        3.5,
        {
            "data.json": '{"rate": 3.5}\n',
            "fit.py": """
import json
from pathlib import Path

import seedwise as sw

DATA = json.loads((Path(__file__).parent / "data.json").read_text())

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return DATA["rate"] * params["x"]
""",
        },
    ),
    Situation(
        "file beside the script, read by the loss",
        3.5,
        {
            "data.json": '{"rate": 3.5}\n',
            "fit.py": """
import json
from pathlib import Path

import seedwise as sw

HERE = Path(__file__).resolve().parent

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return json.loads((HERE / "data.json").read_text())["rate"]
""",
        },
    ),
    Situation(
        "file by a path from the working directory, read at import",
        4.5,
        {
            "inputs/rate.txt": "4.5\n",
            "scripts/fit.py": """
import seedwise as sw

with open("inputs/rate.txt") as file:
    RATE = float(file.read())

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return RATE
""",
        },
        script="scripts/fit.py",
        command=("scripts/fit.py",),
    ),
    Situation(
        "file by a path from the working directory, read by the loss",
        4.5,
        {
            "rate.txt": "4.5\n",
            "fit.py": """
from pathlib import Path

import seedwise as sw

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return float(Path("rate.txt").read_text())
""",
        },
    ),
    Situation(
        "working directory that the script changes",
        5.5,
        {
            "project/rate.txt": "5.5\n",
            "project/fit.py": """
import os
from pathlib import Path

import seedwise as sw

os.chdir(Path(__file__).resolve().parent)

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return float(Path("rate.txt").read_text())
""",
        },
        script="project/fit.py",
        command=("project/fit.py",),
    ),
    Situation(
        "file of a package by importlib.resources",
        6.5,
        {
            "mysim/__init__.py": "",
            "mysim/tables/rates.csv": "name,rate\nslow,6.5\n",
            "fit.py": """
import csv
import importlib.resources

import mysim
import seedwise as sw

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    with (importlib.resources.files(mysim) / "tables" / "rates.csv").open() as file:
        return float(next(csv.DictReader(file))["rate"])
""",
        },
    ),
    Situation(
        "file of a package by pkgutil",
        7.5,
        {
            "mysim/__init__.py": """
import pkgutil

RATE = float(pkgutil.get_data(__name__, "rate.txt"))
""",
            "mysim/rate.txt": "7.5",
            "fit.py": """
import mysim
import seedwise as sw

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return mysim.RATE
""",
        },
    ),
    Situation(
        "array that is mapped into memory",
        1.0,
        {
            "world.npy": _npy([1.5, 2.5, 4.5]),
            "fit.py": """
from pathlib import Path

import numpy as np

import seedwise as sw

WORLD = np.load(Path(__file__).parent / "world.npy", mmap_mode="r")

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return float(isinstance(WORLD, np.memmap) and WORLD.sum() == 8.5)
""",
        },
    ),
    Situation(
        "array that a module maps into memory",
        1.0,
        {
            "mysim/__init__.py": "",
            "mysim/world.npy": _npy([1.5, 2.5, 4.5]),
            "mysim/world.py": """
from pathlib import Path

import numpy as np

WORLD = np.load(Path(__file__).with_name("world.npy"), mmap_mode="r")
""",
            "fit.py": """
import numpy as np

import seedwise as sw
from mysim.world import WORLD

@sw.loss(name="fit", description="misfit", parameter_space={"x": (0.0, 2.0)})
def loss(params, seed):
    return float(isinstance(WORLD, np.memmap) and WORLD.sum() == 8.5)
""",
        },
    ),
)
