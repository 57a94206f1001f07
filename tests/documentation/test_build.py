"""The site is built with warnings as errors: its links, anchors and names lead somewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib

import pytest

import seedwise as sw
from tests.documentation.pages import DOCS, NOTEBOOKS


def build(out, execute, cwd):
    words = ["-m", "sphinx", "-W", "--keep-going", "-q", "-d", f"{out}.cache", DOCS, out]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**os.environ, "SEEDWISE_DOCS_EXECUTE": execute},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    build(folder / "html", "off", folder)
    return folder / "html"


def test_every_public_name_is_in_the_reference(site):
    *head, packed = (site / "objects.inv").read_bytes().split(b"\n", 4)
    names = {line.split(" ")[0] for line in zlib.decompress(packed).decode().splitlines()}
    missing = {f"seedwise.{name}" for name in {*sw.__all__, "random"}} - names
    assert len(head) == 4
    assert missing <= {"seedwise.__version__"}


def test_pages_load_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = [
            part
            for part in text.split("<")
            if part.startswith(("script", "link", "img")) and '="http' in part
        ]
        assert loaded == [], page


@pytest.mark.full
@pytest.mark.slurm
@pytest.mark.timeout(1800)
def test_the_tutorials_run(slurm, tmp_path):
    build(tmp_path / "html", "force", tmp_path)
    for path in NOTEBOOKS:
        page = (tmp_path / "html" / path.relative_to(DOCS)).with_suffix(".html")
        text = page.read_text(encoding="utf-8")
        assert 'class="output' in text or "cell_output" in text, path
        assert "\N{BOX DRAWINGS HEAVY HORIZONTAL}" not in text, path  # of a block that is redrawn
