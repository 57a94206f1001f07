"""The command ``seedwise``: it passes arguments to the api and has no logic of its own."""

from __future__ import annotations

import contextlib
import json
import pdb  # noqa: T100 - what --pdb is for
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import click

import seedwise
from seedwise.cli.flags import HintingCommand, misplaced, saying_why
from seedwise.errors import RunStopped, SeedwiseError, resume_command
from seedwise.errors.base import users_traceback
from seedwise.model.options import checks
from seedwise.model.options.entries import EntriesOptions
from seedwise.model.options.fields import command_options, keyword_names
from seedwise.model.options.slurm import SlurmOptions
from seedwise.model.options.study import RunOptions
from seedwise.model.options.submit import SubmitOptions
from seedwise.model.options.sweep import SweepOptions
from seedwise.view.cleaned import cleaned_lines
from seedwise.view.slurm_limits import limits_lines
from seedwise.view.status import progress_line, status_lines

# Each TAB in a shell imports this module: what brings NumPy or Dask is imported where it is used.


class _Commands(click.Group):
    """Commands whose errors are shown in words, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RunStopped as stopped:  # click would call a KeyboardInterrupt an error
            sys.exit(stopped.code)
        except SeedwiseError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(seedwise.__version__, prog_name="seedwise")
def main() -> None:
    """Minimise a noisy loss, averaged over many seeds, on a laptop or a Slurm cluster."""


# Options of a call alone: they cannot be given as text, or are about a new run's folder.
_OF_A_CALL = ("assume_yes", "clean_run_dir", "enqueue", "run_name", "slurm")

_RUN_DIR = click.argument("run_dir", type=click.Path())
_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON object, for other programs."
)


def _flags(
    *kinds: type, leave_out: Sequence[str], show_defaults: bool = False
) -> Callable[[Any], Any]:
    """Give a command a flag for each option of these kinds, and of Slurm jobs."""
    options = [one for kind in (*kinds, SlurmOptions) for one in command_options(kind, leave_out)]
    flags = {option.flag: option for option in options}  # kinds of runs share most of them

    def with_flags(command: Any) -> Any:
        for option in reversed(flags.values()):
            parse = _workers if option.flag == _WORKERS.flag else saying_why(option.parse)
            choice = click.Choice(option.choices, case_sensitive=False)
            command = click.option(
                option.flag,
                default=None,
                show_default=option.default if show_defaults else None,
                type=choice if option.choices else parse,
                metavar=option.metavar,
                help=f"{option.help} Can be given again." if option.several else option.help,
                multiple=option.several,
            )(command)
        return command

    return with_flags


def _print(lines: list[str]) -> None:
    click.echo("\n".join(lines))


def _given(flags: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the keywords that were given, and the fields of SlurmOptions that were."""
    given = {name: value for name, value in flags.items() if value not in (None, ())}
    slurm = {name: given.pop(name) for name in keyword_names(SlurmOptions) if name in given}
    return given, slurm


_WORKERS = next(one for one in command_options(RunOptions) if one.flag == "--workers")


def _workers(text: str) -> int | tuple[int, int]:
    value: Any = None
    try:
        value = _WORKERS.parse(text)
        checks.workers("workers", value)
    except ValueError:  # its message speaks of Python values
        problem = f"{text!r} is not a number of workers"
        if isinstance(value, tuple) and len(value) == 2 and value[0] > value[1]:
            problem = f"in {text!r} the first bound is above the second"
        wanted = "give a whole number above 0, such as 40, or bounds, such as 10:200"
        raise click.BadParameter(f"{problem}; {wanted}") from None
    return value  # type: ignore[no-any-return]


_NO_FLAGS = (*_OF_A_CALL, "run_name_prefix", "run_root")  # which the folder knows


