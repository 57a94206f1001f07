"""What stops a run while it is on: a first signal, or a request, in order; another at once."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from seedwise.errors import RunStopped

# `timeout` and a terminal that closes send their signal twice: to the process and to its group.
# Nobody repeats Ctrl-C so quickly without meaning it.
_SENT_TWICE = (signal.SIGTERM, signal.SIGHUP)
_TWICE_WITHIN_S = 2.0

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
        self._first_s = 0.0

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Stop the run; the second time, end the process. A request counts for no signal."""
        del frame
        now_s = time.monotonic()
        if self._number is None:
            self._stopping, self._number, self._first_s = True, number, now_s
            another = "another Ctrl-C" if number == signal.SIGINT else "another one after 2 s"
            text = f"{signal.Signals(number).name}: the run stops in order; {another} ends it"
            with contextlib.suppress(Exception):  # it is closed, or was just being written to
                print(f"seedwise: {text} at once", file=sys.stderr, flush=True)
            if self._ending:  # as was requested: to break that off would leave jobs behind
                return
            self.check()
        is_repeated = {self._number, number} <= {*_SENT_TWICE}
        if is_repeated and now_s - self._first_s < _TWICE_WITHIN_S:
            return
        at_once, self.at_once = self.at_once, lambda: None  # a third signal waits for nothing
        with contextlib.suppress(BaseException):
            at_once()
        ipython = sys.modules.get("IPython")
        if ipython is not None and ipython.get_ipython() is not None:
            self.check()  # the kernel of a notebook is to stay of use
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
