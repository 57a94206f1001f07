"""The rules by which a request for Slurm jobs is checked before any job is submitted.

Slurm refuses some requests in few words, and lets others wait for ever. Only what is known to be
wrong is a problem; what is unknown is not. A request that Slurm has accepted may have been changed
by rules of the site's own.
"""

import math
import re
from collections.abc import Iterable, Iterator

import attrs

from seedwise.errors.durations import exact_duration
from seedwise.slurm.limits.records import AccountLimits, NodeKind, PartitionLimits, SlurmLimits
from seedwise.slurm.preflight.policies import policy_problems
from seedwise.slurm.preflight.request import Case, Problem, Request

_PARTITION = "SlurmOptions(partition=...)"
_ACCOUNT = "SlurmOptions(account=...)"
_CONSTRAINT = "SlurmOptions(extra_directives=...)"

#: A constraint that names one feature, not an expression of several.
_FEATURE = re.compile(r"[\w.:+-]+")


def problems(
    request: Request, limits: SlurmLimits, *, accepted: bool = False
) -> tuple[Problem, ...]:
    """Return what keeps a request's jobs from starting or from running all at once, fatal first.

    `accepted` tells whether Slurm has said that it would take such a job. Then it knows the names
    in the request, and nothing is fatal where the site's own rules can change the job.
    """
    found: list[Problem] = []
    if not accepted:
        found += [*_unknown_partitions(request, limits), *_accounts(request, limits)]
    cases = _cases(request, limits)
    by_partition = [list(_in_partition(case, accepted=accepted)) for case in cases]
    one_will_do = _one_will_do(request, limits) and any(
        not any(problem.fatal for problem in some) for some in by_partition
    )
    may_be_fatal = not one_will_do and not (accepted and _may_be_changed(limits))
    for some in by_partition:
        for problem in some:
            found.append(attrs.evolve(problem, fatal=problem.fatal and may_be_fatal))
    distinct = dict.fromkeys(found)
    return tuple(sorted(distinct, key=lambda problem: not problem.fatal))


def _one_will_do(request: Request, limits: SlurmLimits) -> bool:
    several = request.partition is not None and "," in request.partition
    strict = limits.knows("enforce_partition_limits") and limits.enforce_partition_limits == "ALL"
    return several and not strict


def _may_be_changed(limits: SlurmLimits) -> bool:
    """Tell whether a site's rules may change what is asked for."""
    if not limits.knows("submit_plugins", "filter_plugins"):
        return True
    return bool(limits.submit_plugins or limits.filter_plugins)


def _cases(request: Request, limits: SlurmLimits) -> list[Case]:
    names: list[str | None] = [None]
    if request.partition is not None:
        names = [name for name in request.partition.split(",") if limits.partition(name)] or [None]
    cases = []
    for name in names:
        known = name is not None or request.partition is None
        partition = limits.partition(name) if known else None
        account = _account_of(request, limits, partition)
        qos_name = request.qos
        if qos_name is None and account is not None and account.knows("default_qos"):
            qos_name = account.default_qos
        qos = limits.qos_named(qos_name)
        cases.append(Case(request, limits, partition, account, qos, qos_name))
    return cases


def _account_of(
    request: Request, limits: SlurmLimits, partition: PartitionLimits | None
) -> AccountLimits | None:
    """Return the account's limits; those for the partition come before those for all."""
    name = request.account
    ours = [
        one
        for one in limits.accounts
        if (one.is_default if name is None else _same(one.account, name))
    ]
    for one in ours:
        if one.partition is not None and partition and one.partition == partition.name:
            return one
    return next((one for one in ours if one.partition is None), None)


def _unknown_partitions(request: Request, limits: SlurmLimits) -> Iterator[Problem]:
    if request.partition is None or not limits.knows("partitions"):
        return
    known = _listed(partition.name for partition in limits.partitions if not partition.is_hidden)
    for name in request.partition.split(","):
        if limits.partition(name) is None:
            yield Problem(_PARTITION, name, f"the cluster's partitions are {known}")


def _accounts(request: Request, limits: SlurmLimits) -> Iterator[Problem]:
    if not limits.knows("accounts", "enforce") or "associations" not in limits.enforce:
        return
    names = list(dict.fromkeys(one.account for one in limits.accounts))
    if not names:
        yield Problem(
            _ACCOUNT,
            request.account or "no account",
            f"Slurm has no account for user {limits.user}; its administrators can add one",
        )
    elif request.account is not None and not _among(request.account, names):
        yield Problem(
            _ACCOUNT, request.account, f"the accounts of user {limits.user} are {_listed(names)}"
        )


