"""The commands that begin a run, or check one."""

import json
from pathlib import Path
from typing import Any

import click

import seedwise
from seedwise.cli.flags import Flag, misplaced, option_flags
from seedwise.cli.help import Command
from seedwise.cli.output import AS_JSON, stdout_kept, write, write_result
from seedwise.cli.settings import FOR_WORKERS, Settings, fields, keywords, settings
from seedwise.errors import RunStopped
from seedwise.model.options.entries import EntriesOptions
from seedwise.model.options.fields import Group, keyword_names
from seedwise.model.options.slurm import SlurmOptions
from seedwise.model.options.study import RunOptions
from seedwise.model.options.submit import SubmitOptions

LOSS = click.argument("loss", metavar="SCRIPT.py[:LOSS]", type=click.Path())
CONFIG = click.option(
    "--config",
    cls=Flag,
    group=Group.FILES,
    type=click.Path(),
    help="TOML file with more options; a flag takes the place of the same option in a file.",
)


@click.command(
    cls=Command,
    epilog=(
        "seedwise run fit.py --n-trials 200 --n-seeds 1000\n"
        "seedwise run fit.py:walk --cluster slurm --workers 4:100 --partition cpu"
    ),
)
@LOSS
@option_flags(EntriesOptions, RunOptions, leave_out=["slurm"], show_defaults=True)
@click.option(
    "--entries-file",
    cls=Flag,
    group=Group.SEARCH,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with one entry a line, instead of --entries.",
)
@option_flags(SlurmOptions)
@CONFIG
@AS_JSON
def run(
    loss: str, entries_file: Path | None, config: str | None, as_json: bool, **flags: Any
) -> None:
    """Find the parameters that minimise the loss in SCRIPT.py, for each entry if there are any.

    The script is imported, so a call in it under a main guard is not made. With --run-name of a
    run that exists, that run is resumed. The result is printed on stdout, and what happens on
    stderr. Options may also stand in files: see --config.
    """
    from seedwise.api.script import loss_of
    from seedwise.cli.points import enqueued

    if entries_file is not None:
        if flags["entry_ids"]:
            raise click.UsageError("give one of --entries and --entries-file")
        try:
            lines = entries_file.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise click.UsageError(f"{entries_file} is not text in UTF-8: {error}") from None
        flags["entry_ids"] = [line.strip() for line in lines if line.strip()]
    found = settings(flags, config, loss)
    kind = EntriesOptions if "entry_ids" in found else RunOptions
    given = keywords(of_kind(found, kind), kind)
    with stdout_kept():
        definition = loss_of(loss)
        if isinstance(points := given.get("enqueue"), tuple):  # of flags
            given["enqueue"] = enqueued(points, definition.parameter_space)
        begin = seedwise.optimize_entries if kind is EntriesOptions else seedwise.optimize_run
        result = begin(definition, **given)
    write_result(result, as_json=as_json)


def of_kind(found: Settings, kind: type) -> Settings:
    """Return the settings that a kind of run has; those of files may be of other kinds."""
    names = {*keyword_names(kind), *keyword_names(SlurmOptions)}
    for name, one in found.items():
        if one.source == "flag" and name not in names:
            instead = {"run_name": "--run-name-prefix", "run_name_prefix": "--run-name"}.get(name)
            hint = "" if instead is None else f"; use {instead}"
            how = "with" if kind is EntriesOptions else "without"
            raise click.UsageError(f"{one.where} can't be given {how} --entries{hint}")
    return {name: one for name, one in found.items() if name in names}


# What can't be checked with one seed: options of a run's folder, or of a run that exists.
NO_CHECK_FLAGS = (
    *("assume_yes", "clean_run_dir", "enqueue", "run_name", "slurm"),
    *("accept_changes", "refine_search_factor", "retry_failed", "take_over", "timeout"),
)


@click.command(
    cls=Command, epilog="seedwise check fit.py:walk --cluster slurm --n-trials 200 --n-seeds 1000"
)
@LOSS
@option_flags(RunOptions, leave_out=NO_CHECK_FLAGS, show_defaults=True)
@option_flags(SlurmOptions)
@CONFIG
@click.option(
    "--show-options",
    is_flag=True,
    help="Only show each option of the run, its value, and where that comes from.",
)
@AS_JSON
def check(loss: str, config: str | None, show_options: bool, as_json: bool, **flags: Any) -> None:
    """Check a run before its first job: options, Slurm's limits, and one seed on one worker.

    SCRIPT.py[:LOSS] is the script, or package.module, and the name of the loss, which may be left
    out if there is only one. Give the options of the run: the call in the script is not read, but
    files of options are. The check leaves nothing behind.
    """
    from seedwise.api.script import loss_of
    from seedwise.cli.options_shown import options_json, options_lines
    from seedwise.view.commands import check_lines

    found = of_kind(settings(flags, config, loss), RunOptions)
    if show_options:
        write([options_json(found)] if as_json else options_lines(found))
        return
    tried = {name: one for name, one in found.items() if name not in NO_CHECK_FLAGS}
    try:
        with stdout_kept():
            report = seedwise.check_run(loss_of(loss), **keywords(tried, RunOptions))
    except RunStopped as stopped:  # no run's progress says it
        click.echo(str(stopped), err=True)
        raise
    write([json.dumps(report.to_dict())] if as_json else check_lines(report))


# What follows the script is for the script.
@click.command(
    cls=Command,
    context_settings={"allow_interspersed_args": False},
    epilog="seedwise submit --walltime 3-00:00:00 --account lab fit.py --condition b",
)
@click.argument("script", type=click.Path(exists=True, dir_okay=False), metavar="SCRIPT.py")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@option_flags(SubmitOptions, show_defaults=True)
@option_flags(SlurmOptions, leave_out=FOR_WORKERS)
@CONFIG
def submit(script: str, arguments: tuple[str, ...], config: str | None, **flags: Any) -> None:
    """Submit SCRIPT.py, which begins a run, as a small Slurm job.

    ARGUMENTS are for the script; options of the job come before it. When the walltime is nearly
    up, the run is stopped in order, and a new job runs the script again with the same ARGUMENTS,
    and resumes the run.
    """
    from seedwise.api.submit import submit_script
    from seedwise.view.commands import submitted_lines

    found = settings(flags, config, script, tables=("submit",))
    job, slurm = SubmitOptions(**fields(found, SubmitOptions)), fields(found, SlurmOptions)
    for note in misplaced(click.get_current_context().command, script, arguments):
        click.echo(note, err=True)
    write(submitted_lines(*submit_script(script, arguments, job, SlurmOptions(**slurm))))
