"""What the driver does while something runs: its event loops, processor and memory."""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, Self

import attrs
import numpy as np
import psutil
from distributed import Client

_BEAT_S = 0.005
_LONG_S = 0.05
_LOOK_S = 0.01
_FRAMES_SHOWN = 8


@attrs.define(eq=False)
class Lag:
    """How late a callback every 5 ms was."""

    late_s: list[float] = attrs.field(factory=list)
    #: By when each long delay began: how long it was when last looked at, and what ran then.
    blocks: dict[float, tuple[float, str]] = attrs.field(factory=dict)
    _beat_s: float = attrs.field(factory=time.perf_counter)
    _thread: int = 0

    async def beat(self, ended: threading.Event) -> None:
        """Take the delays of the loop that this runs in."""
        self._thread = threading.get_ident()
        while not ended.is_set():
            began_s = self._beat_s = time.perf_counter()
            await asyncio.sleep(_BEAT_S)
            self.late_s.append(max(0.0, time.perf_counter() - began_s - _BEAT_S))

    def look(self) -> None:
        """Note where the loop is, if it is late."""
        began_s, now_s = self._beat_s, time.perf_counter()
        frame = sys._current_frames().get(self._thread)
        if (late_s := now_s - began_s - _BEAT_S) > _LONG_S and frame is not None:
            stack = traceback.extract_stack(frame)[-_FRAMES_SHOWN:]
            words = [f"{Path(f.filename).stem}.{f.name}:{f.lineno}" for f in stack]
            self.blocks[began_s] = late_s, " > ".join(words)

    @property
    def block(self) -> str:
        """What was seen of the long delays, innermost call last."""
        if not self.blocks:
            return ""
        late_s, words = max(self.blocks.values())
        return f"{len(self.blocks)} long ones caught; one at {late_s * 1e3:.0f} ms in {words}"

    @property
    def longest_ms(self) -> float:
        return 1e3 * max(self.late_s, default=0.0)

    @property
    def usual_ms(self) -> float:
        """The delay that 99 % are below."""
        return 1e3 * float(np.quantile(self.late_s, 0.99)) if self.late_s else 0.0


class Watch:
    """Watches this process, and the loops of the first client that is open in it meanwhile.

    The scheduler is in this process, too; its loop is the client's unless it has one of its own.
    A thread that only sleeps and looks is late whenever no processor, or Python's lock, is free:
    what the loops are late beyond that is of their own making.
    """

    def __init__(self) -> None:
        self.loops: dict[str, Lag] = {}
        self.thread = Lag()
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        gc.collect()
        self.most_rss_b = 0
        self._cpu_s, self._began_s = time.process_time(), time.perf_counter()
        self._looking = threading.Thread(target=self._look)
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu_s = time.process_time() - self._cpu_s
        self.took_s = time.perf_counter() - self._began_s
        self._ended.set()
        self._looking.join()

    @property
    def most_mb(self) -> float:
        """Its memory, at most."""
        return self.most_rss_b / 1e6

    def _look(self) -> None:
        process = psutil.Process()
        for n_looks in itertools.count():
            began_s = time.perf_counter()
            if self._ended.wait(_LOOK_S):
                return
            self.thread.late_s.append(max(0.0, time.perf_counter() - began_s - _LOOK_S))
            if not self.loops:
                self._attach()
            for lag in self.loops.values():
                lag.look()
            if n_looks % 10 == 0:
                self.most_rss_b = max(self.most_rss_b, process.memory_info().rss)

    def _attach(self) -> None:
        client = next((one for one in list(Client._instances) if one.status == "running"), None)
        if client is None:
            return
        loops: dict[str, Any] = {"client": client.loop, "scheduler": client.cluster.scheduler.loop}
        if loops["client"].asyncio_loop is loops["scheduler"].asyncio_loop:
            loops = {"client and scheduler": client.loop}
        for name, loop in loops.items():
            lag = self.loops[name] = Lag()
            asyncio.run_coroutine_threadsafe(lag.beat(self._ended), loop.asyncio_loop)
