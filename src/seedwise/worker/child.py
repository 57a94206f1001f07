"""A child process of a worker, which evaluates seeds: the worker survives its death."""

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
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait
from typing import IO, Any, TypeAlias

import attrs

from seedwise.model.seeds import Chunk
from seedwise.model.space import ParamValue
from seedwise.model.trials import FailureKind, SeedFailure
from seedwise.usercode.shipment import Shipment
from seedwise.worker.block import SeedBlock, evaluate_block, failure_from

# Not `-m`: seedwise itself may lie where only the sys.path of this process leads.
_CODE = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from seedwise.worker.child import main; main(*map(int, sys.argv[1:3]))"
)
LOOK_EVERY_S = 0.1
_SLICE_S = 1.0
# Starting a process and loading the loss may take so long, or a chunk's limit if that is longer.
_LOADING_MAY_TAKE_S = 600.0
_PATIENCE_S = 10.0
_LINES_KEPT = 200
_LINES_SHOWN = 20
_LONGEST_LINE = 1 << 16

#: Why a child was killed: also a name in place of an exception's type, and words.
Verdict: TypeAlias = tuple[FailureKind, str, str]


class Child:
    """A running process, for one thread at a time; but any thread may call `kill`."""

    def __init__(self, shipment: Shipment, watch: Callable[[], None] | None = None) -> None:
        self._shipment = shipment
        self._look = watch  # called every 0.1 s while an answer is waited for
        self.vectorized: bool | None = None  # of the loss; known once it is loaded
        self._verdict: Verdict | None = None
        self.alive = True
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._lock = threading.Lock()
        self._connection, theirs = Pipe()
        # Here the process notes which seed it evaluates: in shared memory, to be readable after
        # any death and cost nothing beside a loss of 0.1 ms.
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
                    *("-c", _CODE, *map(str, [*fds, *sys.path])),
                ],
                bufsize=0,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=fds,
                start_new_session=True,  # what it starts is killed with it
            )
        self.pid = self._popen.pid
        # Closed when the process has ended: what it forked may hold its connection for longer.
        self._ended, self._ended_writer = os.pipe()
        self._threads = []
        for target in (self._watch, self._copy_stderr):
            name = f"seedwise-child-{self.pid}"
            self._threads.append(threading.Thread(target=target, name=name, daemon=True))
            self._threads[-1].start()

    def rss_b(self) -> int:
        """Return the memory that the process takes; 0 if it has ended."""
        import psutil  # type: ignore[import-untyped]  # not needed where `main` runs

        with suppress(psutil.Error):
            if self.alive:
                return int(psutil.Process(self.pid).memory_info().rss)
        return 0

    def load(self, chunk: Chunk, limit_s: float | None) -> SeedFailure | None:
        """Load the loss, unless that is done; return why that fails."""
        if self.vectorized is None:
            limit_s = None if limit_s is None else max(limit_s, _LOADING_MAY_TAKE_S)
            answer = self._ask((self._shipment, sys.argv), chunk, limit_s)
            if isinstance(answer, SeedFailure):
                self.kill()
                return attrs.evolve(answer, position=chunk.start)
            self.vectorized = answer
        return None

    def evaluate(
        self,
        params: Mapping[str, ParamValue],
        chunk: Chunk,
        context: dict[str, Any],
        limit_s: float | None,
    ) -> SeedBlock:
        """Evaluate seeds in the process, as `evaluate_block` does; its death is a failure, too."""
        answer: Any = self.load(chunk, limit_s)
        if answer is None:
            answer = self._ask((dict(params), chunk, context), chunk, limit_s)
        return answer if isinstance(answer, SeedBlock) else SeedBlock(None, answer)

    def _ask(self, task: object, chunk: Chunk, limit_s: float | None) -> Any:
        """Return the process's answer, or a SeedFailure that says how it ended."""
        try:
            answer = self._answer(task, limit_s)
        except BaseException:  # the task can't be pickled, or we are interrupted
            self.kill()
            raise
        if answer is not None:
            return answer
        offset, seeds = struct.unpack_from("q", self._offset)[0], chunk.seeds
        self.kill()
        known = 0 <= offset < len(seeds)
        died = FailureKind.DIED, "ProcessDied", self._end()
        kind, exception_type, text = self._verdict or died
        doing = " while it loaded the loss" if self.vectorized is None else ""
        which = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
        message = f"{text}{doing} ({which})"
        return SeedFailure(
            position=chunk.start + (offset if known else 0),
            seed=int(seeds[offset]) if known else None,
            exception_type=exception_type,
            message=message,
            traceback=f"{message}\n{self._last_lines()}",
            kind=kind,
        )

    def _answer(self, task: object, limit_s: float | None) -> Any:
        """Send a task and return the answer; None if the process ended first."""
        struct.pack_into("q", self._offset, 0, -1)  # which seed it evaluates is unknown
        left_s = math.inf if limit_s is None else limit_s
        round_s = _SLICE_S if self._look is None else LOOK_EVERY_S
        with suppress(OSError):  # it has ended, which is seen below
            self._connection.send(task)
        while True:
            began_s = time.monotonic()
            ready = wait([self._connection, self._ended], min(left_s, round_s))
            # At most a slice a round: that Slurm suspends a worker is not the loss's fault.
            left_s = max(0.0, left_s - min(time.monotonic() - began_s, _SLICE_S))
            if ready or not left_s:
                break
            if self._look is not None:
                self._look()
        if not ready:
            unit = "{:g} s" if self.vectorized is None else "chunk_timeout_seconds={:g}"
            text = f"took longer than {unit.format(limit_s)}"
            self.kill((FailureKind.OVERRAN, "ChunkTimeout", text))
        elif self._connection in ready:
            with suppress(EOFError, OSError):
                return self._connection.recv()
            if not wait([self._ended], _PATIENCE_S):  # it still runs, so the loss closed it
                text = "its process closed the connection to its worker"
                self.kill((FailureKind.DIED, "ProcessDied", text))
        return None

    def kill(self, verdict: Verdict | None = None) -> None:
        """Kill the process and all that it started, and wait for its end, for a limited time."""
        with self._lock:
            if self.alive:
                self._verdict = self._verdict or verdict
                self._kill_group()  # the user's threads and exit handlers may never end
        for thread in self._threads:
            thread.join(_PATIENCE_S)
        self.alive = False

    def close(self) -> None:
        """Kill the process if it runs, and close all that was opened for it."""
        self.kill()
        self._connection.close()
        self._offset.close()
        if not any(thread.is_alive() for thread in self._threads):
            os.close(self._ended)

    def _end(self) -> str:
        """Say how the process ended that was not killed here."""
        returncode = self._popen.returncode
        if returncode is None:
            return "its process did not end when it was killed"
        if returncode >= 0:
            return f"its process ended with exit code {returncode}"
        names = {-known: known.name for known in signal.Signals}
        why = ", for lack of memory or by hand" if returncode == -signal.SIGKILL else ""
        name = names.get(returncode, "unnamed")
        return f"its process was killed by signal {-returncode} ({name}){why}"

    def _last_lines(self) -> str:
        """Return the end of its stderr; after a crash, what surrounds the top of the stack."""
        lines = list(self._lines)
        crashes = [i for i, line in enumerate(lines) if line.startswith("Fatal Python error")]
        last = crashes[-1] + _LINES_SHOWN if crashes else len(lines)
        first = last - _LINES_SHOWN - (_LINES_SHOWN // 2 if crashes else 0)
        shown = lines[max(0, first) : last] or ["(none)"]
        return "\n".join(["last lines of its stderr:", *shown])

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
            while fd in wait([fd, self._ended]) and (data := os.read(fd, _LONGEST_LINE)):
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
        shipment, sys.argv = tasks.get()
        try:
            loss = shipment.load()
        except BaseException as error:
            connection.send(failure_from(error, 0, None))
            tasks.get()  # for ever: the worker kills this process
        connection.send(loss.vectorized)
        while True:
            params, chunk, context = tasks.get()
            block = evaluate_block(loss, params, chunk, context, note)
            with suppress(Exception):  # no exit handler would ever flush what was printed
                sys.stdout.flush()
            connection.send(block)
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
    unblock = functools.partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, signals)

    def take_them_again() -> None:
        for number in signals:
            signal.signal(number, signal.SIG_DFL)
        unblock()

    # What it forks, such as a pool of processes, takes the signals as usual, from the start.
    block = functools.partial(signal.pthread_sigmask, signal.SIG_BLOCK, signals)
    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=take_them_again)
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
