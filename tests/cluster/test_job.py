"""The job script, as text: what the call, SlurmOptions, the site and the defaults make of it."""

from __future__ import annotations

import os
import re
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import dask
import pytest
from distributed import Security

import seedwise as sw
from seedwise.cluster.dask_settings import WORKER_SETTINGS, scheduler_interface, thread_settings
from seedwise.cluster.job import (
    JobPlan,
    job_keywords,
    require_python,
    worker_memory_b,
)
from seedwise.cluster.place import RunTag
from seedwise.cluster.slurm import _host, _scheduler_options, _script
from seedwise.model.options.study import RunOptions
from seedwise.slurm.queue import test_submit as check_submit

PATH = {"PATH": os.environ["PATH"]}
KEYS = Security(
    require_encryption=True,
    tls_ca_file="-----BEGIN\nits lines",
    tls_worker_cert="-----BEGIN\nits lines",
    tls_worker_key="/my keys/key.pem",
)


def keywords_of(threads=1, log_dir="/logs", security=KEYS, **keywords):
    options = RunOptions.from_keywords(keywords)
    tag = RunTag(
        "run", "run-id", Path(log_dir), Path("/my keys"), Path("/jobs"), print, driver_id="driver"
    )
    return job_keywords(options, JobPlan(tag, threads, "10.0.0.1", security))


def script(**keywords):
    return _script(keywords_of(**keywords))


def shell(text, env):
    return subprocess.run(
        ["bash", "-c", text], env=env, capture_output=True, text=True, check=True
    ).stdout


def scratch_lines(text):
    lines = [line for line in text.splitlines() if "SEEDWISE_SCRATCH" in line]
    return "\n".join(line for line in lines if not line.startswith("exec "))


def directives(text):
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if "#SBATCH" in line]


def test_the_defaults_of_the_reference():
    assert directives(script()) == [
        "-J run",
        "-n 1",
        "--cpus-per-task=1",
        "--mem=2G",
        "-t 0-02:00:00",
        '-o "/logs/%J.out"',
        '-e "/logs/%J.err"',
        "--open-mode=append",
        "--no-requeue",
        "--comment=run-id.driver",
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
        ("memory", "4Gi", "--mem=4G"),
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


def test_a_worker_has_the_settings_of_dask_as_they_are():
    """Such as ``200 ms``, with its blank."""
    lines = [line for line in script(security=None).splitlines() if "export DASK_" in line]
    variables = shell("\n".join([*lines, "env -0"]), PATH).split("\0")
    found = dask.config.collect_env(dict(one.split("=", 1) for one in variables if one))
    there = {name: dask.config.get(name, config=found) for name in WORKER_SETTINGS}
    assert there == WORKER_SETTINGS


def test_the_prologue_and_blanks_in_paths():
    text = script(
        log_dir="/home/my runs/logs",
        slurm=sw.SlurmOptions(
            prologue=["module load python"], python=["/opt/my python/bin/python"]
        ),
    )
    assert '#SBATCH -o "/home/my runs/logs/%J.out"' in text
    assert "\nmodule load python\n" in text
    assert "\nexec '/opt/my python/bin/python' -P -m distributed.cli.dask_worker" in text
    assert "TLS__WORKER__KEY='/my keys/key.pem'\n" in text
    for what in ("CA_FILE", "WORKER__CERT"):
        assert f"\nexport DASK_DISTRIBUTED__COMM__TLS__{what}='-----BEGIN\nits lines'\n" in text
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("python", "advice"),
    [
        ("wrap.sh", "write ./wrap.sh."),
        ("wrap.sh -x", "write ./wrap.sh."),
        ("plain.sh", "chmod +x ./plain.sh, or write 'bash ./plain.sh'."),
        ("./plain.sh", "chmod +x ./plain.sh, or write 'bash ./plain.sh'."),
        (["{here}/plain.sh"], "chmod +x {here}/plain.sh, or write 'bash {here}/plain.sh'."),
        ("./wrap.sh", None),
        ("~/wrap.sh", None),
        ("{here}/wrap.sh", None),
        ("bash plain.sh", None),
        ("no_such_file.sh", None),
        ("/opt/only/on/nodes/python", None),
        ("$HOME/plain.sh", None),
        (None, None),
    ],
)
@pytest.mark.parametrize("whose", ["call", "site"])
def test_a_command_that_no_shell_could_start_is_refused(
    python, advice, whose, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, mode in (("wrap.sh", 0o755), ("plain.sh", 0o644)):
        (tmp_path / name).touch(mode)
    here = str(tmp_path)
    command = [python[0].format(here=here)] if isinstance(python, list) else python
    command = command.format(here=here) if isinstance(command, str) else command
    of_call = sw.SlurmOptions(python=command if whose == "call" else None)
    with dask.config.set({"jobqueue.slurm.python": command if whose == "site" else None}):
        if advice is None:
            require_python(of_call)
            return
        with pytest.raises(sw.OptionError, match="a command that a shell can start") as caught:
            require_python(of_call)
    assert str(caught.value).endswith(advice.format(here=here))


@pytest.mark.parametrize(
    "command",
    [
        ["{echo}", "exec", "--bind=$FAST/a b", "~/my image.sif", "it's 5 % `", "python"],
        "{echo} exec '--bind=$FAST/a b' '~/my image.sif' \"it's 5 % `\" python",
    ],
)
@pytest.mark.parametrize("whose", ["the call's", "the site's"])
def test_python_is_a_command_of_several_words(command, whose, tmp_path, monkeypatch):
    """As a container's is; both lines that start it are read by a shell."""
    monkeypatch.chdir(tmp_path)
    echo = tmp_path / "echo"
    echo.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\" >> said\n")
    echo.chmod(0o755)
    if isinstance(command, str):
        command = command.format(echo=echo)
    else:
        command = [word.format(echo=echo) for word in command]
    if whose == "the call's":
        text = script(slurm=sw.SlurmOptions(python=command))
    else:
        with dask.config.set({"jobqueue.slurm.python": command}):
            text = script()
    lines = [line for line in text.splitlines() if line.startswith(("exec ", "SEEDWISE_ADDRESS"))]
    for line in lines:
        shell(line, {"FAST": "/fast", "HOME": "/home/me", **PATH})
        words = (tmp_path / "said").read_text().splitlines()
        (tmp_path / "said").unlink()
        assert words[:4] == ["exec", "--bind=/fast/a b", "/home/me/my image.sif", "it's 5 % `"]
        assert words[4:6] in (["python", "-P"], ["python", "-I"])


