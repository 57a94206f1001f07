"""The commands that messages name."""

import shlex
from pathlib import Path


def resume_command(run_dir: Path) -> str:
    """Return the command that resumes a run."""
    return f"seedwise resume {shlex.quote(str(run_dir))}"


def clean_command(run_dir: Path) -> str:
    """Return the command that cancels what a killed driver left."""
    return f"seedwise clean {shlex.quote(str(run_dir))}"


def page_command(run_dir: Path) -> str:
    """Return the command that serves a run's page."""
    return f"seedwise show {shlex.quote(str(run_dir))} --page"


def replay_command(
    run_dir: Path, trial: int, seed: int | None, *, validation: bool = False
) -> str:
    """Return the command that evaluates a trial again on one seed; None means all seeds."""
    which = "" if seed is None else f" --seed {seed}"
    which += " --validation" if validation else ""
    return f"seedwise replay {shlex.quote(str(run_dir))} --trial {trial}{which}"
