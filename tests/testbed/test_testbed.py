"""The testbed itself: what later tests rely on must hold in a real Slurm."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed import config, daemons
from tests.testbed.daemons import poll
from tests.testbed.testbed import SlurmUnavailable, Testbed, TestbedError, main, require

pytestmark = pytest.mark.slurm

QUICK = ("sbatch", "--parsable", "--output=/dev/null")


def states(testbed: Testbed, job: str) -> list[str]:
    """States of a job's tasks, as the accounting database has them."""
    listing = testbed.run("sacct", "-n", "-P", "-X", "-j", job, "--format=State")
    return listing.split("\n")[:-1]


def queued(testbed: Testbed, job: str, field: str = "%T") -> list[str]:
    """One field for each task of a job that the queue still shows."""
    listing = testbed.run("squeue", "--noheader", "--array", f"--format=%A %F {field}")
    rows = [line.split() for line in listing.splitlines()]
    return [row[2] for row in rows if job in row[:2]]


def refusal(testbed: Testbed, *options: str) -> str:
    """Have sbatch refuse a job, tried and in earnest; return what it says about it."""
    for mode in ("--test-only", "--parsable"):
        done = testbed.call("sbatch", mode, "--output=/dev/null", *options, "--wrap=true")
        assert done.returncode == 1, done
        assert done.stdout == ""
    return done.stderr


def traces(folder: Path) -> list[str]:
    """Processes that have to do with a folder."""
    return [
        f"{pid} {daemons.program(pid)}"
        for pid in daemons.all_pids()
        if daemons.mentions(pid, folder)
    ] + [f"left over: {pid}" for pid in daemons.leftovers(folder)]


@pytest.fixture
def second() -> Iterator[Testbed]:
    """A testbed of the test's own, not started yet."""
    try:
        require()
    except SlurmUnavailable as error:
        pytest.skip(str(error))
    testbed = Testbed()
    try:
        yield testbed
    finally:
        testbed.stop()


def test_array_job_runs_all_its_tasks(slurm: Testbed, tmp_path: Path) -> None:
    job = slurm.run(
        "sbatch",
        "--parsable",
        "--array=0-7",
        f"--output={tmp_path}/%a.txt",
        "--wrap=echo task $SLURM_ARRAY_TASK_ID",
    ).strip()
    poll(lambda: not queued(slurm, job), "the array to finish")
    texts = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert texts == {f"{task}.txt": f"task {task}\n" for task in range(8)}
    poll(lambda: states(slurm, job) == ["COMPLETED"] * 8, "sacct to show 8 tasks")


def test_sacct_tells_success_from_failure(slurm: Testbed) -> None:
    good = slurm.run(*QUICK, "--wrap=true").strip()
    bad = slurm.run(*QUICK, "--wrap=exit 7").strip()
    poll(lambda: states(slurm, good) == ["COMPLETED"], "sacct to show success")
    poll(lambda: states(slurm, bad) == ["FAILED"], "sacct to show failure")


@pytest.mark.full
def test_sacct_has_exit_code_account_and_qos(slurm: Testbed) -> None:
    bad = slurm.run(*QUICK, "--wrap=exit 7").strip()

    def fields() -> str:
        columns = "--format=ExitCode,Account,QOS"
        return slurm.run("sacct", "-n", "-P", "-X", "-j", bad, columns).strip()

    # The QoS of a job of less than 5 s is "Unknown" until the next bulk update.
    poll(lambda: fields() == f"7:0|{config.ACCOUNT}|short", "all fields in sacct")


def test_srun_works_inside_a_job(slurm: Testbed, tmp_path: Path) -> None:
    output = tmp_path / "out.txt"
    command = "srun --ntasks=2 --overlap sh -c 'echo $SLURMD_NODENAME'"
    job = slurm.run(
        "sbatch", "--parsable", "-N2", "-n2", f"--output={output}", f"--wrap={command}"
    ).strip()
    poll(lambda: not queued(slurm, job), "the job to finish")
    assert len(set(output.read_text().split()) & set(config.NODES)) == 2


