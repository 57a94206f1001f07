"""Why jobs wait: what Slurm's reasons mean, and what could be done about them."""

import re

import attrs

# The codes are those of https://slurm.schedmd.com/job_reason_codes.html; the sentences are what
# slurmctld writes in their place.


@attrs.frozen(kw_only=True)
class Reason:
    """Why a job waits."""

    #: Slurm's word for it, such as ``ReqNodeNotAvail``; the whole text if unknown.
    code: str
    #: What it means, to follow "because".
    words: str
    #: What to change, as a request; empty if nothing but waiting helps.
    advice: str = ""
    #: Whether the job would wait for ever unless something is changed.
    never_clears: bool = False


def explain(reason: str) -> Reason:
    """Explain squeue's ``%r`` or scontrol's ``Reason=``; an unknown reason counts as clearing."""
    text = reason.strip()
    if " " not in text:  # scontrol makes one word of a sentence
        text = text.replace("_", " ")
    for rules, never_clears in _TABLES:
        for pattern, said in rules.items():
            if match := re.fullmatch(pattern, text, re.IGNORECASE):
                return _reason(match, never_clears, *said)
    return Reason(code=text, words=f"Slurm gives the reason {text!r}")


def _reason(
    match: re.Match[str], never_clears: bool, words: str, advice: str = "", code: str = ""
) -> Reason:
    groups = {name: found or "" for name, found in match.groupdict().items()}
    whose, elsewhere = _WHOSE[groups.get("whose", "").lower() or "qos"]
    what, less = _WHAT.get(groups.get("what", "").lower(), _ANYTHING)
    nodes = f" ({groups['nodes']})" if groups.get("nodes") else ""
    filled = {"whose": whose, "elsewhere": elsewhere, "what": what, "less": less, "nodes": nodes}
    return Reason(
        code=code or groups.get("code", match.group()),
        words=words.format(**filled),
        advice=advice.format(**filled),
        never_clears=never_clears,
    )


_OTHER_QOS = "another slurm_qos"
_OTHER_ACCOUNT = "another SlurmOptions(account=...)"
_OTHER_PARTITION = "another SlurmOptions(partition=...)"
_OTHER_DIRECTIVES = "change SlurmOptions(extra_directives=...)"

#: By who sets a limit: how it is called, and what has another limit.
_WHOSE = {
    "qos": ("its QoS", _OTHER_QOS),
    "assoc": ("your account", _OTHER_ACCOUNT),
    "association": ("your account", _OTHER_ACCOUNT),
}

_LESS_CPU = "a smaller cpus_per_task"
_LESS_MEM = "a smaller mem_per_cpu"
_LESS_GRES = "less in SlurmOptions(extra_directives=...)"
_ANYTHING = ("resources of some kind", f"{_LESS_CPU}, {_LESS_MEM}")

#: By what is limited: how it is called, and how a job asks for less.
_WHAT = {
    "cpu": ("CPUs", _LESS_CPU),
    "mem": ("memory", _LESS_MEM),
    "memory": ("memory", _LESS_MEM),
    "node": ("nodes", _LESS_GRES),
    "gres": ("GPUs or the like", _LESS_GRES),
    "license": ("licenses", _LESS_GRES),
    "lic": ("licenses", _LESS_GRES),
    "bb": ("burst buffer", _LESS_GRES),
    "billing": ("billing units", f"{_LESS_CPU}, {_LESS_MEM}"),
    "energy": ("energy", _LESS_CPU),
}
_WHO_AND = r"(?P<whose>QOS|Assoc)"
_RELEASE = "find out who holds your jobs, and release them with 'scontrol release'"

# By the pattern of a reason, whose named groups fill what is said of it: what it means, what to
# change, and its code, if that is neither the group of this name nor all of the reason.

# The job asks for more or less than any job may have, whatever other jobs hold.
_LIMITS_OF_A_JOB = {
    _WHO_AND + r"MaxWallDurationPerJob(Limit)?": (
        "its worker_time_limit is longer than {whose} allows a job",
        "choose a shorter worker_time_limit or {elsewhere}",
    ),
    _WHO_AND + r"Max(?P<what>\w+?)Min(ute)?sPerJob(Limit)?": (
        "it asks for more {what} times minutes than {whose} allows a job",
        "choose a shorter worker_time_limit, {less} or {elsewhere}",
    ),
    _WHO_AND + r"Max(?P<what>\w+?)Per(Job|Node)(Limit)?": (
        "it asks for more {what} than {whose} allows a job",
        "choose {less} or {elsewhere}",
    ),
    r"QOSMin(?P<what>\w+?)(NotSatisfied)?": (
        "it asks for less {what} than its QoS demands of a job",
        "ask for more of it, or choose {elsewhere}",
    ),
}

