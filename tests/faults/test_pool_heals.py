"""A pool of Slurm jobs that all kinds of things happen to; it is back at its target soon after."""

from __future__ import annotations

import json
import re
import time

import psutil
import pytest

import seedwise as sw
from seedwise.view.status import status_lines
from tests.faults.harness import Driver, driver, expected_table
from tests.faults.loss import evaluations
from tests.testbed.daemons import poll

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

RUN = {"n_trials": 16, "n_seeds": 24, "chunk_size": 2, "max_concurrent_trials": 4}
#: One job on each of the four nodes; the others wait.
ON_SLURM = {
    **RUN,
    "cluster": "slurm",
    "workers": 2,
    "cpus_per_task": 5,
    "mem_per_cpu": "200M",
    "slurm_qos": "short",
}
#: A run whose seeds take this long is at work for three minutes at least, unless it is hurried.
PACE_S = 2.0


@pytest.fixture
def site(slurm, monkeypatch):
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__INTERFACE", "lo")
    return slurm


class Pool:
    """The pool of a run, as Slurm and the run's folder tell of it."""

    def __init__(self, slurm, run: Driver) -> None:
        self.slurm = slurm
        self.run = run
        self.n_hit = 0

    def jobs(self, state: str) -> list[str]:
        listed = self.slurm.run(
            "squeue", "--noheader", f"--name={self.run.name}", "--format=%i %T"
        )
        return [line.split()[0] for line in listed.splitlines() if line.split()[1] == state]

    def node_of(self, job_id: str) -> str:
        return self.slurm.run("squeue", "--noheader", f"--jobs={job_id}", "--format=%N").strip()

    def excluded(self, job_id: str) -> set[str]:
        (nodes,) = re.findall(
            r"ExcNodeList=(\S*)", self.slurm.run("scontrol", "show", "job", job_id)
        )
        return set(self.slurm.run("scontrol", "show", "hostnames", nodes).split())

    def wait_for(self, joined: int, pending: int, gone: set[str] = frozenset()) -> None:
        """Wait until so many workers are there and so many jobs wait, none of them of `gone`."""
        began_s = time.monotonic()

        def is_there() -> str:
            assert self.run.running, self.run.stderr
            if not self.run.directory.has_begun:
                return ""
            pool = sw.run_status(self.run.directory.path).pool
            running, waiting = self.jobs("RUNNING"), self.jobs("PENDING")
            there = pool is not None and (pool.joined, pool.pending) == (joined, pending)
            there = there and (len(running), len(waiting)) == (joined, pending)
            return "yes" if there and not gone & {*running, *waiting} else ""

        poll(is_there, f"{joined} workers and {pending} waiting jobs", pause=0.2)
        print(f"{joined} + {pending} after {time.monotonic() - began_s:.1f} s")

    def cancel(self, *job_ids: str) -> set[str]:
        self.slurm.run("scancel", *job_ids)
        self.n_hit += len(job_ids)
        return set(job_ids)

    def kill_a_worker(self) -> str:
        """Kill a worker and its nanny, so that their job ends; return the job."""
        for pid, _, _ in reversed(evaluations(self.run.evaluation_log)):
            try:
                worker = psutil.Process(pid)
                nanny, job = worker.parent(), worker.environ()["SLURM_JOB_ID"]
            except psutil.NoSuchProcess:
                continue
            if nanny is not None and "dask_worker" in " ".join(nanny.cmdline()):
                nanny.kill()
                worker.kill()
                self.n_hit += 1
                return job
        raise AssertionError("no worker was found")

    @property
    def n_submitted(self) -> int:
        return len(self.run.directory.jobs_file.read_text().splitlines())

    def news(self, kind: str) -> list[str]:
        lines = self.run.directory.event_log.read_text().splitlines()
        return [one["text"] for one in map(json.loads, lines) if one["kind"] == kind]

    def wait_for_news(self, kind: str) -> None:
        def is_there() -> bool:
            assert self.run.running, self.run.stderr
            return self.run.directory.event_log.exists() and bool(self.news(kind))

        poll(is_there, f"news of {kind}")