def given_cpus(request: Request, limits: SlurmLimits) -> int:
    """Return how many CPUs each job is given at least: its node's, or those of its memory."""
    n_cpus = []
    for case in _cases(request, limits):
        found = request.cpus
        if case.partition is not None:
            found = max(found, *_given(request, case.partition))
        n_cpus.append(found)
    return min(n_cpus)


def _given(request: Request, partition: PartitionLimits) -> tuple[int, int]:
    """Return the CPUs that come with the memory, and those of a node that a job has to itself."""
    with_memory, of_node = 0, 0
    limit_mb = partition.max_memory_per_cpu_mb
    if partition.knows("max_memory_per_cpu_mb") and limit_mb:
        with_memory = math.ceil(request.memory_mb / limit_mb)
    if partition.knows("is_exclusive", "node_kinds") and partition.is_exclusive:
        fitting = [kind.cpus for kind in partition.node_kinds if _fits(kind, request)]
        of_node = min(fitting, default=0)
    return with_memory, of_node


def _in_partition(case: Case, *, accepted: bool) -> Iterator[Problem]:
    if not accepted:
        yield from _qos(case)
    if case.partition is not None:
        yield from _door(case, case.partition)
        yield from _partition_time(case, case.partition)
        yield from _memory(case, case.partition)
        yield from _nodes(case, case.partition)
    yield from policy_problems(case)


def _qos(case: Case) -> Iterator[Problem]:
    name, account = case.request.qos, case.account
    if name is None or not case.limits.knows("enforce") or "qos" not in case.limits.enforce:
        return
    if account is not None and account.knows("qos"):
        if not _among(name, account.qos):
            words = f"account {account.account} may use the QoS {_listed(account.qos)}"
            yield Problem("slurm_qos", name, words)
    elif case.limits.knows("qos") and case.qos is None:
        known = _listed(qos.name for qos in case.limits.qos)
        yield Problem("slurm_qos", name, f"the cluster's QoS are {known}")


def _door(case: Case, partition: PartitionLimits) -> Iterator[Problem]:
    """Yield what keeps all jobs of the user out of a partition."""
    name = f"partition {partition.name}"
    if partition.knows("state") and partition.state == "down":
        words = "it is down: jobs wait until it is up again"
        yield Problem(_PARTITION, case.named, words, fatal=False)
    elif partition.knows("state") and partition.state != "up":
        words = f"it takes no jobs now: its state is {partition.state}"
        yield Problem(_PARTITION, case.named, words)
    account = case.request.account or (case.account.account if case.account else None)
    if account is not None and partition.knows("allow_accounts"):
        allowed = partition.allow_accounts
        if allowed is not None and not _among(account, allowed):
            words = f"{name} is for the accounts {_listed(allowed)}"
            yield Problem(_ACCOUNT, account, words, fatal=_accounts_are_exact(case.limits))
        elif allowed is None and _among(account, partition.deny_accounts):
            yield Problem(_ACCOUNT, account, f"{name} is not for this account")
    if case.qos_name is not None and partition.knows("allow_qos"):
        allowed = partition.allow_qos
        if allowed is not None and not _among(case.qos_name, allowed):
            words = f"{name} is for the QoS {_listed(allowed)}"
            yield Problem("slurm_qos", case.qos_name, words)
        elif allowed is None and _among(case.qos_name, partition.deny_qos):
            yield Problem("slurm_qos", case.qos_name, f"{name} is not for this QoS")


def _accounts_are_exact(limits: SlurmLimits) -> bool:
    """Tell whether an account excludes those below it, as before Slurm 23."""
    major = limits.version.partition(".")[0]
    return limits.knows("version") and major.isdecimal() and int(major) < 23


def _partition_time(case: Case, partition: PartitionLimits) -> Iterator[Problem]:
    limit_s, asked_s = partition.max_time_s, case.request.time_s
    if asked_s is None or not partition.knows("max_time_s"):
        return
    if limit_s is None or asked_s <= limit_s:
        return
    if case.qos is not None and "PartitionTimeLimit" in case.qos.flags:
        return
    words = f"partition {partition.name} allows at most {exact_duration(limit_s)}"
    fatal = case.qos is not None or not _may_be_longer(case.limits)
    yield Problem("worker_time_limit", exact_duration(asked_s), words, fatal=fatal)


