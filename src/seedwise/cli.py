"""The command ``seedwise``: arguments to the api; no logic of its own."""

from __future__ import annotations

import pdb  # noqa: T100 - what --pdb is for
import sys
import traceback
from typing import Any

import click

from seedwise import api
from seedwise.errors import RunStopped, SeedwiseError
from seedwise.model.keywords import command_options
from seedwise.model.options import RunOptions

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="seedwise")
def main() -> None:
    """Minimise a noisy loss, averaged over many seeds, on a laptop or a Slurm cluster."""


def _flags(command: Any) -> Any:
    leave_out = ("run_root", "run_name", "slurm")  # the folder says the first two
    for option in reversed(command_options(RunOptions, leave_out)):
        command = click.option(
            option.flag, default=None, type=option.parse, metavar=option.metavar, help=option.help
        )(command)
    return command


@main.command()
@click.argument("run_dir", type=click.Path())
@_flags
def resume(run_dir: str, **flags: Any) -> None:
    """Go on with the run in RUN_DIR, up to its number of trials.

    What is not given is as it was in the call that began the run.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        result = api.resume_run(run_dir, **given)
    except RunStopped as stopped:  # click would call a KeyboardInterrupt an error
        sys.exit(stopped.code)
    except SeedwiseError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"best_value: {result.best_value!r}")
    for name, value in result.best_params.items():
        click.echo(f"{name}: {value!r}")


@main.command()
@click.argument("run_dir", type=click.Path())
@click.option("--trial", type=int, required=True, help="Number of the trial.")
@click.option("--seed", type=int, default=None, help="The seed; without it all seeds in order.")
@click.option("--pdb", "debug", is_flag=True, help="Stop in the debugger where the loss raises.")
def replay(run_dir: str, trial: int, seed: int | None, debug: bool) -> None:
    """Evaluate a seed of a trial of the run in RUN_DIR here, without Dask."""
    try:
        replayed = api.replay_seed(run_dir, trial=trial, seed=seed)
    except Exception as error:
        if isinstance(error, SeedwiseError) and not debug:
            raise click.ClickException(str(error)) from error
        traceback.print_exc()
        if debug:
            pdb.post_mortem(error.__traceback__)
        sys.exit(1)
    click.echo(f"params: {replayed.params!r}")
    for one, loss in replayed.losses.items():
        click.echo(f"seed {one}: {loss!r}")
