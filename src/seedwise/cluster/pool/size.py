"""How many workers are wanted, and how fast they are asked for."""

import math
from collections import deque
from collections.abc import Callable, Mapping

import attrs
from dask.system import CPU_COUNT

from seedwise.cluster.place import Demand
from seedwise.cluster.pool.jobs import PoolJob
from seedwise.errors import SubmitRefusedError
from seedwise.errors.advice import what_to_change
from seedwise.model.options.work import WorkOptions
from seedwise.slurm.commands import CommandError
from seedwise.slurm.queue import Queue

_MOST_JOBS = 100  # without `workers`: enough for most, and not a flood of sbatch calls

# Between two trials no chunk is out for a moment, or longer if the sampler is slow: workers that
# were wanted a minute ago are still wanted.
_PAUSE_S = 60.0

_MINUTE_S = 60.0
_MOST_DOUBLINGS = 30

# Jobs that are submitted before one of them has shown that it works.
_FIRST_WAVE = 4
_FIRST_WAVE_S = 30.0

_MOST_A_STEP = 10
_MOST_UNHEARD = 5


@attrs.define(eq=False)
class Target:
    """The number of workers that are wanted; it rises at once and falls after a pause."""

    least: int
    most: int
    _slots_per_worker: int
    #: Most workers whatever is asked for; None means no limit.
    limit: int | None = None
    _seen: list[tuple[float, int]] = attrs.field(init=False, factory=list)

    def scale(self, least: int, most: int) -> None:
        """Change the bounds, which never exceed the limit."""
        most_of_all = most if self.limit is None else self.limit
        self.least, self.most = min(least, most_of_all), min(most, most_of_all)

    @property
    def words(self) -> str:
        """The bounds, in words."""
        at_limit = f", which is the limit of {self.limit}" if self.most == self.limit else ""
        return f"{span(self.least, self.most, 'worker')} wanted{at_limit}"

    def wanted(self, chunks_out: int, now_s: float) -> int:
        """Return how many workers are wanted for the chunks that are out, or can be."""
        busy = math.ceil(chunks_out / self._slots_per_worker)
        seen = [(seen_s, n) for seen_s, n in self._seen if seen_s >= now_s - _PAUSE_S and n > busy]
        self._seen = [*seen, (now_s, busy)]  # smaller numbers before this one no longer matter
        return max(self.least, min(self.most, self._seen[0][1]))


@attrs.define(eq=False)
class Backoff:
    """Waits longer after each failure in a row, from `first_s` up to `most_s`."""

    _first_s: float
    _most_s: float
    n_failures: int = attrs.field(init=False, default=0)
    _until_s: float = attrs.field(init=False, default=float("-inf"))

    def is_over(self, now_s: float) -> bool:
        """Tell whether it is time for another try."""
        return now_s >= self._until_s

    @property
    def is_on(self) -> bool:
        """Whether the last try failed."""
        return self.n_failures > 0

    def failed(self, now_s: float) -> None:
        """Note a failure."""
        doublings = min(self.n_failures, _MOST_DOUBLINGS)
        self._until_s = now_s + min(self._most_s, self._first_s * 2**doublings)
        self.n_failures += 1

    def succeeded(self) -> None:
        """Note a success."""
        self.n_failures = 0
        self._until_s = float("-inf")


@attrs.define(eq=False)
class Budget:
    """Bounds the jobs that are submitted in a minute, so that no mishap becomes a storm."""

    _spent_s: deque[float] = attrs.field(init=False, factory=deque)

    def left(self, most_workers: int, now_s: float) -> int:
        """Return how many jobs may be submitted now: in a minute a pool may be filled twice."""
        while self._spent_s and self._spent_s[0] < now_s - _MINUTE_S:
            self._spent_s.popleft()
        return max(0, 2 * most_workers + 2 - len(self._spent_s))

    def spend(self, now_s: float) -> None:
        """Note that a job was submitted."""
        self._spent_s.append(now_s)


def span(least: int, most: int, what: str) -> str:
    """Return two bounds of a number in words, such as "2 to 4 workers" or "1 worker"."""
    low = "" if least == most else f"{least} to "
    return f"{low}{most} {what}{'' if most == 1 else 's'}"


def worker_bounds(options: WorkOptions, demand: Demand) -> tuple[int, int]:
    """Return the least and the most workers, on this machine or on Slurm."""
    limit = options.array_parallelism_limit if options.place == "slurm" else None
    if options.workers is None:
        here = max(1, CPU_COUNT // options.worker_parallelism)
        most = here if options.place == "local" else limit or _MOST_JOBS
        of_parts = [demand.workers(most, part) for part in range(len(demand.parts))]
        return 1 if len(of_parts) > 1 else of_parts[0], max(of_parts)
    low, high = options.workers if isinstance(options.workers, tuple) else (options.workers,) * 2
    return (low, high) if limit is None else (min(low, limit), min(high, limit))


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
        is_over = self.proved or works or self._waits_in_vain(now_s)
        return 10**6 if is_over else _FIRST_WAVE - len(jobs)

    def _waits_in_vain(self, now_s: float) -> bool:
        """Tell whether none of the first jobs has even started, to show whether jobs work."""
        if self._first_s is None or now_s - self._first_s <= _FIRST_WAVE_S or not self._jobs:
            return False
        if not self._looked_up:  # what is known of them may be outdated
            self._looked_up = self._look()
        return self._looked_up and all(job.started_s is None for job in self._jobs.values())

    def _submit_one(self, now_s: float) -> str | None:
        self._budget.spend(now_s)
        before = set(self._jobs)
        try:
            job_id = self._queue.submit()
        except CommandError as error:
            wrong = self._note_unheard if error.unheard else self._refuse
            wrong(error.text, now_s)
            return None
        if job_id is not None:
            self._adopt(job_id)
        elif not self._look():
            self._note_unheard("sbatch printed no job id, and squeue did not answer", now_s)
        elif new := [one for one in self._jobs if one not in before]:
            job_id = new[0]
        else:
            self._refuse("sbatch printed no job id, and there is no new job", now_s)
        if job_id is not None:
            self.refused.succeeded()
            self._unheard.succeeded()
            self._n_unheard = 0
        return job_id

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
