"""What is checked of a run's jobs before the first of them is submitted."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from seedwise.cluster.slurm_commands import (
    Answer,
    directive_words,
    sbatch_environment,
    test_submit,
)
from seedwise.cluster.slurm_limits import read_slurm_limits
from seedwise.errors import (
    ClusterStartError,
    PreflightError,
    SlurmNotFoundError,
    SubmitRefusedError,
)
from seedwise.model.preflight import Problem, Request, problems
from seedwise.model.slurm_limits import SlurmLimits
from seedwise.model.slurm_units import memory_mb, time_s
from seedwise.model.work_options import WorkOptions

__all__ = ["NO_LIMIT_S", "asks_for_qos", "check_jobs", "request_in"]

#: Walltime of a request that has no limit.
NO_LIMIT_S = 10 * 365 * 86_400.0

_LIMITS_S = 5.0

_OPTIONS = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
for _short, _long in (
    ("-p", "--partition"),
    ("-A", "--account"),
    ("-q", "--qos"),
    ("-t", "--time"),
    ("-C", "--constraint"),
    ("-c", "--cpus-per-task"),
):
    _OPTIONS.add_argument(_short, _long)
# The last of these counts. Memory for each GPU is memory that nothing is known of.
_OPTIONS.add_argument("--mem", type=lambda text: (text, False))
_OPTIONS.add_argument("--mem-per-cpu", type=lambda text: (text, True), dest="mem")
_OPTIONS.add_argument("--mem-per-gpu", type=lambda _: ("0", False), dest="mem")


def check_jobs(
    options: WorkOptions,
    keywords: dict[str, Any],
    script: Callable[[dict[str, Any]], str],
    n_jobs: int,
) -> dict[str, Any]:
    """Refuse jobs that Slurm would not take, or never start; choose their QoS.

    The run's QoS is left out, with a warning, where Slurm takes the job without it only.

    Parameters
    ----------
    options : WorkOptions
        The run's options.
    keywords : dict
        Keywords of the job, without a QoS of the run's.
    script : callable
        Makes the job script of keywords.
    n_jobs : int
        Jobs that are to run at once.

    Returns
    -------
    dict
        The keywords, with the QoS.

    Raises
    ------
    ClusterStartError
        If Slurm does not answer.
    SubmitRefusedError
        If Slurm would refuse the job.
    PreflightError
        If Slurm would take the job, and could never start it.
    """
    # Both take their time on a busy cluster.
    with ThreadPoolExecutor(1, thread_name_prefix="seedwise-limits") as reader:
        limits = reader.submit(read_slurm_limits, _LIMITS_S)

        def found(text: str) -> list[Problem]:
            try:
                return _fatal(text, limits.result(), n_jobs)
            except SlurmNotFoundError:  # sbatch is there, and nothing to ask
                return []

        def require(text: str) -> None:
            answer = _heard(test_submit(text))
            if not answer.accepted:
                raise SubmitRefusedError(answer.text, text, found(text))

        keywords = _with_qos(options, keywords, script, require)
        fatal = found(script(keywords))
        if fatal:
            raise PreflightError(fatal)
    return keywords


def request_in(script: str, n_jobs: int) -> Request:
    """Return what a job script asks for; where it asks twice, the last counts.

    What it leaves open may be said by variables of sbatch's.

    Parameters
    ----------
    script : str
        The script.
    n_jobs : int
        Jobs that are to run at once.

    Raises
    ------
    ValueError
        If it can't be read.
    """
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
        time_s=(time_s(asked.time) if asked.time else None) or NO_LIMIT_S,
        memory_mb=(memory_mb(memory) or 0.0) * (n_cpus if is_per_cpu else 1),
        cpus=n_cpus,
        constraint=asked.constraint or everywhere.get("SBATCH_CONSTRAINT"),
        n_jobs=n_jobs,
    )


def asks_for_qos(directives: Iterable[str]) -> bool:
    """Tell whether ``#SBATCH`` options name a QoS of their own."""
    return any(directive.lstrip().startswith(("--qos", "-q")) for directive in directives)


def _with_qos(
    options: WorkOptions,
    keywords: dict[str, Any],
    script: Callable[[dict[str, Any]], str],
    require: Callable[[str], None],
) -> dict[str, Any]:
    directives = keywords["job_extra_directives"]
    # What a user has set for all jobs goes before a keyword's default.
    has_own = "slurm_qos" not in options.given and "SBATCH_QOS" in os.environ
    if options.slurm_qos is None or has_own or asks_for_qos(directives):
        require(script(keywords))
        return keywords
    with_qos = {
        **keywords,
        "job_extra_directives": [f"--qos={options.slurm_qos}", *directives],
    }
    answer = _heard(test_submit(script(with_qos)))
    if answer.accepted:
        return with_qos
    require(script(keywords))
    warnings.warn(
        f"slurm_qos={options.slurm_qos!r} is left out: Slurm takes the job without it, and "
        f"with it says: {answer.text}. Give the QoS of your cluster, or slurm_qos=None.",
        stacklevel=2,
    )
    return keywords


def _heard(answer: Answer) -> Answer:
    if answer.unheard:
        raise ClusterStartError("the pool of Slurm jobs", f"Slurm does not answer: {answer.text}")
    return answer


def _fatal(script: str, limits: SlurmLimits, n_jobs: int) -> list[Problem]:
    try:
        request = request_in(script, n_jobs)
    except ValueError:  # a form of an option that Slurm knows, and we do not
        return []
    return [problem for problem in problems(request, limits) if problem.fatal]
