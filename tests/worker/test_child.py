"""A child process: whatever the loss does to it, the worker survives and knows."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from distributed import Reschedule

import seedwise as sw
from seedwise.model.seeds import Chunk
from seedwise.model.trials import FailureKind
from seedwise.worker.block import Context, TrialDir, evaluate_block
from seedwise.worker.child import Child
from seedwise.worker.plugin import Children
from tests.builders import imported, shipment

START = 40
SEEDS = (7, -8, 9)
DEADLINE_S = 60


def make(function, **keywords):
    return sw.loss(name="made", description="m", parameter_space={"x": (0, 1)}, **keywords)(
        function
    )


def shipped(function, **keywords):
    return shipment(make(function, **keywords))


@contextmanager
def children(sent):
    made = Children(sent, None, "")
    try:
        yield made
    finally:
        made.close()


def child_of(function, **keywords):
    return children(shipped(function, **keywords))


def pid_of(child):
    """Return the id of the process that is alive; None if none is."""
    return next((one.pid for one in child._all if one.alive), None)


def chunk_of(seeds):
    return Chunk(0, START, np.array(seeds))


def evaluate(child, seeds=SEEDS, limit_s=None):
    context = {"entry_id": "p1", "trial_number": 4}
    with child.one() as process:
        return process.evaluate({"x": 0.5}, chunk_of(seeds), context, limit_s)


def wait_until(condition):
    until_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.002)


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE  # an orphan's is init's
    except psutil.NoSuchProcess:
        return True


def test_the_same_bits_as_without():
    def noisy(params, seed):
        return random.Random(seed).gauss(params["x"], 1e6)

    with child_of(noisy) as child:
        block = evaluate(child)
    context = {"entry_id": "p1", "trial_number": 4}
    expected = evaluate_block(make(noisy), {"x": 0.5}, chunk_of(SEEDS), context)
    assert block.losses.tobytes() == expected.losses.tobytes()
    assert block.losses.dtype == np.float64


def test_params_and_context_arrive():
    def told(params, seed, context):
        assert params == {"x": 0.5}
        assert context == {"entry_id": "p1", "trial_number": 4}
        assert type(seed) is int
        return seed

    with child_of(told) as child:
        assert evaluate(child).losses.tolist() == [7.0, -8.0, 9.0]


def test_the_folder_for_files_arrives_and_is_made_there(tmp_path):
    def told(params, seed, context):
        assert context == {"entry_id": "p1", "trial_number": 4}
        assert type(context).__name__ == "Context"
        if seed > 0:
            (context["trial_dir"] / str(seed)).touch()
        return seed

    folder = TrialDir(tmp_path / "files" / "a", tmp_path)
    context = Context({"entry_id": "p1", "trial_number": 4}, folder)
    with child_of(told) as child:
        with child.one() as process:
            assert process.evaluate({}, chunk_of([-8]), context, None).failure is None
        assert list(tmp_path.iterdir()) == []
        with child.one() as process:
            assert process.evaluate({}, chunk_of(SEEDS), context, None).failure is None
    assert sorted(path.name for path in folder.path.iterdir()) == ["7", "9"]


def test_components_come_back():
    def parts(params, seed):
        return {"total_loss": seed, "components": {"a": seed / 2}} if seed > 0 else 0.0

    with child_of(parts) as child:
        block = evaluate(child)
    np.testing.assert_array_equal(block.components["a"], [3.5, np.nan, 4.5])


def test_a_vectorized_loss():
    with child_of(lambda params, seeds: seeds * params["x"], vectorized=True) as child:
        with child.one() as process:
            assert process.load(chunk_of(SEEDS), None) is None
            assert process.vectorized
        assert evaluate(child).losses.tolist() == [3.5, -4.0, 4.5]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_is_data_and_the_process_goes_on(error):
    def bad(params, seed):
        if seed == 9:
            raise error("enough")
        return os.getpid()

    with child_of(bad) as child:
        failure = evaluate(child).failure
        assert (failure.kind, failure.exception_type) == (FailureKind.LOSS, error.__name__)
        assert (failure.seed, failure.position, failure.message) == (9, START + 2, "enough")
        pid = pid_of(child)
        assert evaluate(child, [1]).losses.tolist() == [pid]


def test_an_exception_of_the_users_own_class_comes_back():
    class TooHotError(Exception):
        def __init__(self, degrees, place):
            super().__init__(f"{degrees} in {place}")

    def bad(params, seed):
        raise TooHotError(90, "sun")

    with child_of(bad) as child:
        failure = evaluate(child).failure
    assert (failure.exception_type, failure.message) == ("TooHotError", "90 in sun")


def test_a_segfault():
    def crash_here(params, seed):
        return ctypes.string_at(0) if seed == -8 else float(seed)

    with child_of(crash_here) as child:
        failure = evaluate(child).failure
        assert failure.kind is FailureKind.DIED
        assert failure.exception_type == "ProcessDied"
        assert (failure.seed, failure.position) == (-8, START + 1)
        assert failure.message == "its process was killed by signal 11 (SIGSEGV) (seeds 7 to 9)"
        assert failure.traceback.startswith(f"{failure.message}\nlast lines of its stderr:\n")
        assert "Fatal Python error: Segmentation fault" in failure.traceback
        assert "in crash_here" in failure.traceback
        assert evaluate(child, [1, 2]).losses.tolist() == [1.0, 2.0]


def test_the_top_of_a_deep_stack_is_what_is_shown():
    def crash_below(depth):
        return crash_below(depth - 1) if depth else ctypes.string_at(0)

    def deep(params, seed):
        print("and what led to it", file=sys.stderr)
        return crash_below(60)

    with child_of(deep) as child:
        text = evaluate(child).failure.traceback
    assert "and what led to it" in text
    assert "in string_at" in text
    assert "in crash_below" in text


def test_an_exit():
    def leave(params, seed):
        print("so long", seed, file=sys.stderr, flush=True)
        os._exit(3)

    with child_of(leave) as child:
        failure = evaluate(child, [5]).failure
    assert failure.message == "its process ended with exit code 3 (seed 5)"
    assert (failure.kind, failure.seed, failure.position) == (FailureKind.DIED, 5, START)
    assert failure.traceback == f"{failure.message}\nlast lines of its stderr:\nso long 5"


def test_an_exit_of_a_vectorized_loss_blames_no_seed():
    with child_of(lambda params, seeds: os._exit(0), vectorized=True) as child:
        failure = evaluate(child).failure
    assert failure.message == "its process ended with exit code 0 (seeds 7 to 9)"
    assert (failure.seed, failure.position) == (None, START)
    assert failure.traceback.endswith("(none)")


def blocking(folder):
    """Return a loss that tells its process's id and then blocks on its second seed."""

    def block(params, seed):
        if seed == -8:
            started = folder / "started.part"
            started.write_text(str(os.getpid()))
            started.rename(folder / "started")
            time.sleep(3600)
        return float(seed)

    return block


