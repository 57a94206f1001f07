"""The job script, as text: what the call, SlurmOptions, the site and the defaults make of it."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta
from pathlib import Path

import dask
import pytest
from distributed import Security

import seedwise as sw
from seedwise.cluster.job import (
    JobPlan,
    job_keywords,
    worker_memory_b,
)
from seedwise.cluster.place import RunTag, thread_settings
from seedwise.cluster.slurm import _script
from seedwise.model.options import RunOptions

PATH = {"PATH": os.environ["PATH"]}
KEYS = Security(
    require_encryption=True,
    tls_ca_file="/my keys/certificate.pem",
    tls_worker_cert="/my keys/certificate.pem",
    tls_worker_key="/my keys/key.pem",
)


def script(threads=1, log_dir="/logs", security=KEYS, **keywords):
    options = RunOptions.from_keywords(keywords)
    tag = RunTag("run", "run-id", Path(log_dir), Path("/my keys"), Path("/jobs"))
    return _script(job_keywords(options, JobPlan(tag, threads, "10.0.0.1", security)))


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
        "--open-mode=append",
        "--no-requeue",
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
    assert "\nexec '/opt/my python/bin/python' -m distributed.cli.dask_worker" in text
    assert "--tls-key '/my keys/key.pem'" in text
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


@pytest.mark.parametrize("folder", ['/a "quoted" one', "/100 %J", "/it's"])
def test_odd_folders_of_logs(folder, tmp_path):
    """Asked of the shell, which reads a directive as sbatch does, as far as double quotes go."""
    line = next(line for line in directives(script(log_dir=folder)) if line.startswith("-o "))
    read = subprocess.run(
        ["bash", "-c", f"printf %s {line.removeprefix('-o ')}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert read.stdout == f"{folder.replace('%', '%%')}/%J.out"


def test_without_an_interface_a_worker_listens_where_it_reaches_the_scheduler():
    text = script()
    (line,) = [line for line in text.splitlines() if line.startswith("SEEDWISE_ADDRESS=")]
    assert '--host "$SEEDWISE_ADDRESS"' in text
    command = line.replace("10.0.0.1", "127.0.0.1").removesuffix(" || exit")
    found = subprocess.run(
        ["bash", "-c", f'{command}; echo "$SEEDWISE_ADDRESS"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "127.0.0.1"


@pytest.mark.parametrize("folder", [None, "/scratch/my data"])
def test_a_job_has_a_folder_of_its_own_for_temporary_files(folder, tmp_path):
    text = script(slurm=sw.SlurmOptions(local_directory=folder))
    assert '--local-directory "$SEEDWISE_SCRATCH"' in text
    assert "--preload-nanny seedwise.worker.scratch" in text
    (line,) = [line for line in text.splitlines() if "mktemp" in line]
    parent = tmp_path / "my data"
    parent.mkdir()
    line = line.replace("/scratch/my data", str(parent))
    subprocess.run(["bash", "-c", line], env={"TMPDIR": str(parent), **PATH}, check=True)
    (made,) = parent.iterdir()
    assert made.stat().st_mode & 0o777 == 0o700


def test_with_an_interface_a_worker_listens_there():
    text = script(slurm=sw.SlurmOptions(interface="lo"))
    assert "--interface lo" in text
    assert "SEEDWISE_ADDRESS" not in text


def test_no_secret_and_no_http_server():
    text = script()
    assert "--no-dashboard" in text
    assert "--worker-class seedwise.worker.locked.LockedWorker" in text
    assert "export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True" in text
    assert "tls" not in script(security=None).replace("tls://", "")


def test_a_job_knows_when_it_ends_and_its_files_are_its_owners():
    lines = script(worker_time_limit=timedelta(hours=3)).splitlines()
    assert "export SEEDWISE_JOB_ENDS_AT=$(( $(date +%s) + 10800 ))" in lines
    assert "umask 077" in lines
    assert "export PYTHONUNBUFFERED=1" in lines


@pytest.mark.parametrize(
    ("options", "n_threads"),
    [
        ({}, "1"),
        ({"cpus_per_task": 8}, "8"),
        ({"cpus_per_task": 8, "worker_parallelism": 4}, "2"),
        ({"cpus_per_task": 32, "worker_parallelism": 32, "use_processes": True}, "1"),
        ({"cpus_per_task": 1, "worker_parallelism": 4}, "1"),
    ],
)
def test_numeric_libraries_have_as_many_threads_as_the_cpus_allow(options, n_threads):
    settings = thread_settings(RunOptions.from_keywords(options))
    assert settings == {
        "OMP_NUM_THREADS": n_threads,
        "MKL_NUM_THREADS": n_threads,
        "OPENBLAS_NUM_THREADS": n_threads,
    }
    line = f"export OPENBLAS_NUM_THREADS=${{OPENBLAS_NUM_THREADS:-{n_threads}}}"
    assert line in script(**options)


@pytest.mark.parametrize(
    ("job", "worker_mb"), [("2G", 1753.6), ("512M", 294.4), ("256M", 128.0), ("100G", 97088.0)]
)
def test_a_job_has_room_for_more_than_the_worker(job, worker_mb):
    assert worker_memory_b(job) / 1024**2 == pytest.approx(worker_mb, abs=0.1)
