"""Why a job ended: canned texts of Slurm's, logs, and ends on the real Slurm."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seedwise.slurm.ends import (
    JobEnd,
    Usage,
    ask_ends,
    describe_end,
    log_tail,
    parse_sacct,
    parse_scontrol,
    parse_usage,
)
from tests.testbed.daemons import free_ports, poll
from tests.testbed.testbed import Testbed

STRANGER = 54321  # a uid that nobody has

KILLED = "Slurm killed it because it took more memory than"


def end_of(line: str, *steps: str) -> JobEnd | None:
    return parse_sacct("\n".join([line, *steps]) + "\n").get("7")


@pytest.mark.parametrize(
    ("line", "words", "own_fault"),
    [
        ("7|COMPLETED|0:0|n1|2G", "it had done its work (COMPLETED)", False),
        ("7|FAILED|1:0|n1|2G", "it exited with code 1", True),
        ("7|FAILED|2:0|n1|2G", "it exited with code 2", True),
        ("7|FAILED|0:11|n1|2G", "it was killed by signal 11 (SIGSEGV)", True),
        ("7|FAILED|0:40|n1|2G", "it was killed by signal 40", True),
        (
            "7|FAILED|9:0|n1|2G",
            "it exited with code 9, or its program was killed by signal 9 (SIGKILL)",
            True,
        ),
        (
            "7|FAILED|137:0|n1|2G",
            "it exited with code 137, so its program was killed by signal 9 (SIGKILL)",
            True,
        ),
        (
            "7|FAILED|0:53|n1|2G",
            "Slurm could not start it or open its log files (FAILED)",
            None,
        ),
        ("7|FAILED|0:0|n1|2G", "it failed (FAILED)", None),
        ("7|FAILED||n1|", "it failed (FAILED)", None),
        (
            "7|OUT_OF_MEMORY|0:125|n1|2G",
            f"{KILLED} --mem=2G allows (OUT_OF_MEMORY)",
            True,
        ),
        (
            "7|OUT_OF_MEMORY|0:125|n1|2000Mc",
            f"{KILLED} --mem-per-cpu=2000M allows (OUT_OF_MEMORY)",
            True,
        ),
        (
            "7|OUT_OF_MEMORY|0:125|n1|2Gn",
            f"{KILLED} --mem=2G allows (OUT_OF_MEMORY)",
            True,
        ),
        (
            "7|FAILED|0:125|n1|0",
            f"{KILLED} its limit allows (OUT_OF_MEMORY)",
            True,
        ),
        ("7|TIMEOUT|0:0|n1|2G", "it reached its walltime (TIMEOUT)", False),
        ("7|PREEMPTED|0:0|n1|2G", "it was preempted by another job (PREEMPTED)", False),
        ("7|NODE_FAIL|0:0|n3|2G", "its node n3 failed (NODE_FAIL)", False),
        ("7|BOOT_FAIL|0:0|n3|2G", "its node n3 did not boot (BOOT_FAIL)", False),
        ("7|BOOT_FAIL|0:0|None assigned|2G", "its node did not boot (BOOT_FAIL)", False),
        ("7|DEADLINE|0:0|n3|2G", "it reached its deadline (DEADLINE)", False),
        ("7|REVOKED|0:0|n3|2G", "another cluster of the federation took it (REVOKED)", None),
        (f"7|CANCELLED by {os.getuid()}|0:0|n1|2G", "it was cancelled by you", False),
        (f"7|CANCELLED by {STRANGER}|0:0|n1|2G", f"it was cancelled by user {STRANGER}", False),
        ("7|CANCELLED by 4294967294|0:0|n1|2G", "it was cancelled", False),
        ("7|CANCELLED|0:0|n1|2G", "it was cancelled", False),
        ("7|CANCELLED+|0:0|n1|2G", "it was cancelled", False),
    ],
)
def test_how_a_job_ended_in_words(line: str, words: str, own_fault: bool | None) -> None:
    end = end_of(line)
    assert end is not None
    assert end.words == words
    assert end.is_own_fault is own_fault


def test_another_user_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: STRANGER)
    end = end_of("7|CANCELLED by 0|0:0|n1|2G")
    assert end is not None
    assert end.by_uid == 0
    assert end.words == "it was cancelled by user 0 (root)"


@pytest.mark.parametrize(
    "state",
    ["PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "REQUEUED", "RESIZING", "NEWSTATE", ""],
)
def test_a_job_that_has_not_ended_is_unknown(state: str) -> None:
    assert end_of(f"7|{state}|0:0|n1|2G", "7.batch|COMPLETED|0:0|n1|") is None


@pytest.mark.parametrize(
    "text", ["", "\n", "sacct: error: x\n", "7|FAILED\n", "x|FAILED|1:0|n|\n"]
)
def test_text_that_is_no_listing_tells_nothing(text: str) -> None:
    assert parse_sacct(text) == {}


def test_fields_of_an_end() -> None:
    text = "5|FAILED|3:0|n[1-2]|2G\n5.batch|FAILED|3:0|n1|\n6|CANCELLED by 12|0:0|None assigned|\n"
    assert parse_sacct(text) == {
        "5": JobEnd(job_id="5", state="FAILED", exit_code=3, node="n[1-2]", memory="--mem=2G"),
        "6": JobEnd(job_id="6", state="CANCELLED", by_uid=12),
    }


@pytest.mark.parametrize("step", ["batch", "0", "extern"])
def test_a_step_short_of_memory_explains_a_failed_job(step: str) -> None:
    end = end_of("7|FAILED|9:0|n1|2G", f"7.{step}|OUT_OF_MEMORY|0:125|n1|")
    assert end is not None
    assert end.state == "OUT_OF_MEMORY"


@pytest.mark.parametrize("state", ["COMPLETED", "CANCELLED by 0", "TIMEOUT"])
def test_a_step_short_of_memory_does_not_explain_another_end(state: str) -> None:
    end = end_of(f"7|{state}|0:0|n1|2G", "7.0|OUT_OF_MEMORY|0:125|n1|")
    assert end is not None
    assert end.state == state.split(maxsplit=1)[0]


SCONTROL = (
    "JobId=7 JobName=a b=JobState=x UserId=root(0) JobState={state} Reason={reason} "
    "Requeue=0 ExitCode={code} TimeLimit=00:30:00 ReqNodeList=(null) NodeList={node} "
    "BatchHost=n1 MinCPUsNode=1 MinMemoryCPU=200M Command=/x JobState=COMPLETED\n"
)


def test_scontrol_tells_the_whole_exit_code() -> None:
    text = SCONTROL.format(state="FAILED", reason="NonZeroExitCode", code="137:0", node="n1")
    assert parse_scontrol(text) == {
        "7": JobEnd(
            job_id="7", state="FAILED", exit_code=137, node="n1", memory="--mem-per-cpu=200M"
        )
    }


def test_scontrol_tells_of_memory() -> None:
    text = SCONTROL.format(state="FAILED", reason="OutOfMemory", code="0:125", node="n1")
    assert parse_scontrol(text)["7"].words.startswith(KILLED)


@pytest.mark.parametrize("state", ["RUNNING", "PENDING", "COMPLETING"])
def test_scontrol_of_a_job_that_has_not_ended(state: str) -> None:
    text = SCONTROL.format(state=state, reason="None", code="0:0", node="(null)")
    assert parse_scontrol(text) == {}


# -- use ---------------------------------------------------------------------------------------

# Two jobs of two CPUs that ended, one of which was cancelled; one that goes on; and a job of
# another cluster, whose id is the same.
SACCT = """\
11|fit|COMPLETED|100|2|02:30||4G
11.batch|batch|COMPLETED|100|2|02:30|614400K|
12|fit|CANCELLED by 0|60|2|00:30.500||4G
12.batch|batch|CANCELLED|60|2|00:30.500|1024M|
13|fit|RUNNING|50|2|00:00:00||4G
14|other|COMPLETED|5000|64|2-00:00:00||64G
14.batch|batch|COMPLETED|5000|64|2-00:00:00|32G|
"""


def test_the_jobs_of_the_run_that_have_ended_are_added_up():
    found = parse_usage(SACCT, "fit")
    assert found == Usage(
        n_jobs=2, core_s=320.0, busy_s=180.5, n_cpus=2, peak_memory_mb=1024.0, memory_mb=4096.0
    )
    assert found.efficiency == pytest.approx(180.5 / 320)
    assert found.fitting_mb == 700  # a quarter above 512 a CPU, in whole hundreds


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "fit"),
        (SACCT, "none"),
        ("13|fit|RUNNING|50|2|00:00:00||4G\n", "fit"),
        ("15|fit|CANCELLED by 0|0|0|00:00:00||4G\n", "fit"),  # while it was pending
    ],
)
def test_nothing_is_said_where_nothing_is_known(text, name):
    assert parse_usage(text, name) is None


@pytest.mark.parametrize(
    ("peak_mb", "memory_mb", "fitting_mb"),
    [(None, 4096.0, None), (1024.0, None, None), (2500.0, 4096.0, None), (10.0, 4096.0, 100)],
)
def test_less_memory_is_advised_only_if_it_is_clearly_less(peak_mb, memory_mb, fitting_mb):
    used = Usage(1, 10.0, 5.0, 2, peak_mb, memory_mb)
    assert used.fitting_mb == fitting_mb


def test_memory_by_cpu_of_older_versions():
    found = parse_usage("11|fit|COMPLETED|100|4|02:30||2Gc\n", "fit")
    assert found.memory_mb == 8192.0
    assert found.peak_memory_mb is None


# -- logs ---------------------------------------------------------------------------------------


def test_tail_of_the_errors_goes_before_the_output(tmp_path: Path) -> None:
    (tmp_path / "7.err").write_text("one\ntwo\nthree\n")
    (tmp_path / "7.out").write_text("output\n")
    assert log_tail(tmp_path, "7") == "one\ntwo\nthree"
    assert log_tail(tmp_path, "7", n_lines=2) == "two\nthree"


@pytest.mark.parametrize("errors", [None, "", "\n \n"])
def test_tail_of_the_output_without_errors(tmp_path: Path, errors: str | None) -> None:
    if errors is not None:
        (tmp_path / "7.err").write_text(errors)
    (tmp_path / "7.out").write_text("output\n")
    assert log_tail(tmp_path, "7") == "output"


def test_tail_of_nothing_is_empty(tmp_path: Path) -> None:
    assert log_tail(tmp_path, "7") == ""
    assert log_tail(tmp_path / "nowhere", "7") == ""
    (tmp_path / "7.err").mkdir()
    os.mkfifo(tmp_path / "7.out")
    assert log_tail(tmp_path, "7") == ""


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"\x1b[1;31mred\x1b[0m\n", "red"),
        (b"\x1b]0;title\x07text\n", "text"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", "link"),
        (b"\x1b(Bplain\x00\x07\n", "plain"),
        (b" 10%\r 50%\r100%\r\nend\r\n", "100%\nend"),
        (b"bad \xff\xfe bytes\n", "bad \ufffd\ufffd bytes"),
        ("Zürich\tü\n".encode(), "Zürich\tü"),
    ],
)
def test_tail_shows_text_only(tmp_path: Path, raw: bytes, shown: str) -> None:
    (tmp_path / "7.err").write_bytes(raw)
    assert log_tail(tmp_path, "7") == shown


def test_tail_of_a_log_that_is_too_large_to_be_read(tmp_path: Path) -> None:
    with (tmp_path / "7.err").open("wb") as file:
        file.seek(20 * 1024**3)  # sparse
        file.write(b"\nlast but one\nlast\n")
    assert log_tail(tmp_path, "7", 2) == "last but one\nlast"


def test_tail_of_one_endless_line_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "7.err").write_bytes(b"x" * 1_000_000)
    assert log_tail(tmp_path, "7") == "x" * 1000 + "…"


def test_sentence_without_accounting_points_to_the_log(tmp_path: Path) -> None:
    sentence = describe_end(None, tmp_path, "7")
    assert sentence == f"job 7 ended for an unknown reason; it left no log in {tmp_path}"
    (tmp_path / "7.err").write_text("a\nb\n")
    sentence = describe_end(None, tmp_path, "7")
    assert sentence == f"job 7 ended for an unknown reason; see {tmp_path}/7.err"


def test_sentence_quotes_the_log_of_what_is_the_job_s_own_fault(tmp_path: Path) -> None:
    end = JobEnd(job_id="7", state="FAILED", exit_code=1)
    text = "job 7 ended because it exited with code 1"
    assert describe_end(end, tmp_path, "7") == f"{text}; it left no log in {tmp_path}"
    (tmp_path / "7.err").write_text("Traceback\nImportError: no\n\n")
    quoted = f"{text}; the last line of {tmp_path}/7.err is 'ImportError: no'"
    assert describe_end(end, tmp_path, "7") == quoted
    timeout = JobEnd(job_id="7", state="TIMEOUT")
    assert describe_end(timeout, tmp_path, "7") == (
        "job 7 ended because it reached its walltime (TIMEOUT)"
    )


# -- asking -------------------------------------------------------------------------------------


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put a script in the place of a command of Slurm's; without one there is none."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    for name in ("sacct", "scontrol"):
        (folder / name).write_text("#!/bin/sh\nexit 1\n")
        (folder / name).chmod(0o755)

    def write(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")

    return write


def test_a_failing_sacct_means_unknown(fake: Callable[[str, str], None]) -> None:
    fake("sacct", "echo '7|FAILED|1:0|n1|2G'; exit 1")
    assert ask_ends(["7"]) is None


def test_an_accounting_that_knows_nothing_is_no_failure(fake: Callable[[str, str], None]) -> None:
    fake("sacct", "exit 0")
    assert ask_ends(["7"]) == {}
    assert ask_ends([]) == {}


def test_only_what_was_asked_for_is_told(fake: Callable[[str, str], None], tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    fake("sacct", f"echo \"$*\" > {asked}; echo '7|TIMEOUT|0:0|n|'; echo '8|TIMEOUT|0:0|n|'")
    ends = ask_ends(["7", "9", "--all", "7;rm", "7"])
    assert ends is not None
    assert list(ends) == ["7"]
    assert "--jobs=7,9 " in asked.read_text()


def test_slurmctld_is_asked_for_what_the_accounting_does_not_know(
    fake: Callable[[str, str], None],
) -> None:
    fake("scontrol", "echo JobId=$4 JobState=NODE_FAIL ExitCode=0:0 NodeList=n3")
    ends = ask_ends(["7"])
    assert ends is not None
    assert ends["7"].words == "its node n3 failed (NODE_FAIL)"


@pytest.mark.parametrize(
    ("sacct", "scontrol", "words"),
    [
        ("0:0", "0:11", "it was killed by signal 11 (SIGSEGV)"),  # it has no code yet
        ("0:0", "2:0", "it exited with code 2"),
        ("0:0", "0:0", "it failed (FAILED)"),
        ("9:0", "9:0", "it exited with code 9, or its program was killed by signal 9 (SIGKILL)"),
        ("9:0", "137:0", "it exited with code 137, so its program was killed by signal 9"),
    ],
)
def test_slurmctld_is_asked_where_the_accounting_may_not_have_the_code(
    fake: Callable[[str, str], None], sacct: str, scontrol: str, words: str
) -> None:
    fake("sacct", f"echo '7|FAILED|{sacct}|n1|'")
    fake("scontrol", f"echo JobId=$4 JobState=FAILED ExitCode={scontrol} NodeList=n1")
    ends = ask_ends(["7"])
    assert ends is not None
    assert ends["7"].words.startswith(words)


def test_missing_commands_mean_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_ends(["7"]) is None


def test_commands_that_hang_mean_unknown_in_time(
    fake: Callable[[str, str], None], tmp_path: Path
) -> None:
    for name in ("sacct", "scontrol"):
        # A wrapper whose child holds the pipe, as clusters have them.
        fake(name, f"sleep 300 & echo $! >> {tmp_path}/pids; wait")
    assert ask_ends(["7", "8"], timeout_s=1) is None
    pids = (tmp_path / "pids").read_text().split()
    assert len(pids) == 2
    for pid in pids:
        poll(lambda pid=pid: _gone(pid), f"the child {pid} of the command to end", 5)


def _gone(pid: str) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"  # whoever reaps orphans here has not yet


# -- the real Slurm -----------------------------------------------------------------------------


@pytest.fixture
def submit(slurm: Testbed, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Submit a job with the logs of a worker's, cancelled in the end."""
    jobs: list[str] = []

    def submit(command: str, *options: str) -> str:
        logs = (f"--output={tmp_path}/%J.out", f"--error={tmp_path}/%J.err", "--no-requeue")
        jobs.append(
            slurm.run("sbatch", "--parsable", *logs, *options, f"--wrap={command}").strip()
        )
        return jobs[-1]

    yield submit
    slurm.call("scancel", *jobs)


