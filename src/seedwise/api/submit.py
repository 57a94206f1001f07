"""The function that submits a script as a Slurm job."""

import contextlib
import re
import secrets
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from seedwise.cluster.dashboard import LOGIN_VARIABLE, host_name
from seedwise.disk.files import make_own_folder, replace_file
from seedwise.folder.directory import GITIGNORE
from seedwise.folder.find import NOTES_VARIABLE, START_VARIABLE
from seedwise.model.options.slurm import SlurmOptions, SubmitOptions
from seedwise.slurm.driver_job import DriverJob, submit_driver
from seedwise.slurm.queue import require_slurm


def submit_script(
    script: str, arguments: Sequence[str], options: SubmitOptions, slurm: SlurmOptions
) -> tuple[DriverJob, str | None]:
    """Submit a script that calls seedwise; return its job, and the job's id if it is known."""
    require_slurm(None)
    here = Path.cwd()
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", Path(script).stem)
    name = f"{stem}-{secrets.token_hex(4)}"
    folder = here / "submitted" / name
    job = DriverJob(
        name=f"seedwise-{name}",
        folder=folder,
        working_dir=here,
        command=[sys.executable, script, *arguments],
        exports={
            "PYTHONUNBUFFERED": "1",
            LOGIN_VARIABLE: shlex.quote(host_name()),
            NOTES_VARIABLE: shlex.quote(str(folder / "runs.jsonl")),
            START_VARIABLE: '"$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}"',
        },
    )
    text = job.script(options, slurm)
    folder.parent.mkdir(exist_ok=True)
    make_own_folder(folder)
    try:
        replace_file(folder / ".gitignore", GITIGNORE)
        replace_file(job.script_file, text.encode())
        replace_file(job.log, b"")  # Slurm would make it for others to read, and it holds a token
        return job, submit_driver(text)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # there are others in it
            folder.parent.rmdir()
        raise