def test_the_pool_heals(site, client, tmp_path):
    with driver(tmp_path, "healed", {**ON_SLURM, "workers": 6}, pace_s=0.1) as run:
        run.start()
        pool = Pool(site, run)
        run.wait_for(1)
        run.set_pace(PACE_S)
        pool.wait_for(4, 2)
        lost = pool.kill_a_worker()
        running = [job_id for job_id in pool.jobs("RUNNING") if job_id != lost]
        pool.wait_for(4, 2, {lost} | pool.cancel(running[0], pool.jobs("PENDING")[0]))
        healed(pool, expected_table(client, RUN), n_jobs=6, n_hit=3)


@pytest.mark.full
def test_the_pool_heals_of_all_that_happens(site, client, tmp_path):
    longer = {"n_trials": 30}
    with driver(tmp_path, "healed", {**ON_SLURM, **longer}, pace_s=PACE_S) as run:
        run.start()
        pool = Pool(site, run)
        poll(lambda: run.n_evaluations, "the first evaluation")
        sw.connect(run.directory.path).scale(8)
        pool.wait_for(4, 4)
        running, waiting = pool.jobs("RUNNING"), pool.jobs("PENDING")
        pool.wait_for(4, 4, pool.cancel(*running[:3], *waiting[:2]))
        drain_a_node(site, pool)
        lose_a_worker_without_slurmctld(site, pool, 60)
        cancel_a_job_without_slurmdbd(site, pool)
        healed(pool, expected_table(client, {**RUN, **longer}), n_jobs=8, n_hit=8)


def healed(pool: Pool, expected: str, n_jobs: int, n_hit: int) -> None:
    """See that the run comes to its table, with one new job for each that was lost."""
    run = pool.run
    run.set_pace(0)
    assert run.wait() == 0, run.stderr
    assert run.table == expected
    assert pool.n_hit == n_hit
    assert pool.n_submitted <= n_jobs + n_hit + 2
    assert len(pool.news("unknown")) <= 3
    print("\n".join(pool.news("lost")))


