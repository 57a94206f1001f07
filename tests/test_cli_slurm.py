"""The command that says what a Slurm cluster allows."""

from __future__ import annotations

import json

import attrs
import pytest
from click.testing import CliRunner

import seedwise as sw
from seedwise.cli import main


def invoke(*arguments):
    return CliRunner().invoke(main, ["slurm", *arguments])


def test_a_machine_without_slurm(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    shown = invoke()
    assert shown.exit_code == 1
    assert "there is no scontrol or sinfo on this machine's PATH" in shown.output
    with pytest.raises(sw.SlurmNotFoundError):
        sw.slurm_limits()


def test_a_slurm_that_does_not_answer(monkeypatch, tmp_path):
    (tmp_path / "scontrol").write_text("#!/bin/sh\necho 'scontrol: error: no' >&2\nexit 1\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    shown = invoke()
    assert shown.exit_code == 0, shown.output
    assert "partitions  unknown" in shown.output.splitlines()
    assert "  scontrol show partition: scontrol: error: no" in shown.output.splitlines()
    found = json.loads(invoke("--json").output)
    assert {"partitions", "qos", "accounts"} <= set(found["unknown"])


@pytest.mark.slurm
def test_the_real_slurm(slurm):
    shown = invoke()
    assert shown.exit_code == 0, shown.output
    first, arrays, *_ = lines = shown.output.splitlines()
    assert first.startswith("cluster testbed, Slurm 22.")
    assert arrays == "job arrays: indices below 1001"
    default = lines[lines.index("", 1) + 2]
    assert default.split()[:7] == ["main", "*", "up", "4", "h", "30", "min"]
    assert "not for user root: normal, locked" in shown.output


@pytest.mark.slurm
def test_the_real_slurm_for_other_programs(slurm):
    shown = invoke("--json")
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.output)
    assert set(found) == {field.name for field in attrs.fields(sw.SlurmLimits)}
    assert [partition["name"] for partition in found["partitions"]] == ["main", "tiny"]
    assert found["unknown"] == []


@pytest.mark.slurm
def test_the_limits_are_there_for_scripts(slurm):
    main, tiny = sw.slurm_limits().partitions
    assert (main.max_time_s, tiny.max_memory_per_node_mb) == (14_400, 1000)
