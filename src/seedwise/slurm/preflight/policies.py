"""The check of a request against the limits of QoS and accounts."""

import math
from collections.abc import Iterator

from seedwise.errors.durations import exact_duration
from seedwise.slurm.limits.records import AccountLimits, QosLimits
from seedwise.slurm.preflight.request import Case, Problem


def policy_problems(case: Case) -> Iterator[Problem]:
    """Yield what QoS and accounts do not allow: of a job, or of all of them at once."""
    if not case.limits.knows("enforce") or "limits" not in case.limits.enforce:
        return
    yield from _one_job(case)
    yield from _all_jobs(case)


def _one_job(case: Case) -> Iterator[Problem]:
    time_s, memory_mb = case.request.time_s, case.request.memory_mb
    found = _limit(case, "max_time_s")
    if found and time_s is not None and time_s > found[0]:
        words = f"{found[1]} allows at most {exact_duration(found[0])}"
        yield Problem("worker_time_limit", exact_duration(time_s), words)
    for whose in ("job", "user"):
        found = _limit(case, f"max_cpus_per_{whose}")
        if found and case.request.cpus > found[0]:
            words = f"{found[1]} allows a {whose} at most {found[0]:.0f}"
            yield Problem("cpus_per_task", f"{case.request.cpus} CPUs", words)
        found = _limit(case, f"max_memory_per_{whose}_mb")
        if found and memory_mb > found[0]:
            words = f"{found[1]} allows a {whose} at most {found[0]:.0f} MB"
            yield Problem("mem_per_cpu", f"{math.ceil(memory_mb)} MB", words)


def _all_jobs(case: Case) -> Iterator[Problem]:
    n_jobs = case.request.n_jobs
    rules = {"max_submit_jobs": "wait or run", "max_jobs": "run"}
    for name, verb in rules.items():
        found = _limit(case, name)
        if found and n_jobs > found[0]:
            words = f"{found[1]} lets at most {found[0]:.0f} of a user's jobs {verb} at once"
            yield Problem("workers", f"{n_jobs} jobs", words, fatal=found[0] < 1)
    sizes = {
        "max_cpus_per_user": (case.request.cpus, "CPUs"),
        "max_memory_per_user_mb": (case.request.memory_mb, "MB"),
    }
    for name, (size, unit) in sizes.items():
        found = _limit(case, name)
        if found and size <= found[0] < size * n_jobs:
            words = (
                f"{found[1]} allows a user at most {found[0]:.0f} {unit} at once: "
                f"{int(found[0] // size)} such jobs run at once"
            )
            yield Problem("workers", f"{n_jobs} jobs", words, fatal=False)


def _limit(case: Case, name: str) -> tuple[float, str] | None:
    """Return a limit and whose it is; None if there is none, or it is unknown.

    The first that has a limit decides: the QoS of the partition, the QoS of the job, the account.
    """
    for rule, words in _rules(case):
        if rule is None:
            return None
        if hasattr(rule, name):
            if not rule.knows(name):
                return None
            limit = getattr(rule, name)
            if limit is not None:
                return limit, words
    return None


def _rules(case: Case) -> list[tuple[QosLimits | AccountLimits | None, str]]:
    rules: list[tuple[QosLimits | AccountLimits | None, str]] = []
    partition = case.partition
    if partition is None or not partition.knows("qos"):
        rules.append((None, "the partition's QoS"))
    elif partition.qos is not None:
        words = f"QoS {partition.qos} of partition {partition.name}"
        rules.append((case.limits.qos_named(partition.qos), words))
    own = (case.qos, f"QoS {case.qos.name}" if case.qos else "the job's QoS")
    first = case.qos is not None and "OverPartQOS" in case.qos.flags
    rules.insert(0 if first else len(rules), own)
    account = case.account
    rules.append((account, f"account {account.account}" if account else "the account"))
    return rules
