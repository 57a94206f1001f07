"""The command that sweeps over the points of a source."""

from pathlib import Path
from typing import Any

import click

import seedwise
from seedwise.cli.begin import CONFIG, LOSS, of_kind
from seedwise.cli.flags import Flag, option_flags
from seedwise.cli.help import Command
from seedwise.cli.output import AS_JSON, stdout_kept, write_result
from seedwise.cli.settings import keywords, settings
from seedwise.model.options.fields import Group
from seedwise.model.options.slurm import SlurmOptions
from seedwise.model.options.sweep import SweepOptions

_RANDOM_SEED = 123  # as of optimize_run

_OF_SOURCE: dict[str, Any] = {"cls": Flag, "group": Group.SEARCH}


@click.command(
    cls=Command,
    epilog=(
        "seedwise sweep fit.py --grid drift=0.1,0.2 --grid steps=10,20 --n-seeds 1000\n"
        "seedwise sweep fit.py --random 'drift=uniform(0,1)' --n-trials 500"
    ),
)
@LOSS
@click.option(
    "--grid",
    "axes",
    multiple=True,
    metavar="NAME=VALUES",
    help=(
        "Values of a parameter, such as x=1,2,3, or a JSON list; the points are all combinations. "
        "Give it again for each parameter."
    ),
    **_OF_SOURCE,
)
@click.option(
    "--random",
    "drawn",
    multiple=True,
    metavar="NAME=DISTRIBUTION",
    help=(
        "What a parameter is drawn from: 'x=uniform(0,1)', loguniform, randint, loguniform_int, "
        "or 'kind=choice(a,b)'. Give it again for each parameter."
    ),
    **_OF_SOURCE,
)
@click.option("--n-trials", type=int, help="Number of points of --random.", **_OF_SOURCE)
@click.option(
    "--random-seed",
    type=int,
    help=f"Number that the points of --random are drawn from. [default: {_RANDOM_SEED}]",
    **_OF_SOURCE,
)
@click.option(
    "--cases",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.csv|FILE.json",
    help=(
        "File with the points: CSV with the parameters' names in its first line, or a JSON list "
        "of objects, or the manifest of a source."
    ),
    **_OF_SOURCE,
)
@option_flags(SweepOptions, leave_out=["slurm"], show_defaults=True)
@option_flags(SlurmOptions)
@CONFIG
@AS_JSON
def sweep(loss: str, config: str | None, as_json: bool, **flags: Any) -> None:
    """Evaluate the loss in SCRIPT.py at the points of a grid, at random points, or at cases.

    With --run-name of a run that exists, that run is resumed. The result is printed on stdout,
    and what happens on stderr. Options may also stand in files: see --config.
    """
    from seedwise.api.script import loss_of

    names = ("axes", "drawn", "n_trials", "random_seed", "cases")
    of_source = {name: flags.pop(name) for name in names}
    _require_one(of_source)
    found = of_kind(settings(flags, config, loss), SweepOptions)
    with stdout_kept():
        definition = loss_of(loss)
        source = _source(of_source, definition.parameter_space)
        result = seedwise.run_sweep(definition, source, **keywords(found, SweepOptions))
    write_result(result, as_json=as_json)


def _require_one(of_source: dict[str, Any]) -> None:
    """Raise UsageError unless the flags name one source."""
    if sum(bool(of_source[name]) for name in ("axes", "drawn", "cases")) != 1:
        raise click.UsageError("give one of --grid, --random and --cases")
    numbers = (of_source["n_trials"], of_source["random_seed"])
    if of_source["drawn"] and numbers[0] is None:
        raise click.UsageError("--random needs --n-trials, the number of points")
    if not of_source["drawn"] and numbers != (None, None):
        raise click.UsageError("--n-trials and --random-seed are for --random")


def _source(of_source: dict[str, Any], space: Any) -> Any:
    from seedwise.cli import points  # with numpy

    if of_source["axes"]:
        return points.grid_of(of_source["axes"], space)
    if of_source["drawn"]:
        seed = of_source["random_seed"]
        seed = _RANDOM_SEED if seed is None else seed
        return points.random_of(of_source["drawn"], of_source["n_trials"], seed, space)
    return points.cases_of(of_source["cases"], space)