def _may_be_longer(limits: SlurmLimits) -> bool:
    """Tell whether a QoS that is unknown may exceed a partition's walltime."""
    if limits.knows("enforce") and "qos" not in limits.enforce:
        return False
    return not limits.knows("qos") or any("PartitionTimeLimit" in qos.flags for qos in limits.qos)


def _memory(case: Case, partition: PartitionLimits) -> Iterator[Problem]:
    asked_mb, name = case.request.memory_mb, f"partition {partition.name}"
    limit_mb = partition.max_memory_per_node_mb
    if partition.knows("max_memory_per_node_mb") and limit_mb is not None and asked_mb > limit_mb:
        words = f"{name} allows a job at most {limit_mb:.0f} MB on a node"
        yield Problem("mem_per_cpu", _mb(asked_mb), words)
    with_memory, of_node = _given(case.request, partition)
    if of_node > case.request.cpus:
        words = f"in {name} each job has a node to itself: it gets, and is charged for, {of_node}"
        yield Problem("cpus_per_task", f"{case.request.cpus} CPUs", words, fatal=False)
    elif with_memory > case.request.cpus:
        limit_mb = partition.max_memory_per_cpu_mb
        words = f"{name} allows {limit_mb:.0f} MB a CPU, so each job gets {with_memory} CPUs"
        yield Problem("mem_per_cpu", _mb(asked_mb), words, fatal=False)


def _nodes(case: Case, partition: PartitionLimits) -> Iterator[Problem]:
    if not partition.knows("node_kinds"):
        return
    request, name = case.request, f"partition {partition.name}"
    if not partition.node_kinds:
        yield Problem(_PARTITION, case.named, "it has no nodes now", fatal=False)
        return
    lacks = list(_lacks(request, partition))
    yield from lacks
    if lacks:
        return
    fitting = [kind for kind in partition.node_kinds if _fits(kind, request)]
    n_fitting, n_nodes = sum(kind.n_nodes for kind in fitting), partition.n_nodes
    asked = f"{request.cpus} CPUs and {request.memory_mb:.0f} MB"
    if _feature(request) is not None:
        asked += f" with {request.constraint}"
    option = "cpus_per_task and mem_per_cpu"
    if not fitting:
        yield Problem(option, asked, f"no node of {name} has all of that")
    elif not any(kind.n_usable for kind in fitting):
        some = "" if n_fitting == n_nodes else f" that have it ({n_fitting} of {n_nodes})"
        words = f"the nodes of {name}{some} are all down or drained now"
        yield Problem(option, asked, words, fatal=False)
    elif n_fitting < n_nodes:
        words = f"only {n_fitting} of the {n_nodes} nodes of {name} have all of that"
        yield Problem(option, asked, words, fatal=False)


def _lacks(request: Request, partition: PartitionLimits) -> Iterator[Problem]:
    name, largest = f"partition {partition.name}", partition.cpus[1]
    limit = partition.max_cpus_per_node if partition.knows("max_cpus_per_node") else None
    if request.cpus > largest:
        words = f"the largest node of {name} has {largest}"
        yield Problem("cpus_per_task", f"{request.cpus} CPUs", words)
    elif limit is not None and request.cpus > limit:
        words = f"{name} allows at most {limit} on a node"
        yield Problem("cpus_per_task", f"{request.cpus} CPUs", words)
    if request.memory_mb > partition.memory_mb[1]:
        words = f"the largest node of {name} has {partition.memory_mb[1]} MB"
        yield Problem("mem_per_cpu", _mb(request.memory_mb), words)
    feature = _feature(request)
    if feature is not None and feature not in partition.features:
        known = _listed(partition.features)
        words = f"the nodes of {name} have the features {known}"
        if not partition.features:
            words = f"the nodes of {name} have no features"
        yield Problem(_CONSTRAINT, f"constraint {feature}", words)


def _fits(kind: NodeKind, request: Request) -> bool:
    feature = _feature(request)
    return (
        request.cpus <= kind.cpus
        and request.memory_mb <= kind.memory_mb
        and (feature is None or feature in kind.features)
    )


def _feature(request: Request) -> str | None:
    constraint = request.constraint
    return constraint if constraint and _FEATURE.fullmatch(constraint) else None


def _mb(memory_mb: float) -> str:
    return f"{math.ceil(memory_mb)} MB"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _among(name: str, names: Iterable[str]) -> bool:
    return any(_same(name, one) for one in names)


def _same(name: str, other: str) -> bool:
    # Slurm ignores the case of accounts and QoS.
    return name.casefold() == other.casefold()