def test_killed_from_outside(tmp_path):
    started = tmp_path / "started"
    with ThreadPoolExecutor(1) as threads, child_of(blocking(tmp_path)) as child:
        future = threads.submit(evaluate, child)
        wait_until(started.exists)
        assert int(started.read_text()) == pid_of(child)
        os.kill(pid_of(child), signal.SIGKILL)
        failure = future.result().failure
        assert failure.message.startswith("its process was killed by signal 9 (SIGKILL)")
        assert failure.message.endswith("(seeds 7 to 9)")
        assert (failure.kind, failure.seed, failure.position) == (
            FailureKind.DIED,
            -8,
            START + 1,
        )
        assert evaluate(child, [1]).losses.tolist() == [1.0]


def test_what_died_between_two_uses_is_replaced_silently():
    with child_of(lambda params, seed: float(seed)) as child:
        evaluate(child)
        pid = pid_of(child)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: pid_of(child) is None)
        assert evaluate(child).losses.tolist() == [7.0, -8.0, 9.0]
        assert pid_of(child) != pid


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_that_reach_a_whole_job_do_not_reach_the_loss(tmp_path, number):
    def wait_for_go(params, seed):
        (tmp_path / "started").touch()
        while not (tmp_path / "go").exists():
            time.sleep(0.001)
        # Programs that the loss starts take them as ever.
        with subprocess.Popen(["sleep", "3600"]) as program:
            program.send_signal(number)
        assert program.returncode == -number
        pid = os.fork()
        if pid == 0:
            signal.pause()
        os.kill(pid, number)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -number
        return 1.0

    with ThreadPoolExecutor(1) as threads, child_of(wait_for_go) as child:
        future = threads.submit(evaluate, child, [1])
        wait_until((tmp_path / "started").exists)
        os.kill(pid_of(child), number)
        (tmp_path / "go").touch()
        assert future.result().losses.tolist() == [1.0]