def ended(job: str, seconds: float = 30) -> JobEnd:
    return poll(lambda: (ask_ends([job]) or {}).get(job), f"the end of job {job}", seconds, 0.2)


def running(slurm: Testbed, job: str) -> None:
    def runs() -> bool:
        return "RUNNING" in slurm.run("squeue", "-h", f"--jobs={job}", "--format=%T")

    poll(runs, f"job {job} to run")


@pytest.mark.slurm
def test_a_job_that_exits_with_a_code(
    submit: Callable[..., str], tmp_path: Path, slurm: Testbed
) -> None:
    job = submit("echo to the errors >&2; exit 3")
    end = ended(job)
    assert (end.state, end.exit_code, end.signal) == ("FAILED", 3, 0)
    assert describe_end(end, tmp_path, job) == (
        f"job {job} ended because {end.words}; the last line of {tmp_path}/{job}.err is "
        "'to the errors'"
    )


@pytest.mark.slurm
def test_jobs_killed_by_a_signal(submit: Callable[..., str]) -> None:
    script = submit("kill -SEGV $$")
    program = submit("sh -c 'kill -KILL $$'; exit $?")
    assert ended(script).words == "it was killed by signal 11 (SIGSEGV)"
    # sacct says 9; slurmctld, asked because of that, says 137.
    assert ended(program).words == (
        "it exited with code 137, so its program was killed by signal 9 (SIGKILL)"
    )


