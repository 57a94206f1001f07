"""Submitting jobs at a pace: few before one has shown that it works, and none into a refusal."""

from collections.abc import Callable, Mapping

import attrs

from seedwise.cluster.pool.jobs import PoolJob, Queue
from seedwise.cluster.pool.size import Backoff, Budget
from seedwise.errors import SubmitRefusedError
from seedwise.errors.advice import what_to_change
from seedwise.slurm.commands import CommandError

# Jobs that are submitted before one of them has shown that it works.
_FIRST_WAVE = 4
_FIRST_WAVE_S = 30.0

_MOST_A_STEP = 10
_MOST_UNHEARD = 5


@attrs.define(eq=False)
class Submitter:
    """Submits jobs."""

    _queue: Queue
    #: By id; the pool keeps it up to date.
    _jobs: Mapping[str, PoolJob]
    #: Takes the id of each new job.
    _adopt: Callable[[str], None]
    #: Looks into the queue, and returns whether it answered.
    _look: Callable[[], bool]
    _closing: Callable[[], bool]
    #: Tells what happened; see `Place.say`.
    _say: Callable[..., None]
    #: The error that ends the run: Slurm refuses jobs, and there is none.
    error: SubmitRefusedError | None = None
    #: After jobs that ended before their worker came.
    failed_starts: Backoff = attrs.field(factory=lambda: Backoff(2.0, 60.0))
    refused: Backoff = attrs.field(factory=lambda: Backoff(60.0, 1800.0))
    #: After jobs that could never have started.
    doomed: Backoff = attrs.field(factory=lambda: Backoff(60.0, 1800.0))
    proved: bool = False
    _has_warned: bool = False
    _unheard: Backoff = attrs.field(factory=lambda: Backoff(2.0, 10.0))
    _n_unheard: int = 0
    _budget: Budget = attrs.field(factory=Budget)
    _first_s: float | None = None
    _looked_up: bool = False

    def submit(self, n_missing: int, most_workers: int, now_s: float) -> bool:
        """Submit the jobs that are missing and allowed, a few at a time; return if more follow."""
        waits = (self._unheard, self.failed_starts, self.refused, self.doomed)
        if not all(wait.is_over(now_s) for wait in waits):
            return False
        n_most = min(n_missing, self._budget.left(most_workers, now_s), self._open(now_s))
        if self.refused.is_on or self.doomed.is_on:
            n_most = min(n_most, 1)  # to see whether it works now
        ids: list[str] = []
        try:
            while len(ids) < min(n_most, _MOST_A_STEP) and not self._closing():
                job_id = self._submit_one(now_s)
                if job_id is None:
                    break
                ids.append(job_id)
        finally:
            if ids:
                self._first_s = now_s if self._first_s is None else self._first_s
                jobs = "a job" if len(ids) == 1 else f"{len(ids)} jobs"
                self._say("submitted", f"submitted {jobs}: {', '.join(ids)}")
        return _MOST_A_STEP == len(ids) < n_most

    def begin_anew(self) -> None:
        """Forget refusals, because something else is asked for now."""
        self.refused.succeeded()
        self._has_warned = False

    def go_elsewhere(self) -> None:
        """Forget jobs that failed at their start, because the next ones go to other nodes."""
        self.failed_starts.succeeded()
        self._budget = Budget()

    def _open(self, now_s: float) -> int:
        """Return how many jobs the first wave leaves room for."""
        jobs = [job for job in self._jobs.values() if job.counts]
        works = any(job.joined and now_s - job.joined_s > _FIRST_WAVE_S for job in jobs)
        if self.proved or works or self._waits_in_vain(now_s):
            return 10**6
        return _FIRST_WAVE - len(jobs)

    def _waits_in_vain(self, now_s: float) -> bool:
        """Tell whether none of the first jobs has even started, to show whether jobs work."""
        if self._first_s is None or now_s - self._first_s <= _FIRST_WAVE_S or not self._jobs:
            return False
        if not self._looked_up:  # what is known of them may be outdated
            self._looked_up = self._look()
        return self._looked_up and all(job.started_s is None for job in self._jobs.values())

    def _submit_one(self, now_s: float) -> str | None:
        self._budget.spend(now_s)
        try:
            job_id = self._queue.submit()
        except CommandError as error:
            if error.unheard:
                self._note_unheard(error.text, now_s)
            else:
                self._refuse(error.text, now_s)
            return None
        if job_id is None:
            job_id = self._found_in_queue(now_s)
        else:
            self._adopt(job_id)
        if job_id is not None:
            self.refused.succeeded()
            self._unheard.succeeded()
            self._n_unheard = 0
        return job_id

    def _found_in_queue(self, now_s: float) -> str | None:
        """Return the new job after an sbatch that printed no id; None if none is known."""
        before = set(self._jobs)
        if not self._look():
            self._note_unheard("sbatch printed no job id, and squeue did not answer", now_s)
            return None
        new = [job_id for job_id in self._jobs if job_id not in before]
        if not new:
            self._refuse("sbatch printed no job id, and there is no new job", now_s)
        return new[0] if new else None

    def _note_unheard(self, text: str, now_s: float) -> None:
        """Wait, and look: there may still be a job."""
        if not self._n_unheard:
            self._say("unknown", f"Slurm does not answer sbatch: {text}")
        self._n_unheard += 1
        self._unheard.failed(now_s)
        before = len(self._jobs)
        if not self._look():
            self._n_unheard = 1  # all of Slurm is away, not only sbatch
        # A Slurm that always answers squeue, and never sbatch, in fact refuses the job.
        elif len(self._jobs) == before and self._n_unheard >= _MOST_UNHEARD:
            self._refuse(text, now_s)

    def _refuse(self, text: str, now_s: float) -> None:
        if not self._jobs:
            self.error = self.error or SubmitRefusedError(text, self._queue.script)
            return
        if not self._has_warned:
            self._has_warned = True
            jobs = "the job" if len(self._jobs) == 1 else f"the {len(self._jobs)} jobs"
            words = f"Slurm takes no more jobs; the run continues with {jobs} that it has: {text}"
            self._say("refused", f"{words}. {what_to_change(text)}", warns=True)
        self.refused.failed(now_s)
