"""Every error that seedwise raises, in one tree.

Each carries its data as attributes, and its message says what was wrong (the value), what is
allowed and what to do. Each class has :class:`SeedwiseError` and the fitting builtin as parents,
so that ``except ValueError`` works as well as ``except SeedwiseError``.
"""

# ruff: noqa: F403 - a name without an underscore is for others
from seedwise.errors.advice import *
from seedwise.errors.base import SeedwiseError as SeedwiseError
from seedwise.errors.call import *
from seedwise.errors.cluster import *
from seedwise.errors.folder import *
from seedwise.errors.run import *
