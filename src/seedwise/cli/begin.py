"""The commands that begin a run or a sweep, check a run, submit one, or show a small one."""

import functools
import json
import shlex
from pathlib import Path
from typing import Any

import click

import seedwise
from seedwise.cli import settings
from seedwise.cli.flags import (
    AS_JSON,
    Flag,
    command,
    misplaced,
    option_flags,
    stdout_kept,
    switch,
    write,
    write_result,
)
from seedwise.errors import RunStopped
from seedwise.model.options.fields import Group, Options, keyword_names
from seedwise.model.options.slurm import SlurmOptions, SubmitOptions
from seedwise.model.options.study import EntriesOptions, RunOptions, SweepOptions

_RANDOM_SEED = 123  # as of optimize_run

_of_search = functools.partial(click.option, cls=Flag, group=Group.SEARCH)

_LOSS = click.argument("loss", metavar="SCRIPT.py[:LOSS]", type=click.Path())
_CONFIG = click.option(
    "--config",
    cls=Flag,
    group=Group.FILES,
    type=click.Path(),
    help="TOML file with more options; a flag takes the place of the same option in a file.",
)


@command(
    "seedwise run fit.py --n-trials 200 --n-seeds 1000",
    "seedwise run fit.py:walk --cluster slurm --workers 4:100 --partition cpu",
)
@_LOSS
@option_flags(EntriesOptions, RunOptions, leave_out=["slurm"], show_defaults=True)
@_of_search(
    "--entries-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with one entry a line, instead of --entries.",
)
@option_flags(SlurmOptions)
@_CONFIG
@AS_JSON
def run(
    loss: str, entries_file: Path | None, config: str | None, as_json: bool, **flags: Any
) -> None:
    """Find the parameters that minimise the loss in SCRIPT.py, for each entry if there are any.

    The script is imported, so a call in it under a main guard is not made. With --run-name of a
    run that exists, that run is resumed. The result is printed on stdout, and what happens on
    stderr. Options may also stand in files: see --config.
    """
    from seedwise.api.script import load_loss
    from seedwise.cli.points import listed

    if entries_file is not None:
        if flags["entry_ids"]:
            raise click.UsageError("give one of --entries and --entries-file")
        try:
            lines = entries_file.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise click.UsageError(f"{entries_file} is not text in UTF-8: {error}") from None
        flags["entry_ids"] = [line.strip() for line in lines if line.strip()]
    found = settings.read(flags, config, loss)
    kind = EntriesOptions if "entry_ids" in found else RunOptions
    given = settings.keywords(_of_kind(found, kind), kind)
    with stdout_kept():
        definition = load_loss(loss)
        if isinstance(points := given.get("enqueue"), tuple):  # of flags
            given["enqueue"] = listed("enqueue", points, definition.parameter_space)
        begin = seedwise.optimize_entries if kind is EntriesOptions else seedwise.optimize_run
        result = begin(definition, **given)
    write_result(result, as_json=as_json)


def _of_kind(found: settings.Settings, kind: type[Options]) -> settings.Settings:
    """Return the settings that a kind of run has; those of files may be of other kinds."""
    names = {*keyword_names(kind), *keyword_names(SlurmOptions)}
    for name, one in found.items():
        if one.source == "flag" and name not in names:
            instead = {"run_name": "--run-name-prefix", "run_name_prefix": "--run-name"}.get(name)
            hint = "" if instead is None else f"; use {instead}"
            how = "with" if kind is EntriesOptions else "without"
            raise click.UsageError(f"{one.where} can't be given {how} --entries{hint}")
    return {name: one for name, one in found.items() if name in names}


