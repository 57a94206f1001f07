"""The QoS and the accounts that ``sacctmgr`` lists."""

from functools import partial

from seedwise.model.slurm_time import time_s
from seedwise.slurm.limits import words
from seedwise.slurm.limits.records import AccountLimits, QosLimits
from seedwise.slurm.units import memory_mb


def _default_qos(text: str) -> str | None:
    if not text:  # Slurm chooses then
        raise ValueError("nothing")
    return words.name(text)


def _permitted(text: str) -> tuple[str, ...]:
    found = words.names(text)
    # With a sign they are added to, or taken from, a list that is not shown.
    if not found or any(one[0] in "+-" for one in found):
        raise ValueError(text)
    return found


def _time_s(text: str) -> float | None:
    return time_s(text) if text else None


_cpus = partial(words.tres, "cpu", int)
_memory_mb = partial(words.tres, "mem", memory_mb)

_QOS: words.Table = {
    "priority": ("Priority", int),
    "max_time_s": ("MaxWall", _time_s),
    "max_jobs": ("MaxJobsPU", words.number),
    "max_submit_jobs": ("MaxSubmitPU", words.number),
    "max_cpus_per_user": ("MaxTRESPU", _cpus),
    "max_cpus_per_job": ("MaxTRES", _cpus),
    "max_memory_per_user_mb": ("MaxTRESPU", _memory_mb),
    "max_memory_per_job_mb": ("MaxTRES", _memory_mb),
}
_ACCOUNT: words.Table = {
    "default_qos": ("DefaultQOS", _default_qos),
    "qos": ("QOS", _permitted),
    "max_time_s": ("MaxWall", _time_s),
    "max_jobs": ("MaxJobs", words.number),
    "max_submit_jobs": ("MaxSubmit", words.number),
}
# Two values may be in one column.
_QOS_COLUMNS = list(dict.fromkeys(["Name", *(key for key, _ in _QOS.values()), "Flags"]))
_ACCOUNT_COLUMNS = ["Cluster", "DefaultAccount", "Account", "Partition"]
_ACCOUNT_COLUMNS += [key for key, _ in _ACCOUNT.values()]
#: The format in which ``sacctmgr show qos`` must print.
QOS_FORMAT = ",".join(_QOS_COLUMNS)
#: The format in which ``sacctmgr show user withassoc`` must print.
ACCOUNT_FORMAT = ",".join(_ACCOUNT_COLUMNS)


def qos_in(text: str) -> tuple[QosLimits, ...]:
    """Return what ``sacctmgr -nP show qos`` prints in `QOS_FORMAT`, in that order."""
    return tuple(_qos(record) for record in words.rows(text, _QOS_COLUMNS) if record["Name"])


def accounts_in(text: str | None, cluster: str | None) -> tuple[AccountLimits, ...] | None:
    """Return what ``sacctmgr -nP show user withassoc`` prints in `ACCOUNT_FORMAT`.

    Only those of `cluster`, as a database can serve several; None if nothing is known of them.
    """
    if text is None:
        return None
    table = words.rows(text, _ACCOUNT_COLUMNS)
    clusters = {record["Cluster"].casefold() for record in table}
    if cluster is None and len(clusters) > 1:
        return None
    ours = clusters if cluster is None else {cluster.casefold()}
    found = tuple(_account(record) for record in table if record["Cluster"].casefold() in ours)
    return None if text.strip() and not found else found


def _qos(record: dict[str, str]) -> QosLimits:
    flags = words.names(record["Flags"])
    if "Relative" in flags:  # then these are percentages of the cluster
        record = {key: text for key, text in record.items() if "TRES" not in key}
    return QosLimits(name=record["Name"], flags=flags, **words.values_in(record, _QOS))


def _account(record: dict[str, str]) -> AccountLimits:
    return AccountLimits(
        account=record["Account"],
        partition=words.name(record["Partition"]),
        is_default=record["Account"].casefold() == record["DefaultAccount"].casefold(),
        **words.values_in(record, _ACCOUNT),
    )