def test_a_sites_command_that_cant_be_read():
    with (
        dask.config.set({"jobqueue.slurm.python": "conda run 'python"}),
        pytest.raises(sw.OptionError, match='python="conda run \'python": must be a command'),
    ):
        script()


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
    assert "--preload-nanny seedwise.worker.servers" in text
    assert "--preload seedwise.worker.servers" in text
    parent = tmp_path / "my data"
    if folder is None:  # else it is made
        parent.mkdir()
    lines = scratch_lines(text).replace("/scratch/my data", str(parent))
    shown = shell(f"{lines}\nenv", {"TMPDIR": str(parent), **PATH})
    (made,) = parent.iterdir()
    assert made.stat().st_mode & 0o777 == 0o700
    assert f"SEEDWISE_SCRATCH={made}" in shown.splitlines()


def test_a_tmpdir_that_is_not_on_the_node(tmp_path):
    """Say that of the job that the driver is."""
    lines = scratch_lines(script())
    made = Path(shell(f'{lines}\necho "$SEEDWISE_SCRATCH"', {"TMPDIR": "/nosuch", **PATH}).strip())
    assert made.parent == Path("/tmp")
    made.rmdir()


def test_a_folder_that_the_user_named_and_that_cant_be_made(tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    lines = scratch_lines(script(slurm=sw.SlurmOptions(local_directory=str(blocked))))
    ended = subprocess.run(
        ["bash", "-c", f"{lines}\necho on"], env=PATH, capture_output=True, text=True, check=False
    )
    assert ended.returncode != 0
    assert ended.stdout == ""
    assert str(blocked) in ended.stderr


@pytest.mark.parametrize("folder", ["$FAST/me", "~/me", '$FAST/a "b" `c`'])
def test_variables_in_a_folder_are_those_of_the_node(folder, tmp_path):
    with dask.config.set({"jobqueue.slurm.local-directory": folder}):
        lines = scratch_lines(script())
    there = {"FAST": str(tmp_path), "HOME": str(tmp_path), **PATH}
    shell(lines, there)
    assert [path.name for path in tmp_path.iterdir()] == [folder.partition("/")[2]]


def test_with_an_interface_a_worker_listens_there():
    text = script(slurm=sw.SlurmOptions(interface="lo"))
    assert "--interface lo" in text
    assert "SEEDWISE_ADDRESS" not in text


def test_no_secret_and_no_http_server():
    text = script()
    assert "--no-dashboard" in text
    assert "--worker-class seedwise.worker.servers.LockedWorker" in text
    assert "export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True" in text
    assert "tls" not in script(security=None).replace("tls://", "")


def test_a_job_knows_when_it_ends_and_its_files_are_its_owners():
    lines = script(worker_time_limit=timedelta(hours=3)).splitlines()
    (line,) = [line for line in lines if "SEEDWISE_JOB_ENDS_AT" in line]
    now = int(shell(f'{line}; echo "$SEEDWISE_JOB_ENDS_AT"', PATH))
    assert now - 10800 == pytest.approx(time.time(), abs=60)
    known = {"SLURM_JOB_END_TIME": "17", **PATH}  # newer versions of Slurm say it
    assert shell(f'{line}; echo "$SEEDWISE_JOB_ENDS_AT"', known) == "17\n"
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


def asked(lines, **keywords):
    """Return what the keywords say of a job with extra directives: CPUs, memory, walltime."""
    slurm = sw.SlurmOptions(extra_directives=lines)
    found = keywords_of(slurm=slurm, **keywords)
    return found["job_cpu"], found["job_mem"], found["walltime"]


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([], (2, "2000M", "0-02:00:00")),
        (["--time=00:30:00", "--mem=1G"], (2, "1G", "0-00:30:00")),
        (["-t 90 --mem 1G", "-t 30"], (2, "1G", "0-00:30:00")),
        (["--time=UNLIMITED"], (2, "2000M", "UNLIMITED")),
        (["-c 4"], (4, "4000M", "0-02:00:00")),
        (["--mem-per-cpu=3G", "--cpus-per-task=4"], (4, "12G", "0-02:00:00")),
        (["--mem=0"], (2, "0M", "0-02:00:00")),
        (["--time=tomorrow"], (2, "2000M", "0-02:00:00")),  # Slurm refuses it
    ],
)
def test_what_slurm_will_do_is_what_the_job_believes(lines, found):
    assert asked(lines, cpus_per_task=2, mem_per_cpu="1000M") == found
    with dask.config.set({"jobqueue.slurm.job-extra-directives": lines}):
        assert asked(None, cpus_per_task=2, mem_per_cpu="1000M") == found


