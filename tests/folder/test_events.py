"""The log of events: whole lines, whatever happens."""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
from datetime import datetime

import pytest

from seedwise.folder.directory import EventLog, RunDirectory, read_events
from seedwise.folder.find import entry_directory
from seedwise.model.status import PoolNews

LOST = PoolNews(kind="lost", text="its node failed: 'n7'\nü", job_id="4242", warns=True)


@pytest.fixture
def directory(tmp_path) -> RunDirectory:
    return RunDirectory(tmp_path)


@pytest.fixture
def log(directory) -> EventLog:
    return EventLog(directory.event_log)


def kinds(directory: RunDirectory) -> list[str]:
    return [event["kind"] for event in read_events(directory)]


def test_without_events_there_is_no_file(directory, log):
    log.write_news(())
    assert not directory.event_log.exists()
    assert read_events(directory) == []


def test_an_event_is_a_json_object_in_a_line(directory, log):
    log.write("started", "by process 1")
    log.write_news([LOST, PoolNews(kind="joined", text="n8")])
    lines = directory.event_log.read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert events == read_events(directory)
    for event in events:
        assert datetime.fromisoformat(event.pop("at_utc")).tzinfo is not None
    assert events == [
        {"kind": "started", "text": "by process 1", "job_id": None},
        {"kind": "lost", "text": LOST.text, "job_id": "4242"},
        {"kind": "joined", "text": "n8", "job_id": None},
    ]
    assert stat.S_IMODE(directory.event_log.stat().st_mode) == 0o600


def test_it_goes_on_in_the_file_that_is_there(directory):
    for kind in ("started", "stopped", "resumed"):
        EventLog(directory.event_log).write(kind, "")
    assert kinds(directory) == ["started", "stopped", "resumed"]


def test_an_entry_has_that_of_its_run(directory, log):
    log.write("started", "")
    entry = entry_directory(directory, "anna")
    assert entry.event_log == directory.event_log
    assert len(read_events(entry)) == 1


@pytest.mark.parametrize("torn", [1, 20, -2, -1])
def test_a_torn_line_costs_no_other(directory, log, torn):
    for kind in ("started", "asked"):
        log.write(kind, "some text")
    content = directory.event_log.read_bytes()
    first = content.index(b"\n") + 1
    end = first + torn if torn > 0 else len(content) + torn
    os.truncate(directory.event_log, end)
    log.write("stopped", "")
    whole = ["asked"] if torn == -1 else []  # only the end of the line was missing
    assert kinds(directory) == ["started", *whole, "stopped"]


def test_what_is_no_event_is_left_out(directory, log):
    log.write("started", "")
    with directory.event_log.open("ab") as file:
        file.write(b"\n\xff\xfe\n[]\n7\n\0\0\0\n")
    log.write("stopped", "")
    assert kinds(directory) == ["started", "stopped"]


def test_two_writers_tear_no_line(directory):
    def write() -> None:
        log = EventLog(directory.event_log)
        for _ in range(100):
            log.write("asked", "x" * 500)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kinds(directory) == ["asked"] * 400


def test_a_disk_that_is_full_is_told_once_and_is_no_error(directory, log, monkeypatch, caplog):
    log.write("started", "")
    monkeypatch.setattr(os, "write", _full)
    with caplog.at_level(logging.WARNING, logger="seedwise"):
        log.write("asked", "")
        log.write_news([LOST])
    monkeypatch.undo()
    (record,) = caplog.records
    assert "events are missing" in record.getMessage()
    log.write("stopped", "")
    assert kinds(directory) == ["started", "stopped"]


def test_a_folder_that_is_gone_is_no_error(tmp_path):
    EventLog(tmp_path / "gone" / "events.jsonl").write("started", "")


def _full(handle: int, content: bytes) -> int:
    raise OSError(28, "No space left on device")
