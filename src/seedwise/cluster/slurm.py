"""SLURMCluster: workers in Slurm jobs."""

from __future__ import annotations

import contextlib
import logging
import re
import signal
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import dask
from distributed import Client
from distributed.core import Status
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.utils import get_ip, get_ip_interface

from seedwise.cluster.dashboard import dashboard_address, published_link, scheduler_class
from seedwise.cluster.dask_settings import (
    SCHEDULER_SETTINGS,
    own_scratch,
    quiet_dask,
    scheduler_interface,
    site_scheduler,
)
from seedwise.cluster.job import OLD_SETTINGS, JobPlan, job_keywords, job_name
from seedwise.cluster.keys import run_keys
from seedwise.cluster.pages import new_token
from seedwise.cluster.place import Demand, Place, RunTag, run_soon
from seedwise.cluster.pool.ended import EndedJobs
from seedwise.cluster.pool.jobs import Member
from seedwise.cluster.pool.nodes import BadNodes
from seedwise.cluster.pool.size import Target, worker_bounds
from seedwise.cluster.pool.slurm import PoolParts, SlurmPool
from seedwise.disk.aside import replace_file
from seedwise.errors import ClusterStartError, SubmitRefusedError
from seedwise.model.options.mode import ExecutionMode
from seedwise.model.options.work import WorkOptions
from seedwise.model.slurm_time import time_s
from seedwise.model.status import PoolNews, PoolStatus
from seedwise.slurm.commands import CommandError
from seedwise.slurm.ends import ask_ends
from seedwise.slurm.job_ids import JobBook
from seedwise.slurm.preflight.check import check_jobs
from seedwise.slurm.queue import (
    Answer,
    QueuedJob,
    cancel_jobs,
    exclude_nodes,
    list_jobs,
    scancel,
    submit_job,
    test_submit,
)

_AT_ONCE_S = 4
_CANCEL_FOR_S = 10
_CANCEL_AGAIN_S = 1
_LOOK_EVERY_S = 15  # at most: a reason that never clears is to be known within a minute
_TAKES_WORK = {Status.init, Status.running}
_WORKER = "job-"  # a worker is called by its job's id
_LOOPBACK = "127.0.0.1"
_EVERYWHERE = {"", None, "0.0.0.0", "::", "[::]", "*"}  # one address it is to be, and no other


@contextlib.contextmanager
def _signals_left_alone() -> Iterator[None]:
    """Keep dask-jobqueue 0.9.0 from taking SIGINT when it is imported, in whichever thread."""
    install, signal.signal = signal.signal, lambda *_: None
    try:
        yield
    finally:
        signal.signal = install


with _signals_left_alone():
    from dask_jobqueue import SLURMCluster
    from dask_jobqueue.slurm import SLURMJob


class WorkerJob(SLURMJob):  # type: ignore[misc]
    """A job whose script becomes its worker, so that a signal to the one is to the other."""

    _script_template = """
%(shebang)s

%(job_header)s
%(job_script_prologue)s
exec %(worker_command)s
""".lstrip()

    def __init__(self, *args: Any, **keywords: Any) -> None:
        with dask.config.set(OLD_SETTINGS):
            super().__init__(*args, **keywords)


class _Cluster(SLURMCluster):  # type: ignore[misc]
    """A SLURMCluster that leaves it to the job script how workers get their keys."""

    def _get_worker_security(self, security: object) -> None:
        """Write no file."""


@attrs.define(eq=False, kw_only=True)
class SlurmPlace(Place):
    """A SLURMCluster of ours, and the pool that keeps its jobs."""

    workers: SlurmPool
    members: _Members
    tag: RunTag
    book: JobBook

    def check(self) -> None:
        """Raise what is wrong with the pool, which keeps itself."""
        if self.workers.error is not None:
            with _script_kept(self.tag):
                raise self.workers.error

    def scale(self, least: int, most: int) -> None:
        """Change the bounds of the number of jobs."""
        self.workers.scale(least, most)

    def follow(self, chunks_out: Callable[[], int], depart: Callable[..., None]) -> None:
        """Begin to submit jobs, as many as the work asks for."""
        self.workers.chunks_out, self.members.depart_on_worker = chunks_out, depart
        self.workers.start()

    def proved(self) -> None:
        """Take note that a chunk was evaluated: the other jobs may be submitted."""
        self.workers.proved()

    def fault(self, worker: str) -> str | None:
        """Return why a worker's job ended, if that was its own doing."""
        return self.workers.fault(worker.removeprefix(_WORKER))

    def news(self) -> Sequence[PoolNews]:
        """Return what happened to the jobs since this was last called."""
        return self.workers.news()

    def pool(self) -> PoolStatus:
        """Return how many jobs there are and are wanted."""
        return self.workers.status()

    def cancel_at_once(self) -> None:
        """Cancel this driver's jobs without waiting for anything."""
        self.workers.halt()  # or it would replace them
        name = job_name(self.tag.name)
        cancel_jobs(self.tag.job_tag, timeout_s=_AT_ONCE_S, known=self.book.own, name=name)


