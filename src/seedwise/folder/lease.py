"""The lease of a run folder: one writer at a time, which refreshes a file while it lives."""

import contextlib
import errno
import fcntl
import json
import os
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import psutil  # type: ignore[import-untyped]

from seedwise.disk.files import parsed, read_as, replacing, write_all, writing
from seedwise.errors import LeaseLostError, RunLockedError
from seedwise.folder.process import Holder, this_process

REFRESH_S = 10.0
SILENT_S = 300.0

_LOOK_S = 1.0
_MARGIN_S = 1.0  # two clocks go at almost the same pace
_LOCK_PATIENCE_S = 10.0
_LOCK_RETRY_S = 0.02

# A file system without locks: the last to write wins, and the other's `check` fails.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)

_within_process = threading.Lock()  # where flock stands for fcntl locks, threads share them


@attrs.frozen
class _Found:
    """A lease file as it was found; `holder` is None if it can't be read as one."""

    holder: Holder | None
    mtime_s: float

    @property
    def who(self) -> str:
        return "an unknown process" if self.holder is None else str(self.holder)

    @property
    def has_ended(self) -> bool | None:
        """Whether its holder has ended for certain; None if that can't be seen from here."""
        if self.holder is None:
            return None
        if self.holder.is_of_this_host():
            return self.holder.state() is None
        return True if self.holder.is_of_an_earlier_start() else None


class Lease(contextlib.AbstractContextManager["Lease"]):
    """The right to write to a run folder, until `release`; `acquire_lease` makes it."""

    def __init__(self, path: Path, token: str) -> None:
        self.path = path
        self.token = token
        self._pid = os.getpid()
        self._ended = threading.Event()
        self._guard = threading.Lock()  # of the descriptor, which `check` may change
        # Kept open, so that no later file gets the inode, and we touch our own file only.
        self._descriptor, self._inode = _opened(path)
        self._thread = threading.Thread(target=self._keep, name="seedwise-lease", daemon=True)
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        """Release the lease."""
        self.release()

    def check(self) -> None:
        """Raise LeaseLostError if the lease was taken over, or is gone. Takes microseconds."""
        try:
            status = os.stat(self.path)  # noqa: PTH116 - pathlib takes twice as long
        except (FileNotFoundError, NotADirectoryError):
            raise self._lost(None) from None
        if (status.st_dev, status.st_ino) == self._inode and not self._ended.is_set():
            return
        found = _read(self.path)
        if self._ended.is_set() or not _carries(found, self.token):
            raise self._lost(found)
        # The folder was copied and put back, or its server restarted: the same lease elsewhere.
        with self._guard:
            before = self._descriptor
            self._descriptor, self._inode = _opened(self.path)
            os.close(before)

    def refresh(self) -> None:
        """Touch the file, as a thread does every `REFRESH_S`. Takes no space on the disk."""
        # A failure is left for the next time: a file server that is away comes back.
        with self._guard, contextlib.suppress(OSError):
            if not self._ended.is_set():
                os.utime(self._descriptor)

    def release(self) -> None:
        """End the lease: remove the file if it is still ours. A second call does nothing."""
        if self._ended.is_set() or os.getpid() != self._pid:  # a fork has no lease to end
            return
        self._ended.set()
        self._thread.join()
        os.close(self._descriptor)
        # The folder is gone, or the lock is taken: a dead process's lease does not hold anyway.
        with contextlib.suppress(OSError, RunLockedError), _locked(self.path):
            _remove(self.path, self.token)

    def _keep(self) -> None:
        while not self._ended.wait(REFRESH_S):
            self.refresh()

    def _lost(self, found: _Found | None) -> LeaseLostError:
        holder = "nobody: the lease file is gone" if found is None else found.who
        return LeaseLostError(self.path.parent, holder)


def acquire_lease(
    path: Path, *, take_over: bool = False, tell: Callable[[str], object] = lambda _: None
) -> Lease:
    """Become the one writer to a run folder.

    A lease whose holder ran on this host and is dead is taken over at once, and so is one of an
    earlier start of the Slurm job that we run in; one of a living process never is. Of any other
    holder on another host we know only how long it has not refreshed its lease: with `take_over`,
    we wait until it has been silent for `SILENT_S`, and take its lease. `tell` gets a sentence
    about that wait. A lock file, with ``.lock`` added to the name, stays beside the lease.

    Raises RunLockedError if another process has the lease, and RunFileError if the file can't be
    written.
    """
    if take_over:
        _wait_while_silent(path, tell)
    with writing(path), _locked(path):
        token = uuid.uuid4().hex
        try:
            with replacing(path) as handle:
                # Made before we decide, since its mtime is the file server's time.
                _refuse_if_held(path, os.fstat(handle).st_mtime, take_over)
                content = json.dumps(attrs.asdict(this_process(token)), indent=2)
                write_all(handle, f"{content}\n".encode())
            found = _read(path)
            if not _carries(found, token):  # without locks another may have been faster
                holder = "another process" if found is None else found.who
                raise RunLockedError(path.parent, holder, "It took the lease in this very moment.")
            return Lease(path, token)
        except BaseException:  # an interrupt, too, is to leave nothing that locks us out
            _remove(path, token)
            raise


