"""The command ``seedwise``: arguments to the api; no logic of its own."""

from __future__ import annotations

import json
import pdb  # noqa: T100 - what --pdb is for
import sys
import traceback
from pathlib import Path
from typing import Any

import attrs
import click

from seedwise import api
from seedwise.errors import RunStopped, SeedwiseError
from seedwise.model.entries_options import EntriesOptions
from seedwise.model.keywords import command_options
from seedwise.model.options import RunOptions
from seedwise.model.sweep_options import SweepOptions
from seedwise.view.result import result_lines
from seedwise.view.status import status_lines

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="seedwise")
def main() -> None:
    """Minimise a noisy loss, averaged over many seeds, on a laptop or a Slurm cluster."""


# What the folder says, what is no text, and what is never said together with going on.
_NO_FLAGS = (
    "assume_yes",
    "clean_run_dir",
    "enqueue",
    "run_name",
    "run_name_prefix",
    "run_root",
    "slurm",
)


def _flags(command: Any) -> Any:
    flags = {
        option.flag: option
        for kind in (RunOptions, EntriesOptions, SweepOptions)
        for option in command_options(kind, _NO_FLAGS)
    }
    for option in reversed(flags.values()):
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
    for line in result_lines(result):
        click.echo(line)


@main.command()
@click.argument("run_dir", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object, for other programs.")
def status(run_dir: str, as_json: bool) -> None:
    """Say how far the run in RUN_DIR is, whether a driver works on it or not."""
    try:
        found = api.run_status(run_dir)
        if as_json:
            lines = [json.dumps({**attrs.asdict(found), "n_told": found.n_told})]
        else:
            lines = status_lines(found, Path(run_dir))
    except SeedwiseError as error:
        raise click.ClickException(str(error)) from error
    for line in lines:
        click.echo(line)


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
