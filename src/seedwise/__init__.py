"""Minimise a noisy loss, averaged over many seeds, on a laptop or a Slurm cluster.

The public names are listed in ``__init__.pyi`` and loaded when they are first used: a worker
imports `seedwise.worker` without Optuna and dask-jobqueue.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
# After `from seedwise import *`, `random` must still be Python's own.
__all__ = [name for name in _names if name != "random"]
