"""The Slurm job of a driver, which a new job follows when its walltime is nearly up."""

import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from seedwise.errors import ClusterStartError
from seedwise.model.options.slurm import SlurmOptions, SubmitOptions
from seedwise.model.slurm_time import time_text
from seedwise.slurm.commands import CommandError
from seedwise.slurm.limits.records import SlurmLimits
from seedwise.slurm.preflight.check import known_limits, refuse_fatal, script_problems
from seedwise.slurm.preflight.rules import asked_partitions, known
from seedwise.slurm.queue import quoted, quoted_file, submit_job

_DAY_S = 86_400.0
# Before the walltime's end: for the driver to cancel its jobs, and for a busy Slurm to take the
# next one. At most a quarter of the walltime.
_SIGNAL_S = 120
_TRIES = 6
_PAUSE_S = 5.0

#: The options of this job, by the names that the same has for a worker's job.
_FLAGS = {
    "worker_time_limit": "--walltime",
    "cpus_per_task": "--cpus",
    "mem_per_cpu": "--memory",
    "SlurmOptions(partition=...)": "--partition",
    "SlurmOptions(account=...)": "--account",
}

_SCRIPT = """\
#!/bin/bash
{directives}

# Slurm sends USR1 to this script alone, before the walltime ends: then the driver stops, and a new
# job resumes its run. What ends a job for good, such as scancel, sends TERM to the driver as well.
again=
trap 'again=yes; kill -TERM "$driver"' USR1
trap 'again=' TERM
{exports}
{prologue}
{command} &
driver=$!
until wait "$driver"; code=$?; ! kill -0 "$driver" 2>/dev/null; do :; done
if [ -n "$again" ] && [ "$code" -ne 0 ]; then
    {submit_again}
fi
exit "$code"
"""


@attrs.frozen(kw_only=True)
class DriverJob:
    """A driver's job, and the jobs that follow it."""

    #: The name of these jobs, and of no others.
    name: str
    #: Folder of their own, for the files below.
    folder: Path
    working_dir: Path
    command: Sequence[str]
    #: Variables for it, with values as a shell reads them.
    exports: Mapping[str, str]

    @property
    def script_file(self) -> Path:
        """The job script."""
        return self.folder / "job.sh"

    @property
    def log(self) -> Path:
        """What the driver prints, in all the jobs."""
        return self.folder / "driver.log"

    def script(self, options: SubmitOptions, slurm: SlurmOptions) -> str:
        """Return the job script; raises PreflightError if such a job could never start."""
        limits = known_limits()
        walltime_s = _walltime_s(options, slurm, limits)
        again = [sys.executable, "-P", "-m", __name__, str(self.script_file)]
        script = _SCRIPT.format(
            directives="\n".join(
                f"#SBATCH {line}" for line in self._directives(options, slurm, walltime_s)
            ),
            exports="\n".join(f"export {name}={value}" for name, value in self.exports.items()),
            prologue="\n".join(slurm.prologue or ()),
            command=shlex.join(self.command),
            submit_again=shlex.join(again),
        )
        refuse_fatal(
            attrs.evolve(problem, option=_FLAGS.get(problem.option, problem.option))
            for problem in script_problems(script, 1, limits)
        )
        return script

    def _directives(
        self, options: SubmitOptions, slurm: SlurmOptions, walltime_s: float
    ) -> Iterator[str]:
        yield f"--cpus-per-task={options.cpus}"
        yield f"--mem={options.memory}"
        yield f"--time={time_text(walltime_s)}"
        if slurm.partition is not None:
            yield f"--partition={slurm.partition}"
        if slurm.account is not None:
            yield f"--account={slurm.account}"
        yield from slurm.extra_directives or ()
        yield f"--job-name={self.name}"
        yield f"--chdir={quoted(str(self.working_dir))}"
        yield f"--output={quoted_file(self.folder, self.log.name)}"
        yield "--open-mode=append"
        yield "--requeue"  # after a node's failure
        yield f"--signal=B:USR1@{max(1, int(min(_SIGNAL_S, walltime_s / 4)))}"


def submit_driver(script: str) -> str | None:
    """Submit a driver's job and return its id; None if ``sbatch`` does not print one."""
    try:
        return submit_job(script)
    except CommandError as error:
        said = f"Slurm {'does not answer' if error.unheard else 'refuses it'}: {error.text}"
        problem = f"{said}; seedwise slurm shows what the cluster allows"
        raise ClusterStartError("the driver's job", problem) from error


def submit_again(script_file: Path) -> None:
    """Submit the next job, from within the one that ends; a busy Slurm is asked several times."""
    script = script_file.read_text(encoding="utf-8")
    for n_left in reversed(range(_TRIES)):
        try:
            job_id = submit_job(script)
        except CommandError as error:
            if not error.unheard or n_left == 0:
                raise
            time.sleep(_PAUSE_S)
        else:
            named = f"job {job_id}" if job_id else "a new job"
            print(f"seedwise: the walltime is nearly up; {named} resumes the run")
            return


def _walltime_s(options: SubmitOptions, slurm: SlurmOptions, limits: SlurmLimits) -> float:
    """Return the walltime: a day, or the longest that the partitions allow."""
    if options.walltime is not None:
        return max(1.0, options.walltime.total_seconds())
    partitions = asked_partitions(slurm.partition, limits)
    limits_s: list[float | None] = [known(partition, "max_time_s") for partition in partitions]
    return min([_DAY_S, *filter(None, limits_s)])


if __name__ == "__main__":
    try:
        submit_again(Path(sys.argv[1]))
    except CommandError as error:
        sys.exit(
            f"seedwise: the next job could not be submitted: {error.text}\n"
            f"to resume the run: sbatch {shlex.quote(sys.argv[1])}"
        )
