"""The commands that resume a run, change it while it runs, and clean up after it."""

import sys
from typing import Any

import click

import seedwise
from seedwise.cli.flags import Flag, command, option_flags, saying_why
from seedwise.cli.look import RUN_DIR
from seedwise.cli.output import AS_JSON, stdout_kept, write, write_result
from seedwise.errors import resume_command
from seedwise.model.options.entries import EntriesOptions
from seedwise.model.options.fields import Group, keyword_names
from seedwise.model.options.slurm import SlurmOptions
from seedwise.model.options.study import RunOptions
from seedwise.model.options.sweep import SweepOptions
from seedwise.model.options.texts import bounds

# What the folder knows, and what only a new run can have.
NO_RESUME_FLAGS = (
    *("assume_yes", "clean_run_dir", "enqueue", "slurm"),
    *("run_name", "run_name_prefix", "run_root"),
)


@command("seedwise resume runs/walk_v0001 --n-trials 300")
@RUN_DIR
@click.option(
    "--code",
    metavar="SCRIPT.PY[:NAME]",
    cls=Flag,
    group=Group.FILES,
    help="Where the loss is now; without it, the copy of the code in RUN_DIR is run.",
)
@option_flags(RunOptions, EntriesOptions, SweepOptions, leave_out=NO_RESUME_FLAGS)
@option_flags(SlurmOptions)
@AS_JSON
def resume(run_dir: str, code: str | None, as_json: bool, **flags: Any) -> None:
    """Resume the run in RUN_DIR, up to its number of trials.

    Options that are not given stay as in the call that began the run, those of its Slurm jobs
    included. Files of options are not read.
    """
    from seedwise.api.resume import changed_slurm

    given = {
        name: value for name, value in {"code": code, **flags}.items() if value not in (None, ())
    }
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
@RUN_DIR
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
@RUN_DIR
def stop(run_dir: str) -> None:
    """Stop the run in RUN_DIR in order, so that it can be resumed.

    Its driver ends as after Ctrl-C, but with exit code 75.
    """
    run = seedwise.connect(run_dir)
    run.stop()
    click.echo("asked to stop; the driver ends the run")
    click.echo(f"to resume: {resume_command(run.path)}")


@command("seedwise clean runs/walk_v0001")
@RUN_DIR
@click.option(
    "--take-over",
    is_flag=True,
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