def open_slurm(options: WorkOptions, demand: Demand, tag: RunTag) -> SlurmPlace:
    """Start a SLURMCluster, and keep a pool of jobs for it; they are submitted as needed.

    Raises SubmitRefusedError if Slurm would refuse the job, and ClusterStartError if the scheduler
    does not start.
    """
    low, high = worker_bounds(options, demand)
    with contextlib.ExitStack() as closing:
        closing.enter_context(quiet_dask())
        security = None if options.insecure else closing.enter_context(run_keys(tag.key_dir))
        plan = JobPlan(tag, demand.chunks_per_worker, _host(options), security)
        with _script_kept(tag):
            keywords = check_jobs(options, job_keywords(options, plan), _script, high, tag.note)
        token = None if options.insecure else new_token()
        closing.enter_context(own_scratch())
        cluster = _start(keywords, plan, token)
        book = JobBook(tag.jobs_file)
        # A Ctrl-C may have hit an sbatch whose job nobody knows: those carry the tag, too.
        closing.callback(_cancel_all, tag, book)
        closing.callback(cluster.close)
        client = closing.enter_context(Client(cluster, security=security, set_as_default=False))
        members = _Members(client, cluster.scheduler)
        limit = options.array_parallelism_limit
        target = Target(low, high, demand.chunks_per_worker, limit)
        script = _script(keywords, cluster.scheduler_address)
        parts = _parts(script, members, target, tag, book)
        pool = SlurmPool(parts, min(_LOOK_EVERY_S, options.slurm_poll_seconds))
        closing.callback(pool.stop)
        dashboard, tunnel = published_link(client, token, tag.key_dir)
        return SlurmPlace(
            client=client,
            mode=ExecutionMode.DISTRIBUTED,
            description=_described(low, high),
            slots=high * demand.chunks_per_worker,
            walltime_s=time_s(keywords["walltime"]),
            dashboard=dashboard,
            tunnel=tunnel,
            workers=pool,
            members=members,
            tag=tag,
            book=book,
            closing=closing.pop_all(),
        )


@contextlib.contextmanager
def _script_kept(tag: RunTag) -> Iterator[None]:
    """Keep the script of a refused job beside the run's folder, which goes if the run is new."""
    try:
        yield
    except SubmitRefusedError as error:
        path = tag.log_dir.parent.parent / "refused_job.sh"
        try:
            replace_file(path, error.script.encode(), durable=False)
        except OSError:  # the refusal is more important
            raise error from None
        raise SubmitRefusedError(error.stderr, error.script, error.problems, path) from None


class _Members(SchedulerPlugin):  # type: ignore[misc]
    """The workers at the scheduler, which is in this process."""

    def __init__(self, client: Client, scheduler: Any) -> None:
        self.depart_on_worker: Callable[..., None] = lambda **_: None
        self._client = client
        self._scheduler = scheduler
        self._joined: set[str] = set()
        self._leaving: set[str] = set()
        scheduler.add_plugin(self, name="seedwise-members")

    def add_worker(self, scheduler: Any, worker: str) -> None:
        """Note that a worker joins: it may be gone at the next look."""
        self._joined.add(str(scheduler.workers[worker].name).removeprefix(_WORKER))

    def joined(self, job_id: str) -> bool:
        return job_id in self._joined

    def log_event(self, topic: str, msg: Any) -> None:
        """Note that a worker is about to leave: it may be gone at the next look."""
        if isinstance(msg, dict) and msg.get("status") == Status.paused.name:
            worker = self._scheduler.workers.get(topic)
            if worker is not None:
                self._leaving.add(str(worker.name).removeprefix(_WORKER))

    def leaves(self, job_id: str) -> bool:
        return job_id in self._leaving

    def look(self) -> Mapping[str, Member]:
        return {
            str(worker.name).removeprefix(_WORKER): Member(
                len(worker.processing), worker.status in _TAKES_WORK
            )
            for worker in self._workers()
        }

    def depart(self, job_ids: Collection[str]) -> None:
        names = {f"{_WORKER}{job_id}" for job_id in job_ids}
        addresses = [worker.address for worker in self._workers() if worker.name in names]
        run_soon(self._client, self.depart_on_worker, addresses, reason="not needed")

    def _workers(self) -> list[Any]:
        # The event loop adds and removes workers meanwhile.
        workers = self._scheduler.workers
        found = [workers.get(address) for address in list(workers)]
        return [worker for worker in found if worker is not None]


