"""The check of a run's jobs before the first of them is submitted."""

import argparse
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from seedwise.errors import (
    ClusterStartError,
    OptionError,
    PreflightError,
    SlurmNotFoundError,
    SubmitRefusedError,
)
from seedwise.model.options.work import WorkOptions
from seedwise.model.slurm_time import time_s
from seedwise.slurm.commands import memory_mb
from seedwise.slurm.limits.read import limits_in, slurm_limits
from seedwise.slurm.limits.records import SlurmLimits
from seedwise.slurm.preflight.rules import Problem, Request, given_cpus, problems
from seedwise.slurm.queue import directive_words, has_no_node_now, sbatch_environment, test_submit

#: The walltime of a request for no limit.
NO_LIMIT_S = 10 * 365 * 86_400.0

_LIMITS_S = 5.0

_OPTIONS = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
_OPTIONS.add_argument("-p", "--partition")
_OPTIONS.add_argument("-A", "--account")
_OPTIONS.add_argument("-q", "--qos")
_OPTIONS.add_argument("-t", "--time")
_OPTIONS.add_argument("-C", "--constraint")
_OPTIONS.add_argument("-c", "--cpus-per-task")
# The last of these counts. How much memory a job gets for its GPUs is unknown.
_OPTIONS.add_argument("--mem", type=lambda text: (text, False))
_OPTIONS.add_argument("--mem-per-cpu", type=lambda text: (text, True), dest="mem")
_OPTIONS.add_argument("--mem-per-gpu", type=lambda _: ("0", False), dest="mem")


def check_jobs(
    options: WorkOptions,
    keywords: dict[str, Any],
    script: Callable[[dict[str, Any]], str],
    n_jobs: int,
    note: Callable[[str], None],
) -> dict[str, Any]:
    """Refuse jobs that Slurm would not take or never start; return the keywords with their QoS.

    The run's QoS is left out, with a note, where Slurm takes the job only without it. If the
    user has not asked for it, it is also left out if no job of that QoS could start. `script`
    makes the job script of keywords; `n_jobs` are to run at once.
    """
    for line in keywords["job_extra_directives"]:
        if re.match(r"\s*(--clusters?\b|-M)", line):
            allowed = "without a cluster: set SLURM_CLUSTERS, which squeue and scancel heed, too"
            raise OptionError("extra_directives", line, allowed)
    with_qos = _with_qos(options, keywords)
    # Limits and test-submit are both slow on a busy cluster, so they run at the same time.
    with ThreadPoolExecutor(1, thread_name_prefix="seedwise-limits") as reader:
        limits = reader.submit(known_limits)

        def objection(some: dict[str, Any]) -> PreflightError | SubmitRefusedError | None:
            text = script(some)
            refusal = test_submit(text)
            if refusal is not None and refusal.unheard:
                said = f"Slurm does not answer: {refusal.text}"
                raise ClusterStartError("the pool of Slurm jobs", said)
            found = script_problems(text, n_jobs, limits.result(), accepted=refusal is None)
            fatal = [problem for problem in found if problem.fatal]
            if refusal is None:
                return PreflightError(fatal) if fatal else None
            if fatal or not has_no_node_now(refusal.text):
                return SubmitRefusedError(refusal.text, text, fatal)
            why = "".join(f"\n  {problem}" for problem in found)
            note(
                "no node can take such a job right now, so Slurm refuses it or it has to wait: "
                f"{refusal.text}{why}"
            )
            return None

        error = objection(with_qos)
        if error is None:
            return with_qos
        is_refused = isinstance(error, SubmitRefusedError) and not has_no_node_now(error.stderr)
        if with_qos is keywords or ("slurm_qos" in options.given and not is_refused):
            raise error
        if (without := objection(keywords)) is not None:
            raise without
    wrong = f"Slurm could never start it ({'; '.join(map(str, error.problems))})"
    wrong = f"Slurm says: {error.stderr}" if isinstance(error, SubmitRefusedError) else wrong
    note(
        f"slurm_qos={options.slurm_qos!r} is left out: Slurm takes the job without it, but "
        f"with it {wrong}. Give the QoS of your cluster, or slurm_qos=None"
    )
    return keywords


def plan_problems(script: str, n_jobs: int) -> tuple[list[str], int | None]:
    """Return what is wrong with a script that was tried, and each job's CPUs if they are known."""
    try:
        request, limits = request_in(script, n_jobs), known_limits()
    except ValueError:
        return [], None
    found = problems(request, limits, accepted=True)
    refuse_fatal(found)
    return [str(problem) for problem in found], given_cpus(request, limits)


def known_limits() -> SlurmLimits:
    """Return what Slurm allows; nothing is known where there is ``sbatch`` and nothing to ask."""
    try:
        return slurm_limits(timeout_s=_LIMITS_S)
    except SlurmNotFoundError:
        return limits_in({})


def script_problems(
    script: str, n_jobs: int, limits: SlurmLimits, *, accepted: bool = True
) -> tuple[Problem, ...]:
    """Return what is known to be wrong with a job script, of which `n_jobs` are to run at once."""
    try:
        return problems(request_in(script, n_jobs), limits, accepted=accepted)
    except ValueError:  # a form of an option that Slurm knows and we don't
        return ()


def refuse_fatal(found: Iterable[Problem]) -> None:
    """Raise PreflightError if jobs could never start."""
    if fatal := [problem for problem in found if problem.fatal]:
        raise PreflightError(fatal)


def request_in(script: str, n_jobs: int) -> Request:
    """Return what a job script asks for, or sbatch's variables; ValueError if it can't be read."""
    try:
        asked, _ = _OPTIONS.parse_known_args(directive_words(script))
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from error
    n_cpus = int(asked.cpus_per_task or 1)
    memory, is_per_cpu = asked.mem or ("0", False)
    everywhere = sbatch_environment(script)
    return Request(
        partition=asked.partition or everywhere.get("SBATCH_PARTITION"),
        account=asked.account or everywhere.get("SBATCH_ACCOUNT"),
        qos=asked.qos or everywhere.get("SBATCH_QOS"),
        time_s=(time_s(asked.time) or NO_LIMIT_S) if asked.time else None,
        memory_mb=(memory_mb(memory) or 0.0) * (n_cpus if is_per_cpu else 1),
        cpus=n_cpus,
        constraint=asked.constraint or everywhere.get("SBATCH_CONSTRAINT"),
        n_jobs=n_jobs,
    )


def _with_qos(options: WorkOptions, keywords: dict[str, Any]) -> dict[str, Any]:
    """Return keywords with the run's QoS, or the same object where it must not be added."""
    directives = keywords["job_extra_directives"]
    has_own = any(line.lstrip().startswith(("--qos", "-q")) for line in directives)
    # What a user has set for all jobs overrides a keyword's default.
    is_set = "slurm_qos" not in options.given and "SBATCH_QOS" in os.environ
    if options.slurm_qos is None or is_set or has_own:
        return keywords
    return {**keywords, "job_extra_directives": [f"--qos={options.slurm_qos}", *directives]}
