"""The command ``seedwise``: it passes arguments to the api and has no logic of its own."""

import sys
from typing import Any

import click

import seedwise
from seedwise.cli.begin import check, run, submit, sweep
from seedwise.cli.control import clean, resume, scale, stop
from seedwise.cli.demo import demo
from seedwise.cli.flags import Sections
from seedwise.cli.look import export, replay, report, show, slurm, status
from seedwise.errors import RunStopped, SeedwiseError

# Each TAB in a shell imports this module: what brings NumPy or Dask is imported where it is used.


class _Commands(Sections):
    """Commands whose errors are shown in words, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RunStopped as stopped:  # click would call a KeyboardInterrupt an error
            sys.exit(stopped.code)
        except KeyboardInterrupt:
            sys.exit(130)
        except SeedwiseError as error:
            raise click.ClickException(str(error)) from error


@click.group(
    cls=_Commands,
    sections={
        "Begin a run": (run, sweep, check, submit, demo),
        "Look at a run": (status, show, report, export, replay),
        "Control a run": (resume, scale, stop, clean),
        "Look at the cluster": (slurm,),
    },
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="seedwise run fit.py --n-trials 100",
)
@click.version_option(seedwise.__version__, prog_name="seedwise")
def main() -> None:
    """Minimise a noisy loss, averaged over many seeds, on a laptop or a Slurm cluster."""
