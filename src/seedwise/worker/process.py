"""The process of a `Child`: the worker's side of it, and the code that runs in it."""

import faulthandler
import functools
import math
import mmap
import os
import queue
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait
from typing import IO, Any

import attrs

from seedwise.model.trials import FailureKind
from seedwise.worker.block import evaluate_block, failure_from

# Not `-m`: seedwise itself may lie where only the sys.path of this process leads.
_CODE = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from seedwise.worker.process import main; main(*map(int, sys.argv[1:3]))"
)
_LOOK_EVERY_S = 0.1
_SLICE_S = 1.0
_LOADING_MAY_TAKE_S = 600.0
_PATIENCE_S = 10.0
_LINES_KEPT = 200
_LINES_SHOWN = 20
_LONGEST_LINE = 1 << 16


@attrs.frozen
class Limits:
    """What an evaluation may take."""

    #: None means no limit. Starting the process and loading the loss are not counted: they may
    #: take ten minutes, or this time if it is longer.
    time_s: float | None = None
    #: Called every 0.1 s, if not None; it may kill children.
    watch: Callable[[], None] | None = None
    #: The message of an overrun; ``{:g}`` stands for `time_s`.
    overrun: str = "took longer than chunk_timeout_seconds={:g}"

    def for_loading(self) -> "Limits":
        """Return the limits for starting the process and loading the loss."""
        if self.time_s is None:
            return self
        time_s = max(self.time_s, _LOADING_MAY_TAKE_S)
        return attrs.evolve(self, time_s=time_s, overrun="took longer than {:g} s")


@attrs.frozen
class Verdict:
    """Why a child was killed, or how it died."""

    kind: FailureKind
    #: A name that stands in for the type of an exception.
    exception_type: str
    text: str


