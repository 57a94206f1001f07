"""The pool's loop, with a queue and workers that do as they are told; see test_pool_on_slurm."""

from __future__ import annotations

import attrs
import pytest

from seedwise.cluster.place import RunTag
from seedwise.cluster.pool.ended import BadNodes, EndedJobs
from seedwise.cluster.pool.jobs import Member
from seedwise.cluster.pool.size import Target
from seedwise.cluster.pool.slurm import SlurmPlace
from seedwise.errors import JobNeverStartsError, SubmitRefusedError, WorkersFailedError
from seedwise.errors.advice import what_to_change
from seedwise.model.options.work import ExecutionMode
from seedwise.slurm.commands import CommandError
from seedwise.slurm.ends import JobEnd
from seedwise.slurm.queue import QueuedJob
from tests.testbed.daemons import poll

AWAY = CommandError("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
REFUSED = CommandError("sbatch: error: QOSMaxSubmitJobPerUserLimit")


@attrs.define
class World:
    """Slurm and the scheduler, as far as the pool sees them, and a clock."""

    now_s: float = 0.0
    script: str = "#!/bin/sh"
    queue: dict[str, QueuedJob] = attrs.field(factory=dict)
    workers: dict[str, Member] = attrs.field(factory=dict)
    ends: dict[str, JobEnd] | None = attrs.field(factory=dict)
    submitted: list[str] = attrs.field(factory=list)
    cancelled: list[str] = attrs.field(factory=list)
    departed: list[str] = attrs.field(factory=list)
    noted: list[str] = attrs.field(factory=list)
    n_looks: int = 0
    n_sbatch: int = 0
    sbatch_says: CommandError | str | None = None
    squeue_says: CommandError | None = None
    starts: bool = True
    came_and_went: set[str] = attrs.field(factory=set)
    usable: set[str] = attrs.field(factory=lambda: {"n1", "n2", "n3", "n4"})
    excluded: list[tuple[set[str], list[str]]] = attrs.field(factory=list)

    def note(self, job_id):
        self.noted.append(job_id)

    def submit(self):
        self.n_sbatch += 1
        if isinstance(self.sbatch_says, CommandError):
            raise self.sbatch_says
        job_id = str(100 + len(self.submitted))
        self.submitted.append(job_id)
        self.queue[job_id] = QueuedJob(job_id, "PENDING", "Priority")
        return None if self.sbatch_says == "a banner" else job_id

    def list(self, known):
        self.n_looks += 1
        if self.squeue_says is not None:
            raise self.squeue_says
        return dict(self.queue)

    def cancel(self, job_ids):
        for job_id in job_ids:
            self.cancelled.append(job_id)
            self.queue.pop(job_id, None)
            self.workers.pop(job_id, None)

    def exclude(self, nodes, waiting):
        if self.squeue_says is not None:
            raise self.squeue_says
        self.excluded.append((set(nodes), list(waiting)))

    def try_without(self, nodes):
        return None if self.usable - set(nodes) else REFUSED

    def look(self):
        return dict(self.workers)

    @property
    def joined(self):
        return {*self.workers, *self.came_and_went}

    @property
    def leaving(self):
        return {job_id for job_id, worker in self.workers.items() if not worker.takes_work}

    def depart(self, job_ids, depart):
        self.departed += job_ids

    def start(self, *job_ids, n_tasks=1):
        for job_id in job_ids or list(self.queue):
            self.queue[job_id] = QueuedJob(job_id, "RUNNING", "None")
            self.workers[job_id] = Member(n_tasks, takes_work=True)

    def lose(self, *job_ids, state="CANCELLED", node=None):
        for job_id in job_ids:
            self.queue.pop(job_id, None)
            self.workers.pop(job_id, None)
            if self.ends is not None:
                self.ends[job_id] = JobEnd(job_id=job_id, state=state, node=node)


@pytest.fixture
def world():
    return World()


@pytest.fixture
def pool(world, tmp_path):
    made = make_pool(world, tmp_path, 4, 4)
    made.chunks_out = lambda: 100
    return made


def make_pool(world, log_dir, least, most, limit=None):
    nodes = BadNodes(world.try_without)
    return SlurmPlace(
        client=None,
        mode=ExecutionMode.DISTRIBUTED,
        description="jobs",
        tag=RunTag("walk", "id", log_dir, log_dir / "keys", log_dir / "jobs", print),
        book=world,
        queue=world,
        members=world,
        target=Target(least, most, slots_per_worker=1, limit=limit),
        ended=EndedJobs(lambda ids: world.ends, log_dir, nodes),
        look_every_s=15,
        clock=lambda: world.now_s,
    )


def steps(pool, world, seconds=1):
    for _ in range(seconds):
        world.now_s += 1
        pool.step()


def news(pool, kind=None):
    return [one for one in pool.news() if kind in (None, one.kind)]


def test_it_is_filled_and_every_id_is_noted_first(pool, world):
    steps(pool, world)
    assert world.submitted == world.noted == ["100", "101", "102", "103"]
    assert news(pool)[0].text == "submitted 4 jobs: 100, 101, 102, 103"
    steps(pool, world, 60)
    assert len(world.submitted) == 4


def test_a_worker_that_came_and_went_between_two_looks_has_joined(pool, world):
    """A loss that ends its job at once is no fault of the cluster: the pool goes on for it."""
    for _ in range(3):
        steps(pool, world)
        alive = list(world.queue)
        world.came_and_went.update(alive)
        world.lose(*alive, state="FAILED")
        steps(pool, world, 90)
        assert pool.error is None
    assert len(world.submitted) > 12
    assert {one.text.partition(":")[0] for one in news(pool, "lost")} == {"a worker was lost"}


def test_the_others_wait_until_the_first_have_shown_that_they_work(world, tmp_path):
    pool = make_pool(world, tmp_path, 9, 9)
    steps(pool, world)
    assert len(world.submitted) == 4
    world.start()
    steps(pool, world, 10)
    assert len(world.submitted) == 4
    pool.proved()
    steps(pool, world)
    assert len(world.submitted) == 9


def test_or_until_they_have_waited_long_enough(world, tmp_path):
    pool = make_pool(world, tmp_path, 9, 9)
    steps(pool, world, 40)
    assert len(world.submitted) == 9


def test_a_job_that_is_cancelled_in_the_queue_is_replaced_by_one(pool, world):
    steps(pool, world)
    world.lose("101")
    steps(pool, world, 16)
    assert len(world.submitted) == 5
    steps(pool, world, 60)
    assert len(world.submitted) == 5
    assert pool.pool().lost == 1
    assert "101" in [one.job_id for one in news(pool, "lost")]


def test_a_worker_that_goes_has_the_queue_looked_at_soon(pool, world):
    steps(pool, world)
    world.start()
    steps(pool, world, 20)
    world.lose("100", "101")
    steps(pool, world, 3)
    assert len(world.submitted) == 6


def test_a_worker_that_is_started_anew_is_not_replaced(pool, world):
    steps(pool, world)
    world.start()
    steps(pool, world, 20)
    del world.workers["100"]
    steps(pool, world, 10)
    world.start("100")
    steps(pool, world, 100)
    assert len(world.submitted) == 4
    assert world.cancelled == []


def test_a_job_whose_worker_does_not_come_back_is_cancelled_and_replaced(pool, world):
    steps(pool, world)
    world.start()
    steps(pool, world, 20)
    del world.workers["100"]
    steps(pool, world, 80)
    assert world.cancelled == ["100"]
    assert len(world.submitted) == 5


def test_a_queue_that_does_not_answer_says_nothing(pool, world):
    steps(pool, world)
    world.start()
    steps(pool, world, 20)
    world.squeue_says, world.sbatch_says = AWAY, AWAY
    lost = world.queue.pop("100"), world.workers.pop("100")
    steps(pool, world, 60)
    assert world.n_sbatch == 4
    assert len(news(pool, "unknown")) == 1
    assert pool.pool().waiting == "Slurm does not answer"
    assert world.n_looks < 15  # it backs off
    assert lost
    world.squeue_says = world.sbatch_says = None
    steps(pool, world, 12)
    assert len(world.submitted) == 5


def test_a_refusal_with_no_job_is_an_error_in_sbatchs_words(pool, world):
    world.sbatch_says = REFUSED
    steps(pool, world)
    assert isinstance(pool.error, SubmitRefusedError)
    assert pool.error.stderr == REFUSED.text
    assert world.n_sbatch == 1
    steps(pool, world, 100)
    assert world.n_sbatch == 1


def test_a_refusal_with_jobs_is_one_warning_and_a_smaller_pool(world, tmp_path):
    pool = make_pool(world, tmp_path, 6, 6)
    steps(pool, world)
    world.sbatch_says = REFUSED
    pool.proved()
    steps(pool, world, 200)
    assert pool.error is None
    (warning,) = [one for one in news(pool) if one.warns]
    assert warning.text == (
        "Slurm takes no more jobs; the run continues with the 4 jobs that it has: "
        "sbatch: error: QOSMaxSubmitJobPerUserLimit. "
        + what_to_change("QOSMaxSubmitJobPerUserLimit")
    )
    assert 4 < world.n_sbatch < 10
    world.sbatch_says = None
    world.lose("100")
    steps(pool, world, 20)
    assert len(world.submitted) == 7


def test_an_sbatch_that_is_not_heard_may_have_submitted_a_job(pool, world):
    world.sbatch_says = AWAY
    world.queue["77"] = QueuedJob("77", "PENDING", "Priority")
    steps(pool, world, 4)
    assert "77" in pool.jobs
    assert world.noted[0] == "77"
    world.sbatch_says = None
    steps(pool, world, 20)
    assert len(pool.jobs) == 4


def test_an_sbatch_without_an_id_is_looked_up_in_the_queue(pool, world):
    world.sbatch_says = "a banner"
    steps(pool, world)
    assert sorted(pool.jobs) == ["100", "101", "102", "103"]


def test_a_job_that_ends_is_not_taken_for_one_that_nobody_knew(world, tmp_path):
    world.queue["7"] = QueuedJob("7", "COMPLETING", "None")
    pool = make_pool(world, tmp_path, 1, 1)
    steps(pool, world, 20)
    assert sorted(pool.jobs) == ["100"]


def test_it_follows_the_work_up_at_once_and_down_after_a_pause(world, tmp_path):
    pool = make_pool(world, tmp_path, 1, 8)
    out = {"n": 6}
    pool.chunks_out = lambda: out["n"]
    pool.proved()
    steps(pool, world)
    assert len(world.submitted) == 6
    world.start(n_tasks=0)
    out["n"] = 0
    steps(pool, world, 55)
    assert world.departed == []
    out["n"] = 6  # the next trial
    steps(pool, world)
    out["n"] = 0
    steps(pool, world, 58)
    assert world.departed == []
    steps(pool, world, 5)
    assert len(world.departed) == 5


def test_only_idle_workers_go_when_there_is_less_work(world, tmp_path):
    pool = make_pool(world, tmp_path, 1, 4)
    pool.chunks_out = lambda: 4
    steps(pool, world)
    world.start(n_tasks=0)
    world.workers["100"] = world.workers["103"] = Member(1, takes_work=True)
    pool.chunks_out = lambda: 1
    steps(pool, world, 80)
    assert sorted(world.departed) == ["101", "102"]
    assert world.cancelled == []


def test_fewer_by_request_first_those_that_wait_then_idle_ones_then_busy_ones(pool, world):
    steps(pool, world)
    world.start("100", "101", n_tasks=1)
    world.start("102", n_tasks=0)
    steps(pool, world, 20)
    pool.scale(1, 1)
    steps(pool, world)
    assert world.cancelled == ["103"]
    assert world.departed == ["102", "101"]
    assert news(pool, "scaled")[0].text == "1 worker wanted"
    world.lose("101", "102", state="COMPLETED")
    steps(pool, world, 20)
    assert len(world.submitted) == 4
    assert pool.pool().lost == 0


def test_more_by_request(pool, world):
    pool.proved()
    steps(pool, world)
    pool.scale(2, 7)
    steps(pool, world)
    assert len(world.submitted) == 7


def test_a_worker_that_leaves_by_itself_is_replaced_at_once(pool, world):
    """Its walltime is near: it finishes what it does, and is given nothing more."""
    steps(pool, world)
    world.start()
    steps(pool, world, 20)
    world.workers["100"] = Member(1, takes_work=False)
    steps(pool, world)
    assert len(world.submitted) == 5
    world.lose("100", state="COMPLETED")
    steps(pool, world, 20)
    assert (len(world.submitted), pool.pool().lost) == (5, 0)
    assert [one.job_id for one in news(pool, "left")] == ["100"]
    assert pool.fault("100") == ""


def test_a_worker_that_dies_while_it_leaves_is_lost_and_why_is_said(pool, world):
    steps(pool, world)
    world.start()
    steps(pool, world, 20)
    world.workers["100"] = Member(1, takes_work=False)
    steps(pool, world)
    world.lose("100", state="OUT_OF_MEMORY")
    steps(pool, world, 20)
    assert (len(world.submitted), pool.pool().lost) == (5, 1)
    assert news(pool, "left") == []
    assert "took more memory" in pool.fault("100")


def test_who_left_in_order_nobody_knows_without_accounting(pool, world):
    steps(pool, world)
    world.start()
    steps(pool, world, 20)
    world.workers["100"] = Member(1, takes_work=False)
    steps(pool, world)
    world.ends = None
    world.lose("100")
    steps(pool, world, 30)
    assert [one.job_id for one in news(pool, "left")] == ["100"]


@pytest.mark.parametrize("reason", ["PartitionTimeLimit", "BadConstraints", "InvalidAccount"])
def test_a_reason_that_never_clears_ends_the_wait(pool, world, reason):
    steps(pool, world)
    for job_id in world.queue:
        world.queue[job_id] = QueuedJob(job_id, "PENDING", reason)
    steps(pool, world, 20)
    assert isinstance(pool.error, JobNeverStartsError)
    assert pool.error.reason == reason
    assert sorted(world.cancelled) == ["100", "101", "102", "103"]


def test_a_reason_that_never_clears_with_workers_at_work_is_a_warning(pool, world):
    steps(pool, world)
    world.start("100", "101")
    for job_id in ("102", "103"):
        world.queue[job_id] = QueuedJob(job_id, "PENDING", "BadConstraints")
    steps(pool, world, 200)
    assert pool.error is None
    assert {"102", "103"} <= set(world.cancelled)
    assert world.n_sbatch < 14


def test_jobs_that_fail_at_their_start_end_the_run_with_the_logs_tail(pool, world, tmp_path):
    for _ in range(60):
        steps(pool, world)
        for job_id in list(world.queue):
            (tmp_path / f"{job_id}.err").write_text("No module named seedwise\n")
            world.lose(job_id, state="FAILED")
    assert isinstance(pool.error, WorkersFailedError)
    assert pool.error.log_tail == "No module named seedwise"
    assert world.n_sbatch <= 12


def test_jobs_that_fail_at_their_start_without_accounting(pool, world, tmp_path):
    world.ends = None
    for _ in range(60):
        steps(pool, world)
        for job_id in list(world.queue):
            (tmp_path / f"{job_id}.err").write_text("No module named seedwise\n")
            world.lose(job_id)
    assert isinstance(pool.error, WorkersFailedError)


def test_jobs_that_others_cancel_are_no_failed_starts(pool, world):
    for _ in range(120):
        steps(pool, world)
        world.lose(*list(world.queue))
    assert pool.error is None


@pytest.mark.parametrize("most", [4, 100])
def test_the_budget(world, tmp_path, most):
    pool = make_pool(world, tmp_path, most, most)
    pool.proved()
    for _ in range(60):
        steps(pool, world)
        world.start()
        steps(pool, world)
        world.lose(*list(world.queue))
    assert world.n_sbatch <= 3 * (2 * most + 2)


def test_why_it_waits_and_until_when(pool, world):
    steps(pool, world)
    for job_id in world.queue:
        world.queue[job_id] = QueuedJob(job_id, "PENDING", "Priority", "2026-11-21T12:00:00")
    steps(pool, world, 5)
    status = pool.pool()
    assert (status.wanted, status.joined, status.pending) == (4, 0, 4)
    assert "(Priority)" in status.waiting
    assert status.expected_start_utc.startswith("2026-11-2")


def test_a_full_disk_ends_the_run(pool, monkeypatch):
    def full(world, job_id):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(World, "note", full)
    pool.follow(lambda: 100, None)
    pool._thread.join(timeout=30)
    assert isinstance(pool.error, OSError)


def test_a_refusal_while_all_workers_leave_is_no_error(pool, world):
    """Their walltime is near, and Slurm takes no more jobs than those."""
    steps(pool, world)
    world.start()
    steps(pool, world, 40)
    for job_id in world.queue:
        world.workers[job_id] = Member(1, takes_work=False)
    world.sbatch_says = REFUSED
    steps(pool, world, 30)
    assert pool.error is None
    world.sbatch_says = None
    world.lose("100", "101", "102", "103")
    steps(pool, world, 30)
    assert len(pool.jobs) == 4


def test_a_limit_of_jobs_counts_those_that_leave(world, tmp_path):
    pool = make_pool(world, tmp_path, 4, 4, limit=4)
    pool.chunks_out = lambda: 100
    pool.proved()
    steps(pool, world)
    world.start()
    steps(pool, world, 5)
    world.workers["100"] = Member(1, takes_work=False)
    steps(pool, world, 30)
    assert len(world.submitted) == 4
    world.lose("100")
    steps(pool, world, 30)
    assert len(world.submitted) == 5
    pool.scale(9, 9)
    steps(pool, world, 30)
    assert len(world.submitted) == 5


def test_workers_that_never_come_end_the_run(pool, world):
    """Such as where the prologue hangs: the jobs run, and that is all."""
    for _ in range(1000):
        steps(pool, world)
        for job_id in list(world.queue):
            world.queue[job_id] = QueuedJob(job_id, "RUNNING", "None")
    assert isinstance(pool.error, WorkersFailedError)
    assert "did not join in time" in str(pool.error)
    assert world.n_sbatch <= 8


def test_jobs_that_end_well_without_a_worker_end_the_run(pool, world):
    for _ in range(100):
        steps(pool, world)
        world.lose(*list(world.queue), state="COMPLETED")
    assert isinstance(pool.error, WorkersFailedError)


def test_the_first_wave_is_not_over_while_its_jobs_start(world, tmp_path):
    pool = make_pool(world, tmp_path, 50, 50)
    steps(pool, world, 20)
    for job_id in list(world.queue):
        world.queue[job_id] = QueuedJob(job_id, "RUNNING", "None")
    steps(pool, world, 80)
    assert len(world.submitted) == 4
    world.start()
    steps(pool, world, 40)  # a chunk that takes long: that a worker stays will do
    assert len(world.submitted) == 50


def test_a_wave_that_began_to_run_just_now_is_not_over(world, tmp_path):
    pool = make_pool(world, tmp_path, 50, 50)
    steps(pool, world, 29)
    for job_id in list(world.queue):
        world.queue[job_id] = QueuedJob(job_id, "RUNNING", "None")
    steps(pool, world, 10)
    assert len(world.submitted) == 4


def test_many_jobs_are_submitted_a_few_at_a_time(world, tmp_path):
    pool = make_pool(world, tmp_path, 45, 45)
    pool.proved()
    counts = []
    for _ in range(6):
        steps(pool, world)
        counts.append(len(world.submitted))
    assert counts == [10, 20, 30, 40, 45, 45]


def test_doomed_jobs_beside_workers_are_no_storm(world, tmp_path):
    pool = make_pool(world, tmp_path, 50, 50)
    pool.proved()
    steps(pool, world)
    world.start("100", "101")
    for _ in range(3600):
        steps(pool, world)
        for job_id, job in list(world.queue.items()):
            if job.state == "PENDING":
                world.queue[job_id] = QueuedJob(job_id, "PENDING", "BadConstraints")
    assert pool.error is None
    assert world.n_sbatch < 50 + 20
    assert len([one for one in news(pool) if one.warns]) == 1


def test_one_job_that_somebody_holds_is_let_go(pool, world):
    steps(pool, world)
    world.queue["102"] = QueuedJob("102", "PENDING", "JobHeldUser")
    steps(pool, world, 100)
    assert pool.error is None
    assert world.cancelled == ["102"]


def test_an_sbatch_that_is_never_heard_while_squeue_is_is_a_refusal(pool, world):
    world.sbatch_says = AWAY
    steps(pool, world, 120)
    assert isinstance(pool.error, SubmitRefusedError)
    assert world.n_sbatch <= 6


def test_half_an_answer_of_the_queue_is_not_believed(pool, world):
    steps(pool, world)
    world.start()
    steps(pool, world, 20)
    hidden = {job_id: world.queue.pop(job_id) for job_id in ("100", "101")}
    for job_id in hidden:
        del world.workers[job_id]
    pool._look_due_s = 0.0
    steps(pool, world)
    world.queue |= hidden
    world.start("100", "101")
    steps(pool, world, 100)
    assert len(world.submitted) == 4


def test_what_comes_back_is_taken_in_again(pool, world):
    steps(pool, world)
    world.start()
    steps(pool, world, 20)
    job, worker = world.queue.pop("100"), world.workers.pop("100")
    steps(pool, world, 20)
    assert sorted(pool.jobs) == ["101", "102", "103", "104"]
    world.queue["100"], world.workers["100"] = job, worker
    steps(pool, world, 2)
    assert "100" in pool.jobs


def test_an_sbatch_without_an_id_while_squeue_is_away(pool, world):
    world.sbatch_says, world.squeue_says = "a banner", AWAY
    steps(pool, world, 5)
    assert pool.error is None
    world.sbatch_says = world.squeue_says = None
    steps(pool, world, 30)
    assert len(pool.jobs) == 4
    assert set(pool.jobs) == set(world.queue)


def test_an_error_now_and_then_is_no_end(pool, world, monkeypatch, caplog):
    times = iter([True, True, False])

    def look(world):
        if next(times, False):
            raise KeyError("tls://127.0.0.1:1")
        return {}

    monkeypatch.setattr(World, "look", look)
    pool.follow(lambda: 100, None)
    poll(lambda: len(world.submitted) == 4, "the pool to go on")
    pool.__exit__()
    assert pool.error is None
    assert caplog.text.count("continues after an error") == 2


# Slurm's reasons, when there are several partitions, and when it has another word for waiting.


@pytest.mark.parametrize(
    ("partition", "reason", "ends"),
    [
        ("short,long", "PartitionTimeLimit", False),
        ("short,long", "InvalidAccount", True),
        ("short", "PartitionTimeLimit", True),
    ],
)
def test_of_several_partitions_another_may_start_it(pool, world, partition, reason, ends):
    steps(pool, world)
    for job_id in world.queue:
        world.queue[job_id] = QueuedJob(job_id, "PENDING", reason, "N/A", partition)
    steps(pool, world, 20)
    assert (pool.error is not None) is ends
    assert bool(world.cancelled) is ends


def test_a_job_whose_reservation_is_deleted_ends_the_wait(pool, world):
    steps(pool, world)
    for job_id in world.queue:
        world.queue[job_id] = QueuedJob(job_id, "RESV_DEL_HOLD", "ReservationDeleted")
    steps(pool, world, 20)
    assert isinstance(pool.error, JobNeverStartsError)


# Failed starts.


def test_jobs_that_slurm_cant_open_a_log_for_end_the_run(world, tmp_path):
    """They end at once, are never seen to run, and leave no log."""
    pool = make_pool(world, tmp_path, 50, 50)
    for _ in range(300):
        steps(pool, world)
        for job_id in list(world.queue):
            world.lose(job_id)
            world.ends[job_id] = JobEnd(job_id=job_id, state="FAILED", signal=53)
        if pool.error:
            break
    assert isinstance(pool.error, WorkersFailedError)
    assert len(world.submitted) <= 12


def test_jobs_cancelled_together_are_replaced_together(pool, world):
    steps(pool, world)
    world.lose(*world.queue)
    steps(pool, world, 30)
    assert len(world.submitted) == 8
    assert world.n_sbatch == 8


def test_slurm_away_for_long_is_no_refusal(pool, world):
    world.sbatch_says = world.squeue_says = AWAY
    steps(pool, world, 100)
    assert world.n_sbatch > 5
    world.squeue_says = None  # it is back, and busy
    steps(pool, world, 12)
    assert pool.error is None
    world.sbatch_says = None
    steps(pool, world, 20)
    assert len(pool.jobs) == 4


def test_a_refusal_is_said_once_however_often_there_is_room_again(world, tmp_path):
    pool = make_pool(world, tmp_path, 6, 6)
    pool.proved()
    steps(pool, world)
    world.start()
    warned = 0
    for lost in ("100", "101", "102"):
        world.sbatch_says = None
        world.lose(lost, state="PREEMPTED")
        steps(pool, world, 20)
        world.sbatch_says = REFUSED
        pool.target.scale(7, 7)  # one more than Slurm takes
        steps(pool, world, 100)
        warned += sum(one.kind == "refused" for one in news(pool))
    assert warned == 1


def test_none_is_submitted_any_more_when_it_stops(world, tmp_path, monkeypatch):
    pool = make_pool(world, tmp_path, 50, 50)
    pool.proved()

    def note_and_stop(world, job_id):
        world.noted.append(job_id)
        if len(world.noted) == 4:
            pool.halt()

    monkeypatch.setattr(World, "note", note_and_stop)
    steps(pool, world)
    assert len(world.submitted) == 4


# Bad nodes.


def lose_on(pool, world, node, *job_ids):
    """Have jobs end on a node before their worker joins, one after the other."""
    for job_id in job_ids:
        world.lose(job_id, state="FAILED", node=node)
        steps(pool, world, 20)


def test_jobs_to_come_and_jobs_that_wait_are_kept_off_a_bad_node(pool, world):
    steps(pool, world)
    world.start("103")
    lose_on(pool, world, "n1", "100")
    assert world.excluded == []
    lose_on(pool, world, "n1", "101")
    (excluded,) = world.excluded
    assert excluded == ({"n1"}, ["102", "104"])
    assert list(pool.pool().excluded_nodes) == ["n1"]
    (told,) = news(pool, "excluded")
    assert told.warns
    assert told.text == "excluded node n1: 2 jobs ended there before their worker joined"
    steps(pool, world, 3570)
    assert len(world.excluded) == 1
    steps(pool, world, 30)
    assert world.excluded[1:] == [(set(), ["102", "104", "105"])]
    assert pool.pool().excluded_nodes == {}


def test_scale_allows_bad_nodes_again(pool, world):
    steps(pool, world)
    lose_on(pool, world, "n1", "100", "101")
    pool.scale(5, 5)
    steps(pool, world)
    assert [nodes for nodes, _ in world.excluded] == [{"n1"}, set()]


def test_a_bad_node_is_excluded_once_slurm_answers_again(pool, world):
    steps(pool, world)
    lose_on(pool, world, "n1", "100")
    world.lose("101", state="FAILED", node="n1")
    steps(pool, world, 3)
    world.squeue_says = AWAY
    steps(pool, world, 20)
    assert world.excluded == []
    world.squeue_says = None
    steps(pool, world, 20)
    assert [nodes for nodes, _ in world.excluded] == [{"n1"}]


def test_one_bad_node_neither_ends_the_run_nor_slows_it_down(world, tmp_path):
    """It is the node that is free, so that all jobs go there."""
    pool = make_pool(world, tmp_path, 2, 2)
    for _ in range(30):
        steps(pool, world)
        for job_id in list(world.queue):
            if any("n1" in nodes for nodes, _ in world.excluded):
                world.start(job_id)
            else:
                world.lose(job_id, state="FAILED", node="n1")
    assert pool.error is None
    assert pool.pool().joined == 2


def test_where_all_nodes_are_bad_the_run_ends_soon(world, tmp_path):
    pool = make_pool(world, tmp_path, 1, 1)
    for _ in range(30):
        steps(pool, world)
        free = sorted(world.usable - (world.excluded[-1][0] if world.excluded else set()))
        for job_id in list(world.queue):
            world.lose(job_id, state="FAILED", node=free[0])
    assert isinstance(pool.error, WorkersFailedError)
    assert pool.error.nodes == ("n1", "n2", "n3")
    assert world.n_sbatch == pool.error.n_jobs == 5
