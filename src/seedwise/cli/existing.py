"""The commands that look at a run or at the cluster, and those that resume or change a run."""

import json
import pdb  # noqa: T100 - what --pdb is for
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import click

import seedwise
from seedwise.cli.flags import (
    AS_JSON,
    Flag,
    command,
    option_flags,
    saying_why,
    stdout_kept,
    switch,
    write,
    write_result,
)
from seedwise.errors import SeedwiseError, resume_command
from seedwise.errors.base import users_traceback
from seedwise.model.options.checks import bounds
from seedwise.model.options.fields import Group, keyword_names
from seedwise.model.options.slurm import SlurmOptions
from seedwise.model.options.study import EntriesOptions, RunOptions, SweepOptions
from seedwise.view.slurm_limits import limits_lines
from seedwise.view.status import progress_line, status_lines

_RUN_DIR = click.argument("run_dir", type=click.Path())

_WATCH_S = 1.0

# What the folder knows, and what only a new run can have.
_NO_RESUME_FLAGS = (
    *("assume_yes", "clean_run_dir", "enqueue", "slurm"),
    *("run_name", "run_name_prefix", "run_root"),
)


@command("seedwise status runs/walk_v0001 --watch")
@_RUN_DIR
@switch("--watch", help="Show it anew whenever it changes, until the run ends.")
@AS_JSON
def status(run_dir: str, watch: bool, as_json: bool) -> None:
    """Show the progress of the run in RUN_DIR, whether a driver works on it or not.

    With --watch it is refreshed in place on a terminal; elsewhere, or with --json, each change is
    one line. Ctrl-C ends it, and not the run.
    """
    in_place = watch and not as_json and sys.stdout.isatty()
    before: list[str] = []
    while True:
        found = seedwise.run_status(run_dir)
        if as_json:
            now = [json.dumps({**attrs.asdict(found), "n_told": found.n_told})]
        elif watch and not in_place:
            now = [progress_line(found)]
        else:
            now = status_lines(found, Path(run_dir))
        if now != before:
            if in_place:
                size = shutil.get_terminal_size()
                # A line that wraps, or leaves the screen, could not be written over.
                now = [line[: size.columns - 1] for line in now[: size.lines - 1]]
                sys.stdout.write(f"\x1b[{len(before)}A\x1b[J" if before else "")
            write(now)
            sys.stdout.flush()
            before = now
        if not watch or found.state != "running":
            return
        time.sleep(_WATCH_S)


@command("seedwise show runs/walk_v0001", "seedwise show runs/walk_v0001 --page")
@_RUN_DIR
@AS_JSON
@switch("--page", help="Serve a page that follows the run in a browser, until Ctrl-C.")
@switch("--optuna", help="The same with optuna-dashboard, which can't change the run.")
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
    from seedwise.view.result import result_lines, table_json, table_lines

    found, result = seedwise.run_status(run_dir), seedwise.open_run(run_dir)
    if as_json:
        write([table_json(result)])
    else:
        write([progress_line(found), "", *table_lines(result), "", *result_lines(result)])


@command("seedwise report runs/walk_v0001", "seedwise report runs/walk_v0001 --format md")
@_RUN_DIR
@click.option(
    "--format",
    "suffix",
    type=click.Choice(["html", "md"]),
    default="html",
    show_default=True,
    help="HTML has figures; Markdown is for a pull request, and has none.",
)
def report(run_dir: str, suffix: str) -> None:
    """Write a report of the run in RUN_DIR, or of an entry, as far as it is by now.

    It is one file that needs nothing else, report.html or report.md in RUN_DIR: what was found,
    how good it is, and how it was made.
    """
    click.echo(seedwise.open_run(run_dir).report(Path(run_dir) / f"report.{suffix}"))


@command("seedwise export runs/walk_v0001 trials.csv")
@_RUN_DIR
@click.argument("file", metavar="FILE.csv|FILE.parquet", type=click.Path(path_type=Path))
def export(run_dir: str, file: Path) -> None:
    """Write the table of the run in RUN_DIR to a file, as far as the run is by now."""
    from seedwise.view.result import write_table

    try:
        n_rows = write_table(seedwise.open_run(run_dir), file)
    except OSError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"wrote {file}: {n_rows} row{'' if n_rows == 1 else 's'}")