@command(
    "seedwise sweep fit.py --grid drift=0.1,0.2 --grid steps=10,20 --n-seeds 1000",
    "seedwise sweep fit.py --random 'drift=uniform(0,1)' --n-trials 500",
)
@_LOSS
@_of_search(
    "--grid",
    multiple=True,
    metavar="NAME=VALUES",
    help=(
        "Values of a parameter, such as x=1,2,3, or a JSON list; the points are all combinations. "
        "Give it again for each parameter."
    ),
)
@_of_search(
    "--random",
    multiple=True,
    metavar="NAME=DISTRIBUTION",
    help=(
        "What a parameter is drawn from: 'x=uniform(0,1)', loguniform, randint, loguniform_int, "
        "or 'kind=choice(a,b)'. Give it again for each parameter."
    ),
)
@_of_search("--n-trials", type=int, help="Number of points of --random.")
@_of_search(
    "--random-seed",
    type=int,
    help=f"Number that the points of --random are drawn from. [default: {_RANDOM_SEED}]",
)
@_of_search(
    "--cases",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.csv|FILE.json",
    help=(
        "File with the points: CSV with the parameters' names in its first line, or a JSON list "
        "of objects, or the manifest of a source."
    ),
)
@option_flags(SweepOptions, leave_out=["slurm"], show_defaults=True)
@option_flags(SlurmOptions)
@_CONFIG
@AS_JSON
def sweep(loss: str, config: str | None, as_json: bool, **flags: Any) -> None:
    """Evaluate the loss in SCRIPT.py at the points of a grid, at random points, or at cases.

    With --run-name of a run that exists, that run is resumed. The result is printed on stdout,
    and what happens on stderr. Options may also stand in files: see --config.
    """
    from seedwise.api.script import load_loss
    from seedwise.cli.points import source_of  # with numpy

    ways = {name: flags.pop(name) for name in ("grid", "random", "cases")}
    drawn = {name: flags.pop(name) for name in ("n_trials", "random_seed")}
    if sum(map(bool, ways.values())) != 1:
        raise click.UsageError("give one of --grid, --random and --cases")
    if ways["random"] and drawn["n_trials"] is None:
        raise click.UsageError("--random needs --n-trials, the number of points")
    if not ways["random"] and {*drawn.values()} != {None}:
        raise click.UsageError("--n-trials and --random-seed are for --random")
    if drawn["random_seed"] is None:
        drawn["random_seed"] = _RANDOM_SEED
    found = _of_kind(settings.read(flags, config, loss), SweepOptions)
    with stdout_kept():
        definition = load_loss(loss)
        source = source_of({**ways, **drawn}, definition.parameter_space)
        result = seedwise.run_sweep(definition, source, **settings.keywords(found, SweepOptions))
    write_result(result, as_json=as_json)


# What can't be checked with one seed: options of a run's folder, or of a run that exists.
_NO_CHECK_FLAGS = (
    *("assume_yes", "clean_run_dir", "enqueue", "run_name", "slurm"),
    *("accept_changes", "refine_search_factor", "retry_failed", "take_over", "timeout"),
)


@command("seedwise check fit.py:walk --cluster slurm --n-trials 200 --n-seeds 1000")
@_LOSS
@option_flags(RunOptions, leave_out=_NO_CHECK_FLAGS, show_defaults=True)
@option_flags(SlurmOptions)
@_CONFIG
@switch(
    "--show-options",
    help="Only show each option of the run, its value, and where that comes from.",
)
@AS_JSON
def check(loss: str, config: str | None, show_options: bool, as_json: bool, **flags: Any) -> None:
    """Check a run before its first job: options, Slurm's limits, and one seed on one worker.

    SCRIPT.py[:LOSS] is the script, or package.module, and the name of the loss, which may be left
    out if there is only one. Give the options of the run: the call in the script is not read, but
    files of options are. The check leaves nothing behind.
    """
    from seedwise.api.script import load_loss
    from seedwise.view.commands import check_lines

    found = _of_kind(settings.read(flags, config, loss), RunOptions)
    if show_options:
        write([settings.options_json(found)] if as_json else settings.options_lines(found))
        return
    tried = {name: one for name, one in found.items() if name not in _NO_CHECK_FLAGS}
    try:
        with stdout_kept():
            report = seedwise.check_run(load_loss(loss), **settings.keywords(tried, RunOptions))
    except RunStopped as stopped:  # no run's progress says it
        click.echo(str(stopped), err=True)
        raise
    write([json.dumps(report.to_dict())] if as_json else check_lines(report))


