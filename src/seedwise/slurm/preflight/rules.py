"""The rules by which a request for Slurm jobs is checked before any job is submitted.

Slurm refuses some requests in few words, and lets others wait for ever. Only what is known to be
wrong is a problem; what is unknown is not. A request that Slurm has accepted may have been changed
by rules of the site's own.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from seedwise.errors.durations import exact_duration
from seedwise.slurm.limits.records import (
    AccountLimits,
    NodeKind,
    PartitionLimits,
    QosLimits,
    SlurmLimits,
)

_PARTITION = "SlurmOptions(partition=...)"
_ACCOUNT = "SlurmOptions(account=...)"
_QOS = "slurm_qos"
_CONSTRAINT = "SlurmOptions(extra_directives=...)"
_SIZE = "cpus_per_task and mem_per_cpu"

#: A constraint that names one feature, not an expression of several.
_FEATURE = re.compile(r"[\w.:+-]+")


@attrs.frozen(kw_only=True)
class Request:
    """What is asked of Slurm for each job, and how many jobs."""

    #: Several are parted by commas; here and below None means Slurm's default.
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time_s: float | None
    #: Memory of a job, in MB of 1024 * 1024 bytes.
    memory_mb: float
    cpus: int
    #: What ``--constraint`` asks of the nodes; None if nothing.
    constraint: str | None = None
    n_jobs: int = 1

    @property
    def feature(self) -> str | None:
        """The one feature that it asks for; None if there is none, or an expression of several."""
        return self.constraint if _FEATURE.fullmatch(self.constraint or "") else None

    def fits(self, kind: NodeKind) -> bool:
        """Tell whether such nodes have what each job asks for."""
        enough = self.cpus <= kind.cpus and self.memory_mb <= kind.memory_mb
        return enough and (self.feature is None or self.feature in kind.features)


@attrs.frozen
class Problem:
    """Something that is asked for but not allowed, or not there."""

    option: str
    value: str
    #: What is allowed instead, with figures.
    allowed: str
    #: Whether no job could ever start; otherwise jobs wait longer, or fewer run at once.
    fatal: bool = True

    def __str__(self) -> str:
        """Return the whole problem in one line."""
        return f"{self.option}: {self.value} asked for, but {self.allowed}"


@attrs.frozen
class _Case:
    """A request in one partition, and what limits it; here None means unknown."""

    request: Request
    limits: SlurmLimits
    partition: PartitionLimits | None
    account: AccountLimits | None
    qos: QosLimits | None
    qos_name: str | None

    @property
    def account_name(self) -> str | None:
        """The account that jobs use."""
        return self.request.account or (self.account.account if self.account else None)

    def problem(self, option: str, allowed: str, *, fatal: bool = True) -> Problem:
        """Return what is wrong with what the request asks for by an option."""
        request = self.request
        partition = self.partition.name if self.partition else ""
        size = f"{request.cpus} CPUs and {request.memory_mb:.0f} MB"
        asked = {
            _PARTITION: partition if request.partition else f"{partition} (the default)",
            _ACCOUNT: self.account_name,
            _QOS: self.qos_name,
            _CONSTRAINT: f"constraint {request.constraint}",
            _SIZE: f"{size} with {request.feature}" if request.feature else size,
            "cpus_per_task": f"{request.cpus} CPUs",
            "mem_per_cpu": f"{math.ceil(request.memory_mb)} MB",
            "worker_time_limit": exact_duration(request.time_s or 0),
            "workers": f"{request.n_jobs} jobs",
        }
        return Problem(option, str(asked[option]), allowed, fatal)


def problems(
    request: Request, limits: SlurmLimits, *, accepted: bool = False
) -> tuple[Problem, ...]:
    """Return what keeps a request's jobs from starting or from running all at once, fatal first.

    `accepted` tells whether Slurm has said that it would take such a job. Then it knows the names
    in the request, and nothing is fatal where the site's own rules can change the job.
    """
    by_partition = [list(_in_partition(case, accepted)) for case in _cases(request, limits)]
    found = [problem for some in by_partition for problem in some]
    several = request.partition is not None and "," in request.partition
    one_will_do = several and known(limits, "enforce_partition_limits") != "ALL"
    plugins = [known(limits, name) for name in ("submit_plugins", "filter_plugins")]
    may_be_changed = accepted and any(names is None or names for names in plugins)
    one_does = not all(any(problem.fatal for problem in some) for some in by_partition)
    if may_be_changed or (one_will_do and one_does):
        found = [attrs.evolve(problem, fatal=False) for problem in found]
    if not accepted:
        found = [*_unknown_names(request, limits), *found]
    return tuple(sorted(dict.fromkeys(found), key=lambda problem: not problem.fatal))


def given_cpus(request: Request, limits: SlurmLimits) -> int:
    """Return how many CPUs each job is given at least: its node's, or those of its memory."""
    given = [_given(request, one) for one in asked_partitions(request.partition, limits)]
    return min((max(request.cpus, *some) for some in given), default=request.cpus)


