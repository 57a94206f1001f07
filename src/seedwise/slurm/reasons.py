"""Why jobs wait: what Slurm's reasons mean, and what could be done about them."""

import functools
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
    text = reason.strip() or "None"
    if " " not in text:  # scontrol makes one word of a sentence
        text = text.replace("_", " ")
    for pattern, never_clears, words, advice, code in _rules():
        if match := re.fullmatch(pattern, text, re.IGNORECASE):
            groups = {name: found or "" for name, found in match.groupdict().items()}
            whose, elsewhere = _WHOSE[groups.get("whose", "").lower() or "qos"]
            what, less = _WHAT.get(groups.get("what", "").lower(), _ANYTHING)
            nodes = f" ({groups['nodes']})" if groups.get("nodes") else ""
            said = {"whose": whose, "what": what, "less": less, "elsewhere": elsewhere}
            said |= {"nodes": nodes, **_CHANGES}
            return Reason(
                code=code or groups.get("code", match.group()),
                words=words.format(**said),
                advice=advice.format(**said),
                never_clears=never_clears,
            )
    return Reason(code=text, words=f"Slurm gives the reason {text!r}")


_CHANGES = {
    "qos": "another slurm_qos",
    "account": "another SlurmOptions(account=...)",
    "partition": "another SlurmOptions(partition=...)",
    "directives": "change SlurmOptions(extra_directives=...)",
    "cpus": "a smaller cpus_per_task",
    "memory": "a smaller mem_per_cpu",
    "release": "find out who holds your jobs, and release them with 'scontrol release'",
}
_LESS_OF_BOTH = f"{_CHANGES['cpus']}, {_CHANGES['memory']}"
_LESS_IN_DIRECTIVES = "less in SlurmOptions(extra_directives=...)"
_ANYTHING = ("resources of some kind", _LESS_OF_BOTH)

#: By who sets a limit: how it is called, and what has another limit.
_WHOSE = {
    "qos": ("its QoS", _CHANGES["qos"]),
    "assoc": ("your account", _CHANGES["account"]),
    "association": ("your account", _CHANGES["account"]),
}

#: By what is limited: how it is called, and how a job asks for less.
_WHAT = {
    "cpu": ("CPUs", _CHANGES["cpus"]),
    "mem": ("memory", _CHANGES["memory"]),
    "memory": ("memory", _CHANGES["memory"]),
    "node": ("nodes", _LESS_IN_DIRECTIVES),
    "gres": ("GPUs or the like", _LESS_IN_DIRECTIVES),
    "license": ("licenses", _LESS_IN_DIRECTIVES),
    "lic": ("licenses", _LESS_IN_DIRECTIVES),
    "bb": ("burst buffer", _LESS_IN_DIRECTIVES),
    "billing": ("billing units", _LESS_OF_BOTH),
    "energy": ("energy", _CHANGES["cpus"]),
}

# A pattern of the reason => what it means => what to change => its code, if that is neither the
# pattern's group of this name nor the whole reason. A line that is indented continues the last.

_NEVER = r"""
PartitionTimeLimit => its worker_time_limit is longer than its partition allows
    => choose a shorter worker_time_limit or {partition}
MaxMemPerLimit => it asks for more memory than its partition allows for each CPU or node
    => choose {memory} or {partition}
BadConstraints => no node of its partition has what it asks for
    => choose {cpus}, {memory} or {partition}, or {directives}
InvalidAccount => its account is not valid, or has ended
    => choose {account}; 'sacctmgr show associations user=$USER' lists yours
AccountNotAllowed => its partition takes no jobs of its account => choose {account} or {partition}
InvalidQOS => its QoS is not valid => choose {qos}
QOSNotAllowed => its account or partition takes no jobs of its QoS => choose {qos} or {partition}
JobHeldUser => it is held by you or by a coordinator of your account => {release}
JobHeldAdmin => it is held by an administrator => ask the administrators: only they can release it
JobHoldMaxRequeue|.*\bheld\b.*|.*special exit state.*
    => it could not be started, was queued again, and is held
    => {release}, or cancel it; if it happens again, ask the administrators
DependencyNeverSatisfied => it waits for a job that did not end well => {directives}
Reservation (?:\S+ (?:was|is) )?(?:Deleted|Invalid)|Reservation(?:Deleted|Invalid)
    => its reservation is gone => {directives} => ReservationDeleted
DeadLine => it can't end before the deadline it was given => {directives}
"""

