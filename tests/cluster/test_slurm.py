"""Runs on the real Slurm: scripts of users, and what Slurm refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from distributed import Client

import seedwise as sw
from seedwise.cluster.open import check_place
from seedwise.cluster.place import RunTag
from seedwise.cluster.slurm import _cancel_all
from seedwise.errors import (
    LossFailedError,
    NoCompleteTrialError,
    OptionError,
    SlurmNotFoundError,
    SubmitRefusedError,
)
from seedwise.folder.directory import RunDirectory, read_events
from seedwise.model.options.study import RunOptions
from seedwise.slurm.queue import JobBook, cancel_jobs, job_name, list_jobs, submit_job
from tests.losses import bowl
from tests.testbed.daemons import poll

pytestmark = pytest.mark.slurm

LO = sw.SlurmOptions(interface="lo")

#: The script of slurptuna 0.0.7's README, with the import line changed and nothing else.
README_SCRIPT = """
from datetime import timedelta
from seedwise import execution_mode, loss, optimize_run

@loss(
    name="my_model",
    description="Fit alpha/beta",
    parameter_space={"alpha": (0.0, 1.0), "beta": (0.0, 1.0)},
)
def my_model(params, seed):
    return abs(params["alpha"] - 0.3) + abs(params["beta"] - 0.7)

if __name__ == "__main__":
    result = optimize_run(
        my_model,
        mode=execution_mode("distributed"),
        n_trials=20,
        n_seeds=400,
        chunk_size=20,
        worker_time_limit=timedelta(hours=2),
        slurm_qos="short",
    )
    print(result.best_params)
"""


@pytest.fixture
def site(slurm, monkeypatch):
    """The site's Dask configuration: what a script need not say."""
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__INTERFACE", "lo")
    return slurm


@pytest.fixture(autouse=True)
def the_callers_signal_handlers_stay():
    handler = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is handler


