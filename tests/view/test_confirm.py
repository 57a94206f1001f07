"""Asking on a terminal, which is a real one here, and what is done without one."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from seedwise.errors import CleanRefusedError
from seedwise.view.confirm import confirm_removal

# Makes its stdin the terminal that Ctrl-C comes from, and asks.
SCRIPT = """
import fcntl, sys, termios
from pathlib import Path
from seedwise.errors import CleanRefusedError
from seedwise.view.confirm import confirm_removal

if sys.stdin is not None and sys.stdin.isatty():
    fcntl.ioctl(sys.stdin, termios.TIOCSCTTY, 0)
try:
    confirm_removal(Path("runs/mine"))
except CleanRefusedError as error:
    print("refused:", error)
else:
    print("removed")
"""
QUESTION = "Remove runs/mine with all its results? [y/N]:"


class Terminal:
    """A process that asks on a terminal."""

    def __init__(self) -> None:
        self._ours, theirs = os.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        os.close(theirs)

    def question(self) -> str:
        """Return what it asks, once it has."""
        asked = b""
        while not asked.endswith(b":"):
            byte = self._process.stderr.read(1)
            assert byte, "it ended without a question"
            asked += byte
        return asked.decode()

    def answer(self, keys: str) -> str:
        """Press keys; return what it says then."""
        for _ in range(60):
            os.write(self._ours, keys.encode())
            # A Ctrl-C in the moment before it reads is not heard: who presses it does so again.
            with contextlib.suppress(subprocess.TimeoutExpired):
                said, _ = self._process.communicate(timeout=2)
                break
        else:
            raise AssertionError("it does not hear")
        assert self._process.returncode == 0
        return said.decode().strip()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        os.close(self._ours)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.mark.parametrize("keys", ["y\n", "yes\n", "Y\n"])
def test_a_yes_is_a_yes(terminal, keys):
    assert terminal.question() == QUESTION
    assert terminal.answer(keys).endswith("removed")


@pytest.mark.parametrize(
    "keys", ["n\n", "no\n", "\n", "\x04", "\x03"], ids=["n", "no", "enter", "Ctrl-D", "Ctrl-C"]
)
def test_all_else_is_a_no(terminal, keys):
    assert terminal.question() == QUESTION
    said = terminal.answer(keys)
    assert "refused: runs/mine is not removed: the answer was no. Pass assume_yes=True" in said


def test_what_is_no_answer_is_asked_again(terminal):
    terminal.question()
    said = terminal.answer("what?\ny\n")
    assert said.endswith("removed")


def test_without_a_terminal_nobody_is_asked():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    refused = "refused: runs/mine is not removed: there is no terminal to ask on. Pass assume_yes"
    assert done.stdout.startswith(refused)
    assert done.stderr == ""


@pytest.mark.parametrize("stdin", [None, io.StringIO("y\n")], ids=["closed", "piped"])
def test_a_yes_that_nobody_typed_is_none(monkeypatch, stdin, capsys):
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(CleanRefusedError, match="there is no terminal to ask on") as caught:
        confirm_removal(Path("runs/mine"))
    assert caught.value.run_dir == Path("runs/mine")
    assert capsys.readouterr() == ("", "")
