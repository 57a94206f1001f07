"""The command ``seedwise``: it passes arguments to the api and has no logic of its own."""

import sys
from typing import Any

import click

import seedwise
from seedwise.cli import begin
from seedwise.cli import existing as old
from seedwise.cli.flags import Sections
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
        "Begin a run": (begin.run, begin.sweep, begin.check, begin.submit, begin.demo),
        "Look at a run": (old.status, old.show, old.report, old.export, old.replay),
        "Control a run": (old.resume, old.scale, old.stop, old.clean),
        "Look at the cluster": (old.slurm,),
    },
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="seedwise run fit.py --n-trials 100",
)
@click.version_option(seedwise.__version__, prog_name="seedwise")
def main() -> None:
    """Minimise a noisy loss, averaged over many seeds, on a laptop or a Slurm cluster."""