def asked_partitions(names: str | None, limits: SlurmLimits) -> list[PartitionLimits]:
    """Return the partitions that are asked for, as far as they are known."""
    asked = [None] if names is None else names.split(",")
    return [found for name in asked if (found := limits.partition(name))]


def _cases(request: Request, limits: SlurmLimits) -> list[_Case]:
    wanted = request.account
    accounts = {
        one.partition: one
        for one in reversed(limits.accounts)
        if (one.is_default if wanted is None else _among(wanted, [one.account]))
    }
    cases: list[_Case] = []
    for partition in asked_partitions(request.partition, limits) or (None,):
        # An account's limits in the partition come before those in all.
        account = accounts.get(partition.name if partition else None) or accounts.get(None)
        qos_name = request.qos or known(account, "default_qos")
        qos = limits.qos_named(qos_name)
        cases.append(_Case(request, limits, partition, account, qos, qos_name))
    return cases


def known(facts: Any, name: str) -> Any:
    """Return one of the facts; None if it is unknown."""
    return getattr(facts, name) if facts is not None and facts.knows(name) else None


def _enforces(limits: SlurmLimits, rule: str) -> bool:
    return rule in (known(limits, "enforce") or ())


def _unknown_names(request: Request, limits: SlurmLimits) -> Iterator[Problem]:
    """Yield the partitions that are not there, and an account that is not the user's."""
    listed = _listed(partition.name for partition in limits.partitions if not partition.is_hidden)
    if request.partition is not None and limits.knows("partitions"):
        for name in request.partition.split(","):
            if limits.partition(name) is None:
                yield Problem(_PARTITION, name, f"the cluster's partitions are {listed}")
    if not limits.knows("accounts") or not _enforces(limits, "associations"):
        return
    names, account = [one.account for one in limits.accounts], request.account
    if not names:
        words = f"Slurm has no account for user {limits.user}; its administrators can add one"
        yield Problem(_ACCOUNT, account or "no account", words)
    elif account is not None and not _among(account, names):
        words = f"the accounts of user {limits.user} are {_listed(dict.fromkeys(names))}"
        yield Problem(_ACCOUNT, account, words)


def _in_partition(case: _Case, accepted: bool) -> Iterator[Problem]:
    if not accepted:
        yield from _qos(case)
    if case.partition is not None:
        yield from _door(case, case.partition)
        yield from _partition_time(case, case.partition)
        yield from _memory(case, case.partition)
        if case.partition.knows("node_kinds"):
            yield from _nodes(case, case.partition)
    if _enforces(case.limits, "limits"):
        yield from _policies(case)


def _qos(case: _Case) -> Iterator[Problem]:
    name, account = case.request.qos, case.account
    if name is None or not _enforces(case.limits, "qos"):
        return
    if account is not None and account.knows("qos"):
        if not _among(name, account.qos):
            words = f"account {account.account} may use the QoS {_listed(account.qos)}"
            yield case.problem(_QOS, words)
    elif case.limits.knows("qos") and case.qos is None:
        listed = _listed(qos.name for qos in case.limits.qos)
        yield case.problem(_QOS, f"the cluster's QoS are {listed}")