# These end by themselves when other jobs end.
_LIMITS_OF_ALL_JOBS = {
    r"QOSMaxJobsPer(User|Account|Acct)(Limit)?|QOSJobLimit": (
        "its QoS allows no more jobs to run at once",
        "ask for fewer workers or choose {elsewhere}",
    ),
    r"(?P<whose>Assoc)MaxJobsLimit|AssociationJobLimit": (
        "your account allows no more of your jobs to run at once",
        f"ask for fewer workers or choose {_OTHER_ACCOUNT}",
    ),
    r"(?P<whose>QOS|Assoc)?(Max|Grp)SubmitJobs?(Per(User|Account|Acct))?(Limit)?": (
        "{whose} allows no more jobs in the queue",
        "ask for fewer workers or choose {elsewhere}",
    ),
    r"MaxJobsPerAccount": (
        "its QoS allows no more jobs of your account to run at once",
        f"ask for fewer workers or choose {_OTHER_QOS} or {_OTHER_ACCOUNT}",
    ),
    r"(QOS)?Max(?P<what>\w+?)RunMinsPer(User|Account)": (
        "running jobs hold all the {what} times minutes that its QoS allows a user or an account",
        "choose a shorter worker_time_limit, fewer workers, {less} or {elsewhere}",
    ),
    r"(QOS)?Max(?P<what>\w+?)PerUser(Limit)?": (
        "your jobs hold all the {what} that its QoS allows a user",
        "choose fewer workers, {less} or {elsewhere}",
    ),
    r"(QOS)?Max(?P<what>\w+?)PerAccount(Limit)?": (
        "jobs of your account hold all the {what} that its QoS allows an account",
        f"choose fewer workers, {{less}}, {_OTHER_QOS} or {_OTHER_ACCOUNT}",
    ),
    _WHO_AND + r"GrpJobsLimit": (
        "{whose} allows no more jobs to run at once, for all who share it",
        "ask for fewer workers or choose {elsewhere}",
    ),
    _WHO_AND + r"Grp(?P<what>\w+?)RunMinutes(Limit)?": (
        "running jobs hold all the {what} times minutes that {whose} allows, for all who share it",
        "choose a shorter worker_time_limit, fewer workers, {less} or {elsewhere}",
    ),
    _WHO_AND + r"Grp((?P<what>\w+?)Minutes|Wall)(Limit)?": (
        "the time that {whose} may compute is used up, for all who share it",
        "choose {elsewhere}, or ask the administrators for more time or when it is reset",
    ),
    _WHO_AND + r"Grp(?P<what>\w+?)(Limit)?": (
        "running jobs hold all the {what} that {whose} allows, for all who share it",
        "choose fewer workers, {less} or {elsewhere}",
    ),
    r"(?P<whose>QOS|Association)(Resource|Time)Limit|AccountingPolicy": (
        "a limit of its QoS or account is reached",
        "choose {elsewhere}, or ask the administrators which limit it is",
    ),
    r"QOSUsageThreshold": (
        "your share of the cluster is smaller than its QoS demands",
        f"choose {_OTHER_QOS}",
    ),
}