@pytest.mark.slurm
def test_a_job_whose_logs_cannot_be_opened(submit: Callable[..., str]) -> None:
    job = submit("true", "--output=/nonexistent/%J.out", "--error=/nonexistent/%J.err")
    assert ended(job).words == "Slurm could not start it or open its log files (FAILED)"


def cancelled(job: str) -> JobEnd:
    def known() -> JobEnd | None:
        end = ended(job)
        assert end.state == "CANCELLED"
        # slurmctld, which may know of it earlier than the accounting, does not say by whom.
        return end if end.by_uid is not None else None

    return poll(known, f"the accounting to tell who cancelled job {job}")  # type: ignore[return-value]


@pytest.mark.slurm
def test_cancelled_jobs(slurm: Testbed, submit: Callable[..., str]) -> None:
    pending, busy = submit("true", "--hold"), submit("sleep 300")
    running(slurm, busy)
    assert ask_ends([pending, busy]) == {}
    slurm.run("scancel", pending, busy)
    ends = [cancelled(pending), cancelled(busy)]
    assert [end.words for end in ends] == ["it was cancelled by you"] * 2
    assert ends[0].node is None
    assert ends[1].node is not None


@pytest.mark.slurm
def test_a_job_that_is_preempted(slurm: Testbed, submit: Callable[..., str]) -> None:
    whole_node = ("--nodelist=n3", "--exclusive", "--mem=0")
    victim = submit("sleep 300", "--qos=short", *whole_node)
    running(slurm, victim)
    urgent = submit("true", "--qos=urgent", *whole_node)
    end = ended(victim)
    assert (end.state, end.node, end.is_own_fault) == ("PREEMPTED", "n3", False)
    assert ended(urgent).state == "COMPLETED"


