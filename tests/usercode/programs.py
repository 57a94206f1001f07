"""Programs of users in processes of their own, which start in no time: they are forks of one."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

STEM = Path(__file__).with_name("stem.py")

#: How a program that holds a loss begins, and what stands before the loss's function.
LOSS = "import seedwise as sw\n"
DECORATED = "@sw.loss(name='made', description='m', parameter_space={'x': (0, 1)})\n"


class ProgramError(Exception):
    """An error that ended a program; `kind` is the name of its class."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        super().__init__(text)


class Programs:
    """A process that has imported seedwise and forks for each program.

    What the steps of a program may call is in stem.py.
    """

    def __init__(self) -> None:
        self._stem = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", STEM.read_text(encoding="utf-8")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
        )

    def run(self, folder: Path, steps: str) -> Any:
        """Take steps in a folder, in a new process, and return what they call ``answer``."""
        request = {"folder": str(folder), "steps": textwrap.dedent(steps)}
        assert self._stem.stdin is not None
        assert self._stem.stdout is not None
        self._stem.stdin.write(json.dumps(request) + "\n")
        self._stem.stdin.flush()
        answer = json.loads(self._stem.stdout.readline())
        if "error" in answer:
            raise ProgramError(answer["error"], answer["text"])
        return answer["answer"]

    def here_and_there(self, folder: Path, start: str = "script()") -> tuple[Any, Any]:
        """Return what a loss gives in the program that defines it, and where it was sent."""
        here = f"m = {start}; packed(m); answer = m.loss({{'x': 1.0}}, 3)"
        there = f"answer = received({str(folder / 'sent')!r}).load()({{'x': 1.0}}, 3)"
        return self.run(folder, here), self.run(Path("/"), there)

    def close(self) -> None:
        """End the process."""
        self._stem.communicate()


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    """Write files below a folder, and return it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        is_text = isinstance(content, str)
        path.write_bytes(textwrap.dedent(content).encode() if is_text else content)
    return folder


def losing(body: str, top: str = "") -> str:
    """Return a script whose loss has this body."""
    body = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    return f"{LOSS}{textwrap.dedent(top)}\n{DECORATED}def loss(params, seed):\n{body}\n"
