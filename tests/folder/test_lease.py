"""One writer to a run folder, with real processes that live, stop, die and come back."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import attrs
import psutil
import pytest

from seedwise.errors import LeaseLostError, RunLockedError
from seedwise.folder import lease as module
from seedwise.folder import process as holder_module
from seedwise.folder.lease import SILENT_S, acquire_lease, lease_holder
from seedwise.folder.process import this_process

# Says what became of the lease; then does what each line of its stdin asks for, until that ends.
HOLDER = """
import sys
from pathlib import Path
from seedwise.errors import LeaseLostError, RunLockedError
from seedwise.folder.lease import acquire_lease

path = Path(sys.argv[1])
if "wait" in sys.argv:
    print("ready", flush=True)
    sys.stdin.readline()
try:
    lease = acquire_lease(path, take_over="take_over" in sys.argv)
except RunLockedError as error:
    print("locked:", error.holder, flush=True)
    lease = None
else:
    print("held", flush=True)
for line in sys.stdin:
    try:
        getattr(lease, line.strip())()
    except LeaseLostError as error:
        print("lost:", error.holder, flush=True)
    else:
        print("done", flush=True)
"""


class Other:
    """Another process that takes a lease."""

    def __init__(self, path: Path, *how: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(path), *how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid

    def says(self) -> str:
        return self.process.stdout.readline().strip()

    def does(self, method: str) -> str:
        print(method, file=self.process.stdin, flush=True)
        return self.says()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "lease.json"


@pytest.fixture
def start(path):
    others = []

    def start_one(*how: str) -> Other:
        others.append(Other(path, *how))
        return others[-1]

    yield start_one
    for other in others:
        other.close()


@pytest.fixture
def holder(start) -> Other:
    other = start()
    assert other.says() == "held"
    return other


def content(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def change(path: Path, **fields) -> None:
    """Make the lease that of another process; it keeps its age."""
    path.write_text(json.dumps({**content(path), **fields}), encoding="utf-8")


def age(path: Path, age_s: float) -> None:
    """Make the file as if it had been touched for the last time so long ago."""
    probe = path.with_name("probe")
    probe.touch()
    now_s = probe.stat().st_mtime
    probe.unlink()
    os.utime(path, (now_s - age_s, now_s - age_s))


def dead(path: Path) -> None:
    """Leave the lease of a process of this host that has ended."""
    acquire_lease(path).release()
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    fields = attrs.asdict(this_process("0" * 32))
    path.write_text(json.dumps({**fields, "pid": process.pid}), encoding="utf-8")


def test_a_lease_says_whose_it_is(path):
    with acquire_lease(path) as lease:
        lease.check()
        fields = content(path)
        assert fields["pid"] == os.getpid()
        assert fields["token"] == lease.token
        assert fields["acquired_at"].endswith("+00:00")
        assert set(fields) >= {"host", "machine", "pid_namespace", "boot", "started_s"}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_release_removes_it_and_it_can_be_had_again(path):
    for _ in range(2):
        with acquire_lease(path) as lease:
            thread = lease._thread
            assert thread.is_alive()
            assert thread.daemon
        assert not thread.is_alive()
        assert [entry.name for entry in path.parent.iterdir()] == ["lease.json.lock"]
        assert stat.S_IMODE(path.with_name("lease.json.lock").stat().st_mode) == 0o600
    lease.release()  # once more is of no harm
    lease.refresh()
    with pytest.raises(LeaseLostError):
        lease.check()


def test_a_release_leaves_no_open_file(path):
    def is_open() -> bool:
        return any(Path(file.path).parent == path.parent for file in psutil.Process().open_files())

    with acquire_lease(path):
        assert is_open()
    assert not is_open()


def test_release_of_a_folder_that_is_gone(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    lease = acquire_lease(folder / "lease.json")
    shutil.rmtree(folder)
    with pytest.raises(LeaseLostError) as caught:
        lease.check()
    assert "gone" in caught.value.holder
    lease.release()
    assert not folder.exists()


@pytest.mark.parametrize("take_over", [False, True])
def test_a_living_holder_keeps_it(path, holder, take_over):
    for age_s in (0, 10 * SILENT_S):
        age(path, age_s)
        with pytest.raises(RunLockedError, match=f"kill -9 {holder.pid}") as caught:
            acquire_lease(path, take_over=take_over)
    assert caught.value.run_dir == path.parent
    assert f"process {holder.pid} on " in caught.value.holder
    assert holder.does("check") == "done"
    assert sorted(entry.name for entry in path.parent.iterdir()) == [
        "lease.json",
        "lease.json.lock",
    ]


@pytest.mark.parametrize("take_over", [False, True])
def test_this_very_process_keeps_it_too(path, take_over):
    errors = []

    def acquire() -> None:
        with pytest.raises(RunLockedError, match="this very process") as caught:
            acquire_lease(path, take_over=take_over)
        errors.append(caught.value)

    with acquire_lease(path) as lease:
        thread = threading.Thread(target=acquire)
        thread.start()
        thread.join()
        assert len(errors) == 1
        lease.check()


def test_after_kill_it_is_taken_over_at_once(path, holder):
    holder.kill()
    assert content(path)["pid"] == holder.pid
    with acquire_lease(path) as lease:
        assert content(path)["token"] == lease.token


def test_a_zombie_is_dead(path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, and not reaped
    assert psutil.Process(holder.pid).status() == psutil.STATUS_ZOMBIE
    acquire_lease(path).release()


def test_a_stopped_holder_keeps_it(path, holder):
    os.kill(holder.pid, signal.SIGSTOP)
    try:
        os.waitpid(holder.pid, os.WUNTRACED)
        age(path, 10 * SILENT_S)
        for take_over in (False, True):
            with pytest.raises(RunLockedError, match=f"is stopped.*kill -CONT {holder.pid}"):
                acquire_lease(path, take_over=take_over)
    finally:
        os.kill(holder.pid, signal.SIGCONT)
    assert holder.does("check") == "done"


def test_another_host_that_may_be_alive_keeps_it(path, holder):
    change(path, host="far")
    age(path, SILENT_S / 2)
    with pytest.raises(RunLockedError, match=r"lease 150 s ago.*take_over=True") as caught:
        acquire_lease(path)
    assert f"process {holder.pid} on far" in caught.value.holder


def test_another_host_that_refreshes_while_it_is_waited_for_keeps_it(path, holder):
    change(path, host="far")
    age(path, SILENT_S / 2)
    told = []

    def tell(text: str) -> None:
        told.append(text)
        assert holder.does("refresh") == "done"

    with pytest.raises(RunLockedError, match="refreshed its lease 0 s ago") as caught:
        acquire_lease(path, take_over=True, tell=tell)
    assert f"process {holder.pid} on far" in caught.value.holder
    (text,) = told
    assert text.startswith(caught.value.holder)
    assert "waiting for 151 s" in text
    assert holder.does("check") == "done"


@pytest.mark.parametrize("content", [None, b"torn"], ids=["of another host", "torn"])
def test_one_that_can_not_be_seen_and_falls_silent_is_waited_out(
    path, holder, monkeypatch, content
):
    monkeypatch.setattr(module, "_MARGIN_S", 0.05)
    holder.kill()
    change(path, host="far")
    if content is not None:
        path.write_bytes(content)
    age(path, SILENT_S - 0.2)
    told = []
    with acquire_lease(path, take_over=True, tell=told.append) as lease:
        lease.check()
    assert ["waiting for 0 s" in text for text in told] == [True]


def test_one_that_ends_while_it_is_waited_for_is_followed_at_once(path, holder):
    change(path, host="far")
    with acquire_lease(path, take_over=True, tell=lambda _: holder.does("release")) as lease:
        lease.check()


#: The job and the start of the lease's holder, then ours; whether it is dead for certain.
STARTS = {
    "an earlier start": (("41", "site", 0), ("41", "site", 1), True),
    "two starts before": (("41", "site", 1), ("41", "site", 3), True),
    "the same start, as with srun": (("41", "site", 1), ("41", "site", 1), False),
    "a later start": (("41", "site", 2), ("41", "site", 1), False),
    "another job": (("40", "site", 0), ("41", "site", 1), False),
    "another cluster's job": (("41", "other", 0), ("41", "site", 1), False),
    "we are in no job": (("41", "site", 0), ("", "", 0), False),
    "it is in no job": (("", "", 0), ("41", "site", 1), False),
    "both are in none": (("", "", 0), ("", "", 1), False),
}


@pytest.mark.parametrize(("its", "ours", "is_dead"), STARTS.values(), ids=STARTS)
@pytest.mark.parametrize("elsewhere", [{"host": "far"}, {"pid_namespace": "1"}], ids=str)
def test_an_earlier_start_of_our_slurm_job_is_dead(
    path, holder, monkeypatch, elsewhere, its, ours, is_dead
):
    names = ("job_id", "job_cluster", "job_restarts")
    change(path, **elsewhere, **dict(zip(names, its, strict=True)))
    variables = ("SLURM_JOB_ID", "SLURM_CLUSTER_NAME", "SLURM_RESTART_COUNT")
    for name, value in zip(variables, ours, strict=True):
        monkeypatch.delenv(name, raising=False)
        if value:  # Slurm counts no restarts of a job that was never restarted
            monkeypatch.setenv(name, str(value))
    assert (lease_holder(path) is None) is is_dead
    if not is_dead:
        with pytest.raises(RunLockedError):
            acquire_lease(path)
        return
    with acquire_lease(path) as lease:
        assert tuple(content(path)[name] for name in names) == ours
        assert holder.does("check").startswith(f"lost: process {os.getpid()} on ")
        lease.check()


def test_a_living_process_of_this_host_keeps_it_whatever_its_job(path, holder, monkeypatch):
    change(path, job_id="41")
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    monkeypatch.delenv("SLURM_CLUSTER_NAME", raising=False)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with pytest.raises(RunLockedError, match=r"in Slurm job 41, since"):
        acquire_lease(path)


def test_a_lease_without_a_job_is_one_of_a_process_in_none(path, holder):
    fields = {name: value for name, value in content(path).items() if "job" not in name}
    path.write_text(json.dumps(fields))
    with pytest.raises(RunLockedError, match=f"process {holder.pid} on "):
        acquire_lease(path)


def test_another_host_that_is_silent_is_taken_over_when_told_to(path, holder):
    change(path, host="far")
    age(path, 2 * SILENT_S)
    with pytest.raises(RunLockedError, match=r"silent for 600 s.*take_over=True.*--take-over"):
        acquire_lease(path)
    with acquire_lease(path, take_over=True) as lease:
        lost = holder.does("check")
        assert lost.startswith(f"lost: process {os.getpid()} on ")
        assert holder.does("refresh") == "done"
        assert holder.does("release") == "done"
        lease.check()
        assert content(path)["token"] == lease.token


def test_age_is_told_by_the_clock_of_the_folder(path, holder, monkeypatch):
    change(path, host="far")
    monkeypatch.setattr(module.time, "time", lambda: 0.0)
    with pytest.raises(RunLockedError, match="refreshed its lease 0 s ago"):
        acquire_lease(path)


@pytest.mark.parametrize(
    "elsewhere", [{"pid_namespace": "1"}, {"machine": "1"}, {"machine": "", "boot": "1"}], ids=str
)
def test_another_container_or_machine_of_that_name_is_another_host(
    path, holder, elsewhere, monkeypatch
):
    if elsewhere.get("machine") == "":  # nothing tells a reboot from a namesake
        monkeypatch.setattr(holder_module, "_machine", lambda: "")
    change(path, **elsewhere)
    holder.kill()
    with pytest.raises(RunLockedError, match="container of that name"):
        acquire_lease(path)
    age(path, 2 * SILENT_S)
    with pytest.raises(RunLockedError, match="--take-over"):
        acquire_lease(path)
    acquire_lease(path, take_over=True).release()


def test_a_real_pid_namespace(path, monkeypatch):
    monkeypatch.setattr(module, "REFRESH_S", 0.1)
    enter = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c"]
    able = (
        shutil.which("unshare")
        and not subprocess.run([*enter, "pass"], capture_output=True, check=False).returncode
    )
    if not able:
        pytest.skip("may not make a pid namespace")
    with acquire_lease(path) as lease:
        done = subprocess.run(
            [*enter, HOLDER, str(path), "take_over"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith("locked:"), done.stdout
        assert "container of that name" in done.stdout
        lease.check()


@pytest.mark.parametrize("field", ["started_s", "boot"])
def test_a_pid_that_was_given_again_is_no_holder(path, holder, field, monkeypatch):
    monkeypatch.setattr(holder_module, "_machine", lambda: "this")
    change(path, machine="this")
    with pytest.raises(RunLockedError):
        acquire_lease(path)
    was = content(path)[field]
    change(path, **{field: was - 100.0 if field == "started_s" else "before"})
    with acquire_lease(path) as lease:
        assert content(path)["token"] == lease.token
    assert psutil.pid_exists(holder.pid)


@pytest.mark.parametrize(
    "torn",
    [b"", b'{"host": "a", "pi', b"[]", b"\xff\x00", b"{}", b"null"],
)
def test_what_is_no_lease_is_a_silent_stranger(path, torn):
    path.write_bytes(torn)
    with pytest.raises(RunLockedError, match="unknown process"):
        acquire_lease(path)
    age(path, 2 * SILENT_S)
    with pytest.raises(RunLockedError, match="--take-over"):
        acquire_lease(path)
    acquire_lease(path, take_over=True).release()


@pytest.mark.parametrize("fields", [{"pid": -1}, {"pid": "1"}, {"token": None}, {"host": 3}])
def test_fields_that_make_no_sense(path, fields):
    with acquire_lease(path):
        damaged = {**content(path), **fields}
    path.write_text(json.dumps(damaged))
    with pytest.raises(RunLockedError, match="unknown process"):
        acquire_lease(path)


def test_of_many_that_take_a_dead_lease_one_wins(path, start):
    dead(path)
    others = [start("wait") for _ in range(8)]
    for other in others:
        assert other.says() == "ready"
    for other in others:
        print(file=other.process.stdin, flush=True)
    said = [other.says() for other in others]
    assert said.count("held") == 1
    winner = others[said.index("held")]
    locked = [words for words in said if words.startswith(f"locked: process {winner.pid} on")]
    assert len(locked) == 7
    assert winner.does("check") == "done"


def test_a_refresh_touches_the_file_and_needs_no_space(path, monkeypatch):
    with acquire_lease(path) as lease:
        age(path, 10 * SILENT_S)
        before = path.stat().st_mtime
        lease.refresh()
        assert path.stat().st_mtime > before + SILENT_S
        assert content(path)["token"] == lease.token


def test_the_thread_refreshes(path, monkeypatch):
    monkeypatch.setattr(module, "REFRESH_S", 0.001)
    refreshed = threading.Semaphore(0)
    monkeypatch.setattr(module.Lease, "refresh", lambda self: refreshed.release())
    with acquire_lease(path):
        assert all(refreshed.acquire(timeout=60) for _ in range(3))


def test_a_refresh_that_fails_is_left_for_the_next(path, monkeypatch):
    def away(*args, **kwargs):
        raise OSError(errno.ESTALE, "Stale file handle")

    with acquire_lease(path) as lease, monkeypatch.context() as patch:
        patch.setattr(os, "utime", away)
        lease.refresh()


def test_a_lease_in_an_inode_that_was_used_before_is_not_taken_for_ours(path, holder):
    """The inode of a file that is removed is given to the next one."""
    change(path, host="far")
    age(path, 2 * SILENT_S)
    for _ in range(3):
        acquire_lease(path, take_over=True).release()
    with acquire_lease(path):
        assert holder.does("check").startswith("lost: process")


def test_a_folder_that_was_put_back_holds_the_same_lease(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with acquire_lease(folder / "lease.json") as lease:
        shutil.copytree(folder, tmp_path / "copy")
        shutil.rmtree(folder)
        (tmp_path / "copy").rename(folder)
        inode = lease._inode
        lease.check()
        assert lease._inode != inode
        age(lease.path, 10 * SILENT_S)
        before = lease.path.stat().st_mtime
        lease.refresh()
        assert lease.path.stat().st_mtime > before
    assert not lease.path.exists()


def test_a_full_disk_leaves_no_lease(path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left") as caught:
            acquire_lease(path)
    assert not isinstance(caught.value, RunLockedError)
    assert [entry.name for entry in path.parent.iterdir()] == ["lease.json.lock"]
    acquire_lease(path).release()


def test_an_interrupt_leaves_no_lease(path, monkeypatch):
    def interrupt(self) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            acquire_lease(path)
    acquire_lease(path).release()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks(path, monkeypatch, code):
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with acquire_lease(path) as lease, pytest.raises(RunLockedError):
        acquire_lease(path)
    assert lease._ended.is_set()


def test_who_is_overtaken_where_there_are_no_locks_is_told(path, monkeypatch):
    replace = Path.replace

    def slow(aside: Path, target: Path) -> None:
        replace(aside, target)
        change(target, token="another", pid=1)

    monkeypatch.setattr(Path, "replace", slow)
    with pytest.raises(RunLockedError, match="in this very moment") as caught:
        acquire_lease(path)
    assert "process 1 on" in caught.value.holder
    assert content(path)["token"] == "another"


def test_a_lock_that_does_not_come_is_not_waited_for_for_ever(path, monkeypatch):
    monkeypatch.setattr(module, "_LOCK_PATIENCE_S", 0.05)
    with path.with_name("lease.json.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunLockedError, match=r"lease\.json\.lock"):
            acquire_lease(path)
    acquire_lease(path).release()


def test_a_fork_does_not_end_the_lease(path):
    with acquire_lease(path) as lease:
        pid = os.getpid()
        lease._pid = pid + 1  # as it is in a child
        lease.release()
        lease.check()
        lease._pid = pid


def test_who_looks_is_told_who_holds_it(path):
    assert lease_holder(path) is None
    with acquire_lease(path):
        me = f"process {os.getpid()} on {socket.gethostname()}"
        assert lease_holder(path).startswith(f"{me}, since ")
    assert lease_holder(path) is None
    assert lease_holder(path / "of no folder") is None


def test_who_looks_does_not_depend_on_the_age_of_a_lease_of_this_host(path, holder):
    age(path, 10 * SILENT_S)
    assert lease_holder(path).startswith(f"process {holder.pid} on ")
    holder.kill()
    age(path, 0)
    assert lease_holder(path) is None


def test_who_looks_sees_that_a_zombie_or_another_of_its_pid_is_dead(path, holder):
    started_s = content(path)["started_s"]
    change(path, started_s=started_s - 100.0)
    assert lease_holder(path) is None
    change(path, started_s=started_s)
    assert lease_holder(path) is not None
    os.kill(holder.pid, signal.SIGKILL)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    assert lease_holder(path) is None


def test_who_looks_sees_one_elsewhere_for_as_long_as_it_refreshes(path, holder, monkeypatch):
    change(path, host="far")
    holder.kill()  # which can't be seen from here
    assert lease_holder(path).startswith(f"process {holder.pid} on far, since ")
    age(path, 2 * SILENT_S)
    assert lease_holder(path) is None
    touched_s = path.stat().st_mtime
    for now_s, alive in ((SILENT_S - 1, True), (SILENT_S + 1, False), (-3600, True)):
        monkeypatch.setattr(time, "time", lambda now_s=now_s: touched_s + now_s)
        assert (lease_holder(path) is not None) is alive


def test_who_looks_sees_a_stranger_in_what_is_no_lease(path):
    path.write_bytes(b"torn")
    assert lease_holder(path) == "an unknown process"
    age(path, 2 * SILENT_S)
    assert lease_holder(path) is None


def test_who_looks_neither_writes_nor_waits(path, holder):
    with path.with_name("lease.json.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = {entry: entry.stat().st_mtime_ns for entry in path.parent.iterdir()}
        assert lease_holder(path) is not None
        holder.kill()
        assert lease_holder(path) is None
        assert {entry: entry.stat().st_mtime_ns for entry in path.parent.iterdir()} == before