def python(script, *args, cwd):
    done = subprocess.run(
        [sys.executable, script, *args], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def small(root, loss=bowl, **options):
    options = {
        "n_trials": 2,
        "n_seeds": 4,
        "workers": 1,
        "slurm": LO,
        "progress": False,
        **options,
    }
    return sw.optimize_run(loss, cluster="slurm", run_root=root, **options)


@pytest.mark.full  # 20 jobs
def test_slurptunas_readme_script(site, tmp_path):
    """On Slurm, and with "single" on this machine: the same result."""
    (tmp_path / "my_model.py").write_text(README_SCRIPT)
    on_slurm = python("my_model.py", cwd=tmp_path)
    summary = json.loads((tmp_path / "runs/my_model_v0001/summary.json").read_text())
    assert str(summary["best_params"]) == on_slurm.stdout.strip()
    assert "ssh -N -L" in on_slurm.stderr
    assert all(line.startswith("seedwise: ") for line in on_slurm.stderr.splitlines())
    (tmp_path / "my_model.py").write_text(README_SCRIPT.replace("distributed", "single"))
    here = python("my_model.py", cwd=tmp_path)
    assert here.stdout == on_slurm.stdout
    log = (tmp_path / "runs/my_model_v0001/slurm").iterdir()
    assert any(re.fullmatch(r"\d+\.err", path.name) for path in log)


@pytest.mark.parametrize("n_trials", [4, pytest.param(20, marks=pytest.mark.full)])
def test_the_script_as_a_controller_job(site, tmp_path, n_trials):
    """As slurptuna's README says: the driver is a Slurm job itself."""
    script = README_SCRIPT.replace("n_trials=20", f"n_trials={n_trials}")
    (tmp_path / "my_model.py").write_text(script.replace("chunk_size=20", "chunk_size=200"))
    (tmp_path / "run_controller.sh").write_text(
        "#!/bin/bash\n#SBATCH --job-name=controller\n#SBATCH --time=00:10:00\n"
        f'#SBATCH --cpus-per-task=1\n#SBATCH --mem=1G\n{sys.executable} "$1"\n'
    )
    submitted = subprocess.run(
        ["sbatch", "--parsable", "-o", "controller.out", "run_controller.sh", "my_model.py"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    job_id = submitted.stdout.strip()  # sbatch --wait would look every ten seconds
    poll(lambda: job_id not in site.jobs(), "the controller job to end", 240)
    assert (tmp_path / "controller.out").read_text().rstrip().endswith("}")


OF_A_JOB = """
import os, subprocess
import seedwise as sw

@sw.loss(name="step", description="starts a step", parameter_space={"x": (0.0, 1.0)})
def step(params, seed):
    subprocess.run(["srun", "--immediate=20", "true"], check=True)
    names = ("ARRAY_TASK_ID", "MEM_PER_CPU", "CPU_BIND", "JOB_NAME", "CPUS_PER_TASK")
    found = {name: os.environ.get(f"SLURM_{name}") for name in names}
    with open("found", "a") as file:
        print(found, os.environ.get("SRUN_CPUS_PER_TASK"), file=file)
    return params["x"]

if __name__ == "__main__":
    options = {"n_trials": 1, "n_seeds": 1, "workers": 1, "self_check": False}
    sw.optimize_run(step, cluster="slurm", **options)
"""


def test_a_loss_sees_nothing_of_the_job_that_the_driver_is(site, tmp_path):
    """The driver is a task of an array, with its own kind of memory; the loss calls srun."""
    (tmp_path / "fit.py").write_text(OF_A_JOB)
    asks = ["--array=7", "--mem-per-cpu=500M", "--cpus-per-task=2", "-t", "5", "-o", "driver.out"]
    start = f"export SLURM_CPU_BIND=quiet,none SRUN_CPUS_PER_TASK=2; {sys.executable} fit.py"
    command = ["sbatch", "--parsable", *asks, "-J", "driver", f"--wrap={start}"]
    submitted = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    job_id = submitted.stdout.strip()
    poll(lambda: job_id not in site.jobs(), "the driver to end", 120)
    found = tmp_path / "found"
    assert found.exists(), (tmp_path / "driver.out").read_text()
    ours = {"JOB_NAME": "step_v0001", "CPUS_PER_TASK": "1"}
    nothing = dict.fromkeys(("ARRAY_TASK_ID", "MEM_PER_CPU", "CPU_BIND"))
    assert found.read_text() == f"{nothing | ours} None\n"


@pytest.mark.full
def test_a_module_beside_the_script_from_another_folder(site, tmp_path):
    """Neither the module nor what it imports is on the workers' own path, here or on Slurm."""
    project, elsewhere = tmp_path / "my project", tmp_path / "elsewhere"
    project.mkdir()
    elsewhere.mkdir()
    (project / "physics.py").write_text("def energy(x, seed):\n    return x * x + seed\n")
    (project / "late.py").write_text("OFFSET = 100.0\n")
    (project / "model.py").write_text(
        "import physics\nimport seedwise as sw\n"
        "@sw.loss(name='m', description='m', parameter_space={'x': (0.0, 1.0)})\n"
        "def m(params, seed):\n"
        "    import late\n"
        "    return physics.energy(params['x'], seed) + late.OFFSET\n"
    )
    (project / "fit.py").write_text(
        "import seedwise as sw\nfrom model import m\n"
        "if __name__ == '__main__':\n"
        "    for where in ('local', 'slurm'):\n"
        "        r = sw.optimize_run(m, cluster=where, workers=1, n_trials=2, seeds=[0, 2])\n"
        "        x = r.best_params['x']\n"
        "        print(r.best_value == ((x * x + 100.0) + (x * x + 2 + 100.0)) / 2)\n"
    )
    done = python(project / "fit.py", cwd=elsewhere)
    assert done.stdout.split() == ["True", "True"]


def test_workers_in_a_container(slurm, tmp_path):
    """Of a script that stands for Apptainer; the run is resumed in it, too."""
    apptainer = tmp_path / "apptainer"
    apptainer.write_text(
        '#!/bin/sh\n[ "$1" = exec ] || exit 9\nexport IMAGE="$2"\nshift 2\nexec "$@"\n'
    )
    apptainer.chmod(0o755)
    images = tmp_path / "images"
    images.touch()

    def note(params, seed):
        with images.open("a") as file:
            file.write(f"{os.environ['IMAGE']}\n")
        return params["x"]

    loss = sw.loss(name="note", description="notes", parameter_space={"x": (0, 1)})(note)
    python = f"{apptainer} exec 'my image.sif' {sys.executable}"
    site = sw.SlurmOptions(interface="lo", python=python)
    result = small(tmp_path, loss, n_trials=1, n_seeds=1, slurm=site, self_check=False)
    assert images.read_text() == "my image.sif\n"
    sw.resume_run(result.run_dir, n_trials=2, progress=False)
    assert images.read_text() == "my image.sif\n" * 2


def test_a_command_that_is_not_there_ends_the_run_after_two_nodes(slurm, tmp_path, capsys):
    wrap = tmp_path / "wrap.sh"
    wrap.write_text('exec /no/such/python "$@"\n')
    with pytest.raises(sw.OptionError, match=f"write 'bash {wrap}'"):
        small(tmp_path, slurm=sw.SlurmOptions(interface="lo", python=str(wrap)))
    site = sw.SlurmOptions(interface="lo", python=f"bash {wrap}")
    with pytest.raises(sw.WorkersFailedError, match="/no/such/python") as caught:
        small(tmp_path, slurm=site, workers=4, cpus_per_task=5, progress=True)
    assert len(caught.value.nodes) == 2
    said = capsys.readouterr().err
    assert said.count("No such file") == 1
    assert "excluded node" not in said


def test_loss_module_and_the_forwarded_argv(site, tmp_path):
    """The loss's name depends on sys.argv, so that a worker finds it only with ours."""
    (tmp_path / "dynamic.py").write_text(
        "import sys\nimport seedwise as sw\n"
        "@sw.loss(name=f'dynamic_{sys.argv[1]}', description='d', parameter_space={'x': (0, 1)})\n"
        "def dynamic(params, seed):\n    return params['x'] + float(sys.argv[1] == 'red')\n"
    )
    (tmp_path / "fit.py").write_text(
        "import sys\nimport seedwise as sw\nfrom dynamic import dynamic\n"
        "if __name__ == '__main__':\n"
        "    for forward in (True, False):\n"
        "        r = sw.optimize_run(dynamic, cluster='slurm', workers=1, n_trials=1, n_seeds=1,\n"
        "            loss_module='dynamic.py', forward_sys_argv_to_workers=forward)\n"
        "        print(r.loss_name)\n"
    )
    done = subprocess.run(
        [sys.executable, "fit.py", "blue"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "dynamic_blue", done.stderr
    assert done.returncode == 1
    assert "defined no loss 'dynamic_blue'" in done.stderr


def test_a_refused_qos_is_left_out_with_a_note(slurm, tmp_path, capsys):
    result = small(tmp_path, slurm_qos="nosuch", progress=True)  # a warning would be an error here
    said = "slurm_qos='nosuch' is left out: Slurm takes the job without it, but with it Slurm says"
    assert capsys.readouterr().err.count(f"seedwise: note: {said}") == 1
    notes = [
        event
        for event in read_events(RunDirectory(Path(result.run_dir)))
        if event["kind"] == "note"
    ]
    assert notes[0]["text"].startswith(said)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"slurm": sw.SlurmOptions(partition="nosuch")}, "invalid partition"),
        ({"slurm": sw.SlurmOptions(account="nosuch")}, "[Ii]nvalid account"),
        ({"mem_per_cpu": "900G"}, "[Mm]emory|node configuration"),
    ],
)
def test_what_slurm_refuses_is_said_in_its_words(slurm, tmp_path, options, words):
    before = slurm.jobs()
    with pytest.raises(SubmitRefusedError, match=words) as caught:
        small(tmp_path, **options)
    assert "#SBATCH -J bowl_v0001" in caught.value.script
    assert slurm.jobs() == before


def test_a_loss_that_raises_on_slurm(slurm, tmp_path):
    loss = sw.loss(name="bad", description="bad", parameter_space={"x": (0, 1)})(
        lambda params, seed: 1 / 0
    )
    with pytest.raises(LossFailedError, match="ZeroDivisionError") as caught:
        small(tmp_path, loss)
    assert (caught.value.trial, caught.value.seed) == (0, 0)


@pytest.mark.full
def test_a_job_with_too_little_memory_for_the_loss(slurm, tmp_path):
    @sw.loss(name="large", description="large", parameter_space={"x": (0, 1)})
    def large(params, seed):
        return float(len(bytearray(900_000_000)) > 0) + 0 * time.sleep(1)

    with pytest.raises(NoCompleteTrialError, match="The job has 600 MB: give more") as caught:
        small(tmp_path, large, mem_per_cpu="600M", n_trials=1, n_seeds=1, use_processes=True)
    resume = f"seedwise resume {caught.value.run_dir} --retry-failed --mem-per-cpu 2G"
    assert str(caught.value).endswith(f"such as mem_per_cpu='2G': {resume}")


def test_slurm_timeout_bounds_the_running_time_of_a_trial(slurm, tmp_path, monkeypatch, capsys):
    """That its worker is begun anew, which takes long, is shown in tests/dispatch."""
    anew = []
    monkeypatch.setattr(Client, "restart_workers", lambda _, workers, **__: anew.extend(workers))
    loss = sw.loss(name="stuck", description="stuck", parameter_space={"x": (0, 1)})(
        lambda params, seed: time.sleep(600) or 0.0
    )
    with pytest.raises(LossFailedError, match=r"more than slurm_timeout_minutes=0.02"):
        small(
            tmp_path,
            loss,
            slurm_timeout_minutes=0.02,
            slurm_poll_seconds=1,
            trial_retry_attempts=0,
            progress=True,
        )
    assert len(anew) == 1
    note = "trial 0 has run for more than slurm_timeout_minutes=0.02"
    assert f"seedwise: note: {note}" in capsys.readouterr().err
    assert note in (tmp_path / "stuck_v0001" / "events.jsonl").read_text()


def test_array_parallelism_limit_caps_the_jobs(slurm, tmp_path):
    ids = tmp_path / "ids"
    ids.mkdir()

    def note(params, seed):
        (ids / os.environ["SLURM_JOB_ID"]).touch()
        return 0.0

    loss = sw.loss(name="note", description="notes", parameter_space={"x": (0, 1)})(note)
    small(tmp_path, loss, workers=None, array_parallelism_limit=2, n_seeds=40, chunk_size=1)
    logs = list((tmp_path / "note_v0001/slurm").glob("*.err"))
    assert 1 <= len(list(ids.iterdir())) <= 2
    assert len(logs) <= 2


def test_an_interface_that_is_not_there(slurm, tmp_path):
    with pytest.raises(OptionError, match=r"interface='nope0': must be one of this machine's: lo"):
        small(tmp_path, slurm=sw.SlurmOptions(interface="nope0"))
    assert list(tmp_path.iterdir()) == []


def test_the_interface_of_the_nodes_need_not_be_here(slurm):
    def check(**interfaces):
        options = {"cluster": "slurm", "slurm": sw.SlurmOptions(**interfaces)}
        check_place(RunOptions.from_keywords(options))

    check(interface="ib9", scheduler_interface="lo")
    with pytest.raises(OptionError, match=r"^interface='ib9': .*, scheduler_interface="):
        check(interface="ib9")
    with pytest.raises(OptionError, match=r"^scheduler_interface='ib9'"):
        check(interface="lo", scheduler_interface="ib9")


def test_no_sbatch(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SlurmNotFoundError, match="there is no sbatch on this machine's PATH"):
        small(tmp_path / "runs")


def test_an_import_changes_no_signal_handler():
    code = (
        "import signal\nbefore = signal.getsignal(signal.SIGINT)\n"
        "import seedwise.cluster.slurm\n"
        "print(before is signal.getsignal(signal.SIGINT))\n"
        "print(before is signal.default_int_handler)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


def test_a_module_that_lies_in_the_jobs_folder_is_not_imported(site, tmp_path, monkeypatch):
    """Anybody could have put it there, say in the /tmp of a node."""
    folder = tmp_path / "anybodys"
    folder.mkdir()
    trap = f"open({str(tmp_path / 'sprung')!r}, 'a').close()\n"
    (folder / "distributed.py").write_text(trap)
    monkeypatch.chdir(folder)
    assert small(tmp_path / "runs", slurm_qos=None).n_trials == 2  # and without a warning
    assert not (tmp_path / "sprung").exists()
    plain = [sys.executable, "-m", "distributed.cli.dask_worker"]
    assert subprocess.run(plain, capture_output=True, check=False).returncode != 0
    assert (tmp_path / "sprung").exists()  # as it would have been


def test_jobs_of_a_driver_that_took_over_are_left_alone(site, tmp_path):
    """Of two drivers of a run, the one that was silent for long ends last."""
    tags = [
        RunTag("run", "0" * 32, tmp_path, tmp_path / "keys", tmp_path / "jobs.jsonl", print)
        for _ in range(2)
    ]
    wait, name = "#!/bin/sh\nsleep 600\n".replace, job_name("run")
    scripts = [
        wait(
            "sleep",
            f"#SBATCH --comment={tag.job_tag}\n#SBATCH -J {name}\n#SBATCH -o /dev/null\nsleep",
        )
        for tag in tags
    ]
    books = [JobBook(tag.jobs_file) for tag in tags]
    for script, book in zip(scripts, books, strict=True):
        book.note(submit_job(script))
    shown = site.run("squeue", "--noheader", "--format=%.8j").split()  # as squeue does by default
    assert shown == ["run", "run"]
    _cancel_all(tags[0], books[0])
    poll(lambda: set(list_jobs("0" * 32)) == set(books[1].own), "the first one's job to be gone")
    # As the next one does, before it has jobs of its own.
    cancel_jobs("0" * 32, known=JobBook(tags[1].jobs_file).ids(), name=name)
    poll(lambda: not list_jobs("0" * 32), "all jobs to be gone")
