"""The job script, as text: what the call, SlurmOptions, the site and the defaults make of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import dask
import pytest

import seedwise as sw
from seedwise.cluster.job import asks_for_qos, job_keywords
from seedwise.cluster.slurm import _script
from seedwise.model.options import RunOptions


def script(threads=1, log_dir="/logs", **keywords):
    options = RunOptions.from_keywords(keywords)
    return _script(job_keywords(options, threads, Path(log_dir), "seedwise-run", "run-id"))


def directives(text):
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if "#SBATCH" in line]


def test_the_defaults_of_the_reference():
    assert directives(script()) == [
        "-J seedwise-run",
        "-n 1",
        "--cpus-per-task=1",
        "--mem=2G",
        "-t 0-02:00:00",
        '-o "/logs/%J.out"',
        '-e "/logs/%J.err"',
        "--comment=run-id",
    ]


def test_the_call():
    lines = directives(
        script(
            cpus_per_task=4,
            mem_per_cpu="500M",
            worker_time_limit=timedelta(days=2, minutes=3, seconds=4),
            slurm=sw.SlurmOptions(
                partition="cpu", account="lab", extra_directives=["--gres=gpu:1"]
            ),
        )
    )
    for line in (
        "-p cpu",
        "-A lab",
        "--cpus-per-task=4",
        "--mem=2000M",
        "-t 2-00:03:04",
        "--gres=gpu:1",
    ):
        assert line in lines


def test_a_worker_has_one_thread_and_one_process():
    text = script(cpus_per_task=8, worker_parallelism=8, use_processes=True)
    assert "--nthreads 1 " in text
    assert "--nworkers" not in text


def test_a_vectorized_loss_has_a_thread_for_each_chunk_at_once():
    assert "--nthreads 3 " in script(threads=3, cpus_per_task=3)


@pytest.mark.parametrize(
    ("setting", "value", "line"),
    [
        ("queue", "long", "-p long"),
        ("account", "site", "-A site"),
        ("cores", 6, "--cpus-per-task=6"),
        ("job-cpu", 7, "--cpus-per-task=7"),
        ("memory", "3GB", "--mem=3G"),
        ("job-mem", "5G", "--mem=5G"),
        ("walltime", "01:11:00", "-t 01:11:00"),
        ("job-extra-directives", ["--constraint=fast"], "--constraint=fast"),
    ],
)
def test_what_the_call_does_not_give_is_the_sites(setting, value, line):
    with dask.config.set({f"jobqueue.slurm.{setting}": value}):
        assert line in directives(script())


def test_what_the_call_gives_goes_before_the_sites():
    site = {"queue": "long", "cores": 6, "memory": "3GB", "walltime": "01:11:00"}
    with dask.config.set({f"jobqueue.slurm.{key}": value for key, value in site.items()}):
        lines = directives(
            script(
                cpus_per_task=1,
                mem_per_cpu="2G",
                worker_time_limit=timedelta(hours=2),
                slurm=sw.SlurmOptions(partition="cpu"),
            )
        )
    for line in ("-p cpu", "--cpus-per-task=1", "--mem=2G", "-t 0-02:00:00"):
        assert line in lines


def test_environment_variables_are_the_sites_word_too(monkeypatch):
    """Even one that repeats dask-jobqueue's own default: somebody set it."""
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__WALLTIME", "00:30:00")
    assert "-t 00:30:00" in directives(script())


def test_a_worker_does_not_pause_for_memory_that_a_loss_holds():
    assert "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False" in script()


def test_the_prologue_and_blanks_in_paths():
    text = script(
        log_dir="/home/my runs/logs",
        slurm=sw.SlurmOptions(prologue=["module load python"], python="/opt/my python/bin/python"),
    )
    assert '#SBATCH -o "/home/my runs/logs/%J.out"' in text
    assert "\nmodule load python\n" in text
    assert "'/opt/my python/bin/python' -m distributed.cli.dask_worker" in text


@pytest.mark.parametrize(
    ("lines", "asks"),
    [([], False), (["--qos=a"], True), (["-q a"], True), (["--gres=gpu:1"], False)],
)
def test_a_qos_of_the_users_own(lines, asks):
    assert asks_for_qos(lines) is asks