def test_a_time_limit():
    def endless(params, seed):
        while seed == 9:
            pass
        return float(seed)

    with child_of(endless) as child:
        failure = evaluate(child, limit_s=0.2).failure
        assert failure.kind is FailureKind.OVERRAN
        assert failure.exception_type == "ChunkTimeout"
        assert failure.message == "took longer than chunk_timeout_seconds=0.2 (seeds 7 to 9)"
        assert (failure.seed, failure.position) == (9, START + 2)
        assert evaluate(child, [1], 600).losses.tolist() == [1.0]


def test_the_time_limit_is_not_for_the_start_of_the_process():
    with child_of(lambda params, seed: time.sleep(3600)) as child:
        with child.one() as process:
            assert process.load(chunk_of(SEEDS), 1e-9) is None
        assert evaluate(child, limit_s=1e-9).failure.kind is FailureKind.OVERRAN


def test_what_the_loss_started_is_killed_with_it(tmp_path):
    def start_more(params, seed):
        program = subprocess.Popen(["sleep", "3600"])
        forked = os.fork()  # it keeps all of the child's files open
        if forked == 0:
            time.sleep(3600)
        (tmp_path / "pids").write_text(f"{program.pid} {forked}")
        os._exit(3)

    with child_of(start_more) as child:
        assert evaluate(child, [1]).failure.message.startswith("its process ended with exit code")
        for pid in (tmp_path / "pids").read_text().split():
            wait_until(lambda pid=pid: gone(int(pid)))


def test_a_program_that_leaves_the_group_and_keeps_stderr_holds_nothing_up(tmp_path):
    def daemonize(params, seed):
        program = subprocess.Popen(["sleep", "3600"], start_new_session=True)
        (tmp_path / "pid").write_text(str(program.pid))
        os._exit(3)

    with child_of(daemonize) as child:
        failure = evaluate(child, [1]).failure
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert failure.message == "its process ended with exit code 3 (seed 1)"


def test_what_is_printed_disturbs_nothing(capfd):
    def talk(params, seed):
        print("out", seed)
        os.write(1, b"raw\n")
        print("err", seed, file=sys.stderr)
        sys.stderr.write("no end")
        return float(seed)

    with child_of(talk) as child:
        assert evaluate(child).losses.tolist() == [7.0, -8.0, 9.0]
    out, err = capfd.readouterr()
    assert sorted(out.split("\n")) == ["", "out -8", "out 7", "out 9", "raw", "raw", "raw"]
    # Its last bytes may be lost with close(), but what is told is told in whole lines.
    assert "err 7\n" in err


def test_much_stderr_without_lines_and_a_stderr_that_fails(monkeypatch):
    def talk(params, seed):
        os.write(2, b"x" * 300_000 + b"\xff\nlast")
        os._exit(3)

    monkeypatch.setattr(sys, "stderr", None)
    with child_of(talk) as child:
        failure = evaluate(child, [1]).failure
    assert failure.traceback.endswith("x\N{REPLACEMENT CHARACTER}\nlast")


def test_stdin_is_empty():
    def read(params, seed):
        return len(sys.stdin.read())

    with child_of(read) as child:
        assert evaluate(child, [1]).losses.tolist() == [0.0]


def test_a_loss_that_cant_be_loaded():
    with children(imported("made", "raise SystemExit('no licence')\n")) as child:
        for _ in range(2):
            failure = evaluate(child).failure
            assert (failure.kind, failure.exception_type) == (FailureKind.LOSS, "SystemExit")
            assert (failure.position, failure.seed) == (START, None)
            assert failure.message == "no licence"
            assert "made_module.py" in failure.traceback


def test_a_loss_that_can_load_again_is_loaded_again(tmp_path):
    licence = tmp_path / "licence"
    source = (
        "import sys, seedwise as sw\n"
        f"open({str(licence)!r}).close()\n"
        "assert sys.argv == ['a', 'b']\n"
        "@sw.loss(name='late', description='l', parameter_space={'x': (0, 1)})\n"
        "def late(params, seed):\n    return len(sys.argv)\n"
    )
    with children(imported("late", source, argv=("a", "b"))) as child:
        assert evaluate(child).failure.exception_type == "FileNotFoundError"
        licence.touch()
        assert evaluate(child, [1]).losses.tolist() == [2.0]


def test_a_death_while_the_loss_is_loaded():
    with children(imported("made", "import os\nos._exit(4)\n")) as child:
        failure = evaluate(child).failure
    assert failure.kind is FailureKind.DIED
    assert failure.message == (
        "its process ended with exit code 4 while it loaded the loss (seeds 7 to 9)"
    )
    assert (failure.position, failure.seed) == (START, None)


