"""Where a run's chunks are evaluated: how many it may evaluate at once, on how many workers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from itertools import groupby
from types import SimpleNamespace

import attrs
import pytest

import seedwise as sw
from seedwise.cluster.place import Demand, Place
from seedwise.cluster.pool import size
from seedwise.disk import every
from seedwise.dispatch.dispatcher import DaskDispatcher
from seedwise.driver import workplace
from seedwise.driver.signals import StopSignals
from seedwise.driver.workplace import Housekeeper, _slots, _tells_of_late
from seedwise.errors import ClusterError, LeaseLostError, OptionError, RunStopped
from seedwise.folder import requests as control_module
from seedwise.folder.directory import EventLog, RunDirectory, read_events
from seedwise.folder.lease import acquire_lease
from seedwise.folder.requests import Control, Request, ask
from seedwise.model.events import PoolChanged
from seedwise.model.options.study import RunOptions
from seedwise.model.options.work import ExecutionMode
from seedwise.model.status import PoolNews, PoolStatus
from tests.losses import bowl


@pytest.fixture
def now(monkeypatch):
    now = SimpleNamespace(s=1000.0)
    monkeypatch.setattr(every, "time", SimpleNamespace(monotonic=lambda: now.s))
    return now


def place(kind: type[Place] = Place) -> Place:
    return kind(client=None, mode=ExecutionMode.SINGLE, description="here", slots=7)


def test_the_slots_follow_the_threads_of_a_cluster_that_was_passed(now):
    def nthreads():
        if not threads:
            raise OSError("the scheduler is gone")
        return threads

    threads = {"a": 2}
    passed = attrs.evolve(place(), client=SimpleNamespace(nthreads=nthreads))
    slots = _slots(passed, Demand([99], chunks_per_worker=3))
    assert slots() == 7
    threads.update(b=10, c=5)
    assert slots() == 7  # it is not asked all the time
    now.s += 2.0
    assert slots() == 17
    threads.clear()
    now.s += 2.0
    assert slots() == 17


def test_the_slots_follow_the_bounds_of_the_pool(now):
    most, asked = 2, []

    class Pooled(Place):
        def pool(self) -> PoolStatus:
            asked.append(now.s)
            return PoolStatus(least=1, most=most, wanted=1, joined=1, pending=0)

    demand = Demand([99], chunks_per_worker=3)
    slots = _slots(place(Pooled), demand)
    assert [slots() for _ in range(100)] == [6] * 100
    assert len(asked) == 1
    most = 20
    now.s += 1.0
    assert slots() == 60
    # Some of them have nothing to do.
    demand.change("a job", 5)
    now.s += 1.0
    assert slots() == 5


@pytest.mark.parametrize(
    ("given", "ends", "told"),
    [
        (
            {"slurm_timeout_minutes": 90},
            True,
            "{} has run for more than slurm_timeout_minutes=90: its chunks",
        ),
        (
            {},
            False,
            "{} has run for more than 120 minutes, and goes on; to have such trials fail",
        ),
    ],
)
def test_a_limit_that_strikes_is_told(given, ends, told):
    notes = []
    tell = _tells_of_late(RunOptions.from_keywords({"cluster": "slurm", **given}), notes.append)
    tell((None, 3, ""))
    tell(("p1", 4, ""))
    tell((None, 5, "validation-2"))
    who = ["trial 3", "trial 4 of entry 'p1'", "trial 5, on fresh seeds,"]
    who = who if ends else who[:1]  # once is enough
    assert len(notes) == len(who)
    assert all(note.startswith(told.format(one)) for note, one in zip(notes, who, strict=True))


# How many workers there are.

#: Chunks of a trial, of the candidates of each round, and of the winner.
OF_A_STUDY = [7, 10, 6, 8, 16]


@pytest.fixture
def wanted(client, monkeypatch):
    """How many workers a pool wants whenever results are waited for, a minute after the last."""
    wanted: list[int] = []
    places = []

    class Followed(Place):
        def follow(self, chunks_out, depart):
            del depart
            self.chunks_out = chunks_out

    def open_shared(options, demand, tag):
        del tag
        place = Followed(client=client, mode=ExecutionMode.SINGLE, description="here", slots=2)
        place.target = size.Target(*size.worker_bounds(options, demand), demand.chunks_per_worker)
        places.append(place)
        return place

    wait = DaskDispatcher.wait

    def noted_wait(self):
        wanted.append(places[-1].target.wanted(places[-1].chunks_out(), 61.0 * len(wanted)))
        return wait(self)

    monkeypatch.setattr(workplace, "open_place", open_shared)
    monkeypatch.setattr(size, "CPU_COUNT", 64)
    monkeypatch.setattr(DaskDispatcher, "wait", noted_wait)
    return wanted


@pytest.fixture
def options(tmp_path):
    plan = {"n_trials": 5, "n_seeds": 14, "chunk_size": 2, "race": False, "self_check": False}
    fresh = {"n_validation_seeds": 32, "n_validation_candidates": 5, "sampler": "random"}
    return plan | fresh | {"run_root": tmp_path, "run_name": "mine", "progress": False}


def without_repeats(numbers: list[int]) -> list[int]:
    return [number for number, _ in groupby(numbers)]


def test_the_workers_are_as_many_as_each_part_of_a_study_can_use(wanted, options):
    sw.optimize_run(bowl, **options)
    assert without_repeats(wanted) == without_repeats(OF_A_STUDY)


def test_a_round_that_is_resumed_needs_workers_for_the_rest_alone(wanted, options, tmp_path):
    result = sw.optimize_run(bowl, **options)
    record = tmp_path / "mine/validation.json"
    record.write_text(json.dumps({"of": json.loads(record.read_text())["of"]}))
    ledger = tmp_path / "mine/validation.ledger"
    ledger.write_bytes(ledger.read_bytes()[:-1])  # the last chunk is torn
    wanted.clear()
    assert sw.optimize_run(bowl, **options) == result
    assert {*wanted} == {1}


def test_of_entries_those_that_are_worked_on_count(wanted, options):
    del options["run_name"]
    options["entry_ids"] = ["a", "b"]
    sw.optimize_entries(bowl, **options, max_concurrent_entries=1)
    assert without_repeats(wanted) == without_repeats(2 * OF_A_STUDY)
    wanted.clear()
    sw.optimize_entries(bowl, **options)
    # One may search while the other is validated.
    assert wanted[0] == 2 * OF_A_STUDY[0]
    assert {*wanted} <= {a + b for a in (0, *OF_A_STUDY) for b in OF_A_STUDY}


def test_a_number_of_workers_that_is_given_is_kept(wanted, options):
    sw.optimize_run(bowl, **options, workers=3)
    assert {*wanted} == {3}


def test_within_bounds_the_workers_follow_the_chunks_that_are_out(wanted, options):
    sw.optimize_run(bowl, **options, workers=(1, 9))
    assert max(wanted) == 9  # of ten in the first round
    assert min(wanted) < 6


# What a driver minds now and then: signals, requests, the workers, and how far it is.


SCALE = Request(scale=(2, 10), by="ada")
STOP = Request(by="ada")
POOL = PoolStatus(least=2, most=10, wanted=8, joined=3, pending=5)
SUBMITTED = PoolNews(kind="submitted", text="a job", job_id="7")
LOST = PoolNews(kind="lost", text="job 7 is gone", job_id="7", warns=True)
SCALED = PoolNews(kind="scaled", text="2 to 10 workers")


class FakePlace(Place):
    """A place that takes note of what is asked of it."""

    def __init__(self) -> None:
        super().__init__(client=None, mode=ExecutionMode.DISTRIBUTED, description="Slurm")
        self.bounds: list[tuple[int, int]] = []
        self.error: Exception | None = None
        self.fatal: Exception | None = None
        self.happened: list[PoolNews] = []
        self.n_checks = 0

    def check(self) -> None:
        self.n_checks += 1
        if self.fatal is not None:
            self.happened = [LOST]
            raise self.fatal

    def scale(self, least: int, most: int) -> None:
        if self.error is not None:
            raise self.error
        self.bounds.append((least, most))

    def news(self) -> list[PoolNews]:
        news, self.happened = self.happened, []
        return news

    def pool(self) -> PoolStatus:
        return POOL


class FakeReport:
    """A report that takes note of what it is told."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.take = self.events.append
        self.n_refreshed = 0

    def refresh(self) -> None:
        self.n_refreshed += 1


