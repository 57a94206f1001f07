"""The ids of a run's jobs, on disk for a later process to cancel them."""

from __future__ import annotations

import stat

from seedwise.slurm.job_ids import JobBook


def test_ids_are_read_again_in_their_order(tmp_path):
    path = tmp_path / "jobs.jsonl"
    book = JobBook(path)
    assert book.ids() == []
    for job_id in ("12", "13", "9", "12"):
        book.note(job_id)
    assert JobBook(path).ids() == ["12", "13", "9"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_torn_line_costs_no_other(tmp_path):
    path = tmp_path / "jobs.jsonl"
    book = JobBook(path)
    book.note("12")
    with path.open("ab") as file:
        file.write(b'{"job_id": "13", "subm')
    assert book.ids() == ["12"]
    book.note("14")
    assert book.ids() == ["12", "14"]


def test_lines_that_are_not_jobs_are_left_out(tmp_path):
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(b'[]\n7\nnull\n{}\n{"job_id": 5}\n\xff\n\n{"job_id": "6"}\n')
    assert JobBook(path).ids() == ["6"]
