"""Why the pool's jobs wait, until when, and whether they wait in vain."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from seedwise.cluster.pool.jobs import PoolJob
from seedwise.errors import JobNeverStartsError
from seedwise.slurm.queue import QueuedJob
from seedwise.slurm.reasons import explain

_OF_A_PARTITION = {
    *("AccountNotAllowed", "BadConstraints", "MaxMemPerLimit", "PartitionTimeLimit"),
    "QOSNotAllowed",
}


def never_clears(queued: QueuedJob) -> bool:
    """Tell whether a job waits in vain, as far as its reason says."""
    reason = explain(queued.reason)
    # If there are several partitions, the reason is that of the one that Slurm tried last.
    may_be_another = "," in queued.partition and reason.code in _OF_A_PARTITION
    return reason.never_clears and not may_be_another


def never_starts(job: PoolJob) -> JobNeverStartsError:
    """Return the error of a job that waits in vain."""
    reason = explain(job.queued.reason if job.queued else "")
    return JobNeverStartsError(job.job_id, reason.code, reason.words, reason.advice)


def waiting_words(pending: Sequence[PoolJob]) -> str | None:
    """Return why most of these jobs wait; None if unknown."""
    reasons = [
        job.queued.reason for job in pending if job.queued is not None and job.queued.is_pending
    ]
    if not reasons:
        return None
    (common, _), *_ = Counter(reasons).most_common(1)
    reason = explain(common)
    if reason.code in ("", "None"):  # Slurm has not looked at it yet
        return None
    advice = f"; {reason.advice}" if reason.advice else ""
    return f"{reason.words} ({reason.code}){advice}"


def expected_start_utc(pending: Sequence[PoolJob]) -> str | None:
    """Return when the first of these jobs will start, in ISO 8601; None if unknown."""
    starts = []
    for job in pending:
        try:
            start = datetime.fromisoformat(job.queued.start if job.queued else "")
        except ValueError:  # N/A
            continue
        starts.append(start.astimezone(UTC))  # Slurm writes local time
    return min(starts).isoformat(timespec="seconds") if starts else None
