"""A real terminal for tests: a pty, and an emulator that knows what its screen shows."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

import pyte

from tests.testbed.daemons import HANGS_S


class Terminal:
    """A terminal with a window of `columns` and `rows`, for this process or a program."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=2000, ratio=0.1)
        self.written = b""
        self.process: subprocess.Popen[bytes] | None = None
        self._emulator = pyte.ByteStream(self.screen)
        self._ours, theirs = pty.openpty()
        self.stream: TextIO = open(theirs, "w", encoding="utf-8")  # noqa: PTH123, SIM115
        self.resize(columns, rows)

    def run(self, command: Sequence[str], cwd: Path, **env: str) -> None:
        """Have a program run in the terminal, as in a shell."""
        terminal = self.stream.fileno()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],  # so that Ctrl-C is for it
            cwd=cwd,
            env={**os.environ, "TERM": "xterm-256color", **env},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        )
        self.stream.close()

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def read(self) -> list[str]:
        """Take what was written by now; return the screen, line by line."""
        while select.select([self._ours], [], [], 0)[0] and self._take():
            pass
        return self.lines

    def read_until(self, condition: Callable[[list[str]], bool]) -> list[str]:
        """Take what the program writes until a condition holds of the screen; return it."""
        until_s = time.monotonic() + HANGS_S
        while not condition(self.lines):
            assert time.monotonic() < until_s, self.lines
            if select.select([self._ours], [], [], 0.1)[0]:
                assert self._take(), self.lines
        return self.lines

    def read_to_the_end(self) -> int:
        """Take all that the program writes; return its exit code."""
        while self._take():
            pass
        assert self.process is not None
        return self.process.wait(HANGS_S)

    @property
    def lines(self) -> list[str]:
        """What is on the screen, line by line."""
        return [line.rstrip() for line in self.screen.display]

    @property
    def all_lines(self) -> list[str]:
        """What was scrolled away, and what is on the screen."""
        gone = [
            "".join(line[x].data for x in range(self.screen.columns)).rstrip()
            for line in self.screen.history.top
        ]
        return gone + self.lines

    def press_ctrl_c(self) -> None:
        """Press Ctrl-C."""
        os.write(self._ours, b"\x03")

    def close(self) -> None:
        """End the program, if it is still there, and take the terminal away."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.stream.close()
        os.close(self._ours)

    def _take(self) -> bool:
        """Take what was written, and wait for it; tell whether anybody can write more."""
        try:
            written = os.read(self._ours, 65536)
        except OSError:  # the program has ended
            return False
        self.written += written
        self._emulator.feed(written)
        return True