class Process:
    """A running process, with its connection and the threads that watch it."""

    def __init__(self) -> None:
        self._verdict: Verdict | None = None
        self.alive = True
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._lock = threading.Lock()
        self._connection, theirs = Pipe()
        # Here the process notes which seed it evaluates. The memory is shared, since the note must
        # be readable after any death and cost nothing beside a loss of 0.1 ms.
        with theirs, _shared_file() as shared:
            shared.write(bytes(8))
            shared.flush()
            self._offset = mmap.mmap(shared.fileno(), 8)
            fds = (theirs.fileno(), shared.fileno())
            # Not multiprocessing: a worker may be daemonic, and may then have no children.
            self._popen = subprocess.Popen(
                [
                    sys.executable,
                    *subprocess._args_from_interpreter_flags(),  # type: ignore[attr-defined]  # noqa: SLF001
                    *("-c", _CODE, *map(str, fds)),
                    *map(str, sys.path),
                ],
                bufsize=0,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=fds,
                start_new_session=True,  # what it starts is killed with it
            )
        self.pid = self._popen.pid
        # Closed when the process has ended. The end of its connection is not enough: processes
        # that it forked hold that, too.
        self._ended, self._ended_writer = os.pipe()
        self._threads = [
            threading.Thread(target=target, name=f"seedwise-child-{self.pid}", daemon=True)
            for target in (self._watch, self._copy_stderr)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def offset(self) -> int:
        """Offset of the seed that it evaluates; -1 if unknown."""
        return int(struct.unpack_from("q", self._offset)[0])

    def ask(self, task: object, limits: Limits) -> Any:
        """Send a task and return the answer; None if the process ended first."""
        struct.pack_into("q", self._offset, 0, -1)
        left_s = math.inf if limits.time_s is None else limits.time_s
        round_s = _SLICE_S if limits.watch is None else _LOOK_EVERY_S
        with suppress(OSError):  # it has ended, which is seen below
            self._connection.send(task)
        while True:
            began_s = time.monotonic()
            ready = wait([self._connection, self._ended], min(left_s, round_s))
            # At most a slice a round: if Slurm suspends the worker for a while, that is not the
            # loss's fault.
            left_s = max(0.0, left_s - min(time.monotonic() - began_s, _SLICE_S))
            if self._connection in ready:
                with suppress(EOFError, OSError):
                    return self._connection.recv()
                if not wait([self._ended], _PATIENCE_S):  # it still runs, so the loss closed it
                    text = "its process closed the connection to its worker"
                    self.kill(Verdict(FailureKind.DIED, "ProcessDied", text))
                return None
            if ready:
                return None
            if not left_s:
                text = limits.overrun.format(limits.time_s)
                self.kill(Verdict(FailureKind.OVERRAN, "ChunkTimeout", text))
                return None
            if limits.watch is not None:
                limits.watch()

    def kill(self, verdict: Verdict | None = None) -> None:
        """Kill the process and all that it started."""
        with self._lock:
            if not self.alive:
                return
            self._verdict = self._verdict or verdict
            self._kill_group()

    def join(self) -> None:
        """Wait for the end of a killed process, for a limited time."""
        for thread in self._threads:
            thread.join(_PATIENCE_S)

    def release(self) -> None:
        """Kill the process if it runs, and close all that was opened for it."""
        self.kill()
        self.join()
        self._connection.close()
        self._offset.close()
        if not any(thread.is_alive() for thread in self._threads):
            os.close(self._ended)

    def end(self) -> Verdict:
        """Return how the process ended."""
        if self._verdict is not None:
            return self._verdict
        returncode = self._popen.returncode
        if returncode is None:
            text = "its process did not end when it was killed"
        elif returncode >= 0:
            text = f"its process ended with exit code {returncode}"
        else:
            number = -returncode
            names = {int(known): known.name for known in signal.Signals}
            text = f"its process was killed by signal {number} ({names.get(number, 'unnamed')})"
            if number == signal.SIGKILL:
                text += ", for lack of memory or by hand"
        return Verdict(FailureKind.DIED, "ProcessDied", text)

    def last_lines(self) -> str:
        """Return the end of its stderr; after a crash, what surrounds the top of the stack."""
        lines = list(self._lines)
        crashes = [i for i, line in enumerate(lines) if line.startswith("Fatal Python error")]
        first = max(0, crashes[-1] - _LINES_SHOWN // 2) if crashes else len(lines) - _LINES_SHOWN
        last = crashes[-1] + _LINES_SHOWN if crashes else len(lines)
        shown = lines[max(0, first) : last]
        return "\n".join(["last lines of its stderr:", *(shown or ["(none)"])])

    def _watch(self) -> None:
        if hasattr(os, "waitid"):  # else macOS, before Python 3.13
            with suppress(ChildProcessError):
                # Not reaped yet, so that its id, and its group's, can't be reused when we kill.
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._popen.wait()
        with self._lock:
            self._kill_group()
            self._popen.wait()
            self.alive = False
        os.close(self._ended_writer)

    def _kill_group(self) -> None:
        # macOS forbids to kill a group whose members have all ended.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _copy_stderr(self) -> None:
        """Copy its stderr to ours, in whole lines: several processes write there."""
        assert self._popen.stderr is not None
        rest = b""
        with self._popen.stderr as stderr:
            fd = stderr.fileno()
            # Until the process ends: what it started may hold its stderr for ever.
            while fd in wait([fd, self._ended]):
                data = os.read(fd, _LONGEST_LINE)
                if not data:
                    break
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._take_line(line)
                if len(rest) > _LONGEST_LINE:
                    self._take_line(rest)
                    rest = b""
        if rest:
            self._take_line(rest)

    def _take_line(self, raw: bytes) -> None:
        line = raw.decode("utf-8", errors="replace")
        self._lines.append(line)
        with suppress(Exception):  # sys.stderr may be missing, closed or replaced
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


def _shared_file() -> IO[bytes]:
    # Python lacks it on macOS, and where it was built for an old glibc.
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("seedwise"), "w+b")
    return tempfile.TemporaryFile()


# The rest of this file runs in the child.


def main(connection_fd: int, offset_fd: int) -> None:
    """Evaluate what the worker sends until it is gone; the offset's file has 8 bytes."""
    try:
        _prepare_process()
        for fd in (connection_fd, offset_fd):
            os.set_inheritable(fd, False)
        connection = Connection(connection_fd)
        note = functools.partial(struct.pack_into, "q", mmap.mmap(offset_fd, 8), 0)
        tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=_receive, args=(connection, tasks), daemon=True).start()
        _serve(connection, tasks, note)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)  # not sys.exit: the user's threads and exit handlers may never end


def _prepare_process() -> None:
    faulthandler.enable(file=2, all_threads=False)
    # Ctrl-C and the end of a Slurm job may reach all processes. The worker decides what they mean;
    # here they would look like a death that the seed has caused. The handlers do nothing; SIG_IGN
    # would be passed on to the programs that the loss starts.
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        signal.signal(number, lambda *_: None)

    def take_them_again() -> None:
        for number in signals:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)

    # What it forks, such as a pool of processes, takes the signals as usual, from the start.
    os.register_at_fork(
        before=functools.partial(signal.pthread_sigmask, signal.SIG_BLOCK, signals),
        after_in_parent=functools.partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, signals),
        after_in_child=take_them_again,
    )
    # If memory runs out, the kernel should kill this process and not the worker.
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("1000")


def _receive(connection: Connection, tasks: queue.SimpleQueue[Any]) -> None:
    try:
        while True:
            tasks.put(connection.recv())
    except (EOFError, OSError):  # the worker is gone: kill also what the loss has started
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _serve(
    connection: Connection, tasks: queue.SimpleQueue[Any], note: Callable[[int], None]
) -> None:
    shipment, sys.argv = tasks.get()
    try:
        loss = shipment.load()
    except BaseException as error:
        connection.send(failure_from(error, 0, None))
    else:
        connection.send(loss.vectorized)
        while True:
            params, chunk, context = tasks.get()
            block = evaluate_block(loss, params, chunk, context, note)
            with suppress(Exception):  # no exit handler would ever flush what was printed
                sys.stdout.flush()
            connection.send(block)
    tasks.get()  # for ever: the worker kills this process
