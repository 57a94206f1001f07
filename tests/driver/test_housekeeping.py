"""What a driver minds now and then: signals, requests, the workers, and how far it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from seedwise.cluster.place import Place
from seedwise.driver.housekeeping import Housekeeper, requests_of
from seedwise.driver.signals import StopSignals
from seedwise.errors import ClusterError, LeaseLostError, OptionError, RunStopped
from seedwise.folder import requests as control_module
from seedwise.folder.directory import RunDirectory
from seedwise.folder.events import EventLog, read_events
from seedwise.folder.lease import acquire_lease
from seedwise.folder.requests import Request, ask
from seedwise.model.events import PoolChanged
from seedwise.model.options.mode import ExecutionMode
from seedwise.model.status import PoolNews, PoolStatus

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
        with requests_of(self.run) as control, contextlib.ExitStack() as when_closed:
            place = place or self.place
            keeper = Housekeeper(self.run, place, self.report, self.stop, control)
            when_closed.push(lambda _, error, __: keeper.tell_last_news(error))
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
    with requests_of(case.run):
        pass
    assert not case.directory.control.exists()
    assert case.kinds() == []