def _door(case: _Case, partition: PartitionLimits) -> Iterator[Problem]:
    """Yield what keeps all jobs of the user out of a partition."""
    state = known(partition, "state")
    if state == "down":
        words = "it is down: jobs wait until it is up again"
        yield case.problem(_PARTITION, words, fatal=False)
    elif state not in (None, "up"):
        yield case.problem(_PARTITION, f"it takes no jobs now: its state is {state}")
    major = str(known(case.limits, "version")).partition(".")[0]
    accounts_are_exact = major.isdecimal() and int(major) < 23  # else they hold for those below
    doors = [
        (_ACCOUNT, case.account_name, "accounts", ("the accounts", "this account")),
        (_QOS, case.qos_name, "qos", ("the QoS", "this QoS")),
    ]
    for option, name, kind, (those, this) in doors:
        if name is None or not partition.knows(f"allow_{kind}"):
            continue
        allowed = getattr(partition, f"allow_{kind}")
        if allowed is not None and not _among(name, allowed):
            words = f"partition {partition.name} is for {those} {_listed(allowed)}"
            fatal = option == _QOS or accounts_are_exact
            yield case.problem(option, words, fatal=fatal)
        elif allowed is None and _among(name, getattr(partition, f"deny_{kind}")):
            yield case.problem(option, f"partition {partition.name} is not for {this}")


def _partition_time(case: _Case, partition: PartitionLimits) -> Iterator[Problem]:
    limit_s, asked_s, limits = known(partition, "max_time_s"), case.request.time_s, case.limits
    if asked_s is None or limit_s is None or asked_s <= limit_s:
        return
    if case.qos is not None and "PartitionTimeLimit" in case.qos.flags:
        return
    # A QoS that is unknown may allow more.
    has_none = limits.knows("enforce") and "qos" not in limits.enforce
    may_be_longer = not limits.knows("qos") or any(
        "PartitionTimeLimit" in qos.flags for qos in limits.qos
    )
    fatal = case.qos is not None or has_none or not may_be_longer
    words = f"partition {partition.name} allows at most {exact_duration(limit_s)}"
    yield case.problem("worker_time_limit", words, fatal=fatal)


def _memory(case: _Case, partition: PartitionLimits) -> Iterator[Problem]:
    name, limit_mb = f"partition {partition.name}", known(partition, "max_memory_per_node_mb")
    if limit_mb is not None and case.request.memory_mb > limit_mb:
        words = f"{name} allows a job at most {limit_mb:.0f} MB on a node"
        yield case.problem("mem_per_cpu", words)
    with_memory, of_node = _given(case.request, partition)
    if of_node > case.request.cpus:
        words = f"in {name} each job has a node to itself: it gets, and is charged for, {of_node}"
        yield case.problem("cpus_per_task", words, fatal=False)
    elif with_memory > case.request.cpus:
        limit_mb = partition.max_memory_per_cpu_mb
        words = f"{name} allows {limit_mb:.0f} MB a CPU, so each job gets {with_memory} CPUs"
        yield case.problem("mem_per_cpu", words, fatal=False)


def _given(request: Request, partition: PartitionLimits) -> tuple[int, int]:
    """Return the CPUs that come with the memory, and those of a node that a job has to itself."""
    limit_mb = known(partition, "max_memory_per_cpu_mb")
    with_memory = math.ceil(request.memory_mb / limit_mb) if limit_mb else 0
    if not partition.knows("node_kinds") or not known(partition, "is_exclusive"):
        return with_memory, 0
    cpus = [kind.cpus for kind in partition.node_kinds if request.fits(kind)]
    return with_memory, min(cpus, default=0)


