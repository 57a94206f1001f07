"""A kernel of IPython for tests, as notebooks have it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_client.manager import start_new_kernel

from tests.testbed.daemons import HANGS_S


@contextlib.contextmanager
def kernel(folder: Path, **environment: str) -> Iterator[tuple[Any, Any]]:
    """Start a kernel; give its manager, and a frontend that talks to it."""
    own = {"JUPYTER_PLATFORM_DIRS": "1", "IPYTHONDIR": str(folder / "ipython")}
    manager, frontend = start_new_kernel(
        startup_timeout=HANGS_S, kernel_name="python3", env={**os.environ, **own, **environment}
    )
    try:
        yield manager, frontend
    finally:
        frontend.stop_channels()
        manager.shutdown_kernel(now=True)


def reply_to(message_id: str, frontend: Any) -> dict[str, Any]:
    """Wait for a reply; a kernel that is slow to start sends some that no test asked for."""
    while True:
        message = frontend.get_shell_msg(timeout=HANGS_S)
        if message["parent_header"]["msg_id"] == message_id:
            return message["content"]


def outputs_of(cell: str, frontend: Any) -> list[tuple[str, dict[str, Any]]]:
    """Run a cell; return what it shows, each output with the type of its message."""
    message_id, shown = frontend.execute(cell), []
    while True:
        message = frontend.get_iopub_msg(timeout=HANGS_S)
        kind, content = message["msg_type"], message["content"]
        if message["parent_header"].get("msg_id") != message_id:
            continue
        if kind == "status" and content["execution_state"] == "idle":
            return shown
        if kind not in ("status", "execute_input"):
            shown.append((kind, content))
