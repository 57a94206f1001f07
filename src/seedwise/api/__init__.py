"""What users call: puts the parts together, and decides nothing itself.

May import all other folders.
"""

from seedwise.api.begin import optimize_entries, optimize_run, run_sweep
from seedwise.api.look import replay_seed, run_status
from seedwise.api.resume import resume_run

__all__ = [
    "optimize_entries",
    "optimize_run",
    "replay_seed",
    "resume_run",
    "run_status",
    "run_sweep",
]
