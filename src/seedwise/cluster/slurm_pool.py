"""The pool of a run's Slurm jobs: one loop that compares what is wanted with what there is.

A job is submitted, pending, running, joined (its worker has come to the scheduler), and gone. What
is gone and is wanted is replaced, within a budget. Slurm's queue says what is gone, together with
the scheduler: when the queue does not answer, nothing is known, and nothing is done about it.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable, Collection, Sequence

import attrs

from seedwise.cluster.graves import Graves
from seedwise.cluster.pace import Backoff, Budget
from seedwise.cluster.pool_job import Members, PoolJob, Queue
from seedwise.cluster.slurm_commands import CommandError, QueuedJob
from seedwise.cluster.target import Target
from seedwise.cluster.waiting import Waiting
from seedwise.errors import SubmitRefusedError
from seedwise.model.pool import PoolNews, PoolStatus

__all__ = ["PoolParts", "SlurmPool"]

_STEP_S = 1.0
_SOON_S = 2.0

# A worker that its nanny starts anew is back in seconds; one that does not come to the scheduler
# gives up by itself after a minute.
_ABSENT_S = 60.0
_STARTING_S = 120.0
_ASK_AGAIN_S = 30.0

# Jobs that are submitted before one of them has shown that it works.
_FIRST_WAVE = 4
_FIRST_WAVE_S = 30.0

_ENDING = {"COMPLETING", "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "PREEMPTED", "NODE_FAIL"}


@attrs.frozen
class PoolParts:
    """What the pool works with.

    Attributes
    ----------
    queue : Queue
        Slurm's queue.
    members : Members
        The workers that have joined.
    target : Target
        How many workers are wanted.
    note : callable
        Writes down a job's id, before anything else is done with it.
    graves : Graves
        Finds out why jobs ended.
    waiting : Waiting
        Knows why jobs wait.
    script : str
        The job script, for errors.
    """

    queue: Queue
    members: Members
    target: Target
    note: Callable[[str], None]
    graves: Graves
    waiting: Waiting
    script: str


class SlurmPool:
    """Keeps as many jobs as are wanted.

    Parameters
    ----------
    parts : PoolParts
        What it works with.
    look_every_s : float
        Seconds between two looks into Slurm's queue.
    strangers : collection of str
        Ids of jobs of an earlier driver of the run, which are cancelled.
    clock : callable
        The time in seconds, by a clock that never goes back.
    """

    def __init__(
        self,
        parts: PoolParts,
        look_every_s: float,
        strangers: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        #: What ends the run; the driver's main thread raises it.
        self.error: Exception | None = None
        #: Tells how many chunks are out.
        self.chunks_out: Callable[[], int] = lambda: 0
        self.jobs: dict[str, PoolJob] = {}
        self._parts = parts
        self._look_every_s = look_every_s
        self._clock = clock
        self._news: collections.deque[PoolNews] = collections.deque()
        self._gone = set(strangers)
        self._n_lost = 0
        self._wanted = parts.target.least
        self._proved = False
        self._first_submit_s: float | None = None
        self._looked_s = float("-inf")
        self._look_due_s = float("-inf")
        self._slurm_away = Backoff(2.0, 10.0)
        self._failed_starts = Backoff(2.0, 60.0)
        self._refused = Backoff(60.0, 60.0)
        self._budget = Budget()
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="seedwise-pool", daemon=True)

    def start(self) -> None:
        """Begin to keep the pool, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop keeping it; the jobs stay."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def proved(self) -> None:
        """Take note that a chunk was evaluated: the jobs work, and the others may be submitted."""
        self._proved = True

    def scale(self, least: int, most: int) -> None:
        """Change the bounds of the number of workers."""
        self._parts.target.scale(least, most)
        self._refused.succeeded()
        bounds = f"{least} to {most} workers" if least != most else f"{most} workers"
        self._say("scaled", f"asked for {bounds}", warns=True)
        self._wake.set()

    def news(self) -> Sequence[PoolNews]:
        """Return what happened since this was last called."""
        return [self._news.popleft() for _ in range(len(self._news))]

    def status(self) -> PoolStatus:
        """Return how many workers there are and are wanted."""
        target, jobs = self._parts.target, list(self.jobs.values())
        pending = [job for job in jobs if job.counts and job.member is None]
        waiting, away = self._parts.waiting, self._slurm_away.is_on
        return PoolStatus(
            least=target.least,
            most=target.most,
            wanted=self._wanted,
            joined=sum(job.member is not None for job in jobs),
            pending=len(pending),
            lost=self._n_lost,
            waiting="Slurm does not answer" if away else waiting.words(pending),
            expected_start_utc=waiting.expected_start_utc(pending),
        )

    def step(self) -> None:
        """Compare and act, once."""
        now_s = self._clock()
        self._look_at_workers(now_s)
        if now_s >= self._look_due_s and self._slurm_away.is_over(now_s):
            self._look_at_queue(now_s)
        self._bury(now_s)
        if self.error is None and not self._closing.is_set():
            self._fit(now_s)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.clear()
            try:
                self.step()
            except Exception as error:  # such as a full disk: the run ends, and its jobs with it
                self.error = self.error or error
                return
            self._wake.wait(_STEP_S)

    def _look_at_workers(self, now_s: float) -> None:
        members = self._parts.members
        there = members.look()
        for job in self.jobs.values():
            before, job.member = job.member, there.get(job.job_id)
            job.leaving = job.leaving or members.leaves(job.job_id)  # its walltime is near
            if job.member is not None:
                job.seen_s = now_s
                if not job.joined:
                    job.joined, job.started_s = True, job.started_s or now_s
                    self._failed_starts.succeeded()
                    self._parts.graves.a_worker_joined()
                    self._say("joined", "a worker joined", job)
                if job.member.takes_work and now_s > job.asked_s + _ASK_AGAIN_S:
                    # Its nanny started it anew.
                    self._ask_to_leave([job], now_s)
            elif before is not None:
                self._look_soon(now_s)

    def _look_soon(self, now_s: float) -> None:
        self._look_due_s = min(self._look_due_s, max(now_s, self._looked_s + _SOON_S))

    def _look_at_queue(self, now_s: float) -> None:
        try:
            listed = self._parts.queue.list(self.jobs.keys())
        except CommandError as error:
            if not self._slurm_away.is_on:
                self._say("unknown", f"Slurm does not answer; workers go on: {error.text}")
            self._slurm_away.failed(self._clock())
            return
        if self._slurm_away.is_on:
            self._say("known", "Slurm answers again")
            self._slurm_away.succeeded()
        self._looked_s, self._look_due_s = now_s, now_s + self._look_every_s
        for job_id in listed.keys() - self.jobs.keys() - self._gone:
            self._adopt(job_id, now_s)  # of an sbatch whose answer never came
        for job in list(self.jobs.values()):
            queued = listed.get(job.job_id)
            if queued is not None and queued.state not in _ENDING:
                self._take_in(job, queued, now_s)
            elif job.member is None:
                self._end(job, now_s)
        self._give_up_the_doomed(now_s)

    def _adopt(self, job_id: str, now_s: float) -> PoolJob:
        self._parts.note(job_id)
        job = PoolJob(job_id, now_s)
        self.jobs[job_id] = job
        return job

    def _take_in(self, job: PoolJob, queued: QueuedJob, now_s: float) -> None:
        job.queued = queued
        if queued.state == "PENDING":
            doomed = self._parts.waiting.never_clears(queued.reason)
            job.doomed_looks = job.doomed_looks + 1 if doomed else 0
            if doomed:
                self._look_soon(now_s + _SOON_S)
        elif queued.state == "RUNNING" and job.started_s is None:
            job.started_s = now_s
        if job.started_s is None or job.member is not None or job.cancelled:
            return
        patience_s = _ABSENT_S if job.joined else _STARTING_S
        if now_s - max(job.started_s, job.seen_s) > patience_s:
            self._n_lost += 1
            self._say("lost", "its worker does not come; cancelled", job, warns=True)
            self._cancel([job])

    def _end(self, job: PoolJob, now_s: float) -> None:
        del self.jobs[job.job_id]
        self._gone.add(job.job_id)
        self._refused.succeeded()  # there is room for another
        if job.leaving or job.cancelled:
            self._say("left", "a worker left", job)
            return
        self._n_lost += 1
        self._parts.graves.bury(job, now_s)
        if not job.joined:
            self._failed_starts.failed(now_s)

    def _bury(self, now_s: float) -> None:
        at_work = any(job.member is not None for job in self.jobs.values())
        news, error = self._parts.graves.explain(now_s, at_work=at_work)
        self._news.extend(news)
        self.error = self.error or error

    def _give_up_the_doomed(self, now_s: float) -> None:
        doomed = [job for job in self.jobs.values() if job.doomed_looks > 1 and job.counts]
        if not doomed:
            return
        error = self._parts.waiting.error(doomed[0])
        if any(job.started_s is not None for job in self.jobs.values()):
            self._say("refused", f"{error}; going on with fewer workers", doomed[0], warns=True)
            self._refused.failed(now_s)
        else:
            self.error = self.error or error
        self._cancel(doomed)

    def _fit(self, now_s: float) -> None:
        self._wanted = self._parts.target.wanted(self.chunks_out(), now_s)
        alive = [job for job in self.jobs.values() if job.counts]
        if len(alive) < self._wanted:
            self._submit(self._wanted - len(alive), now_s)
        elif len(alive) > self._wanted:
            self._release(alive, len(alive) - self._wanted, now_s)

    def _submit(self, n_missing: int, now_s: float) -> None:
        waits = (self._slurm_away, self._failed_starts, self._refused)
        if not all(wait.is_over(now_s) for wait in waits):
            return
        n_most = min(n_missing, self._budget.left(self._parts.target.most, now_s))
        if not self._proved and now_s - (self._first_submit_s or now_s) < _FIRST_WAVE_S:
            n_there = sum(job.counts for job in self.jobs.values())
            n_most = min(n_most, _FIRST_WAVE - n_there)
        ids: list[str] = []
        try:
            while len(ids) < n_most and not self._closing.is_set():
                job_id = self._submit_one(now_s)
                if job_id is None:
                    break
                ids.append(job_id)
        finally:
            if ids:
                self._first_submit_s = self._first_submit_s or now_s
                jobs = "job" if len(ids) == 1 else f"{len(ids)} jobs"
                self._say("submitted", f"submitted {jobs}: {', '.join(ids)}")
                self._look_soon(now_s + _SOON_S)

    def _submit_one(self, now_s: float) -> str | None:
        self._budget.spend(now_s)
        try:
            job_id = self._parts.queue.submit()
        except CommandError as error:
            if error.unheard:  # there may be a job all the same: the queue will tell
                self._say("unknown", f"Slurm does not answer to sbatch: {error.text}")
                self._slurm_away.failed(self._clock())
                self._look_due_s = now_s
            else:
                self._refuse(error.text, now_s)
            return None
        if job_id is not None:
            self._adopt(job_id, now_s)
            return job_id
        before = set(self.jobs)
        self._look_at_queue(now_s)
        new = [job_id for job_id in self.jobs if job_id not in before]
        if not new:
            self._refuse("sbatch printed no job id, and there is no new job", now_s)
        return new[0] if new else None

    def _refuse(self, text: str, now_s: float) -> None:
        n_left = sum(job.counts for job in self.jobs.values())
        if n_left == 0:
            self.error = self.error or SubmitRefusedError(text, self._parts.script)
            return
        if not self._refused.is_on:
            jobs = "the job" if n_left == 1 else f"the {n_left} jobs"
            words = f"Slurm takes no more jobs; going on with {jobs} that there are: {text}"
            self._say("refused", words, warns=True)
        self._refused.failed(now_s)

    def _release(self, alive: Sequence[PoolJob], n_most: int, now_s: float) -> None:
        """Have jobs go: those that have not started, then idle ones; busy ones if asked to."""
        surplus = len(alive) - self._parts.target.most
        waiting = [job for job in reversed(alive) if job.started_s is None][:n_most]
        self._cancel(waiting)
        idle = [job for job in reversed(alive) if job.is_idle]
        busy = [job for job in reversed(alive) if job.member is not None and not job.is_idle]
        leaving = idle[: n_most - len(waiting)]
        # The bounds were lowered: more have to go than have nothing to do.
        leaving += busy[: max(0, surplus - len(waiting) - len(leaving))]
        self._ask_to_leave(leaving, now_s)
        if waiting or leaving:
            self._look_soon(now_s + _SOON_S)

    def _ask_to_leave(self, jobs: Collection[PoolJob], now_s: float) -> None:
        for job in jobs:
            job.leaving, job.asked_s = True, now_s
        if jobs:
            self._parts.members.depart([job.job_id for job in jobs])

    def _cancel(self, jobs: Collection[PoolJob]) -> None:
        if not jobs:
            return
        try:
            self._parts.queue.cancel([job.job_id for job in jobs])
        except CommandError:  # what is wrong with them will be found again
            self._slurm_away.failed(self._clock())
            return
        for job in jobs:
            job.cancelled = True

    def _say(
        self, kind: str, text: str, job: PoolJob | None = None, *, warns: bool = False
    ) -> None:
        job_id = None if job is None else job.job_id
        self._news.append(PoolNews(kind=kind, text=text, job_id=job_id, warns=warns))