def lease_holder(path: Path) -> str | None:
    """Return who works on a run, in words; None if nobody does. It takes no lock.

    A holder that can't be seen from here counts as dead if it has been silent for `SILENT_S` by
    this machine's clock, which should not be minutes apart from the file server's.
    """
    found = _read(path)
    if found is None:
        return None
    has_ended = found.has_ended
    if has_ended is None:
        has_ended = time.time() - found.mtime_s >= SILENT_S
    return None if has_ended else found.who


def _wait_while_silent(path: Path, tell: Callable[[str], object]) -> None:
    """Wait until a holder that can't be seen from here is silent for long enough, or is not."""
    found = _read(path)
    if found is None or found.has_ended is not None:
        return
    # As in `acquire_lease`, by the file server's time.
    with writing(path), tempfile.TemporaryFile(dir=path.parent) as now:
        silent_s = os.fstat(now.fileno()).st_mtime - found.mtime_s
    if silent_s >= SILENT_S:
        return
    wait_s = SILENT_S - silent_s + _MARGIN_S
    tell(
        f"{found.who} may still work on the run; waiting for {wait_s:.0f} s, and if it does not "
        "refresh its lease in that time, the run is taken over"
    )
    give_up = time.monotonic() + wait_s
    while _read(path) == found and (left_s := give_up - time.monotonic()) > 0:
        time.sleep(min(left_s, _LOOK_S))


def _refuse_if_held(path: Path, now_s: float, take_over: bool) -> None:
    found = _read(path)
    if found is None or found.has_ended:
        return
    holder, who = found.holder, found.who
    if holder is not None and holder.is_of_this_host():
        raise RunLockedError(path.parent, who, _how_to_end(holder))
    # The mtimes of two files of one folder: the clock of a file server may differ from ours.
    silent_s = now_s - found.mtime_s
    if holder is not None and holder.host == socket.gethostname():
        who += " (another machine or container of that name)"
    if silent_s < SILENT_S:
        advice = (
            f"It refreshed its lease {max(silent_s, 0):.0f} s ago, so it is alive. End it there, "
            "or, if it is gone, give take_over=True (on the command line --take-over): then the "
            f"run is taken over as soon as it has been silent for {SILENT_S:.0f} s."
        )
    elif take_over:
        return
    else:
        advice = (
            f"It has been silent for {silent_s:.0f} s, but from here we can't see whether it "
            "still runs. If you are sure that it is gone, take the run over with take_over=True "
            "(on the command line --take-over)."
        )
    raise RunLockedError(path.parent, who, advice)


def _how_to_end(holder: Holder) -> str:
    pid = holder.pid
    if pid == os.getpid():
        return "It is this very process: wait until its run ends, or end that run first."
    if holder.state() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP):
        return (
            f"It is stopped, but not dead. Continue it with kill -CONT {pid}, or end it with "
            f"kill -9 {pid}; then try again."
        )
    return (
        f"It is alive. Wait for it, or end it with kill {pid} (kill -9 {pid} if that does not "
        "help); then try again."
    )


def _remove(path: Path, token: str) -> None:
    if _carries(_read(path), token):
        path.unlink(missing_ok=True)


def _carries(found: _Found | None, token: str) -> bool:
    return found is not None and found.holder is not None and found.holder.token == token


def _opened(path: Path) -> tuple[int, tuple[int, int]]:
    descriptor = os.open(path, os.O_RDONLY)
    status = os.fstat(descriptor)
    return descriptor, (status.st_dev, status.st_ino)


def _read(path: Path) -> _Found | None:
    try:
        with path.open("rb") as file:
            content, status = file.read(), os.fstat(file.fileno())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _Found(read_as(Holder, parsed(content)), status.st_mtime)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time read a lease, decide and write."""
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    give_up = time.monotonic() + _LOCK_PATIENCE_S
    with contextlib.ExitStack() as closing:
        closing.callback(os.close, descriptor)  # and so ends the lock
        if _within_process.acquire(timeout=_LOCK_PATIENCE_S):
            closing.callback(_within_process.release)
            while not (has_lock := _try_lock(descriptor)) and time.monotonic() <= give_up:
                time.sleep(_LOCK_RETRY_S)
            if has_lock:
                yield
                return
        advice = f"It has held the lock for {_LOCK_PATIENCE_S:.0f} s. Try again."
        raise RunLockedError(path.parent, f"a process that holds {path.name}.lock", advice)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        if error.errno not in _NO_LOCKS:
            raise
    return True
