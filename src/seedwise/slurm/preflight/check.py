"""The check of a run's jobs before the first of them is submitted."""

import argparse
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs

from seedwise.errors import (
    ClusterStartError,
    OptionError,
    PreflightError,
    SlurmNotFoundError,
    SubmitRefusedError,
)
from seedwise.model.options.work import WorkOptions
from seedwise.model.slurm_time import time_s
from seedwise.slurm.commands import CommandError, memory_mb
from seedwise.slurm.limits.answers import limits_in
from seedwise.slurm.limits.read import slurm_limits
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
    # Limits and test-submit are both slow on a busy cluster, so they run at the same time.
    with ThreadPoolExecutor(1, thread_name_prefix="seedwise-limits") as reader:
        limits = reader.submit(known_limits)

        def judged(some: dict[str, Any]) -> _Verdict:
            text = script(some)
            refusal = test_submit(text)
            if refusal is not None and refusal.unheard:
                said = f"Slurm does not answer: {refusal.text}"
                raise ClusterStartError("the pool of Slurm jobs", said)
            found = script_problems(text, n_jobs, limits.result(), accepted=refusal is None)
            return _Verdict(text, refusal, found)

        with_qos = _with_qos(options, keywords)
        verdict = judged(with_qos)
        if with_qos is keywords or verdict.is_kept("slurm_qos" in options.given):
            verdict.require(note)
            return with_qos
        judged(keywords).require(note)
    wrong = f"Slurm could never start it ({'; '.join(map(str, verdict.fatal))})"
    wrong = f"Slurm says: {verdict.refusal.text}" if verdict.refusal else wrong
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


def asks_for_qos(directives: Iterable[str]) -> bool:
    """Tell whether ``#SBATCH`` options name a QoS of their own."""
    return any(directive.lstrip().startswith(("--qos", "-q")) for directive in directives)


@attrs.frozen
class _Verdict:
    """What Slurm says of a job script, and what is known to be wrong with it."""

    script: str
    refusal: CommandError | None
    problems: tuple[Problem, ...]

    def is_kept(self, asked_for: bool) -> bool:
        """Tell whether to keep the QoS: Slurm takes the job, and it can start or was asked for."""
        if self.refusal is not None and not has_no_node_now(self.refusal):
            return False
        return asked_for or not self.fatal

    def require(self, note: Callable[[str], None]) -> None:
        """Refuse a job that Slurm would not take or never start."""
        if self.refusal is None:
            refuse_fatal(self.problems)
            return
        if not has_no_node_now(self.refusal) or self.fatal:
            raise SubmitRefusedError(self.refusal.text, self.script, self.fatal)
        why = "".join(f"\n  {problem}" for problem in self.problems)
        note(
            "no node can take such a job right now, so Slurm refuses it or it has to wait: "
            f"{self.refusal.text}{why}"
        )

    @property
    def fatal(self) -> list[Problem]:
        """The problems for which no such job could start."""
        return [problem for problem in self.problems if problem.fatal]


def _with_qos(options: WorkOptions, keywords: dict[str, Any]) -> dict[str, Any]:
    """Return keywords with the run's QoS, or the same object where it must not be added."""
    directives = keywords["job_extra_directives"]
    # What a user has set for all jobs overrides a keyword's default.
    has_own = "slurm_qos" not in options.given and "SBATCH_QOS" in os.environ
    if options.slurm_qos is None or has_own or asks_for_qos(directives):
        return keywords
    return {**keywords, "job_extra_directives": [f"--qos={options.slurm_qos}", *directives]}
