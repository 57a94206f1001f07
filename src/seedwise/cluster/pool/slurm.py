"""The pool of a run's Slurm jobs: one loop that compares what is wanted with what there is.

A job is submitted, pending, running, joined (its worker has come to the scheduler), and gone. A
job that is gone but still wanted is replaced, within a budget. Slurm's queue and the scheduler
together tell which jobs are gone. While the queue does not answer, nothing is known, and nothing
is done.
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence

import attrs

from seedwise.cluster.job import script_kept
from seedwise.cluster.place import Place, RunTag
from seedwise.cluster.pool.jobs import (
    WORKER,
    EndedJobs,
    Members,
    PoolJob,
    expected_start_utc,
    never_clears,
    never_starts,
    waiting_words,
)
from seedwise.cluster.pool.size import Backoff, Submitter, Target
from seedwise.model.status import PoolStatus
from seedwise.slurm.commands import CommandError
from seedwise.slurm.ends import END_STATES
from seedwise.slurm.queue import JobBook, Queue, QueuedJob, cancel_jobs, job_name

_logger = logging.getLogger("seedwise")

_AT_ONCE_S = 4
_STEP_S = 1.0
_SOON_S = 2.0

# A worker that its nanny restarts is back in seconds; one that does not reach the scheduler gives
# up by itself after a minute.
_ABSENT_S = 60.0
_STARTING_S = 120.0
_ASK_AGAIN_S = 30.0

# An answer that lacks a job may be incomplete.
_LOOKS_WITHOUT = 2

# Errors in a row after which the pool is given up; one of the file system is enough.
_MOST_ERRORS = 3

_ENDING = {*END_STATES, "COMPLETING"}


@attrs.define(eq=False, kw_only=True)
class SlurmPlace(Place):
    """A SLURMCluster of ours, and as many jobs as are wanted."""

    tag: RunTag
    #: Holds a job's id before anything else is done with it.
    book: JobBook
    queue: Queue
    members: Members
    target: Target
    ended: EndedJobs
    look_every_s: float
    clock: Callable[[], float] = time.monotonic
    #: The error that ends the run; the driver's main thread raises it.
    error: Exception | None = attrs.field(init=False, default=None)
    jobs: dict[str, PoolJob] = attrs.field(init=False, factory=dict)
    _n_lost: int = attrs.field(init=False, default=0)
    _excluded: set[str] = attrs.field(init=False, factory=set)
    _wanted: int = attrs.field(init=False)
    _looked_s: float = attrs.field(init=False, default=float("-inf"))
    _look_due_s: float = attrs.field(init=False, default=float("-inf"))
    _slurm_away: Backoff = attrs.field(init=False, factory=lambda: Backoff(2.0, 10.0))
    _closing: threading.Event = attrs.field(init=False, factory=threading.Event)
    _wake: threading.Event = attrs.field(init=False, factory=threading.Event)
    _submitter: Submitter = attrs.field(init=False)
    _thread: threading.Thread = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Prepare what works on this place."""
        self._wanted = self.target.least
        self._submitter = Submitter(
            self.queue, self.jobs, self._adopt, self._look_at_queue, self._closing.is_set, self.say
        )
        self._thread = threading.Thread(target=self._run, name="seedwise-pool", daemon=True)

    def __exit__(self, *_: object) -> None:
        """Stop keeping the jobs, and then cancel them and close the rest."""
        try:
            self.halt()
            if self._thread.is_alive():
                self._thread.join()
        finally:
            self.closing.close()

    def follow(self, chunks_out: Callable[[], int], depart: Callable[..., None]) -> None:
        """Begin to submit jobs in a thread, as many as the work asks for."""
        super().follow(chunks_out, depart)
        self._thread.start()

    def halt(self) -> None:
        """Start nothing more, without waiting."""
        self._closing.set()
        self._wake.set()

    def cancel_at_once(self) -> None:
        """Cancel this driver's jobs without waiting for anything."""
        self.halt()  # or they would be replaced
        name = job_name(self.tag.name)
        cancel_jobs(self.tag.job_tag, timeout_s=_AT_ONCE_S, known=self.book.own, name=name)

    def check(self) -> None:
        """Raise what is wrong with the pool, which keeps itself."""
        if self.error is not None:
            with script_kept(self.tag):
                raise self.error

    def proved(self) -> None:
        """Note that a chunk was evaluated: jobs work, so that more may be submitted."""
        self._submitter.proved = True

    def scale(self, least: int, most: int) -> None:
        """Change the bounds of the number of workers."""
        self.target.scale(least, most)
        self._submitter.begin_anew()
        self.ended.nodes.forget()
        self.say("scaled", self.target.words, warns=True)
        self._wake.set()

    def fault(self, worker: str) -> str | None:
        """Return why a worker's job ended, if that was its own doing."""
        job_id = worker.removeprefix(WORKER)
        job = self.jobs.get(job_id)
        is_back = job is not None and job.member is not None  # its nanny restarted it
        return "" if is_back else self.ended.faults.get(job_id)

    def pool(self) -> PoolStatus:
        """Return how many workers there are and are wanted."""
        jobs = list(self.jobs.values())
        pending = [job for job in jobs if job.counts and job.member is None]
        away = self._slurm_away.is_on
        return PoolStatus(
            least=self.target.least,
            most=self.target.most,
            wanted=self._wanted,
            joined=sum(job.member is not None for job in jobs),
            pending=len(pending),
            lost=self._n_lost,
            waiting="Slurm does not answer" if away else waiting_words(pending),
            expected_start_utc=expected_start_utc(pending),
            excluded_nodes=self.ended.nodes.excluded(self.clock()),
        )

    def step(self) -> None:
        """Compare and act, once."""
        now_s = self.clock()
        self._look_at_workers(now_s)
        if now_s >= self._look_due_s and self._slurm_away.is_over(now_s):
            self._look_at_queue()
        self._explain_ended(now_s)
        self._keep_off_bad_nodes(now_s)
        if self.error is None and not self._closing.is_set():
            self._fit(now_s)

    def _run(self) -> None:
        n_errors = 0
        while not self._closing.is_set():
            self._wake.clear()
            try:
                self.step()
                n_errors = 0
            except Exception as error:
                n_errors += 1
                # An OSError is, say, a full disk: the run ends, and its jobs with it.
                if isinstance(error, OSError) or n_errors == _MOST_ERRORS:
                    self.error = self.error or error
                    return
                _logger.warning("the pool of Slurm jobs continues after an error", exc_info=True)
            self._wake.wait(_STEP_S)

    def _look_at_workers(self, now_s: float) -> None:
        there = self.members.look()
        for job_id in there.keys() - self.jobs.keys():
            self._adopt(job_id)  # the queue did not list it for a while
        for job in self.jobs.values():
            before, job.member = job.member, there.get(job.job_id)
            job.leaving |= job.job_id in self.members.leaving  # its walltime is near
            if job.job_id in self.members.joined:  # it may have gone since the last look
                self._note_joined(job, now_s)
            if job.member is not None:
                job.seen_s = now_s
                if job.member.takes_work and now_s > job.asked_s + _ASK_AGAIN_S:
                    # Its nanny restarted it.
                    self._ask_to_leave([job], now_s)
            elif before is not None:
                self._look_soon(now_s)

    def _note_joined(self, job: PoolJob, now_s: float) -> None:
        if job.joined:
            return
        job.joined, job.joined_s, job.started_s = True, now_s, job.started_s or now_s
        self._submitter.failed_starts.succeeded()
        self._submitter.doomed.succeeded()
        self.ended.a_worker_joined()
        self.say("joined", "a worker joined", job.job_id)

    def _look_soon(self, now_s: float) -> None:
        self._look_due_s = min(self._look_due_s, max(now_s, self._looked_s + _SOON_S))

    def _look_at_queue(self) -> bool:
        """Look into the queue; return whether it answered."""
        now_s = self.clock()
        try:
            listed = self.queue.list(self.jobs.keys())
        except CommandError as error:
            if not self._slurm_away.is_on:
                self.say("unknown", f"Slurm does not answer; workers continue: {error.text}")
            self._slurm_away.failed(self.clock())
            return False
        if self._slurm_away.is_on:
            self.say("known", "Slurm answers again")
            self._slurm_away.succeeded()
        self._looked_s, self._look_due_s = now_s, now_s + self.look_every_s
        alive = {job_id: job for job_id, job in listed.items() if job.state not in _ENDING}
        for job_id in alive.keys() - self.jobs.keys():
            self._adopt(job_id)  # from an sbatch whose answer never came
        any_failed = False
        for job in list(self.jobs.values()):
            if job.job_id in alive:
                job.missing_looks = 0
                self._take_in(job, alive[job.job_id], now_s)
            elif job.member is None:
                job.missing_looks += 1
                if job.missing_looks >= _LOOKS_WITHOUT:
                    any_failed |= self._end(job, now_s)
                else:
                    self._look_soon(now_s + _SOON_S)
        if any_failed:  # one or several: they share a cause
            self._submitter.failed_starts.failed(now_s)
        self._give_up_the_doomed(now_s)
        return True

    def _adopt(self, job_id: str) -> None:
        self.book.note(job_id)
        self.jobs[job_id] = PoolJob(job_id)
        self._look_soon(self.clock() + _SOON_S)

    def _take_in(self, job: PoolJob, queued: QueuedJob, now_s: float) -> None:
        job.queued = queued
        if queued.is_pending:
            doomed = never_clears(queued)
            job.doomed_looks = job.doomed_looks + 1 if doomed else 0
            if doomed:
                self._look_soon(now_s + _SOON_S)
        elif queued.state == "RUNNING" and job.started_s is None:
            job.started_s = now_s
        if job.started_s is None or job.member is not None or job.cancelled:
            return
        patience_s = _ABSENT_S if job.joined else _STARTING_S
        if now_s - max(job.started_s, job.seen_s) > patience_s:
            job.given_up = self._cancel([job])

    def _end(self, job: PoolJob, now_s: float) -> bool:
        """Forget a job; return whether it failed before its worker joined."""
        del self.jobs[job.job_id]
        if not job.cancelled:
            self._submitter.refused.succeeded()  # there is room for another
        if job.cancelled and not job.given_up:
            what = "a worker left" if job.joined else "a job that is not needed was cancelled"
            self.say("left", what, job.job_id)
            return False
        self.ended.add(job, now_s)
        return not job.joined

    def _explain_ended(self, now_s: float) -> None:
        at_work = any(job.member is not None for job in self.jobs.values())
        news, error = self.ended.explain(now_s, at_work=at_work)
        self._n_lost += sum(one.kind == "lost" for one in news)
        self._news.extend(news)
        self.error = self.error or error

    def _keep_off_bad_nodes(self, now_s: float) -> None:
        nodes = set(self.ended.nodes.excluded(now_s))
        if nodes == self._excluded or not self._slurm_away.is_over(now_s):
            return
        waiting = [job.job_id for job in self.jobs.values() if job.started_s is None]
        try:
            self.queue.exclude(nodes, waiting)
        except CommandError:
            self._slurm_away.failed(self.clock())
            return
        if nodes - self._excluded:
            self._submitter.go_elsewhere()
        self._excluded = nodes

    def _give_up_the_doomed(self, now_s: float) -> None:
        there = [job for job in self.jobs.values() if job.counts]
        doomed = [job for job in there if job.doomed_looks > 1]
        if not doomed:
            return
        error = never_starts(doomed[0])
        if len(doomed) == len(there):
            self.error = self.error or error
        elif not self._submitter.doomed.is_on:
            words = f"{error} The run continues without it"
            self.say("refused", words, doomed[0].job_id, warns=True)
        self._submitter.doomed.failed(now_s)
        self._cancel(doomed)

    def _fit(self, now_s: float) -> None:
        target = self.target
        self._wanted = target.wanted(self.chunks_out(), now_s)
        alive = [job for job in self.jobs.values() if job.counts]
        if len(alive) < self._wanted:
            # Jobs that leave still count towards the limit.
            n_missing = self._wanted - len(alive)
            n_room = n_missing if target.limit is None else target.limit - len(self.jobs)
            if self._submitter.submit(min(n_missing, n_room), target.most, now_s):
                self._wake.set()
            self.error = self.error or self._submitter.error
        elif len(alive) > self._wanted:
            self._release(alive, len(alive) - self._wanted, now_s)

    def _release(self, alive: Sequence[PoolJob], n_most: int, now_s: float) -> None:
        """Have jobs go: those that have not started, idle ones, and busy ones above the bound."""
        surplus = len(alive) - self.target.most
        waiting = [job for job in reversed(alive) if job.started_s is None][:n_most]
        self._cancel(waiting)
        idle = [job for job in reversed(alive) if job.is_idle]
        busy = [job for job in reversed(alive) if job.member is not None and not job.is_idle]
        leaving = idle[: n_most - len(waiting)]
        # After the bounds were lowered, busy workers may have to go as well.
        leaving += busy[: max(0, surplus - len(waiting) - len(leaving))]
        self._ask_to_leave(leaving, now_s)
        if waiting or leaving:
            self._look_soon(now_s + _SOON_S)

    def _ask_to_leave(self, jobs: Collection[PoolJob], now_s: float) -> None:
        for job in jobs:
            job.leaving, job.asked_s = True, now_s
        if jobs:
            self.members.depart([job.job_id for job in jobs], self.depart)

    def _cancel(self, jobs: Collection[PoolJob]) -> bool:
        """Cancel jobs; return whether Slurm answered. If not, the next steps find them again."""
        if not jobs:
            return True
        try:
            self.queue.cancel([job.job_id for job in jobs])
        except CommandError:
            self._slurm_away.failed(self.clock())
            return False
        for job in jobs:
            job.cancelled = True
        return True
