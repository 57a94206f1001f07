"""The README and the documents beside the site: what they name exists, and scripts run.

`tests/documentation` has the pages: links are checked as they are built, and their blocks run.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_needs_no_other_files():
    """A page of a package index shows it alone, where relative links lead nowhere."""
    assert all(link.startswith("https://") for link in re.findall(r"\]\(([^)]+)\)", README))
    paths = re.findall(r"`((?:docs|examples)/[^`]+)`", README)
    assert len(paths) > 5
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "understand/how_it_works.md"])
def test_modules_that_are_named_exist(name):
    source = ROOT / "src" / "seedwise"
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    rooms = "|".join(room.name for room in source.iterdir() if room.is_dir())
    named = re.findall(rf"`((?:{rooms})/[\w/]*?)(?:\.py)?/?`", text)
    assert len(named) > 20
    gone = [one for one in named if not list(source.glob(f"{one}*"))]
    assert gone == []


def test_python_blocks_of_the_readme_compile():
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        compile(block, "README.md", "exec")


def test_the_script_of_the_readme_runs(tmp_path):
    script = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    (tmp_path / "walk.py").write_text(script.replace("n_trials=50", "n_trials=3"))
    done = subprocess.run(
        [sys.executable, "walk.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("{'drift': ")
    assert "±" in done.stdout


@pytest.mark.parametrize("heading", ["Quick start", "Test"])
def test_the_commands_are_one_line_each(heading):
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    block = re.search(r"```bash\n(.*?)```", section, re.DOTALL)
    assert block is not None
    assert len(block[1].strip().splitlines()) == 1


def test_ci_runs_the_test_command_of_the_readme():
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