_OTHERS = r"""
None => Slurm has not looked at it yet
Priority => other jobs have a higher priority
Resources => what it asks for is in use by other jobs
Nodes required for job are DOWN, DRAINED or reserved.*
    => the nodes it could run on are down, drained, or kept for jobs of other partitions
    => wait, or choose {partition} => Resources
(?P<code>ReqNodeNotAvail).*maintenance.*
    => the nodes it could run on are reserved for maintenance before it would have ended
    => choose a worker_time_limit that ends before the maintenance
(?P<code>ReqNodeNotAvail).*reserved for other job.*
    => the node it asks for may be reserved for another job
(?P<code>ReqNodeNotAvail)(\W+Unavailable(Nodes)?:(?P<nodes>[^)]*))?.*
    => nodes it asks for are down, drained or reserved{nodes}
    => wait, or if it names nodes or features, {directives}
Constraints => no node has its features at present => wait, or {directives}
PartitionNodeLimit
    => its partition does not allow jobs of so many nodes, or nodes it could run on are down
    => wait if they are down, or choose {partition} or {directives}
NodeDown => a node it asks for is down
FrontEndDown => no front end of the cluster is up
PartitionDown => its partition starts no jobs => wait, or choose {partition}
PartitionInactive => its partition is switched off => wait, or choose {partition}
PartitionConfig => its partition can't give what it asks for, at least not now
    => choose {partition}, {cpus}, {memory} or a shorter worker_time_limit
Reservation => its reservation has not begun
BeginTime => its begin time has not come
(?P<code>Licenses).* => all licenses it asks for are in use
Dependency => it waits for another job to end
Cleaning => Slurm still cleans up after an earlier start of it
Prolog => its node is being prepared
JobArrayTaskLimit => its array allows no more tasks to run at once
(?P<code>BurstBuffer).* => its burst buffer is not ready => wait, or {directives}
FedJobLock => the clusters of the federation have not agreed on it yet
MaxPoweredUpNodes => as many nodes are powered up as the cluster allows
SystemFailure => Slurm or the system below it failed => ask the administrators
"""

# The job asks for more or less than any job may have, whatever other jobs hold.
_LIMITS_OF_A_JOB = r"""
{whose}MaxWallDurationPerJob(Limit)? => its worker_time_limit is longer than {whose} allows a job
    => choose a shorter worker_time_limit or {elsewhere}
{whose}Max{what}Min(ute)?sPerJob(Limit)?
    => it asks for more {what} times minutes than {whose} allows a job
    => choose a shorter worker_time_limit, {less} or {elsewhere}
{whose}Max{what}Per(Job|Node)(Limit)? => it asks for more {what} than {whose} allows a job
    => choose {less} or {elsewhere}
QOSMin{what}(NotSatisfied)? => it asks for less {what} than its QoS demands of a job
    => ask for more of it, or choose {elsewhere}
"""

# These end by themselves when other jobs end.
_LIMITS_OF_ALL_JOBS = r"""
QOSMaxJobsPer(User|Account|Acct)(Limit)?|QOSJobLimit => its QoS allows no more jobs to run at once
    => ask for fewer workers or choose {elsewhere}
(?P<whose>Assoc)MaxJobsLimit|AssociationJobLimit
    => your account allows no more of your jobs to run at once
    => ask for fewer workers or choose {account}
{whose}?(Max|Grp)SubmitJobs?(Per(User|Account|Acct))?(Limit)?
    => {whose} allows no more jobs in the queue => ask for fewer workers or choose {elsewhere}
MaxJobsPerAccount => its QoS allows no more jobs of your account to run at once
    => ask for fewer workers or choose {qos} or {account}
(QOS)?Max{what}RunMinsPer(User|Account)
    => running jobs hold all the {what} times minutes that its QoS allows a user or an account
    => choose a shorter worker_time_limit, fewer workers, {less} or {elsewhere}
(QOS)?Max{what}PerUser(Limit)? => your jobs hold all the {what} that its QoS allows a user
    => choose fewer workers, {less} or {elsewhere}
(QOS)?Max{what}PerAccount(Limit)?
    => jobs of your account hold all the {what} that its QoS allows an account
    => choose fewer workers, {less}, {qos} or {account}
{whose}GrpJobsLimit => {whose} allows no more jobs to run at once, for all who share it
    => ask for fewer workers or choose {elsewhere}
{whose}Grp{what}RunMinutes(Limit)?
    => running jobs hold all the {what} times minutes that {whose} allows, for all who share it
    => choose a shorter worker_time_limit, fewer workers, {less} or {elsewhere}
{whose}Grp({what}Minutes|Wall)(Limit)?
    => the time that {whose} may compute is used up, for all who share it
    => choose {elsewhere}, or ask the administrators for more time or when it is reset
{whose}Grp{what}(Limit)?
    => running jobs hold all the {what} that {whose} allows, for all who share it
    => choose fewer workers, {less} or {elsewhere}
(?P<whose>QOS|Association)(Resource|Time)Limit|AccountingPolicy
    => a limit of its QoS or account is reached
    => choose {elsewhere}, or ask the administrators which limit it is
QOSUsageThreshold => your share of the cluster is smaller than its QoS demands => choose {qos}
"""


@functools.cache
def _rules() -> list[tuple[str, bool, str, str, str]]:
    """Return the lines of the tables: pattern, whether it never clears, words, advice and code."""
    found = []
    never = {_NEVER: True, _OTHERS: False, _LIMITS_OF_A_JOB: True, _LIMITS_OF_ALL_JOBS: False}
    # The first match counts: exact names go before families of names.
    for table, never_clears in never.items():
        for line in re.split(r"\n(?=\S)", table.strip()):
            pattern, words, *rest = re.split(r"\s+=> ", line)
            pattern = pattern.replace("{whose}", "(?P<whose>QOS|Assoc)")
            pattern = pattern.replace("{what}", r"(?P<what>\w+?)")
            advice, code, *_ = [*rest, "", ""]
            found.append((pattern, never_clears, words, advice, code))
    return found