def test_memory_and_end_are_those_of_the_directives():
    text = script(slurm=sw.SlurmOptions(extra_directives=["--time=00:30:00", "--mem=1G"]))
    assert "+ 1800 ))" in text
    assert "--memory-limit 780.80MiB" in text
    lines = directives(text)
    assert lines.index("--mem=1G") < lines.index("--time=00:30:00")
    assert "--mem=2G" not in lines
    unlimited = script(slurm=sw.SlurmOptions(extra_directives=["--time=UNLIMITED"]))
    assert "SEEDWISE_JOB_ENDS_AT" not in unlimited


@pytest.mark.slurm
def test_memory_for_each_cpu_is_not_asked_for_twice(slurm):
    """Slurm would refuse it."""
    text = script(slurm=sw.SlurmOptions(extra_directives=["--mem-per-cpu=300M"]))
    assert "--mem=" not in text
    assert "--memory-limit 150.00MiB" in text
    assert check_submit(text) is None


def test_a_setting_of_the_sites_that_is_the_default_of_ours():
    """The very same string: the memory of the site is that of a job, ours that of a CPU."""
    default = RunOptions.from_keywords({}).mem_per_cpu
    with dask.config.set({"jobqueue.slurm.job-mem": default, "jobqueue.slurm.cores": 4}):
        assert f"--mem={default}" in directives(script())


@pytest.mark.parametrize(
    ("old", "new", "values", "lines"),
    [
        (
            "env-extra",
            "job-script-prologue",
            (["module load a"], ["module load b"]),
            ("\nmodule load a\n", "\nmodule load b\n"),
        ),
        (
            "extra",
            "worker-extra-args",
            (["--resources a=1"], ["--resources b=1"]),
            (" --resources a=1 ", " --resources b=1 "),
        ),
        (
            "job-extra",
            "job-extra-directives",
            (["--gres=a"], ["--gres=b"]),
            ("#SBATCH --gres=a\n", "#SBATCH --gres=b\n"),
        ),
        ("project", "account", ("a", "b"), ("#SBATCH -A a\n", "#SBATCH -A b\n")),
    ],
)
def test_old_names_of_a_sites_settings(old, new, values, lines):
    with dask.config.set({f"jobqueue.slurm.{old}": values[0]}):
        assert lines[0] in script()
        with dask.config.set({f"jobqueue.slurm.{new}": values[1]}):
            text = script()
    assert lines[1] in text
    assert lines[0] not in text