class Case:
    """A run whose place is open, or not, in a folder."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self.place = FakePlace()
        self.report = FakeReport()
        self.stop = StopSignals(directory.path)
        self.run = SimpleNamespace(directory=directory, log=EventLog(directory.event_log))

    @contextlib.contextmanager
    def kept(self, place: Place | None = None) -> Iterator[Callable[[], None]]:
        """Keep house as a workplace does; give what looks once."""
        with Control(self.directory) as control, contextlib.ExitStack() as when_closed:
            place = place or self.place
            keeper = Housekeeper(self.run, place, self.report, self.stop, control)
            when_closed.push(keeper.tell_last_news)
            yield keeper.look

    def kinds(self) -> list[str]:
        return [event["kind"] for event in read_events(self.directory)]

    def leave(self, *requests: Request) -> None:
        for request in requests:
            ask(self.directory, request, timeout_s=0)


@pytest.fixture
def case(tmp_path, monkeypatch):
    monkeypatch.setattr(control_module, "_POLL_EVERY_S", 0.0)
    directory = RunDirectory(tmp_path)
    with acquire_lease(directory.lease):
        yield Case(directory)


def test_a_request_reaches_the_place_and_is_answered(case):
    with case.kept() as look:
        case.leave(SCALE)
        look()
        assert case.place.bounds == [(2, 10)]
        ask(case.directory, SCALE)  # the answer is there
        look()
    assert case.place.bounds == [(2, 10)]
    assert [event["text"] for event in read_events(case.directory)] == [str(SCALE)]
    assert (case.place.n_checks, case.report.n_refreshed) == (2, 2)
    assert not case.directory.control.exists()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OptionError("workers", (2, 10), "left to its owner"), "must be left to its owner"),
        (OSError("the scheduler is away"), "OSError: the scheduler is away"),
    ],
)
def test_a_place_that_can_not_be_scaled_says_so_and_the_run_goes_on(case, error, words):
    case.place.error = error
    with case.kept() as look:
        case.leave(SCALE)
        look()
        with pytest.raises(RuntimeError, match=words):
            ask(case.directory, SCALE)
        look()


def test_a_place_that_was_passed_is_its_owners_to_scale(case):
    passed = Place(client=None, mode=ExecutionMode.DISTRIBUTED, description="a client")
    with case.kept(passed) as look:
        case.leave(SCALE)
        look()
        with pytest.raises(RuntimeError, match="the owner of a cluster that was passed"):
            ask(case.directory, SCALE)


def test_a_stop_is_answered_and_ends_the_run_in_order(case):
    def work() -> None:
        with case.kept() as look:
            case.leave(STOP, SCALE)  # both count
            look()

    with pytest.raises(RunStopped) as caught:
        work()
    assert (caught.value.signal, caught.value.code) == (None, 75)
    assert caught.value.run_dir == case.directory.path
    assert case.place.bounds == [(2, 10)]
    assert case.kinds() == ["asked", "asked"]
    assert not case.directory.control.exists()
    with pytest.raises(RunStopped):
        case.stop.check()


def test_a_signal_comes_before_all_else(case):
    with case.kept() as look:
        case.leave(SCALE)
        case.stop.request()
        with pytest.raises(RunStopped):
            look()
    assert case.place.bounds == []


def test_all_news_is_logged_and_what_is_to_be_seen_is_told(case):
    with case.kept() as look:
        case.place.happened = [SUBMITTED, LOST, SCALED]
        look()
        assert case.report.events == [PoolChanged(LOST, POOL), PoolChanged(SCALED, POOL)]
        look()
    assert case.kinds() == ["submitted", "lost", "scaled"]
    assert len(case.report.events) == 2


def test_news_that_explains_the_end_is_not_lost(case, monkeypatch):
    def work() -> None:
        case.place.fatal = ClusterError("no jobs any more")
        with case.kept() as look:
            look()

    with pytest.raises(ClusterError):
        work()
    assert case.kinds() == ["lost"]
    assert case.report.events == [PoolChanged(LOST, POOL)]


def test_nothing_is_written_of_a_run_that_is_anothers(case):
    def work() -> None:
        with case.kept():
            case.place.happened = [LOST]
            raise LeaseLostError(case.directory.path, "process 7 on node3")

    with pytest.raises(LeaseLostError):
        work()
    assert case.kinds() == []
    assert case.directory.control.exists()  # it is the other's by now


def test_a_place_that_never_opened(case):
    with Control(case.directory):
        pass
    assert not case.directory.control.exists()
    assert case.kinds() == []