@main.command(cls=HintingCommand)
@_RUN_DIR
@click.option(
    "--code",
    metavar="SCRIPT.PY[:NAME]",
    help="Where the loss is now; without it, the copy of the code in RUN_DIR is run.",
)
@_flags(RunOptions, EntriesOptions, SweepOptions, leave_out=_NO_FLAGS)
def resume(run_dir: str, code: str | None, **flags: Any) -> None:
    """Resume the run in RUN_DIR, up to its number of trials.

    Options that are not given stay as in the call that began the run, those of its Slurm jobs
    included.
    """
    from seedwise.api.resume import changed_slurm
    from seedwise.view.result import result_lines

    given, of_slurm = _given({"code": code, **flags})
    if of_slurm:
        given["slurm"] = changed_slurm(run_dir, of_slurm)
    _print(result_lines(seedwise.resume_run(run_dir, **given)))


# And options that only an existing run has.
_NO_CHECK_FLAGS = (
    *_OF_A_CALL,
    "accept_changes",
    "refine_search_factor",
    "retry_failed",
    "take_over",
    "timeout",
)


@main.command(cls=HintingCommand)
@click.argument("loss", metavar="SCRIPT.py:LOSS")
@_flags(RunOptions, leave_out=_NO_CHECK_FLAGS, show_defaults=True)
@_JSON
def check(loss: str, as_json: bool, **flags: Any) -> None:
    """Check a run before its first job: options, Slurm's limits, and one seed on one worker.

    SCRIPT.py:LOSS is the script, or package.module, and the name of the loss. The name may be left
    out if there is only one. Give the options of the run: the call in the script is not read. The
    check leaves nothing behind.
    """
    from seedwise.api.check import check_script
    from seedwise.view.check import check_lines

    given, of_slurm = _given(flags)
    if of_slurm:
        given["slurm"] = SlurmOptions(**of_slurm)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for the report alone
            report = check_script(loss, **given)
    except RunStopped as stopped:
        click.echo(str(stopped), err=True)
        raise
    _print([json.dumps(report.to_dict())] if as_json else check_lines(report))


@main.command()
@_RUN_DIR
@_JSON
def status(run_dir: str, as_json: bool) -> None:
    """Show the progress of the run in RUN_DIR, whether a driver works on it or not."""
    found = seedwise.run_status(run_dir)
    figures = {**attrs.asdict(found), "n_told": found.n_told}
    _print([json.dumps(figures)] if as_json else status_lines(found, Path(run_dir)))


@main.command()
@_RUN_DIR
@_JSON
@click.option(
    "--page", is_flag=True, help="Serve a page that follows the run in a browser, until Ctrl-C."
)
@click.option(
    "--optuna", is_flag=True, help="The same with optuna-dashboard, which can't change the run."
)
def show(run_dir: str, as_json: bool, page: bool, optuna: bool) -> None:
    """Show the trials and the result of the run in RUN_DIR, as far as it is by now.

    Of entries it shows a row for each; give an entry's folder to see its trials.
    """
    if as_json + page + optuna > 1:
        raise click.UsageError("give one of --json, --page and --optuna")
    if page or optuna:
        from seedwise.api.page import show_optuna, show_page

        (show_page if page else show_optuna)(run_dir, click.echo)
        return
    from seedwise.view.result import result_lines
    from seedwise.view.table import table_json, table_lines

    found, result = seedwise.run_status(run_dir), seedwise.open_run(run_dir)
    if as_json:
        _print([table_json(result)])
    else:
        _print([progress_line(found), "", *table_lines(result), "", *result_lines(result)])


@main.command()
@_RUN_DIR
@click.argument("file", metavar="FILE.csv|FILE.parquet", type=click.Path(path_type=Path))
def export(run_dir: str, file: Path) -> None:
    """Write the table of the run in RUN_DIR to a file, as far as the run is by now."""
    from seedwise.view.table import write_table

    try:
        n_rows = write_table(seedwise.open_run(run_dir), file)
    except OSError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"wrote {file}: {n_rows} row{'' if n_rows == 1 else 's'}")


@main.command()
@_JSON
def slurm(as_json: bool) -> None:
    """Show what this machine's Slurm cluster allows you: partitions, nodes, accounts, QoS."""
    limits = seedwise.slurm_limits()
    _print([json.dumps(attrs.asdict(limits))] if as_json else limits_lines(limits))


