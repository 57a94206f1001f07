"""What is checked of a run's jobs before the first of them is submitted."""

from __future__ import annotations

import argparse
import shlex
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from seedwise.cluster.slurm_commands import Answer, test_submit
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

__all__ = ["asks_for_qos", "check_jobs", "request_in"]

_LIMITS_S = 5.0
_NO_LIMIT_S = 10 * 365 * 86_400.0

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
_OPTIONS.add_argument("--mem")


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
    lines = [line for line in script.splitlines() if line.startswith("#SBATCH ")]
    words = [word for line in lines for word in shlex.split(line.removeprefix("#SBATCH "))]
    try:
        asked, _ = _OPTIONS.parse_known_args(words)
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from error
    return Request(
        partition=asked.partition,
        account=asked.account,
        qos=asked.qos,
        time_s=(time_s(asked.time) if asked.time else None) or _NO_LIMIT_S,
        memory_mb=memory_mb(asked.mem or "0") or 0.0,
        cpus=int(asked.cpus_per_task or 1),
        constraint=asked.constraint,
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
    if options.slurm_qos is None or asks_for_qos(directives):
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