_NEVER = {
    r"PartitionTimeLimit": (
        "its worker_time_limit is longer than its partition allows",
        f"choose a shorter worker_time_limit or {_OTHER_PARTITION}",
    ),
    r"MaxMemPerLimit": (
        "it asks for more memory than its partition allows for each CPU or node",
        f"choose {_LESS_MEM} or {_OTHER_PARTITION}",
    ),
    r"BadConstraints": (
        "no node of its partition has what it asks for",
        f"choose {_LESS_CPU}, {_LESS_MEM} or {_OTHER_PARTITION}, or {_OTHER_DIRECTIVES}",
    ),
    r"InvalidAccount": (
        "its account is not valid, or has ended",
        f"choose {_OTHER_ACCOUNT}; 'sacctmgr show associations user=$USER' lists yours",
    ),
    r"AccountNotAllowed": (
        "its partition takes no jobs of its account",
        f"choose {_OTHER_ACCOUNT} or {_OTHER_PARTITION}",
    ),
    r"InvalidQOS": ("its QoS is not valid", f"choose {_OTHER_QOS}"),
    r"QOSNotAllowed": (
        "its account or partition takes no jobs of its QoS",
        f"choose {_OTHER_QOS} or {_OTHER_PARTITION}",
    ),
    r"JobHeldUser": ("it is held by you or by a coordinator of your account", _RELEASE),
    r"JobHeldAdmin": (
        "it is held by an administrator",
        "ask the administrators: only they can release it",
    ),
    r"JobHoldMaxRequeue|.*\bheld\b.*|.*special exit state.*": (
        "it could not be started, was queued again, and is held",
        f"{_RELEASE}, or cancel it; if it happens again, ask the administrators",
    ),
    r"DependencyNeverSatisfied": ("it waits for a job that did not end well", _OTHER_DIRECTIVES),
    r"Reservation (?:\S+ (?:was|is) )?(?:Deleted|Invalid)|Reservation(?:Deleted|Invalid)": (
        "its reservation is gone",
        _OTHER_DIRECTIVES,
        "ReservationDeleted",
    ),
    r"DeadLine": ("it can't end before the deadline it was given", _OTHER_DIRECTIVES),
}

_OTHERS = {
    r"(None)?": ("Slurm has not looked at it yet", "", "None"),
    r"Priority": ("other jobs have a higher priority",),
    r"Resources": ("what it asks for is in use by other jobs",),
    r"Nodes required for job are DOWN, DRAINED or reserved.*": (
        "the nodes it could run on are down, drained, or kept for jobs of other partitions",
        f"wait, or choose {_OTHER_PARTITION}",
        "Resources",
    ),
    r"(?P<code>ReqNodeNotAvail).*maintenance.*": (
        "the nodes it could run on are reserved for maintenance before it would have ended",
        "choose a worker_time_limit that ends before the maintenance",
    ),
    r"(?P<code>ReqNodeNotAvail).*reserved for other job.*": (
        "the node it asks for may be reserved for another job",
    ),
    r"(?P<code>ReqNodeNotAvail)(\W+Unavailable(Nodes)?:(?P<nodes>[^)]*))?.*": (
        "nodes it asks for are down, drained or reserved{nodes}",
        f"wait, or if it names nodes or features, {_OTHER_DIRECTIVES}",
    ),
    r"Constraints": ("no node has its features at present", f"wait, or {_OTHER_DIRECTIVES}"),
    r"PartitionNodeLimit": (
        "its partition does not allow jobs of so many nodes, or nodes it could run on are down",
        f"wait if they are down, or choose {_OTHER_PARTITION} or {_OTHER_DIRECTIVES}",
    ),
    r"NodeDown": ("a node it asks for is down",),
    r"FrontEndDown": ("no front end of the cluster is up",),
    r"PartitionDown": ("its partition starts no jobs", f"wait, or choose {_OTHER_PARTITION}"),
    r"PartitionInactive": ("its partition is switched off", f"wait, or choose {_OTHER_PARTITION}"),
    r"PartitionConfig": (
        "its partition can't give what it asks for, at least not now",
        f"choose {_OTHER_PARTITION}, {_LESS_CPU}, {_LESS_MEM} or a shorter worker_time_limit",
    ),
    r"Reservation": ("its reservation has not begun",),
    r"BeginTime": ("its begin time has not come",),
    r"(?P<code>Licenses).*": ("all licenses it asks for are in use",),
    r"Dependency": ("it waits for another job to end",),
    r"Cleaning": ("Slurm still cleans up after an earlier start of it",),
    r"Prolog": ("its node is being prepared",),
    r"JobArrayTaskLimit": ("its array allows no more tasks to run at once",),
    r"(?P<code>BurstBuffer).*": ("its burst buffer is not ready", f"wait, or {_OTHER_DIRECTIVES}"),
    r"FedJobLock": ("the clusters of the federation have not agreed on it yet",),
    r"MaxPoweredUpNodes": ("as many nodes are powered up as the cluster allows",),
    r"SystemFailure": ("Slurm or the system below it failed", "ask the administrators"),
}

#: With whether they never clear. The first match counts: exact names go before families of names.
_TABLES = (
    (_NEVER, True),
    (_OTHERS, False),
    (_LIMITS_OF_A_JOB, True),
    (_LIMITS_OF_ALL_JOBS, False),
)
