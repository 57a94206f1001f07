"""The figure of workers, whose numbers are read back from what was drawn."""

from __future__ import annotations

import json

import matplotlib.pyplot as plt
import pytest

from seedwise.errors import NoFigureError
from seedwise.folder.directory import RunDirectory

from .made import run
from .test_search import lines

SLURM = [
    ("started", "started by process 1", None),
    ("submitted", "submitted 3 jobs: 11, 12, 13", None),
    ("note", "of no matter here", None),
    ("joined", "a worker joined", "11"),
    ("joined", "a worker joined", "12"),
    ("lost", "a worker was lost: it was preempted", "11"),
    ("submitted", "submitted a job: 14", None),
    ("left", "a job that is not needed was cancelled", "13"),
    ("stopped", "Ctrl-C", None),
]
LOCAL = [
    ("started", "started by process 1", None),
    ("joined", "worker 0 joined", None),
    ("joined", "worker 1 joined", None),
    ("lost", "worker 1 was lost, and does not come back", None),
    ("finished", "2 of 2 trials are told", None),
]


def log(path, events):
    lines = [
        {"at_utc": f"2026-08-01T10:{n:02}:00+00:00", "kind": kind, "text": text, "job_id": job}
        for n, (kind, text, job) in enumerate(events)
    ]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    RunDirectory(path).event_log.write_text(text)


def test_the_workers_are_those_that_joined_and_jobs_wait_until_then(tmp_path):
    log(tmp_path, SLURM)
    ax = run(tmp_path, [1.0]).plot.workers()
    found = lines(ax)
    assert found["workers"].get_xdata().tolist() == [0, 1, 3, 4, 5, 6, 7, 8]
    assert found["workers"].get_ydata().tolist() == [0, 0, 1, 2, 1, 1, 1, 0]
    assert found["jobs that wait"].get_ydata().tolist() == [0, 3, 2, 1, 1, 2, 1, 0]
    assert ax.get_xlabel().startswith("minutes since 2026-08-01 ")


def test_local_workers_have_no_jobs(tmp_path):
    log(tmp_path, LOCAL)
    found = lines(run(tmp_path, [None]).plot.workers())
    assert list(found) == ["workers"]
    assert found["workers"].get_ydata().tolist() == [0, 1, 2, 1, 0]


def test_the_workers_of_an_entry_are_those_of_its_run(tmp_path):
    log(tmp_path, LOCAL)
    run(tmp_path, [1.0])
    (tmp_path / "entries" / "anna").mkdir(parents=True)
    ax = run(tmp_path / "entries" / "anna", [1.0]).plot.workers()
    assert max(lines(ax)["workers"].get_ydata()) == 2


@pytest.mark.parametrize("events", [[], LOCAL[:1], [LOCAL[0], LOCAL[-1]]])
def test_a_folder_that_tells_of_no_worker(tmp_path, events):
    log(tmp_path, events)
    with pytest.raises(NoFigureError, match="does not tell of any worker"):
        run(tmp_path, [1.0]).plot.workers()
    assert plt.get_fignums() == []