class _Queue:
    """Slurm's queue, as far as the jobs of a run go."""

    def __init__(self, script: str, tag: RunTag) -> None:
        self._script = script
        self._tag = tag
        self._excluded: Collection[str] = ()

    def submit(self) -> str | None:
        return submit_job(self._script, *self._excluded)

    def list(self, known: Collection[str]) -> Mapping[str, QueuedJob]:
        return list_jobs(self._tag.job_tag, known, name=job_name(self._tag.name))

    def cancel(self, job_ids: Iterable[str]) -> None:
        scancel([*job_ids])

    def exclude(self, nodes: Collection[str], waiting: Collection[str]) -> None:
        self._excluded = nodes
        exclude_nodes(self._script, nodes, waiting)

    def try_without(self, nodes: Collection[str]) -> Answer:
        return test_submit(self._script, *nodes)


def _parts(
    script: str, members: _Members, target: Target, tag: RunTag, book: JobBook
) -> PoolParts:
    replace_file(tag.log_dir / "job.sh", script.encode(), durable=False)
    queue = _Queue(script, tag)
    nodes = BadNodes(queue.try_without)
    return PoolParts(
        queue=queue,
        members=members,
        target=target,
        note=book.note,
        ended=EndedJobs(partial(ask_ends, timeout_s=5), tag.log_dir, nodes),
        nodes=nodes,
        script=script,
    )


def _cancel_all(tag: RunTag, book: JobBook) -> None:
    """Cancel this driver's jobs in the end, and say so if it is not known whether they are.

    Those of another driver, which may have taken over the run, are let alone.
    """
    until_s = time.monotonic() + _CANCEL_FOR_S
    while True:
        try:
            cancel_jobs(tag.job_tag, known=book.own, name=job_name(tag.name))
        except CommandError as error:
            if time.monotonic() < until_s:
                time.sleep(_CANCEL_AGAIN_S)
                continue
            tag.note(
                f"Slurm does not answer ({error.text}), so jobs of {tag.name} may be left. They "
                f"end by themselves; seedwise clean {tag.log_dir.parent} cancels them"
            )
        return


def _host(options: WorkOptions) -> str:
    """Return this machine's address on the interface that the jobs reach it over."""
    given = options.slurm and (options.slurm.scheduler_interface or options.slurm.interface)
    site = site_scheduler()
    if not given and site.get("host", "") not in _EVERYWHERE:
        return str(site["host"])
    interface = scheduler_interface(options.slurm)
    host: str = get_ip_interface(interface) if interface else get_ip()
    return host


def _scheduler_options(plan: JobPlan) -> dict[str, Any]:
    """Return the scheduler's options: the site's, save what keeps it locked and reachable."""
    options = site_scheduler()
    site_port = re.search(r"(?:^|:)(\d+)$", str(options.get("dashboard_address")))
    for name in ("interface", "allowed_failures"):
        options.pop(name, None)
    if plan.security is not None:
        options |= {"security": plan.security, "protocol": "tls://"}
    return {
        **options,
        "host": plan.host,
        "dashboard_address": f"{_LOOPBACK}:{site_port[1]}" if site_port else dashboard_address(),
    }


def _start(keywords: dict[str, Any], plan: JobPlan, token: str | None) -> Any:
    with dask.config.set(SCHEDULER_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        try:
            return _Cluster(
                job_cls=WorkerJob,
                scheduler_options=_scheduler_options(plan),
                silence_logs=logging.ERROR,
                security=plan.security,
                scheduler_cls=scheduler_class(token),
                **keywords,
            )
        except (OSError, RuntimeError) as error:
            raise ClusterStartError("the scheduler of the Slurm jobs", str(error)) from error


def _script(keywords: dict[str, Any], address: str = "tls://scheduler:0") -> str:
    job = WorkerJob(address, name=f"{_WORKER}$SLURM_JOB_ID", **keywords)
    script: str = job.job_script()
    return script


def _described(low: int, high: int) -> str:
    if low != high:
        return f"{low} to {high} Slurm jobs"
    return f"{low} Slurm job{'s' if low > 1 else ''}"
