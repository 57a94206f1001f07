"""The functions that users call: they put the parts together and decide nothing themselves."""

from seedwise.api.begin import optimize_entries, optimize_run, run_sweep
from seedwise.api.check import check_run
from seedwise.api.control import clean_run, connect
from seedwise.api.look import open_run, replay_seed, run_status
from seedwise.api.resume import changed_slurm, resume_run
from seedwise.api.slurm import slurm_limits
from seedwise.api.submit import submit_script
from seedwise.usercode.find import load_loss

__all__ = [
    "changed_slurm",
    "check_run",
    "clean_run",
    "connect",
    "load_loss",
    "open_run",
    "optimize_entries",
    "optimize_run",
    "replay_seed",
    "resume_run",
    "run_status",
    "run_sweep",
    "slurm_limits",
    "submit_script",
]
