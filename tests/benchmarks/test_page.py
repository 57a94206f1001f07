"""The page of the benchmarks: it tells of each, and keeps the tables of those that did not run."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from tests.benchmarks.__main__ import FOLDER, names, section, with_sections
from tests.benchmarks.table import Row

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def result(*rows):
    machine = {"cpu": "a CPU", "cores": 2, "memory_gb": 8.0}
    row_dicts = [attrs.asdict(row) for row in rows]
    about = {"date": "2026-01-31", "took_s": 90.0, "quick": False, "machine": machine}
    return {**about, "versions": {"python": "3.11"}, "rows": row_dicts}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("bench_*.py")), ids=lambda path: path.stem)
def test_it_tells_of_each(path):
    text = PAGE.read_text(encoding="utf-8")
    assert f"| {path.stem.removeprefix('bench_')} |" in text or f"`{path.stem}`" in text


def test_each_that_is_run_says_its_rows():
    assert len(names()) > 5
    for name in names():
        assert "def rows(" in (FOLDER / f"bench_{name}.py").read_text(encoding="utf-8")


def test_a_table_is_written_beside_those_of_others():
    before = PAGE.read_text(encoding="utf-8")
    old, new = result(Row("a", "b", [1.0, 2.0, 4.0])), result(Row("a", "b", [3.0], "s", "<= 2"))
    page = with_sections(before, {"peers": old, "width": old})
    assert with_sections(page, {}) == page
    page = with_sections(page, {"width": new})
    assert section("peers", old) in page
    assert section("width", new) in page
    assert section("width", old) not in page
    assert "| a | b | 2 | 1 to 4 |  |  |  |" in page
    assert "| a | b | 3 s |  | <= 2 | **no** |  |" in page
    assert page.startswith(before.partition("<!--")[0])
