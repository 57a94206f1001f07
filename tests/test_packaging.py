"""What is given to others: the source distribution, and its tests."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command, cwd, **variables):
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def unpacked(tmp_path):
    """The source distribution, unpacked."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=ROOT)
    (archive,) = tmp_path.glob("seedwise-*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(tmp_path, filter="data")
    return tmp_path / archive.name.removesuffix(".tar.gz")


def test_the_sdist_has_all_that_its_tests_read(unpacked):
    folders = (".ci", ".github", "docs", "examples", "src", "tests")
    here = {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not {"__pycache__", "runs"} & {*path.parts}
    }
    there = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert here <= there
    assert there - here == {".gitignore", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}


# They read the documents, the settings and the source; the others read nothing but themselves.
OF_FILES = ["docs", "docstrings", "layers", "public_names", "style", "typing", "workflow"]


@pytest.mark.full
def test_the_tests_of_the_sdist_pass(unpacked):
    tests = [f"tests/test_{name}.py" for name in OF_FILES]
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
    run(sys.executable, *words, "--collect-only", cwd=unpacked, PYTHONPATH=str(unpacked / "src"))
    run(sys.executable, *words, *tests, cwd=unpacked, PYTHONPATH=str(unpacked / "src"))
