"""The result of a check before a run: what one seed showed, and what follows for the plan."""

from collections.abc import Mapping
from typing import Any

import attrs

from seedwise.errors.durations import exact_duration
from seedwise.model.html import table_html
from seedwise.model.seeds import DEFAULT_CHUNK_SIZE
from seedwise.model.space import ParamValue
from seedwise.model.status import Row, said
from seedwise.model.validation import n_evaluations

# A shorter chunk takes no longer than its way to the worker and back.
_SHORT_CHUNK_S = 0.1

# A chunk that is unfinished when its job ends is lost, so it should be a small part of a job.
_PART_OF_WALLTIME = 0.1


@attrs.frozen(kw_only=True)
class CheckReport:
    """What `check_run` found out.

    Attributes
    ----------
    loss_name : str
        Name of the loss.
    place : {"local", "slurm", "passed"}
        Where the work is to run; "passed" is a Dask cluster that the caller passed.
    n_trials, n_trials_at_once : int
        Trials of the run, and how many of them may be in flight at once.
    n_seeds, chunk_size : int
        Seeds of the run, and of a chunk.
    n_seeds_of_trial : int
        Seeds of a trial; with a race, of one that is not dropped.
    races : bool
        Whether a trial may be dropped. If so, the figures of a trial and of the run are the most.
    max_total_seeds : int or None
        Seeds after which the search ends; None is no limit.
    n_validation_seeds, n_validation_candidates : int
        Fresh seeds on which the best trials are validated, 0 for no validation, and how many.
    chunks_are_measured : bool
        Whether chunks are cut by what seeds take; `chunk_size` then says only how many workers are
        asked for.
    vectorized : bool
        Whether the loss is called for many seeds at once.
    workers : int or None
        Workers that the run would have, which are jobs on Slurm; None for a passed cluster.
    worker_parallelism : int
        Seeds that run at once in a worker; chunks, if the loss is vectorized.
    use_processes : bool
        Whether these run in processes, and not in threads.
    cpus_per_worker : int or None
        CPUs that a Slurm job gets, which can be more than it asks for; None outside of Slurm.
    walltime_s : float or None
        Seconds after which a job ends; None if it does not.
    trial_limit_s : float or None
        Seconds after which a trial fails, by `slurm_timeout_minutes`; None if it does not.
    params : dict
        The point that was tried.
    seed : int
        The seed that was tried.
    value : float
        The loss there.
    first_s : float
        Seconds that the seed took on the worker, with loading the loss.
    seed_s : float
        Seconds that it took when repeated, with the loss loaded.
    host, worker : str or None, str
        The machine that the worker was on, and its name.
    job_id : str or None
        The Slurm job that held the worker; None outside of Slurm.
    waited_s : float or None
        Seconds from asking for the job to the start of the seed; None outside of Slurm.
    versions : dict of str to str
        The worker's versions of ``python``, ``numpy`` and ``seedwise``.
    job_script : str or None
        The script of the job; None outside of Slurm.
    warnings : tuple of str
        What Slurm's limits do to the plan: jobs wait longer, or fewer run at once.
    defaults : dict of str to int
        Options that the plan depends on and that were not given, with the values that it has.
    """

    loss_name: str
    place: str
    n_trials: int
    n_trials_at_once: int
    n_seeds: int
    chunk_size: int
    n_seeds_of_trial: int
    races: bool = False
    chunks_are_measured: bool = False
    max_total_seeds: int | None = None
    n_validation_seeds: int = 0
    n_validation_candidates: int = 0
    vectorized: bool = False
    workers: int | None = None
    worker_parallelism: int = 1
    use_processes: bool = False
    cpus_per_worker: int | None = None
    walltime_s: float | None = None
    trial_limit_s: float | None = None
    params: Mapping[str, ParamValue] = attrs.field(factory=dict)
    seed: int
    value: float
    first_s: float
    seed_s: float
    host: str | None = None
    worker: str = ""
    job_id: str | None = None
    waited_s: float | None = None
    versions: Mapping[str, str] = attrs.field(factory=dict)
    job_script: str | None = attrs.field(default=None, repr=False)
    warnings: tuple[str, ...] = ()
    defaults: Mapping[str, int] = attrs.field(factory=dict)

    @property
    def n_validation_evaluations(self) -> int:
        """Evaluations of fresh seeds in the validation, at most; `run_s` leaves them out."""
        if not self.n_validation_seeds:
            return 0
        n_candidates = min(self.n_validation_candidates, self.n_trials)
        return n_evaluations(n_candidates, self.n_validation_seeds)

    @property
    def n_chunks(self) -> int:
        """Chunks of a trial."""
        return -(-self.n_seeds_of_trial // self.chunk_size)

    @property
    def n_chunks_in_flight(self) -> int:
        """The most chunks that are in flight at once."""
        return self.n_chunks * self._trials_in_flight

    @property
    def n_chunks_at_once(self) -> int | None:
        """Chunks that are evaluated at once when all workers are there; None if unknown."""
        if self.workers is None:
            return None
        return min(self.n_chunks_in_flight, self.workers * self._chunks_per_worker)

    @property
    def n_seeds_at_once(self) -> int | None:
        """Seeds that run at once when all workers are there; None if unknown."""
        own = self._seeds_of_a_chunk
        of_chunk = own if self.vectorized else min(self.worker_parallelism, own)
        return None if self.n_chunks_at_once is None else self.n_chunks_at_once * of_chunk

    @property
    def n_idle_workers(self) -> int:
        """Workers that would never have a chunk."""
        needed = -(-self.n_chunks_in_flight // self._chunks_per_worker)
        return max(0, (self.workers or 0) - needed)

    @property
    def chunk_s(self) -> float:
        """Seconds that a chunk takes, by the one seed; at most that if the loss is vectorized."""
        at_once = 1 if self.vectorized else self.worker_parallelism
        return -(-self._seeds_of_a_chunk // at_once) * self.seed_s

    @property
    def run_s(self) -> float | None:
        """Seconds that the run takes when all workers are there; None if unknown."""
        if self.n_chunks_at_once is None:
            return None
        return -(-self._n_whole_trials // self._trials_in_flight) * self._trials_s

    @property
    def trial_is_long(self) -> bool:
        """Whether a trial fails for want of time, by the one seed."""
        if self.n_chunks_at_once is None or self.trial_limit_s is None:
            return False
        return self._trials_s > self.trial_limit_s

    @property
    def core_hours(self) -> float | None:
        """CPUs of all jobs times the hours of the run; None outside of Slurm."""
        if self.run_s is None or self.workers is None or self.cpus_per_worker is None:
            return None
        return self.workers * self.cpus_per_worker * self.run_s / 3600

    @property
    def chunk_is_short(self) -> bool:
        """Whether chunks are so short that the way to the workers takes longer."""
        return not self.chunks_are_measured and self.chunk_s < _SHORT_CHUNK_S

    @property
    def chunk_is_long(self) -> bool:
        """Whether chunks, or single seeds, are so long that too much is lost when a job ends."""
        n_seeds = min(DEFAULT_CHUNK_SIZE, self.n_seeds_of_trial) if self.vectorized else 1
        shortest_s = n_seeds * self.seed_s if self.chunks_are_measured else self.chunk_s
        return self.walltime_s is not None and shortest_s > _PART_OF_WALLTIME * self.walltime_s

    def _repr_html_(self) -> str:
        """Show the report as a table in a notebook."""
        rows = [("loss", found_words(self)), *worker_rows(self), *plan_rows(self)]
        return table_html([*rows, *(("advice", line) for line in advice(self))])

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it, with the figures that follow from it."""
        derived = [name for name, one in vars(CheckReport).items() if isinstance(one, property)]
        public = {name: getattr(self, name) for name in derived if not name.startswith("_")}
        return {**attrs.asdict(self), **public}

    @property
    def _trials_in_flight(self) -> int:
        return min(self.n_trials_at_once, self.n_trials)

    @property
    def _n_whole_trials(self) -> int:
        """How many trials the run has at most, with all their seeds."""
        if self.max_total_seeds is None:
            return self.n_trials
        # When the last of these is told, others are in flight.
        n_told = -(-self.max_total_seeds // self.n_seeds_of_trial)
        return min(self.n_trials, n_told + self.n_trials_at_once - 1)

    @property
    def _trials_s(self) -> float:
        """Seconds that the trials in flight take together."""
        assert self.n_chunks_at_once is not None  # it is asked where that is known
        return -(-self.n_chunks_in_flight // self.n_chunks_at_once) * self.chunk_s

    @property
    def _chunks_per_worker(self) -> int:
        return self.worker_parallelism if self.vectorized else 1

    @property
    def _seeds_of_a_chunk(self) -> int:
        return min(self.chunk_size, self.n_seeds_of_trial)


def found_words(report: CheckReport) -> str:
    """Return what the seed gave, in a line."""
    return f"loss {report.loss_name!r} gave {report.value!r} for seed {report.seed}"


def worker_rows(report: CheckReport) -> list[Row]:
    """Return what the worker was, and what the seed took there."""
    waited, first = report.waited_s, f" ({exact_duration(report.first_s)} the first time)"
    rows = {
        "params": ", ".join(f"{name}={one!r}" for name, one in report.params.items()),
        "host": report.host,
        "job": report.job_id,
        "waited for it": None if waited is None else exact_duration(waited),
        "versions": ", ".join(f"{name} {one}" for name, one in report.versions.items()),
        "one seed takes": exact_duration(report.seed_s) + first,
    }
    return said(rows)


def plan_rows(report: CheckReport) -> list[Row]:
    """Return what the run is to do, and what that takes."""
    n_seeds, most, cpus = report.n_seeds_of_trial, report.max_total_seeds, report.cpus_per_worker
    n_fresh, measured = report.n_validation_evaluations, report.chunks_are_measured
    chunks = f"{_counted(report.n_chunks, 'chunk')} of {min(report.chunk_size, n_seeds)}"
    chunks = "chunks cut by what seeds take" if measured else chunks
    of_all = "" if n_seeds == report.n_seeds else f" of {report.n_seeds}"
    end = "" if most is None else f", or until they have {_counted(most, 'seed')}"
    of_cpus = "" if cpus is None else f" of {_counted(cpus, 'CPU')}"
    chunk = f"{'at most ' if report.vectorized else ''}{exact_duration(report.chunk_s)}"
    is_most = report.vectorized or report.races or most is not None
    core_hours, upto = report.core_hours, "at most " if is_most else ""
    run = report.run_s and f"{upto}{exact_duration(report.run_s)} of evaluation"
    values = ", ".join(f"{name}={value}" for name, value in report.defaults.items())
    rows = {
        "trials": f"{report.n_trials}, {report.n_trials_at_once} at once{end}",
        "seeds of a trial": f"{'at most ' if report.races else ''}{n_seeds}{of_all}, in {chunks}",
        "validation": n_fresh and f"{n_fresh} evaluations of fresh seeds, after the search",
        "chunks in flight": None if measured else report.n_chunks_in_flight,
        _workers(report): report.workers and f"{report.workers}{of_cpus}",
        "seeds at once": report.n_seeds_at_once,
        "a chunk takes": None if measured else chunk,
        "the run takes": run and f"{run}, once all workers are there",
        "core hours": core_hours and f"{upto}{core_hours:.3g}",
        "not given": values and f"{values}: defaults, as the call in the script is not read",
    }
    return said(rows)


def advice(report: CheckReport) -> list[str]:
    """Return what would use the workers better."""
    measured, at_once = report.chunks_are_measured, report.worker_parallelism
    chunk = "a seed" if measured else f"a chunk of {exact_duration(report.chunk_s)}"
    by_itself = "leave chunk_size out, and chunks are cut by what seeds take"
    workers, cpus = report.workers or 0, report.cpus_per_worker or at_once
    # What is advised, and whether it applies.
    advised = {
        f"{chunk} is short compared with the way to a worker and back: {by_itself}": (
            report.chunk_is_short
        ),
        f"{chunk} is long compared with the jobs' walltime of "
        f"{exact_duration(report.walltime_s or 0)}, and is lost if a job ends before it: "
        f"{'use' if measured else f'{by_itself}, or use'} a longer worker_time_limit": (
            report.chunk_is_long
        ),
        f"a trial takes longer than slurm_timeout_minutes={(report.trial_limit_s or 0) / 60:g}, "
        "and would fail: raise it or leave it out, or use more workers or fewer "
        "max_concurrent_trials": report.trial_is_long,
        "a trial is one chunk, so only one worker has work: leave chunk_size out, or use more "
        "max_concurrent_trials": (
            report.n_chunks_in_flight == 1 and report.n_seeds_of_trial > 1 and not measured
        ),
        f"{at_once} seeds at once share {_counted(cpus, 'CPU')} of a job: use "
        f"cpus_per_task={at_once}": at_once > cpus,
        f"a seed has {cpus // at_once} CPUs: if the loss uses one only, use "
        f"worker_parallelism={cpus}": (
            cpus > 2 * at_once and not report.vectorized  # 2 may be one core
        ),
        "the times assume that threads run at once: a loss in pure Python needs "
        "use_processes=True for that": (
            at_once > 1 and not report.use_processes and not report.vectorized
        ),
        f"{report.n_idle_workers} of {workers} {_workers(report)} would never get a chunk: use "
        f"workers={workers - report.n_idle_workers}{'' if measured else ', no chunk_size,'} or "
        "more max_concurrent_trials": report.n_idle_workers > 0,
    }
    return [*report.warnings, *(text for text, applies in advised.items() if applies)]


def _workers(report: CheckReport) -> str:
    return "jobs" if report.place == "slurm" else "workers"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
