"""What messages say to do: commands, and what to change after a failure or a refusal."""

import functools
import math
import re
import shlex
from pathlib import Path


def _command(verb: str, run_dir: Path, flags: str = "") -> str:
    """Return a command on a run."""
    return f"seedwise {verb} {shlex.quote(str(run_dir))}{flags}"


# What resumes a run, cancels what a killed driver left, and serves a run's page.
resume_command = functools.partial(_command, "resume")
clean_command = functools.partial(_command, "clean")
page_command = functools.partial(_command, "show", flags=" --page")


def replay_command(
    run_dir: Path, trial: int, seed: int | None, *, validation: bool = False
) -> str:
    """Return the command that evaluates a trial again on one seed; None means all seeds."""
    which = ("" if seed is None else f" --seed {seed}") + (" --validation" if validation else "")
    return _command("replay", run_dir, f" --trial {trial}{which}")


_OF_TIME = {
    "ChunkTimeout": (
        "Raise chunk_timeout_seconds if a seed may take that long",
        "--chunk-timeout-seconds SECONDS",
    ),
    "TrialTimeout": (
        "Raise slurm_timeout_minutes if the loss may take that long",
        "--slurm-timeout-minutes MINUTES",
    ),
}
# The words of a worker, of Slurm, and of what was killed with signal 9.
_OF_MEMORY = re.compile(
    "MemoryExceeded: |WorkerDied: .*OUT_OF_MEMORY|ProcessDied: .*lack of memory", re.DOTALL
)
_TOOK = re.compile(r"took (\d+) MB of the (\d+) MB")
_JOB = re.compile(r"its job has (\d+) MB for (\d+) CPU")

# Memory is measured while it still grows.
_TIMES = 2


def remedy(failure: str) -> tuple[str, str] | None:
    """Return what to change after a failure, and the flags that do; None if it is the loss."""
    failure = re.sub(r"^seed -?\d+: ", "", failure)
    kind = failure.partition(":")[0]
    return _OF_TIME.get(kind) or (_more_memory(failure) if _OF_MEMORY.match(failure) else None)


def remedy_command(failure: str, run_dir: Path) -> str | None:
    """Return the remedy with the command that evaluates failed trials again."""
    found = remedy(failure)
    if found is None:
        return None
    return f"{found[0]}: {resume_command(run_dir)} --retry-failed {found[1]}".rstrip()


def _more_memory(failure: str) -> tuple[str, str]:
    took, job = _TOOK.search(failure), _JOB.search(failure)
    if took and job:
        job_mb, n_cpus = int(job[1]), int(job[2])
        more = f"{math.ceil(_TIMES * max(job_mb, int(took[1])) / n_cpus / 1024)}G"
        words = f"The job has {job_mb} MB: give more, such as mem_per_cpu={more!r}"
        return words, f"--mem-per-cpu {more}"
    if took:
        words = f"The worker may have {took[2]} MB: of fewer workers each may have more"
        return words, "--workers 1"
    return "Give more memory: a larger mem_per_cpu on Slurm, or fewer workers", ""


_DIRECTIVES = "change SlurmOptions(extra_directives=...)"

# By what is in sbatch's words; they are Slurm's own, or those of the site's rules. The first match
# counts: what is named exactly goes before what other refusals mention, too.
_CHANGES = {
    r"violates accounting/QOS policy|QOS\w*Limit|Assoc\w*Limit|MaxSubmit": (
        "A limit of the QoS or the account is reached: ask for fewer workers (workers, "
        "array_parallelism_limit), for less (worker_time_limit, cpus_per_task, "
        "mem_per_cpu), or choose another slurm_qos or SlurmOptions(account=...)."
    ),
    r"\bgres\b|generic resource|\bgpus?\b|\btres\b": (
        f"The cluster does not give such generic resources or GPUs: {_DIRECTIVES}."
    ),
    r"--mem\b|\bmemory\b|--mem-per-|MaxMemPer": (
        "Slurm does not take the memory that is asked for: change mem_per_cpu. Where a site "
        "takes no --mem, ask by SlurmOptions(extra_directives=['--mem-per-cpu=2G']), or have "
        "it left out with Dask's setting jobqueue.slurm.job-directives-skip: ['--mem=']."
    ),
    r"\bqos\b": "Slurm does not take this QoS here: change slurm_qos, or give slurm_qos=None.",
    r"\baccount\b|\bproject\b": (
        "Slurm does not take this account, or not in this partition: change "
        "SlurmOptions(account=..., partition=...)."
    ),
    r"time ?limit|\bwalltime\b|--time\b": (
        "Slurm does not take this walltime: change worker_time_limit."
    ),
    (
        r"unrecognized option|\bfeature\b|constraint|reservation|licen[sc]e|node name|wckey|"
        r"dependency|\bnode ?list\b|invalid -"
    ): f"The job script has an option that Slurm does not take: {_DIRECTIVES}.",
    r"processors|\bcpus?\b|\bcores?\b": (
        "Slurm does not give a job so many CPUs: change cpus_per_task."
    ),
    r"node configuration|node count": (
        "No node has what is asked for: change cpus_per_task, mem_per_cpu or "
        "SlurmOptions(partition=..., extra_directives=...)."
    ),
    r"\bpartition\b|\bqueue\b": (
        "Slurm does not take this partition: change SlurmOptions(partition=...)."
    ),
}
_ANY = (
    "Change what it names: SlurmOptions(partition=..., account=..., extra_directives=...), "
    "slurm_qos, worker_time_limit, cpus_per_task or mem_per_cpu."
)


def what_to_change(refusal: str) -> str:
    """Return, in a sentence, which options to change so that sbatch may take the job."""
    found = (
        advice
        for pattern, advice in _CHANGES.items()
        if re.search(pattern, refusal, re.IGNORECASE)
    )
    return next(found, _ANY)