def test_a_two_hour_job_is_accepted_with_qos_short(slurm: Testbed) -> None:
    done = slurm.call("sbatch", "--test-only", "--qos=short", "--time=02:00:00", "--wrap=true")
    assert done.returncode == 0
    assert "to start at" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--qos=nosuch"], "Invalid qos specification"),
        (["--qos=locked"], "Invalid qos specification"),
        (["--account=nosuch"], "Invalid account or account/partition combination specified"),
        (["--partition=nosuch"], "Invalid partition name specified"),
        (["--partition=tiny", "--time=01:00:00"], "Requested time limit is invalid"),
        (["--partition=tiny", "--mem=8000"], "Memory required by task is not available"),
        (["--mem=99999"], "Requested node configuration is not available"),
        (["--cpus-per-task=9"], "Requested node configuration is not available"),
        (["--nodes=5"], "Node count specification invalid"),
        (["--qos=tight", "--time=01:00:00"], "QOSMaxWallDurationPerJobLimit"),
        (["--qos=tight", "--time=5", "--array=0-4"], "QOSMaxSubmitJobPerUserLimit"),
    ],
)
def test_what_the_cluster_refuses(slurm: Testbed, options: list[str], message: str) -> None:
    assert message in refusal(slurm, *options)


def test_tiny_takes_what_keeps_its_limits(slurm: Testbed) -> None:
    job = slurm.run(*QUICK, "--partition=tiny", "--time=5", "--mem=500", "--wrap=true").strip()
    poll(lambda: states(slurm, job) == ["COMPLETED"], "the job to finish")


def test_tight_runs_two_queues_four_and_refuses_the_fifth(slurm: Testbed) -> None:
    submit = (*QUICK, "--qos=tight", "--time=5", "--wrap=sleep 300")
    jobs = [slurm.run(*submit).strip() for _ in range(4)]
    try:
        fifth = slurm.call(*submit)
        assert fifth.returncode == 1
        assert "QOSMaxSubmitJobPerUserLimit" in fifth.stderr
        assert "Job violates accounting/QOS policy" in fifth.stderr

        def running_and_waiting() -> bool:
            shown = [queued(slurm, job, "%T,%r")[0] for job in jobs]
            waiting = shown.count("PENDING,QOSMaxJobsPerUserLimit")
            return waiting == 2 and sum(text.startswith("RUNNING") for text in shown) == 2

        poll(running_and_waiting, "two jobs to run, two to wait")
    finally:
        slurm.run("scancel", *jobs)


def test_urgent_preempts_short(slurm: Testbed) -> None:
    whole_node = ("--nodelist=n4", "--exclusive", "--mem=0")
    victim = slurm.run(*QUICK, "--qos=short", *whole_node, "--wrap=sleep 300").strip()
    poll(lambda: queued(slurm, victim) == ["RUNNING"], "the first job to run")
    urgent = slurm.run(*QUICK, "--qos=urgent", *whole_node, "--wrap=true").strip()
    poll(lambda: states(slurm, urgent) == ["COMPLETED"], "the urgent job to finish")
    poll(lambda: states(slurm, victim) == ["PREEMPTED"], "sacct to show the preemption")


@pytest.mark.full
def test_second_testbed_runs_beside_and_leaves_nothing(slurm: Testbed, second: Testbed) -> None:
    second.start()
    folder = second.folder
    ports = [
        int(port)
        for line in (folder / "slurm.conf").read_text().splitlines()
        for key, _, value in [line.partition("=")]
        if key in ("SlurmctldPort", "AccountingStoragePort")
        for port in [value]
    ]
    # A job that does not want to end, and a process that has left it.
    script = "trap '' TERM; setsid sleep 300 & while :; do sleep 1; done"
    job = second.run(*QUICK, f"--wrap={script}").strip()
    poll(lambda: queued(second, job) == ["RUNNING"], "the job to run")
    poll(lambda: len(daemons.leftovers(folder)) > 10, "the job's processes")
    assert slurm.answers()

    second.stop()

    assert not folder.exists()
    assert traces(folder) == []
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert slurm.answers()
    second.stop()


def test_failed_start_says_why_and_leaves_nothing(
    second: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = config.slurmdbd_conf
    monkeypatch.setattr(
        config,
        "slurmdbd_conf",
        lambda *arguments: real(*arguments).replace("accounting_storage/mysql", "no/such"),
    )
    with pytest.raises(TestbedError, match=r"slurmdbd has ended\n(?s:.*)no/such"):
        second.start()
    assert second.folder.name.startswith("swslurm-")
    assert not second.folder.exists()
    assert traces(second.folder) == []


@pytest.mark.full
def test_command_line_keeps_one_up_until_down(
    second: Testbed, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["up"]) == 0
    lines = capfd.readouterr().out.splitlines()
    second.folder = Path(lines[0].removeprefix("export SLURM_CONF=")).parent
    assert f"export SEEDWISE_SLURM_TESTBED={second.folder}" in lines
    assert Testbed(second.folder).answers()
    assert main(["down", str(second.folder)]) == 0
    assert traces(second.folder) == []
    assert main(["down", str(second.folder)]) == 1