def drain_a_node(slurm, pool: Pool) -> None:
    node = pool.node_of(pool.jobs("RUNNING")[0])
    slurm.run("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    try:
        on_node = [job for job in pool.jobs("RUNNING") if pool.node_of(job) == node]
        pool.wait_for(3, 5, pool.cancel(*on_node))
    finally:
        slurm.run("scontrol", "update", f"nodename={node}", "state=resume")
    pool.wait_for(4, 4)


def lose_a_worker_without_slurmctld(slurm, pool: Pool, away_s: float) -> None:
    slurm.halt("slurmctld")
    try:
        began_s = time.monotonic()
        lost = pool.kill_a_worker()
        pool.run.wait_for(4)
        poll(lambda: pool.news("unknown"), "the pool to know that Slurm is away")
        poll(lambda: time.monotonic() - began_s > away_s, "the time to be over")
        assert pool.run.running, pool.run.stderr
    finally:
        slurm.revive("slurmctld")
    pool.wait_for(4, 4, {lost})


def cancel_a_job_without_slurmdbd(slurm, pool: Pool) -> None:
    slurm.halt("slurmdbd")
    try:
        pool.wait_for(4, 4, pool.cancel(pool.jobs("RUNNING")[0]))
    finally:
        slurm.revive("slurmdbd")


@pytest.mark.full
def test_from_2_workers_to_8_to_1(site, client, tmp_path):
    on_slurm = {**ON_SLURM, "cpus_per_task": 1}
    with driver(tmp_path, "scaled", on_slurm, pace_s=PACE_S) as run:
        run.start()
        pool = Pool(site, run)
        pool.wait_for(2, 0)
        handle = sw.connect(run.directory.path)
        handle.scale(8)
        pool.wait_for(8, 0)
        handle.scale(1)
        pool.wait_for(1, 0)
        n_before = len(evaluations(run.evaluation_log))
        run.wait_for(12)
        assert len({pid for pid, _, _ in evaluations(run.evaluation_log)[n_before + 4 :]}) == 1
        run.set_pace(0)
        assert run.wait() == 0, run.stderr
        assert run.table == expected_table(client, RUN)
        assert "lost" not in run.stderr
        done = [(trial, seed) for _, trial, seed in evaluations(run.evaluation_log)]
        assert len(done) == len(set(done)) == RUN["n_trials"] * RUN["n_seeds"]
        assert pool.n_submitted == 8


@pytest.mark.full
def test_a_whole_node_job_heals(site, client, tmp_path):
    """Eight processes of one thread in each job, on two nodes of eight CPUs."""
    keywords = {
        **ON_SLURM,
        "chunk_size": 24,
        "cpus_per_task": 8,
        "worker_parallelism": 8,
        "use_processes": True,
    }
    with driver(tmp_path, "whole", keywords, pace_s=PACE_S) as run:
        run.start()
        pool = Pool(site, run)
        pool.wait_for(2, 0)
        run.wait_for(20)
        (job_id, *_) = pool.jobs("RUNNING")
        gone = pool.cancel(job_id)
        pool.wait_for(2, 0, gone)
        run.wait_for(20)
        pids = {pid for pid, _, _ in evaluations(run.evaluation_log)}
        assert len(pids) >= 16
        run.set_pace(0)
        assert run.wait() == 0, run.stderr
        assert run.table == expected_table(client, RUN)


#: Lines of a job script that fail on the node that runs them first, and on no other.
FIRST_NODE_IS_BAD = (
    'test -e {0} || echo "$SLURMD_NODENAME" > {0}',
    'test "$(cat {0})" != "$SLURMD_NODENAME" || {{ echo "no home folder here" >&2; exit 1; }}',
)


@pytest.mark.full
@pytest.mark.parametrize(
    ("workers", "cpus"),
    [
        pytest.param(2, 1, id="both jobs on one node"),
        pytest.param(6, 5, id="a job on each node, and others wait"),
    ],
)
def test_a_bad_node_is_excluded(site, client, tmp_path, monkeypatch, workers, cpus):
    """The jobs go on without it, and without the node that the site excludes."""
    bad = tmp_path / "bad"
    prologue = [line.format(bad) for line in FIRST_NODE_IS_BAD]
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__JOB_SCRIPT_PROLOGUE", repr(prologue))
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__JOB_EXTRA_DIRECTIVES", repr(["-x n[4-4]"]))
    keywords = {**ON_SLURM, "workers": workers, "cpus_per_task": cpus}
    with driver(tmp_path, "bad_node", keywords, pace_s=0.5) as run:
        run.start()
        pool = Pool(site, run)
        pool.wait_for_news("excluded")
        pool.wait_for(2, workers - 2)
        node = bad.read_text().strip()
        off = {node, "n4"}
        assert all(pool.excluded(job_id) == off for job_id in pool.jobs("PENDING"))
        (last, *_) = pool.news("submitted")[::-1]
        assert all(pool.excluded(job_id) == off for job_id in re.findall(r"\d{2,}", last))
        status = sw.run_status(run.directory.path)
        lines = status_lines(status, run.directory.path)
        run.set_pace(0)
        assert run.wait() == 0, run.stderr
    assert run.table == expected_table(client, RUN)
    (why,) = status.pool.excluded_nodes.values()
    assert re.match(r"2 jobs ended there before their worker joined; the last one: job \d+ ", why)
    assert why.endswith("'no home folder here'")
    assert ["excluded", f"node {node}: {why}"] in [line.split(maxsplit=1) for line in lines]
    assert pool.news("excluded") == [f"excluded node {node}: {why.partition(';')[0]}"]
    assert run.stderr.count(f"seedwise: excluded node {node}: ") == 2
    assert run.stderr.splitlines()[-2] == f"seedwise: excluded node {node}: {why}"