def _nodes(case: _Case, partition: PartitionLimits) -> Iterator[Problem]:
    request, kinds, name = case.request, partition.node_kinds, f"partition {partition.name}"
    if not kinds:
        yield case.problem(_PARTITION, "it has no nodes now", fatal=False)
        return
    lacks = {}  # what no node has enough of
    (_, most_cpus), (_, most_mb) = partition.cpus, partition.memory_mb
    limit = known(partition, "max_cpus_per_node")
    if request.cpus > most_cpus:
        lacks["cpus_per_task"] = f"the largest node of {name} has {most_cpus}"
    elif limit is not None and request.cpus > limit:
        lacks["cpus_per_task"] = f"{name} allows at most {limit} on a node"
    if request.memory_mb > most_mb:
        lacks["mem_per_cpu"] = f"the largest node of {name} has {most_mb} MB"
    if request.feature is not None and request.feature not in partition.features:
        features = f"the features {_listed(partition.features)}"
        words = f"the nodes of {name} have {features if partition.features else 'no features'}"
        lacks[_CONSTRAINT] = words
    fitting = [kind for kind in kinds if request.fits(kind)]
    n_fitting, n_nodes = sum(kind.n_nodes for kind in fitting), partition.n_nodes
    if lacks:
        yield from (case.problem(option, words) for option, words in lacks.items())
    elif not fitting:
        yield case.problem(_SIZE, f"no node of {name} has all of that")
    elif not any(kind.n_usable for kind in fitting):
        some = "" if n_fitting == n_nodes else f" that have it ({n_fitting} of {n_nodes})"
        words = f"the nodes of {name}{some} are all down or drained now"
        yield case.problem(_SIZE, words, fatal=False)
    elif n_fitting < n_nodes:
        words = f"only {n_fitting} of the {n_nodes} nodes of {name} have all of that"
        yield case.problem(_SIZE, words, fatal=False)


def _policies(case: _Case) -> Iterator[Problem]:
    """Yield what QoS and accounts do not allow: of a job, or of all of them at once."""
    request, n_jobs = case.request, case.request.n_jobs
    limit, rule = _limit(case, "max_time_s")
    if request.time_s is not None and request.time_s > limit:
        yield case.problem("worker_time_limit", f"{rule} allows at most {exact_duration(limit)}")
    sizes = {
        "max_cpus_per_{}": ("cpus_per_task", request.cpus, "CPUs"),
        "max_memory_per_{}_mb": ("mem_per_cpu", request.memory_mb, "MB"),
    }
    for (name, (option, size, unit)), whose in itertools.product(sizes.items(), ("job", "user")):
        limit, rule = _limit(case, name.format(whose))
        words = f"{rule} allows a {whose} at most {limit:.0f} {unit}"
        if size > limit:
            yield case.problem(option, words)
        elif whose == "user" and size * n_jobs > limit:
            words += f" at once: {int(limit // size)} such jobs run at once"
            yield case.problem("workers", words, fatal=False)
    for name, verb in (("max_submit_jobs", "wait or run"), ("max_jobs", "run")):
        limit, rule = _limit(case, name)
        if n_jobs > limit:
            words = f"{rule} lets at most {limit:.0f} of a user's jobs {verb} at once"
            yield case.problem("workers", words, fatal=limit < 1)


def _limit(case: _Case, name: str) -> tuple[float, str]:
    """Return a limit and whose it is; infinite if there is none, or it is unknown.

    The first that has a limit decides: the QoS of the partition, the QoS of the job, the account.
    """
    partition, qos, account = case.partition, case.qos, case.account
    rules: list[tuple[Any, str]] = [
        (qos, f"QoS {qos.name}" if qos else ""),
        (account, f"account {account.account}" if account else ""),
    ]
    first = 1 if qos is not None and "OverPartQOS" in qos.flags else 0
    if partition is None or not partition.knows("qos"):
        rules.insert(first, (None, ""))
    elif partition.qos is not None:
        words = f"QoS {partition.qos} of partition {partition.name}"
        rules.insert(first, (case.limits.qos_named(partition.qos), words))
    for rule, words in rules:
        if rule is None or (hasattr(rule, name) and not rule.knows(name)):
            break
        if (limit := getattr(rule, name, None)) is not None:
            return limit, words
    return math.inf, ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _among(name: str, names: Iterable[str]) -> bool:
    # Slurm ignores the case of accounts and QoS.
    return name.casefold() in map(str.casefold, names)