# What is for workers only.
_NO_SUBMIT_FLAGS = ("interface", "local_directory", "python", "scheduler_interface")


# What follows the script is for the script.
@main.command(cls=HintingCommand, context_settings={"allow_interspersed_args": False})
@click.argument("script", type=click.Path(exists=True, dir_okay=False), metavar="SCRIPT.py")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@_flags(SubmitOptions, leave_out=_NO_SUBMIT_FLAGS, show_defaults=True)
def submit(script: str, arguments: tuple[str, ...], **flags: Any) -> None:
    """Submit SCRIPT.py, which begins a run, as a small Slurm job.

    ARGUMENTS are for the script; options of the job come before it. When the walltime is nearly
    up, the run is stopped in order, and a new job runs the script again with the same ARGUMENTS,
    and resumes the run.
    """
    from seedwise.api.submit import submit_script
    from seedwise.view.submitted import submitted_lines

    given, of_slurm = _given(flags)
    slurm = SlurmOptions(**of_slurm)
    for note in misplaced(click.get_current_context().command, script, arguments):
        click.echo(note, err=True)
    _print(submitted_lines(*submit_script(script, arguments, SubmitOptions(**given), slurm)))


# So that -5 is refused as a number of workers, and not as an unknown flag.
@main.command(context_settings={"ignore_unknown_options": True})
@_RUN_DIR
@click.argument("workers", type=_workers)
def scale(run_dir: str, workers: int | tuple[int, int]) -> None:
    """Change the number of workers of the run in RUN_DIR, while its driver works.

    WORKERS is a number, such as 40, or two bounds, such as 10:200, between which the number
    follows the work.
    """
    seedwise.connect(run_dir).scale(workers)
    wanted = " to ".join(map(str, workers if isinstance(workers, tuple) else (workers,)))
    what = "worker" if wanted == "1" else "workers"
    click.echo(f"asked for {wanted} {what}; the driver takes care of it")


@main.command()
@_RUN_DIR
def stop(run_dir: str) -> None:
    """Stop the run in RUN_DIR in order, so that it can be resumed.

    Its driver ends as after Ctrl-C, but with exit code 75.
    """
    run = seedwise.connect(run_dir)
    run.stop()
    click.echo("asked to stop; the driver ends the run")
    click.echo(f"to resume: {resume_command(run.path)}")


@main.command()
@_RUN_DIR
@click.option(
    "--take-over",
    is_flag=True,
    help="Also if a driver elsewhere is gone: wait until it has been silent for five minutes.",
)
def clean(run_dir: str, take_over: bool) -> None:
    """Clean up after a killed driver of the run in RUN_DIR; the results stay.

    The exit code is 1 if Slurm does not answer, as jobs may then be left.
    """
    cleaned = seedwise.clean_run(run_dir, take_over=take_over)
    _print(cleaned_lines(cleaned))
    if cleaned.jobs_unknown is not None:
        sys.exit(1)


@main.command()
@_RUN_DIR
@click.option("--trial", type=int, required=True, help="Number of the trial.")
@click.option("--seed", type=int, default=None, help="The seed; without it, all seeds in order.")
@click.option(
    "--validation", is_flag=True, help="The seed is a fresh one, of the validation of the best."
)
@click.option("--pdb", "debug", is_flag=True, help="Stop in the debugger where the loss raises.")
def replay(run_dir: str, trial: int, seed: int | None, validation: bool, debug: bool) -> None:
    """Evaluate a seed of a trial of the run in RUN_DIR again, here and without Dask."""
    try:
        replayed = seedwise.replay_seed(run_dir, trial=trial, seed=seed, validation=validation)
    except Exception as error:
        if isinstance(error, SeedwiseError) and not debug:
            raise
        click.echo("".join(users_traceback(error).format()), err=True, nl=False)
        if debug:
            pdb.post_mortem(error.__traceback__)
        sys.exit(1)
    click.echo(f"params: {replayed.params!r}")
    for one, loss in replayed.losses.items():
        click.echo(f"seed {one}: {loss!r}")
