"""Who a process is, with real processes that live, stop, die and whose pids are given again."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime

import attrs
import psutil
import pytest

from seedwise.folder import process as module
from seedwise.folder.process import Holder, this_process

# Says who it is, then waits for the end of its stdin.
PROCESS = """
import json
import sys

import attrs

from seedwise.folder.process import this_process

print(json.dumps(attrs.asdict(this_process("a token"))), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def process():
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


@pytest.fixture
def holder(process) -> Holder:
    return Holder(**json.loads(process.stdout.readline()))


def test_this_process_is_of_this_host_and_alive():
    before = datetime.now(UTC).replace(microsecond=0)
    me = this_process("mine")
    assert (me.pid, me.token) == (os.getpid(), "mine")
    assert me.is_of_this_host()
    assert me.state() in (psutil.STATUS_RUNNING, psutil.STATUS_SLEEPING)
    assert before <= datetime.fromisoformat(me.acquired_at) <= datetime.now(UTC)


def test_in_words_with_local_time(in_india):
    me = attrs.evolve(this_process("mine"), acquired_at="2026-08-01T10:00:00+00:00")
    assert str(me) == f"process {os.getpid()} on {me.host}, since 2026-08-01 15:30:00+05:30"


def test_the_machine_is_not_named(monkeypatch):
    identity = module._text("/etc/machine-id")
    monkeypatch.setattr(module, "_text", lambda path: identity or "0123")
    module._machine.cache_clear()
    try:
        machine = this_process("mine").machine
    finally:
        module._machine.cache_clear()
    assert len(machine) == 16
    assert (identity or "0123") not in machine


def test_another_process_is_told_from_this_one(holder):
    me = this_process("mine")
    assert holder.pid != me.pid
    assert holder.started_s > me.started_s
    assert (holder.machine, holder.boot) == (me.machine, me.boot)
    assert holder.is_of_this_host()
    assert holder.state() is not None


def test_one_that_was_killed_is_dead(process, holder):
    process.kill()
    process.wait()
    assert holder.is_of_this_host()
    assert holder.state() is None


def test_a_zombie_is_dead(process, holder):
    process.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, and not reaped
    assert psutil.Process(holder.pid).status() == psutil.STATUS_ZOMBIE
    assert holder.state() is None


def test_one_that_is_stopped_is_alive(process, holder):
    process.send_signal(signal.SIGSTOP)
    os.waitpid(holder.pid, os.WUNTRACED)
    assert holder.state() == psutil.STATUS_STOPPED
    process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize(
    "changes", [{"started_s": -100.0}, {"boot": "before"}], ids=["started_s", "boot"]
)
def test_a_pid_that_was_given_again_is_another(holder, changes, monkeypatch):
    monkeypatch.setattr(module, "_machine", lambda: "this")
    there = attrs.evolve(holder, machine="this")
    assert there.state() is not None
    other = attrs.evolve(there, **changes)
    assert other.is_of_this_host()
    assert other.state() is None
    assert psutil.pid_exists(other.pid)


@pytest.mark.parametrize("field", ["host", "machine", "pid_namespace"])
def test_one_elsewhere_is_not_of_this_host(holder, field):
    assert not attrs.evolve(holder, **{field: "another"}).is_of_this_host()


def test_without_a_machine_id_another_boot_may_be_another_machine(holder, monkeypatch):
    monkeypatch.setattr(module, "_machine", lambda: "")
    nameless = attrs.evolve(holder, machine="")
    assert nameless.is_of_this_host()
    assert not attrs.evolve(nameless, boot="another").is_of_this_host()


def test_a_real_pid_namespace():
    enter = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c"]
    able = (
        shutil.which("unshare")
        and not subprocess.run([*enter, "pass"], capture_output=True, check=False).returncode
    )
    if not able:
        pytest.skip("may not make a pid namespace")
    done = subprocess.run(
        [*enter, PROCESS], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    assert not Holder(**json.loads(done.stdout)).is_of_this_host()


def test_a_clock_that_is_set_does_not_make_a_process_dead(holder, monkeypatch):
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: 0.0)
    assert holder.state() is not None


def test_where_starts_are_told_in_wall_time_some_seconds_are_forgiven(holder, monkeypatch):
    monkeypatch.setattr(module.sys, "platform", "darwin")
    started_s = psutil.Process(holder.pid).create_time()
    assert attrs.evolve(holder, started_s=started_s + 3).state() is not None
    assert attrs.evolve(holder, started_s=started_s + 60).state() is None


def test_one_that_may_not_be_looked_at_is_alive(process, holder, monkeypatch):
    def hidden(pid: int) -> float:
        raise PermissionError(errno.EACCES, "hidden")

    monkeypatch.setattr(module, "_started_s", hidden)
    assert holder.state() == psutil.STATUS_RUNNING
    process.kill()
    process.wait()
    assert holder.state() is None
