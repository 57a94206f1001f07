"""SLURMCluster: workers in Slurm jobs."""

from __future__ import annotations

import contextlib
import logging
import re
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import dask
from distributed import Client

from seedwise.cluster.job import asks_for_qos, job_keywords
from seedwise.cluster.place import (
    SCHEDULER_SETTINGS,
    Demand,
    Place,
    RunTag,
    dashboard_port,
    quiet_dask,
    tunnel_command,
)
from seedwise.cluster.slurm_commands import cancel_jobs, test_submit
from seedwise.errors import ClusterStartError, SubmitRefusedError
from seedwise.model.execution_mode import ExecutionMode
from seedwise.model.work_options import WorkOptions

__all__ = ["open_slurm"]

_AT_ONCE_S = 4
_MOST_JOBS = 100  # without `workers`: enough for most, and no flood of sbatch calls


@contextlib.contextmanager
def _signals_left_alone() -> Iterator[None]:
    """Undo what importing dask-jobqueue 0.9.0 does to SIGINT; let it import in any thread."""
    if threading.current_thread() is threading.main_thread():
        before = signal.getsignal(signal.SIGINT)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
    else:
        install, signal.signal = signal.signal, lambda *_: None
        try:
            yield
        finally:
            signal.signal = install


with _signals_left_alone():
    from dask_jobqueue import SLURMCluster
    from dask_jobqueue.slurm import SLURMJob


def open_slurm(options: WorkOptions, demand: Demand, tag: RunTag) -> Place:
    """Start a SLURMCluster.

    Parameters
    ----------
    options : WorkOptions
        The run's options.
    demand : Demand
        How much work the run can have in flight.
    tag : RunTag
        Name and id of the run, and where the jobs' logs go.

    Returns
    -------
    Place
        The open cluster; its jobs are submitted as they are needed.

    Raises
    ------
    SubmitRefusedError
        If Slurm would refuse the job.
    ClusterStartError
        If the scheduler does not start.
    """
    keywords = job_keywords(
        options,
        demand.chunks_per_worker,
        tag.log_dir,
        _job_name(tag.name),
        tag.run_id,
    )
    _choose_qos(options, keywords)
    refusals: list[str] = []
    low, high = _bounds(options, demand)
    with contextlib.ExitStack() as closing:
        closing.enter_context(quiet_dask())
        cluster = _start(keywords, _recording_job(refusals))
        # A Ctrl-C may have hit an sbatch whose job Dask does not know: those carry the id, too.
        closing.callback(cancel_jobs, tag.run_id)
        closing.callback(_close, cluster)
        client = closing.enter_context(Client(cluster, set_as_default=False))
        cluster.scale(jobs=low)  # at once; adapting begins after a second
        cluster.adapt(minimum_jobs=low, maximum_jobs=high)
        port = dashboard_port(client)

        def check() -> None:
            if refusals and not client.scheduler_info(n_workers=0)["n_workers"]:
                raise SubmitRefusedError(refusals[-1], cluster.job_script())

        return Place(
            client=client,
            mode=ExecutionMode.DISTRIBUTED,
            description=_described(low, high),
            slots=high * demand.chunks_per_worker,
            dashboard=f"http://127.0.0.1:{port}/status" if port else None,
            tunnel=tunnel_command(port) if port else None,
            check=check,
            cancel_at_once=lambda: cancel_jobs(tag.run_id, timeout_s=_AT_ONCE_S),
            closing=closing.pop_all(),
        )


def _start(keywords: dict[str, Any], job_class: type[Any]) -> Any:
    scheduler_options = {
        "dashboard_address": "127.0.0.1:8787",
        **(dask.config.get("jobqueue.slurm.scheduler-options", None) or {}),
    }
    # Elastic workers are counted by the expected time of the work; chunks are no half-second
    # tasks, as Dask would have it until the first is done.
    with (
        dask.config.set(
            {**SCHEDULER_SETTINGS, "distributed.scheduler.unknown-task-duration": "10m"}
        ),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        try:
            return SLURMCluster(
                job_cls=job_class,
                scheduler_options=scheduler_options,
                silence_logs=logging.ERROR,
                **keywords,
            )
        except (OSError, RuntimeError) as error:
            raise ClusterStartError("the scheduler of the Slurm jobs", str(error)) from error


def _close(cluster: Any) -> None:
    # dask-jobqueue 0.9.0 asserts on closing after a refused job; all is cancelled by then.
    with contextlib.suppress(AssertionError):
        cluster.close()


def _recording_job(refusals: list[str]) -> type[Any]:
    class RecordingJob(SLURMJob):  # type: ignore[misc]
        """A job that remembers why it was refused; dask-jobqueue only logs it."""

        async def start(self) -> None:
            try:
                await super().start()
            except Exception as error:
                refusals.append(str(error))
                raise

    return RecordingJob


def _choose_qos(options: WorkOptions, keywords: dict[str, Any]) -> None:
    """Add the QoS to the job if Slurm takes it; check that Slurm takes the job at all."""
    directives = keywords["job_extra_directives"]
    plain = _script(keywords)
    if options.slurm_qos is None or asks_for_qos(directives):
        _require(plain)
        return
    keywords["job_extra_directives"] = [f"--qos={options.slurm_qos}", *directives]
    answer = test_submit(_script(keywords))
    if answer.accepted:
        return
    _require(plain)
    keywords["job_extra_directives"] = directives
    warnings.warn(
        f"slurm_qos={options.slurm_qos!r} is left out: Slurm takes the job without it, and "
        f"with it says: {answer.text}. Give the QoS of your cluster, or slurm_qos=None.",
        stacklevel=2,
    )


def _require(script: str) -> None:
    answer = test_submit(script)
    if not answer.accepted:
        raise SubmitRefusedError(answer.text, script)


def _script(keywords: dict[str, Any]) -> str:
    script: str = SLURMJob("tcp://scheduler:0", name="worker", **keywords).job_script()
    return script


def _bounds(options: WorkOptions, demand: Demand) -> tuple[int, int]:
    limit = options.array_parallelism_limit
    if options.workers is None:
        n_jobs = demand.workers(limit or _MOST_JOBS)
        return n_jobs, n_jobs
    low, high = options.workers if isinstance(options.workers, tuple) else (options.workers,) * 2
    return (low, high) if limit is None else (min(low, limit), min(high, limit))


def _described(low: int, high: int) -> str:
    if low != high:
        return f"{low} to {high} Slurm jobs"
    return f"{low} Slurm job{'s' if low > 1 else ''}"


def _job_name(run_name: str) -> str:
    return f"seedwise-{re.sub('[^A-Za-z0-9_.-]', '_', run_name)}"
