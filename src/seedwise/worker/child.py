"""A child process of a worker, which evaluates seeds: the worker survives its death."""

import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import attrs
import psutil  # type: ignore[import-untyped]

from seedwise.model.seeds import Chunk
from seedwise.model.space import ParamValue
from seedwise.model.trials import SeedFailure
from seedwise.usercode.shipment import Shipment
from seedwise.worker.block import SeedBlock
from seedwise.worker.process import Limits, Process, Verdict


class ChildClosedError(RuntimeError):
    """The child was closed before it had evaluated its seeds: the worker leaves."""


class Child:
    """A child process that evaluates seeds; it is started when it is first needed, and again.

    One thread at a time uses it, but any thread may call `kill` and `close`.
    """

    def __init__(self, shipment: Shipment) -> None:
        self.vectorized = False  # of the loss; known once it is loaded
        self._shipment = shipment
        self._process: Process | None = None
        self._closed = False
        self._in_use = threading.RLock()

    @property
    def pid(self) -> int | None:
        """None while there is no process."""
        process = self._process
        return process.pid if process is not None and process.alive else None

    def rss_b(self) -> int:
        """Return the memory that the process takes; 0 while there is no process."""
        with suppress(psutil.Error):
            if (pid := self.pid) is not None:
                return int(psutil.Process(pid).memory_info().rss)
        return 0

    def load(self, chunk: Chunk, limits: Limits) -> SeedFailure | None:
        """Start the process and load the loss, unless that is done; return why that fails."""
        with self._in_use:
            if limits.watch is not None:  # here, too: short pieces may fill memory together
                limits.watch()
            if self._closed:
                raise ChildClosedError
            if self._process is not None and self._process.alive:
                return None
            self._start()
            loading = " while it loaded the loss"
            failure = self._ask((self._shipment, sys.argv), chunk, limits.for_loading(), loading)
            if isinstance(failure, SeedFailure):
                self._release()
                return attrs.evolve(failure, position=chunk.start)
            self.vectorized = failure
            return None

    def evaluate(
        self,
        params: Mapping[str, ParamValue],
        chunk: Chunk,
        context: dict[str, Any],
        limits: Limits,
    ) -> SeedBlock:
        """Evaluate seeds in the process, as `evaluate_block` does; its death is a failure, too."""
        with self._in_use:
            answer = self.load(chunk, limits)
            if answer is None:
                answer = self._ask((dict(params), chunk, context), chunk, limits)
            return answer if isinstance(answer, SeedBlock) else SeedBlock(None, answer)

    def kill(self, verdict: Verdict) -> None:
        """Kill the process and wait for its end; what it evaluates fails with the verdict."""
        if (process := self._process) is not None:
            process.kill(verdict)
            process.join()

    def close(self) -> None:
        """End the process; there will be no other."""
        self._closed = True
        if (process := self._process) is not None:
            process.kill()  # the user's threads and exit handlers may never end
        with self._in_use:
            self._release()

    def _start(self) -> None:
        self._release()
        process = self._process = Process()
        if self._closed:  # by another thread, which did not see this process
            process.kill()

    def _ask(self, task: object, chunk: Chunk, limits: Limits, doing: str = "") -> Any:
        """Return the process's answer, or a SeedFailure that says how it ended."""
        process = self._process
        assert process is not None
        try:
            answer = process.ask(task, limits)
        except BaseException:  # the task can't be pickled, or we are interrupted
            self._release()
            raise
        if answer is not None:
            return answer
        offset = process.offset
        self._release()
        if self._closed:
            raise ChildClosedError
        seeds = chunk.seeds
        known = 0 <= offset < len(seeds)
        verdict = process.end()
        first, last = int(seeds[0]), int(seeds[-1])
        which = f"seed {first}" if len(seeds) == 1 else f"seeds {first} to {last}"
        message = f"{verdict.text}{doing} ({which})"
        return SeedFailure(
            position=chunk.start + (offset if known else 0),
            seed=int(seeds[offset]) if known else None,
            exception_type=verdict.exception_type,
            message=message,
            traceback=f"{message}\n{process.last_lines()}",
            kind=verdict.kind,
        )

    def _release(self) -> None:
        if self._process is not None:
            self._process.release()
            self._process = None
