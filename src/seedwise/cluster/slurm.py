"""SLURMCluster: workers in Slurm jobs."""

import contextlib
import logging
import re
import signal
import time
from functools import partial
from typing import Any

import dask
from distributed import Client
from distributed.utils import get_ip, get_ip_interface

from seedwise.cluster.dashboard import dashboard_address, proxy_host, published_links
from seedwise.cluster.dask_settings import (
    SCHEDULER_SETTINGS,
    scheduler_interface,
    site_scheduler,
    starting,
    tidy_dask,
)
from seedwise.cluster.job import OLD_SETTINGS, JobPlan, job_keywords, script_kept
from seedwise.cluster.keys import run_keys
from seedwise.cluster.pages import new_token
from seedwise.cluster.place import Demand, RunTag
from seedwise.cluster.pool.jobs import WORKER, BadNodes, EndedJobs, Members
from seedwise.cluster.pool.size import Target, span, worker_bounds
from seedwise.cluster.pool.slurm import SlurmPlace
from seedwise.cluster.scheduler import scheduler_class
from seedwise.disk.files import replace_file
from seedwise.model.options.work import WorkOptions
from seedwise.model.slurm_time import time_s
from seedwise.slurm.commands import CommandError
from seedwise.slurm.ends import ask_ends
from seedwise.slurm.preflight.check import check_jobs
from seedwise.slurm.queue import JobBook, Queue, cancel_jobs, job_name

_CANCEL_FOR_S = 10
_CANCEL_AGAIN_S = 1
_LOOK_EVERY_S = 15  # at most: a reason that never clears is to be known within a minute
_LOOPBACK = "127.0.0.1"
_EVERYWHERE = {"", None, "0.0.0.0", "::", "[::]", "*"}  # one address it is to be, and no other

# dask-jobqueue 0.9.0 would take SIGINT when it is imported, in whichever thread.
_install, signal.signal = signal.signal, lambda *_: None
try:
    from dask_jobqueue import SLURMCluster
    from dask_jobqueue.slurm import SLURMJob
finally:
    signal.signal = _install


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


def open_slurm(options: WorkOptions, demand: Demand, tag: RunTag) -> SlurmPlace:
    """Start a SLURMCluster, and keep a pool of jobs for it; they are submitted as needed."""
    low, high = worker_bounds(options, demand)
    with contextlib.ExitStack() as closing:
        closing.enter_context(tidy_dask())
        security = None if options.insecure else closing.enter_context(run_keys(tag.key_dir))
        plan = JobPlan(tag, demand.chunks_per_worker, _host(options), security)
        with script_kept(tag):
            keywords = check_jobs(options, job_keywords(options, plan), _script, high, tag.note)
        token = None if options.insecure else new_token()
        with dask.config.set(SCHEDULER_SETTINGS), starting("the scheduler of the Slurm jobs"):
            cluster: Any = _Cluster(
                job_cls=WorkerJob,
                scheduler_options=_scheduler_options(plan),
                silence_logs=logging.ERROR,
                security=security,
                scheduler_cls=scheduler_class(token, proxy_host(), tag.pages),
                **keywords,
            )
        book = JobBook(tag.jobs_file)
        # A Ctrl-C may have hit an sbatch whose job nobody knows: those carry the tag, too.
        closing.callback(_cancel_all, tag, book)
        closing.callback(cluster.close)
        client = closing.enter_context(Client(cluster, security=security, set_as_default=False))
        script = _script(keywords, cluster.scheduler_address)
        queue = Queue(script, tag.job_tag, job_name(tag.name))
        replace_file(tag.log_dir / "job.sh", script.encode(), durable=False)
        return SlurmPlace(
            client=client,
            description=span(low, high, "Slurm job"),
            slots=high * demand.chunks_per_worker,
            walltime_s=time_s(keywords["walltime"]),
            **published_links(client, token, tag),
            tag=tag,
            book=book,
            queue=queue,
            members=Members(client, cluster.scheduler),
            target=Target(low, high, demand.chunks_per_worker, options.array_parallelism_limit),
            ended=EndedJobs(
                partial(ask_ends, timeout_s=5), tag.log_dir, BadNodes(queue.try_without)
            ),
            look_every_s=min(_LOOK_EVERY_S, options.slurm_poll_seconds),
            closing=closing.pop_all(),
        )


def _cancel_all(tag: RunTag, book: JobBook) -> None:
    """Cancel this driver's jobs, not those of one that took over; say so if that is unknown."""
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
    slurm = options.slurm_settings
    given = slurm.scheduler_interface or slurm.interface
    site = site_scheduler()
    if not given and site.get("host", "") not in _EVERYWHERE:
        return str(site["host"])
    interface = scheduler_interface(slurm)
    return str(get_ip_interface(interface) if interface else get_ip())


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


def _script(keywords: dict[str, Any], address: str = "tls://scheduler:0") -> str:
    return str(WorkerJob(address, name=f"{WORKER}$SLURM_JOB_ID", **keywords).job_script())
