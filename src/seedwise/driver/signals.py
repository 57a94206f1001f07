"""What stops a run while it is on: a first signal, or a request, in order; a second at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from seedwise.errors import RunStopped

_DEFAULTS: dict[int, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}


class StopSignals:
    """What a stop signal does while a run is on."""

    def __init__(self, run_dir: Path) -> None:
        #: Called before the process ends at the second signal; must not wait for long.
        self.at_once: Callable[[], object] = lambda: None
        self._run_dir = run_dir
        self._stopping = False
        self._ending = False
        self._number: int | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Stop the run; the second time, end the process. A request counts for no signal."""
        del frame
        if self._number is None:
            self._stopping, self._number = True, number
            if self._ending:  # as was requested: to break that off would leave jobs behind
                return
            self.check()
        at_once, self.at_once = self.at_once, lambda: None  # a third signal waits for nothing
        with contextlib.suppress(BaseException):
            at_once()
        if _in_notebook():  # its kernel is to stay of use
            self.check()
        # What is on disk is whole at any moment, as it is after a SIGKILL.
        os._exit(128 + number)

    def request(self) -> None:
        """Have the next check stop the run, as the first signal does."""
        self._stopping = True

    def check(self) -> None:
        """Raise RunStopped if a signal came; where Python was then may have swallowed it."""
        if self._stopping:
            self._ending = True
            raise RunStopped(self._run_dir, self._number)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


@contextlib.contextmanager
def stop_on_signals(run_dir: Path) -> Iterator[StopSignals]:
    """Have SIGINT, SIGTERM and SIGHUP raise RunStopped in the main thread.

    Handlers that the caller installed are left alone, and so is a signal that is ignored, as
    SIGHUP is under nohup. Outside of the main thread all signals are left alone. In the end all
    handlers are as they were.
    """
    stop = StopSignals(run_dir)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    ours = [number for number, default in _DEFAULTS.items() if signal.getsignal(number) == default]
    for number in ours:
        signal.signal(number, stop.handle)
    try:
        yield stop
    finally:
        for number in ours:
            signal.signal(number, _DEFAULTS[number])