@pytest.mark.parametrize("name", ["job-directives-skip", "header-skip"])
def test_lines_that_a_site_leaves_out(name):
    with dask.config.set({f"jobqueue.slurm.{name}": ["-n 1"]}):
        assert "#SBATCH -n 1" not in script()


@pytest.mark.parametrize(
    ("options", "site", "ours", "nodes"),
    [
        ({"interface": "lo"}, {}, "lo", "lo"),
        ({"interface": "ib9", "scheduler_interface": "lo"}, {}, "lo", "ib9"),
        ({"scheduler_interface": "lo"}, {}, "lo", None),
        ({"interface": "lo"}, {"interface": "ib9", "scheduler": "eth9"}, "lo", "lo"),
        ({}, {"interface": "ib9", "scheduler": "lo"}, "lo", "ib9"),
        ({}, {"scheduler": "lo"}, "lo", None),
        ({}, {"interface": "lo"}, "lo", "lo"),
        ({}, {}, None, None),
    ],
)
def test_the_interfaces_of_this_machine_and_of_the_nodes(options, site, ours, nodes):
    slurm = sw.SlurmOptions(**options)
    settings = {
        "jobqueue.slurm.interface": site.get("interface"),
        "jobqueue.slurm.scheduler-options": {"interface": site.get("scheduler")},
    }
    with dask.config.set(settings):
        assert scheduler_interface(slurm) == ours
        assert re.findall(r"--interface (\w+)", script(slurm=slurm)) == ([nodes] if nodes else [])


def test_a_prologue_of_one_line_is_a_line():
    with dask.config.set({"jobqueue.slurm.job-script-prologue": "module load python"}):
        assert "\nmodule load python\n" in script()


@pytest.mark.parametrize(
    ("arguments", "dropped"),
    [
        (
            ["--lifetime", "55m", "--lifetime-stagger", "4m"],
            "--lifetime 55m --lifetime-stagger 4m",
        ),
        (["--lifetime=55m", "--lifetime-restart"], "--lifetime=55m --lifetime-restart"),
        (["--no-lifetime-restart --lifetime '5 m'"], "--no-lifetime-restart --lifetime '5 m'"),
    ],
)
def test_a_lifetime_would_break_chunks_off(capsys, arguments, dropped):
    arguments = ["--resources a=1", *arguments, "--preload x.py"]
    with dask.config.set({"jobqueue.slurm.worker-extra-args": arguments}):
        text = script()
    note = capsys.readouterr().out
    assert note.startswith(f"{dropped} of jobqueue.slurm.worker-extra-args is left out")
    assert "lifetime" not in text
    assert " --resources a=1 --preload x.py --no-dashboard " in text


def options_of_the_scheduler(site, security=KEYS, **keywords):
    options = RunOptions.from_keywords(keywords)
    tag = RunTag("run", "run-id", Path("/logs"), Path("/my keys"), Path("/jobs"), print)
    with dask.config.set({"jobqueue.slurm.scheduler-options": site}):
        return _scheduler_options(JobPlan(tag, 1, _host(options), security))


@pytest.mark.parametrize("address", [":12345", "0.0.0.0:12345", 12345, "12345"])
def test_the_pages_stay_on_this_machine_whatever_the_site_says(address):
    assert options_of_the_scheduler({"dashboard_address": address})["dashboard_address"] == (
        "127.0.0.1:12345"
    )


@pytest.mark.parametrize("address", ["0.0.0.0", None])
def test_pages_without_a_port_of_the_sites(address):
    found = options_of_the_scheduler({"dashboard-address": address})["dashboard_address"]
    assert found.startswith("127.0.0.1:")


@pytest.mark.parametrize("site", [{"host": "127.0.0.1"}, {"interface": "lo"}])
def test_workers_are_told_the_address_that_the_scheduler_has(site):
    found = options_of_the_scheduler({**site, "port": 12345})
    assert (found["host"], found["port"]) == ("127.0.0.1", 12345)
    assert "interface" not in found
    ours = options_of_the_scheduler({"host": "10.9.9.9"}, slurm=sw.SlurmOptions(interface="lo"))
    assert ours["host"] == "127.0.0.1"


def test_a_site_cant_unlock_the_scheduler():
    found = options_of_the_scheduler({"protocol": "tcp://", "security": None})
    assert (found["protocol"], found["security"]) == ("tls://", KEYS)
    assert options_of_the_scheduler({"protocol": "ucx"}, security=None)["protocol"] == "ucx"