def test_what_is_imported_is_found_where_this_process_finds_it(tmp_path, monkeypatch):
    (tmp_path / "found_beside.py").write_text("VALUE = 5.0\n")
    monkeypatch.syspath_prepend(tmp_path)

    def importing(params, seed):
        import found_beside

        return found_beside.VALUE

    with child_of(importing) as child:
        assert evaluate(child, [1]).losses.tolist() == [5.0]


def test_a_task_that_cant_be_pickled_costs_no_later_one():
    with child_of(lambda params, seed: float(seed)) as child:
        with pytest.raises(Exception, match="pickle"), child.one() as process:
            process.evaluate({"x": threading.Lock()}, Chunk(0, 0, np.array([1])), {}, None)
        assert evaluate(child, [1]).losses.tolist() == [1.0]


def test_a_process_that_closes_its_connection(monkeypatch):
    monkeypatch.setattr("seedwise.worker.child._PATIENCE_S", 0.2)

    def shut(params, seed):
        # shutdown, and not close: a read of it that is under way keeps it open
        import socket

        for path in Path("/dev/fd").iterdir():
            try:
                with socket.socket(fileno=os.dup(int(path.name))) as found:
                    found.shutdown(socket.SHUT_WR)
            except OSError:
                continue
        time.sleep(3600)

    with child_of(shut) as child:
        failure = evaluate(child, [1]).failure
    assert failure.message == "its process closed the connection to its worker (seed 1)"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux")
def test_the_kernel_takes_it_first_if_memory_runs_out():
    def read(params, seed):
        return int(Path("/proc/self/oom_score_adj").read_text())

    with child_of(read) as child:
        assert evaluate(child, [1]).losses.tolist() == [1000.0]


PARENT = """
import numpy as np
import seedwise as sw
from seedwise.model.seeds import Chunk
from seedwise.worker.child import Child
from tests.builders import shipment

@sw.loss(name="busy", description="b", parameter_space={"x": (0, 1)})
def busy(params, seed):
    import os, subprocess
    print(os.getpid(), subprocess.Popen(["sleep", "3600"]).pid, flush=True)
    while True:
        pass

child = Child(shipment(busy))
child.evaluate({"x": 0.5}, Chunk(0, 0, np.array([1])), {}, None)
"""


def test_it_ends_with_its_worker_even_if_it_is_busy():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
    for pid in pids:
        wait_until(lambda pid=pid: gone(pid))


def test_exit_handlers_and_threads_of_the_user_do_not_keep_it():
    def stay(params, seed):
        import atexit

        atexit.register(time.sleep, 3600)
        threading.Thread(target=time.sleep, args=(3600,)).start()
        return 1.0

    with child_of(stay) as child:
        evaluate(child)
        pid = pid_of(child)
    assert gone(pid)


def resources():
    this = psutil.Process()
    return this.num_fds(), threading.active_count(), len(this.children())


def test_nothing_is_left_after_close():
    def deadly(params, seed):
        return os._exit(3) if seed == 13 else 1.0

    with child_of(deadly) as child:  # what is opened once in a process, is
        evaluate(child)
    before = resources()
    for _ in range(3):
        with child_of(deadly) as child:
            evaluate(child)
            evaluate(child, [13])
            evaluate(child, [13])
            evaluate(child)
            child.close()
    Child(shipped(deadly)).close()
    assert resources() == before


def test_a_process_that_cant_be_started_leaves_nothing(monkeypatch):
    sent = shipped(lambda params, seed: 0.0)
    Child(sent).close()
    before = resources()
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(FileNotFoundError):
        Child(sent)
    assert resources() == before


def test_close_while_it_evaluates(tmp_path):
    with ThreadPoolExecutor(1) as threads, child_of(blocking(tmp_path)) as child:
        future = threads.submit(evaluate, child)
        wait_until((tmp_path / "started").exists)
        child.close()
        assert future.result().failure.kind is FailureKind.DIED
    assert pid_of(child) is None
    with pytest.raises(Reschedule):
        evaluate(child)


def test_the_watch_is_asked_while_it_waits(tmp_path):
    calls = []

    def watch():
        calls.append(1)
        if len(calls) == 3:
            (tmp_path / "go").touch()

    def wait_for_go(params, seed):
        while not (tmp_path / "go").exists():
            time.sleep(0.001)
        return 1.0

    with child_of(wait_for_go) as child:
        child.watch = watch
        assert evaluate(child, [1]).losses.tolist() == [1.0]
    assert len(calls) >= 3
