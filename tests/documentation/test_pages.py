"""Every block of the documentation runs, or is one of the kinds that are only shown."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seedwise.cli import main
from tests.documentation.pages import DOCS, NOTEBOOKS, PAGES, blocks, needs_slurm

RUN = {"python", "bash"}
SHOWN = {"text", "console", "toml", "yaml"}
DIRECTIVES = re.compile(r"\{(toctree|literalinclude|eval-rst|options|commands|errors)\}")

WITH_CODE = [
    page
    for page in PAGES
    if page not in NOTEBOOKS and any(block.language in RUN for block in blocks(page))
]


def name(page):
    return str(page.relative_to(DOCS))


@pytest.mark.parametrize("page", [*PAGES], ids=name)
def test_blocks_are_of_kinds_that_are_known(page):
    kinds = {block.language for block in blocks(page)} - RUN - SHOWN
    others = {kind for kind in kinds if not DIRECTIVES.match(kind)}
    allowed = {"{code-cell}"} if page in NOTEBOOKS else {"{code-block} python"}
    assert others <= allowed
    for block in blocks(page):
        if block.language == "{code-block} python":
            assert block.code.startswith(":class: not-run\n")
            compile(block.code.partition("\n")[2], str(page), "exec")


def test_commands_that_are_only_shown_can_be_read(tmp_path, monkeypatch):
    """Their options exist, and have values that can be read."""
    monkeypatch.chdir(tmp_path)
    shown = [
        line.removeprefix("$ seedwise ").partition("  #")[0]
        for page in PAGES
        for block in blocks(page)
        if block.language in {"console", "text"}
        for line in block.code.splitlines()
        if line.startswith("$ seedwise ")
    ]
    assert len(shown) > 10
    for line in shown:
        name, *words = shlex.split(line)
        for script in (word for word in words if word.endswith(".py")):
            Path(script).touch()
        if name != "--version":
            main.commands[name].make_context(name, words)


@pytest.mark.full
@pytest.mark.parametrize("page", WITH_CODE, ids=name)
@pytest.mark.timeout(300)
def test_a_page_runs(page, tmp_path, request):
    if needs_slurm(page):
        request.getfixturevalue("slurm")
    shutil.copy(DOCS / "start" / "walk.py", tmp_path)
    shutil.copy(DOCS.parent / "tests" / "documentation" / "notebook.py", tmp_path)
    steps = []
    for block in blocks(page):
        if block.file is not None:
            write = f"from pathlib import Path\nPath({block.file!r}).write_text({block.code!r})"
            steps.append(("python", write, name(page)))
        elif block.language in RUN:
            steps.append((block.language, block.code, f"{name(page)}, line {block.line}"))
    (tmp_path / "steps.json").write_text(json.dumps(steps))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "notebook.py", "steps.json"],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
