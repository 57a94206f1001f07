"""Requests to the driver of a run while it works: a folder with a file for each.

The caller may be on another login node. Files reach it without a port or a key.
"""

import contextlib
import json
import logging
import os
import re
import shutil
import socket
import stat
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from seedwise import errors
from seedwise.disk.every import Every
from seedwise.disk.files import parsed, read_as, remove, replacing, write_all, writing
from seedwise.folder.directory import RunDirectory
from seedwise.folder.lease import lease_holder
from seedwise.folder.owner import allowed_to_us, require_owner
from seedwise.folder.status import read_status
from seedwise.model.options import checks

_logger = logging.getLogger("seedwise")

_POLL_EVERY_S = 1.0
_ANSWER_RETRY_S = 0.1
_LARGEST_BYTES = 65_536

_REQUEST = re.compile(r"ask-([0-9a-f]{32})\.json")


@attrs.frozen(kw_only=True)
class Request:
    """A request to a driver: other bounds of the number of workers, or to stop."""

    #: Least and most workers; None means to stop the run.
    scale: tuple[int, int] | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(tuple),
        validator=attrs.validators.optional(lambda *given: checks.workers("workers", given[2])),
    )
    #: The caller, in words.
    by: str = attrs.field(factory=lambda: f"process {os.getpid()} on {socket.gethostname()}")
    #: 32 hexadecimal digits.
    id: str = attrs.field(factory=lambda: uuid.uuid4().hex)

    def __str__(self) -> str:
        """Say what is asked for, and by whom."""
        if self.scale is None:
            return f"{self.by} asks to stop"
        low, high = self.scale
        wanted = f"{low} to {high} workers" if low != high else f"{low} worker{'s' * (low != 1)}"
        return f"{self.by} asks for {wanted}"


def ask(directory: RunDirectory, request: Request, *, timeout_s: float = 15.0) -> None:
    """Ask the driver that works on a run, or on an entry's, for something; wait for its answer.

    With a timeout of 0 the request is only left there, if there is a driver. An unanswered request
    stays, for that driver only.
    """
    directory = directory.home
    with allowed_to_us(directory.path):
        require_owner(directory.path)
        path, answer = _paths(directory.control, request.id)
        give_up_s = time.monotonic() + timeout_s
        has_asked = False
        while True:
            holder = lease_holder(directory.lease)
            found = _listed(directory.control)
            if answer.name in found:
                content = _read(answer)
                answer.unlink(missing_ok=True)
                _forget_if_ended(directory)
                if content is not None and content.get("error") is not None:
                    raise errors.RequestRefusedError(directory.path, str(content["error"]))
                return
            if holder is None:
                path.unlink(missing_ok=True)
                _forget_if_ended(directory)
                state = read_status(directory).state
                if has_asked and request.scale is None and state == "stopped":
                    return  # it stopped, and may have removed the answer
                raise errors.NoDriverError(directory.path, state)
            if path.name not in found:  # not asked yet, or dropped by a driver that has just begun
                with writing(directory.path / path.name):
                    directory.control.mkdir(mode=0o700, exist_ok=True)
                    _put(path, attrs.asdict(request))
                has_asked = True
            if timeout_s <= 0:
                return
            if time.monotonic() >= give_up_s:
                raise errors.NotAnsweredError(directory.path, holder, timeout_s)
            time.sleep(_ANSWER_RETRY_S)


class Control(contextlib.AbstractContextManager["Control"]):
    """The requests to this driver, which holds the run's lease.

    Requests to an earlier driver are dropped. Nothing that is wrong with the folder or a file in
    it ends the run.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._folder = directory.control
        self._due = Every(_POLL_EVERY_S)
        self._answered: set[str] = set()
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
        for name in _listed(self._folder):
            remove(self._folder / name)

    def poll(self) -> list[Request]:
        """Return the unanswered requests in the order they were made; it looks once a second."""
        if not self._due.due():
            return []
        found: list[tuple[int, Request]] = []
        for name in _listed(self._folder):
            match = _REQUEST.fullmatch(name)
            if match is None or match[1] in self._answered:
                continue
            path = self._folder / name
            try:
                asked_ns = path.stat().st_mtime_ns
            except OSError:
                continue
            content = {"by": "", **(_read(path) or {})}
            request = read_as(Request, content) if "scale" in content else None
            if request is None or request.id != match[1]:
                _logger.warning("%s is not a request of this user, and was removed", path)
                remove(path)
            else:
                found.append((asked_ns, request))
        return [request for _, request in sorted(found, key=lambda one: (one[0], one[1].id))]

    def answer(self, request: Request, error: str | None = None) -> None:
        """Tell the caller that a request is done, or why it is not."""
        self._answered.add(request.id)  # its file may not go away
        path, answer = _paths(self._folder, request.id)
        with contextlib.suppress(OSError):
            _put(answer, {"error": error})
        remove(path)

    def __exit__(self, kind: type[BaseException] | None = None, *_: object) -> None:
        """Remove the folder, with what is unread in it, unless the run is another driver's now."""
        if kind is None or not issubclass(kind, errors.LeaseLostError):
            shutil.rmtree(self._folder, ignore_errors=True)


def _paths(folder: Path, request_id: str) -> tuple[Path, Path]:
    return folder / f"ask-{request_id}.json", folder / f"answer-{request_id}.json"


def _listed(folder: Path) -> list[str]:
    # Listed, since a file server's client remembers for half a minute that a file was missing.
    with contextlib.suppress(OSError):
        return [path.name for path in folder.iterdir()]
    return []


def _put(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path, durable=False) as handle:
        if os.getuid() == 0:  # the user's driver must be able to read it
            os.fchown(handle, path.parent.stat().st_uid, -1)
        write_all(handle, f"{json.dumps(content)}\n".encode())


def _read(path: Path) -> dict[str, Any] | None:
    """Read a file that is ours alone; None if it is not, or can't be read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(handle)
            ours = found.st_uid in (os.getuid(), 0) and not found.st_mode & 0o022
            if not ours or not stat.S_ISREG(found.st_mode):
                return None
            return parsed(file.read(_LARGEST_BYTES))
    except OSError:
        return None


def _forget_if_ended(directory: RunDirectory) -> None:
    """Remove an empty folder of requests when no driver is there to do it."""
    if lease_holder(directory.lease) is None:
        with contextlib.suppress(OSError):
            directory.control.rmdir()