# What follows the script is for the script.
@command(
    "seedwise submit --walltime 3-00:00:00 --account lab fit.py --condition b",
    context_settings={"allow_interspersed_args": False},
)
@click.argument("script", type=click.Path(exists=True, dir_okay=False), metavar="SCRIPT.py")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@option_flags(SubmitOptions, show_defaults=True)
@option_flags(SlurmOptions, leave_out=settings.FOR_WORKERS)
@_CONFIG
def submit(script: str, arguments: tuple[str, ...], config: str | None, **flags: Any) -> None:
    """Submit SCRIPT.py, which begins a run, as a small Slurm job.

    ARGUMENTS are for the script; options of the job come before it. When the walltime is nearly
    up, the run is stopped in order, and a new job runs the script again with the same ARGUMENTS,
    and resumes the run.
    """
    from seedwise.api.submit import submit_script
    from seedwise.view.commands import submitted_lines

    found = settings.read(flags, config, script, tables=("submit",))
    job = SubmitOptions(**settings.fields(found, SubmitOptions))
    slurm = SlurmOptions(**settings.fields(found, SlurmOptions))
    for note in misplaced(click.get_current_context().command, script, arguments):
        click.echo(note, err=True)
    write(submitted_lines(*submit_script(script, arguments, job, slurm)))


_DEMO = """
The demo searched for the speed and the angle of a throw that lands 30 m away in
gusty wind, with little effort: {result.n_trials} trials, and then the best of them on {n_seeds}
fresh seeds.

  found            speed={speed:.1f} m/s, angle={angle:.1f} degrees
  in the search    {result.best_value:.2f}: the lowest of many noisy values is too good to be true
  on fresh seeds   {found.value:.2f} ± {found.stderr:.2f}: the value to report
  the exact mean   {exact:.2f}: this loss, unlike most, has a formula for it

To look at next:
  seedwise show {run_dir}
  seedwise replay {run_dir} --trial 0 --seed 0
  seedwise resume {run_dir} --n-trials 80
To begin your own, copy the loss from
  {file}
and run it with
  seedwise run my_loss.py --n-trials 40
"""

_DEMO_SIZE: dict[str, Any] = {"n_trials": 40, "n_seeds": 400}

# It has those that say where it runs, and what a site's jobs need.
_NO_DEMO_FLAGS = set(keyword_names(RunOptions)) - {
    *("cluster", "mode", "workers", "run_root", "worker_time_limit", "mem_per_cpu", "slurm_qos"),
}


@command("seedwise demo", "seedwise demo --cluster slurm --partition cpu")
@option_flags(RunOptions, leave_out=_NO_DEMO_FLAGS, show_defaults=True)
@option_flags(SlurmOptions)
def demo(**flags: Any) -> None:
    """Carry out a small run, of a few seconds, and show what it did and what to do next.

    The loss is how far a throw in gusty wind lands from its target. Without --cluster it runs on
    this machine, and without --workers on two.
    """
    from seedwise.api.demo import __file__ as file
    from seedwise.api.demo import exact_mean, throw

    found = {name: one for name, one in settings.read(flags, None).items() if name in flags}
    given = {"workers": 2, **_DEMO_SIZE, **settings.keywords(found, RunOptions)}
    with stdout_kept():
        result = seedwise.optimize_run(throw, **given)
    params = result.validated_params or result.best_params
    speed, angle = float(params["speed"]), float(params["angle"])
    said = {"speed": speed, "angle": angle, "exact": exact_mean(speed, angle), **_DEMO_SIZE}
    said |= {"result": result, "found": result.validation, "run_dir": shlex.quote(result.run_dir)}
    click.echo(_DEMO.format(file=file, **said), nl=False)
