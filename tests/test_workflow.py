"""The workflow on GitHub: it runs what ``.ci/run`` runs, on all versions of Python promised."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def workflow():
    return yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_it_runs_at_each_push_and_pull_request(workflow):
    assert set(workflow[True]) == {"push", "pull_request"}  # YAML takes the key "on" for true


def test_it_runs_what_ci_runs_and_nothing_else(workflow):
    (job,) = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]


def test_slurm_is_required():
    lines = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert "export SEEDWISE_REQUIRE_SLURM=1" in lines


def test_its_versions_of_python_are_those_of_the_project(workflow, project):
    (job,) = workflow["jobs"].values()
    versions = job["strategy"]["matrix"]["python"]
    classifiers = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert versions == classifiers
    assert project["requires-python"] == f">={versions[0]}"
    assert job["container"]["image"] == "python:${{ matrix.python }}-bookworm"
