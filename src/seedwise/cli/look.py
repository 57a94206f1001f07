"""The commands that look at a run."""

import json
import pdb  # noqa: T100 - what --pdb is for
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import click

import seedwise
from seedwise.cli.flags import command
from seedwise.cli.output import AS_JSON, write
from seedwise.errors import SeedwiseError
from seedwise.errors.base import users_traceback
from seedwise.model.status import RunStatus
from seedwise.view.slurm_limits import limits_lines
from seedwise.view.status import progress_line, status_lines

RUN_DIR = click.argument("run_dir", type=click.Path())

_WATCH_S = 1.0


@command("seedwise status runs/walk_v0001 --watch")
@RUN_DIR
@click.option(
    "--watch", is_flag=True, help="Show it anew whenever it changes, until the run ends."
)
@AS_JSON
def status(run_dir: str, watch: bool, as_json: bool) -> None:
    """Show the progress of the run in RUN_DIR, whether a driver works on it or not.

    With --watch it is refreshed in place on a terminal; elsewhere, or with --json, each change is
    one line. Ctrl-C ends it, and not the run.
    """

    def lines(found: RunStatus) -> list[str]:
        if as_json:
            return [json.dumps({**attrs.asdict(found), "n_told": found.n_told})]
        if watch and not in_place:
            return [progress_line(found)]
        return status_lines(found, Path(run_dir))

    in_place = watch and not as_json and sys.stdout.isatty()
    if watch:
        _watch(lambda: seedwise.run_status(run_dir), lines, in_place=in_place)
    else:
        write(lines(seedwise.run_status(run_dir)))


def _watch(
    read: Callable[[], RunStatus], lines: Callable[[RunStatus], list[str]], *, in_place: bool
) -> None:
    """Write a status as lines whenever they change, until the run does not run."""
    before: list[str] = []
    while True:
        found = read()
        now = lines(found)
        if now != before:
            if in_place:
                size = shutil.get_terminal_size()
                # A line that wraps, or leaves the screen, could not be written over.
                now = [line[: size.columns - 1] for line in now[: size.lines - 1]]
                sys.stdout.write(f"\x1b[{len(before)}A\x1b[J" if before else "")
            click.echo("\n".join(now))
            sys.stdout.flush()
            before = now
        if found.state != "running":
            return
        time.sleep(_WATCH_S)


@command("seedwise show runs/walk_v0001", "seedwise show runs/walk_v0001 --page")
@RUN_DIR
@AS_JSON
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
    from seedwise.view.result import result_lines, table_json, table_lines

    found, result = seedwise.run_status(run_dir), seedwise.open_run(run_dir)
    if as_json:
        write([table_json(result)])
    else:
        write([progress_line(found), "", *table_lines(result), "", *result_lines(result)])


@command("seedwise report runs/walk_v0001", "seedwise report runs/walk_v0001 --format md")
@RUN_DIR
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
@RUN_DIR
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
@RUN_DIR
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


@command("seedwise slurm")
@AS_JSON
def slurm(as_json: bool) -> None:
    """Show what this machine's Slurm cluster allows you: partitions, nodes, accounts, QoS."""
    limits = seedwise.slurm_limits()
    write([json.dumps(attrs.asdict(limits))] if as_json else limits_lines(limits))