@command("seedwise replay runs/walk_v0001 --trial 12 --seed 345 --pdb")
@_RUN_DIR
@click.option("--trial", type=int, required=True, help="Number of the trial.")
@click.option("--seed", type=int, help="The seed; without it, all seeds in order.")
@switch("--validation", help="The seed is a fresh one, of the validation of the best.")
@switch("--pdb", "debug", help="Stop in the debugger where the loss raises.")
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


@command("seedwise resume runs/walk_v0001 --n-trials 300")
@_RUN_DIR
@click.option(
    "--code",
    metavar="SCRIPT.PY[:NAME]",
    cls=Flag,
    group=Group.FILES,
    help="Where the loss is now; without it, the copy of the code in RUN_DIR is run.",
)
@option_flags(RunOptions, EntriesOptions, SweepOptions, leave_out=_NO_RESUME_FLAGS)
@option_flags(SlurmOptions)
@AS_JSON
def resume(run_dir: str, code: str | None, as_json: bool, **flags: Any) -> None:
    """Resume the run in RUN_DIR, up to its number of trials.

    Options that are not given stay as in the call that began the run, those of its Slurm jobs
    included. Files of options are not read.
    """
    from seedwise.api.resume import changed_slurm

    given = {name: one for name, one in {"code": code, **flags}.items() if one not in (None, ())}
    of_slurm = {name: given.pop(name) for name in keyword_names(SlurmOptions) if name in given}
    if of_slurm:
        given["slurm"] = changed_slurm(run_dir, of_slurm)
    with stdout_kept():
        result = seedwise.resume_run(run_dir, **given)
    write_result(result, as_json=as_json)


# So that -5 is refused as a number of workers, and not as an unknown flag.
@command(
    "seedwise scale runs/walk_v0001 10:200", context_settings={"ignore_unknown_options": True}
)
@_RUN_DIR
@click.argument("n_workers", metavar="WORKERS", type=saying_why(bounds))
def scale(run_dir: str, n_workers: int | tuple[int, int]) -> None:
    """Change the number of workers of the run in RUN_DIR, while its driver works.

    WORKERS is a number, such as 40, or two bounds, such as 10:200, between which the number
    follows the work.
    """
    seedwise.connect(run_dir).scale(n_workers)
    wanted = " to ".join(map(str, n_workers if isinstance(n_workers, tuple) else (n_workers,)))
    what = "worker" if wanted == "1" else "workers"
    click.echo(f"asked for {wanted} {what}; the driver takes care of it")


@command("seedwise stop runs/walk_v0001")
@_RUN_DIR
def stop(run_dir: str) -> None:
    """Stop the run in RUN_DIR in order, so that it can be resumed.

    Its driver ends as after Ctrl-C, but with exit code 75.
    """
    run = seedwise.connect(run_dir)
    run.stop()
    click.echo("asked to stop; the driver ends the run")
    click.echo(f"to resume: {resume_command(run.path)}")


@command("seedwise clean runs/walk_v0001")
@_RUN_DIR
@switch(
    "--take-over",
    help="Also if a driver elsewhere is gone: wait until it has been silent for five minutes.",
)
def clean(run_dir: str, take_over: bool) -> None:
    """Clean up after a killed driver of the run in RUN_DIR; the results stay.

    The exit code is 1 if Slurm does not answer, as jobs may then be left.
    """
    from seedwise.view.commands import cleaned_lines

    cleaned = seedwise.clean_run(run_dir, take_over=take_over)
    write(cleaned_lines(cleaned))
    if cleaned.jobs_unknown is not None:
        sys.exit(1)


@command("seedwise slurm")
@AS_JSON
def slurm(as_json: bool) -> None:
    """Show what this machine's Slurm cluster allows you: partitions, nodes, accounts, QoS."""
    limits = seedwise.slurm_limits()
    write([json.dumps(attrs.asdict(limits))] if as_json else limits_lines(limits))
