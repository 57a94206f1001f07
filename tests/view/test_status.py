"""How far a run is, in lines."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest

from seedwise.folder.directory import EventLog, RunDirectory
from seedwise.folder.find import entry_directory
from seedwise.model.status import PoolNews, RunStatus
from seedwise.view.status import progress_line, status_lines
from tests.builders import pool_status, run_status

NOW = datetime(2026, 8, 1, 10, 30, tzinfo=UTC)

RUNNING = run_status(
    n_trials=200,
    pending=117,
    running=16,
    running_seeds=16_000,
    running_seeds_done=1234,
    done=60,
    failed=2,
    pruned=5,
    trials_per_s=0.05,
    expected_end_utc="2026-08-01T13:42:30+00:00",
    best_value=1 / 3,
    driver="process 4242 on login1, since 2026-08-01T10:00:00+00:00",
)
POOL = pool_status()
STOPPED = attrs.evolve(
    RUNNING,
    state="stopped",
    pending=133,
    running=0,
    running_seeds=0,
    expected_end_utc=None,
    driver=None,
)
NEW = attrs.evolve(
    RUNNING,
    n_trials=0,
    pending=0,
    running=0,
    running_seeds=0,
    done=0,
    failed=0,
    pruned=0,
    trials_per_s=None,
    expected_end_utc=None,
    best_value=None,
)


@pytest.fixture
def run_dir(tmp_path) -> Path:
    """The folder of a run."""
    directory = RunDirectory(tmp_path / "my fit")
    directory.path.mkdir()
    directory.meta.write({})
    return directory.path


def row(status: RunStatus, name: str) -> str | None:
    """Return what the row of a name says."""
    lines = status_lines(status, Path(), now_utc=NOW)
    rows = [line.strip() for line in lines if line.strip().startswith(f"{name} ")]
    return rows[0].removeprefix(name).strip() if rows else None


def test_a_run_that_goes_on(in_india):
    assert status_lines(RUNNING, Path("fit"), now_utc=NOW) == [
        "run           running",
        "driver        process 4242 on login1, since 2026-08-01T10:00:00+00:00",
        "trials        67 of 200 told, 33.5 %",
        "  pending     117   58.5 %",
        "  running      16    8.0 %  1234 of their 16000 seeds done",
        "  done         60   30.0 %",
        "  failed        2    1.0 %",
        "  pruned        5    2.5 %",
        "rate          3 a minute",
        "expected end  2026-08-01 19:12 (in 3 h 12 min)",
        "best so far   0.333333",
    ]


def test_one_that_is_stopped_says_how_to_go_on(run_dir):
    *rows, last = status_lines(STOPPED, run_dir)
    assert rows == [
        "run          stopped",
        "trials       67 of 200 told, 33.5 %",
        "  pending    133   66.5 %",
        "  running      0    0.0 %",
        "  done        60   30.0 %",
        "  failed       2    1.0 %",
        "  pruned       5    2.5 %",
        "rate         3 a minute, while it ran",
        "best so far  0.333333",
    ]
    label, _, command = last.partition(": ")
    assert label == "to resume"
    assert shlex.split(command) == ["seedwise", "resume", str(run_dir)]


def test_a_relative_folder_is_gone_on_with_from_any_folder(run_dir, monkeypatch):
    monkeypatch.chdir(run_dir)
    assert shlex.split(status_lines(STOPPED, Path())[-1])[-1] == str(run_dir)


def test_an_entry_is_gone_on_with_as_a_part_of_its_run(run_dir):
    entry = entry_directory(RunDirectory(run_dir), "anna")
    entry.meta.write({})
    assert shlex.split(status_lines(STOPPED, entry.path)[-1])[-1] == str(run_dir)


@pytest.mark.parametrize("of_entry", [False, True])
def test_a_driver_that_was_killed_may_have_left_jobs(run_dir, of_entry):
    directory = home = RunDirectory(run_dir)
    if of_entry:
        directory = entry_directory(home, "anna")
        directory.meta.write({})

    def driver() -> str | None:
        lines = status_lines(STOPPED, directory.path)
        return next((line[7:].strip() for line in lines if line.startswith("driver ")), None)

    assert driver() is None
    home.lease.touch()
    assert driver() == "was killed"  # local workers end with it
    home.log_dir.mkdir()
    home.jobs_file.touch()
    command = shlex.join(["seedwise", "clean", str(run_dir)])
    assert driver() == f"was killed; jobs may be left: {command}"
    home.lease.unlink()
    assert driver() is None  # it let go, and its jobs are gone


def test_one_that_is_finished_is_not_gone_on_with():
    lines = status_lines(attrs.evolve(STOPPED, state="finished"), Path("of no run"))
    assert lines[0].split() == ["run", "finished"]
    assert not any("resume" in line for line in lines)


def test_one_that_has_just_begun():
    assert status_lines(NEW, Path("fit")) == [
        "run     running",
        f"driver  {RUNNING.driver}",
        "trials  not counted yet",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "3 at work, 5 pending of 8 wanted (2 to 10)"),
        ({"joined": 8, "pending": 0}, "8 at work of 8 wanted (2 to 10)"),
        ({"least": 8, "most": 8}, "3 at work, 5 pending of 8 wanted"),
        ({"least": 9, "most": 9}, "3 at work, 5 pending of 9 wanted"),
        ({"least": 2, "most": 2, "pending": 0}, "3 at work of 2 wanted, 1 leaves after its chunk"),
        ({"lost": 2}, "3 at work, 5 pending of 8 wanted (2 to 10), 2 lost so far"),
    ],
)
def test_the_workers_are_told(changes, words):
    assert row(attrs.evolve(RUNNING, pool=attrs.evolve(POOL, **changes)), "workers") == words


@pytest.mark.parametrize(
    ("waiting", "start", "words"),
    [
        (None, None, None),
        ("the queue is full", None, "the queue is full"),
        (
            "the queue is full",
            "2026-08-01T11:00:30+00:00",
            "the queue is full; expected start 2026-08-01 16:30 (in 30 min)",
        ),
        (None, "2026-08-01T11:00:30+00:00", "expected start 2026-08-01 16:30 (in 30 min)"),
    ],
)
def test_it_is_told_why_workers_are_waited_for(in_india, waiting, start, words):
    pool = attrs.evolve(POOL, waiting=waiting, expected_start_utc=start)
    assert row(attrs.evolve(RUNNING, pool=pool), "waiting") == words


def test_nodes_that_are_excluded_are_told_with_the_reason():
    pool = attrs.evolve(POOL, excluded_nodes={"n1": "2 jobs ended", "n7": "3 jobs ended"})
    lines = status_lines(attrs.evolve(RUNNING, pool=pool), Path(), now_utc=NOW)
    assert [line for line in lines if line.startswith("excluded")] == [
        "excluded      node n1: 2 jobs ended",
        "excluded      node n7: 3 jobs ended",
    ]


def test_without_a_pool_nothing_is_said_of_workers():
    assert row(RUNNING, "workers") is None


def lost(number: int, kind: str = "lost") -> PoolNews:
    return PoolNews(kind=kind, text=f"job {number} ended:\nno memory", job_id=str(number))


def losses(status: RunStatus, path: Path) -> list[str]:
    """Return what is said of workers that were lost or refused, without the time."""
    rows = [line.split() for line in status_lines(status, path, now_utc=NOW)]
    return [" ".join([row[0], *row[3:]]) for row in rows if row[0] in ("lost", "refused")]


def test_why_the_last_workers_died_is_told(run_dir):
    log = EventLog(RunDirectory(run_dir).event_log)
    log.write("started", "by process 1")
    log.write_news([lost(1), PoolNews(kind="joined", text="n2")])
    assert losses(RUNNING, run_dir) == losses(STOPPED, run_dir) == ["lost job 1 ended: no memory"]
    log.write_news([lost(2), lost(3, "refused"), lost(4)])
    assert losses(RUNNING, run_dir) == [
        "lost job 2 ended: no memory",
        "refused job 3 ended: no memory",
        "lost job 4 ended: no memory",
    ]
    entry = entry_directory(RunDirectory(run_dir), "anna")
    entry.meta.write({})
    assert len(losses(RUNNING, entry.path)) == 3
    assert losses(attrs.evolve(STOPPED, state="finished"), run_dir) == []


def test_what_befell_an_earlier_driver_is_not_told(run_dir):
    log = EventLog(RunDirectory(run_dir).event_log)
    log.write_news([lost(1)])
    log.write("resumed", "by process 2")
    assert losses(RUNNING, run_dir) == []
    log.write_news([lost(2)])
    assert losses(STOPPED, run_dir) == ["lost job 2 ended: no memory"]


def test_when_a_worker_died_is_told_in_local_time(in_india, run_dir):
    log = RunDirectory(run_dir).event_log
    log.write_text(
        '{"kind": "lost", "text": "a", "at_utc": "2026-08-01T10:29:59.123+00:00"}\n'
        '{"kind": "lost", "text": "b", "at_utc": "some day"}\n[]\n{}\n'
    )
    rows = [line for line in status_lines(RUNNING, run_dir) if line.startswith("lost")]
    assert rows == ["lost          2026-08-01 15:59 a", "lost          b"]


def test_entries_are_told_by_state():
    entries = {"pending": 3, "running": 2, "done": 4, "failed": 1}
    status = attrs.evolve(RUNNING, kind="entries", entries=entries, best_value=None)
    assert status_lines(status, Path())[0].split() == ["entries", "running"]
    assert status_lines(status, Path())[-1] == (
        "entries       3 pending, 2 running, 4 done, 1 failed"
    )
    assert row(status, "best so far") is None


@pytest.mark.parametrize(
    ("per_s", "words"),
    [
        (12345.6, "12346 a second"),
        (999.7, "1000 a second"),
        (3.456, "3.46 a second"),
        (1.0, "1 a second"),
        (0.999, "59.9 a minute"),
        (1 / 60, "1 a minute"),
        (0.01, "36 an hour"),
        (1 / 7200, "0.5 an hour"),
    ],
)
def test_a_rate_is_readable(per_s, words):
    assert row(attrs.evolve(RUNNING, trials_per_s=per_s), "rate") == words


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"seeds_per_s": 1234.0}, "seeds", "1234 a second"),
        ({"seeds_per_s": 0.5, "seeds_saved": 40}, "seeds", "30 a minute; 40 saved by the race"),
        ({"seeds_saved": 40}, "seeds", "40 saved by the race"),
        ({}, "seeds", None),
        ({"seeds_per_s": 2.0, "state": "finished"}, "seeds", "2 a second, while it ran"),
        ({"busy_share": 0.936}, "busy", "94 % of the workers' time"),
        ({}, "busy", None),
        ({"best_stderr": 0.0125}, "best so far", "0.333333 ± 0.013"),
    ],
)
def test_what_is_known_of_the_work_is_told(changes, name, words):
    assert row(attrs.evolve(RUNNING, **changes), name) == words


@pytest.mark.parametrize(
    ("left", "words"),
    [
        ({"seconds": -90}, "at any moment"),
        ({}, "at any moment"),
        ({"seconds": 59}, "in 59 s"),
        ({"seconds": 60}, "in 1 min"),
        ({"minutes": 59, "seconds": 59}, "in 59 min"),
        ({"hours": 1}, "in 1 h 0 min"),
        ({"hours": 23, "minutes": 59, "seconds": 59}, "in 23 h 59 min"),
        ({"days": 1}, "in 1 d 0 h"),
        ({"days": 11574, "hours": 1}, "in 11574 d 1 h"),
    ],
)
def test_the_end_is_so_far_away(left, words):
    end = (NOW + timedelta(**left)).isoformat(timespec="seconds")
    assert row(attrs.evolve(RUNNING, expected_end_utc=end), "expected end").endswith(f"({words})")


@pytest.mark.parametrize(
    ("done", "pending", "words"),
    [
        (9999, 1, "9999 of 10000 told, 99.9 %"),
        (10000, 0, "10000 of 10000 told, 100.0 %"),
        (1, 9999, "1 of 10000 told, 0.0 %"),
    ],
)
def test_it_is_not_a_hundred_percent_before_the_last(done, pending, words):
    status = attrs.evolve(
        RUNNING, n_trials=10000, done=done, pending=pending, running=0, failed=0, pruned=0
    )
    assert row(status, "trials") == words


def test_without_a_time_it_is_now():
    end = (datetime.now(UTC) + timedelta(hours=2, seconds=30)).isoformat()
    lines = status_lines(attrs.evolve(RUNNING, expected_end_utc=end), Path())
    assert any(line.endswith("(in 2 h 0 min)") for line in lines)


def test_a_validation_has_a_row_and_its_value_another():
    validating = attrs.evolve(RUNNING, validation_seeds=1280, validation_seeds_done=300)
    lines = status_lines(validating, Path("runs/walk_v0001"), now_utc=NOW)
    assert "validation    300 of 1280 fresh seeds done" in lines
    assert progress_line(validating).endswith(", validation 300 of 1280 fresh seeds done")
    done = attrs.evolve(RUNNING, state="finished", validated_value=0.5, validated_stderr=0.125)
    lines = status_lines(done, Path("runs/walk_v0001"), now_utc=NOW)
    assert lines[-2:] == [
        "best so far   0.333333",
        "validated     0.5 ± 0.12 on fresh seeds",
    ]