@pytest.mark.slurm
def test_a_job_whose_node_fails(slurm: Testbed, submit: Callable[..., str]) -> None:
    job = submit("sleep 300", "--nodelist=n4")
    running(slurm, job)
    slurm.run("scontrol", "update", "nodename=n4", "state=down", "reason=test")
    try:
        assert ended(job).words == "its node n4 failed (NODE_FAIL)"
    finally:
        # A node that still answers may have come back by itself, and needs no resuming.
        slurm.call("scontrol", "update", "nodename=n4", "state=resume")
        state = ("sinfo", "--noheader", "--nodes=n4", "--partition=main", "--format=%T")
        poll(lambda: slurm.run(*state).strip() == "idle", "n4 to be idle", 60)


@pytest.mark.slurm
@pytest.mark.full
def test_a_job_that_reaches_its_walltime(slurm: Testbed, submit: Callable[..., str]) -> None:
    end = ended(submit("sleep 600", "--time=1"), 150)  # Slurm looks every half minute
    assert (end.words, end.is_own_fault) == ("it reached its walltime (TIMEOUT)", False)


@pytest.mark.slurm
def test_without_accounting_slurmctld_tells(
    slurm: Testbed, submit: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit("exit 3")
    ended(job)
    (port,) = free_ports(1)
    text = Path(slurm.env["SLURM_CONF"]).read_text()
    lines = [
        f"AccountingStoragePort={port}" if line.startswith("AccountingStoragePort=") else line
        for line in text.splitlines()
    ]
    (tmp_path / "slurm.conf").write_text("\n".join([*lines, ""]))
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    ends = ask_ends([job, "999999"])
    assert ends is not None
    assert {job_id: end.exit_code for job_id, end in ends.items()} == {job: 3}
    assert ask_ends(["999999"], timeout_s=10) is None
