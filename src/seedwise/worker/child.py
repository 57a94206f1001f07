"""A process of a worker's own to evaluate seeds in: the worker survives what they do to it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import attrs
import numpy as np
import psutil  # type: ignore[import-untyped]
from numpy.typing import NDArray

from seedwise.model.space import ParamValue
from seedwise.model.trials import SeedFailure
from seedwise.usercode.shipment import Shipment
from seedwise.worker.block import SeedBlock
from seedwise.worker.process import Limits, Process, Verdict


class ChildClosedError(RuntimeError):
    """The child was closed while it was to evaluate: its worker leaves."""


class Child:
    """A child process that evaluates seeds; it is started when it is first needed.

    Its user is one thread at a time; `kill` and `close` may be called from any. After a death the
    next use starts another process.

    Parameters
    ----------
    shipment : Shipment
        The loss.
    """

    def __init__(self, shipment: Shipment) -> None:
        self.vectorized = False  # whether the loss is: known when it is loaded
        self._shipment = shipment
        self._process: Process | None = None
        self._closed = False
        self._in_use = threading.RLock()

    @property
    def pid(self) -> int | None:
        """Id of the process; None while there is none."""
        process = self._process
        return process.pid if process is not None and process.alive else None

    def rss_b(self) -> int:
        """Return the memory that the process takes, in bytes; 0 while there is none."""
        with suppress(psutil.Error):
            if (pid := self.pid) is not None:
                rss_b: int = psutil.Process(pid).memory_info().rss
                return rss_b
        return 0

    def load(self, seeds: NDArray[np.int64], start: int, limits: Limits) -> SeedFailure | None:
        """Start the process and load the loss, unless that is done.

        Parameters
        ----------
        seeds : ndarray of int64, shape (n,)
            The seeds that need it; a failure names them.
        start : int
            Position of the first in the seed plan.
        limits : Limits
            What it may take.

        Returns
        -------
        SeedFailure or None
            Why it failed.

        Raises
        ------
        ChildClosedError
            If the child is closed.
        """
        with self._in_use:
            if limits.watch is not None:  # here, too: short pieces may fill memory together
                limits.watch()
            if self._closed:
                raise ChildClosedError
            if self._process is not None and self._process.alive:
                return None
            self._start()
            loading = " while it loaded the loss"
            failure = self._ask(
                (self._shipment, sys.argv), seeds, start, limits.for_loading(), loading
            )
            if isinstance(failure, SeedFailure):
                self._release()
                return attrs.evolve(failure, position=start)
            self.vectorized = failure
            return None

    def evaluate(
        self,
        params: Mapping[str, ParamValue],
        seeds: NDArray[np.int64],
        start: int,
        context: dict[str, Any],
        limits: Limits,
    ) -> SeedBlock:
        """Evaluate consecutive seeds in the process, up to the first that fails.

        Parameters
        ----------
        params : mapping
            The trial's parameters.
        seeds : ndarray of int64, shape (n,)
            The seeds.
        start : int
            Position of the first in the seed plan.
        context : dict
            ``entry_id`` and ``trial_number``; a `Context` has ``trial_dir``, too.
        limits : Limits
            What it may take.

        Returns
        -------
        SeedBlock
            The losses or the first failure, as `evaluate_block` has them; or how the process
            ended.

        Raises
        ------
        ChildClosedError
            If the child is closed, be it meanwhile.
        """
        with self._in_use:
            answer = self.load(seeds, start, limits)
            if answer is None:
                task = (dict(params), seeds, start, context)
                answer = self._ask(task, seeds, start, limits)
            return answer if isinstance(answer, SeedBlock) else SeedBlock(None, answer)

    def kill(self, verdict: Verdict) -> None:
        """Kill the process, and wait for its end; what it evaluates fails with the verdict."""
        if (process := self._process) is not None:
            process.kill(verdict)
            process.join()

    def close(self) -> None:
        """End the process, for good."""
        self._closed = True
        if (process := self._process) is not None:
            process.kill()  # and not gently: user's threads and exit handlers may never end
        with self._in_use:
            self._release()

    def _start(self) -> None:
        self._release()
        process = self._process = Process()
        if self._closed:  # by another thread meanwhile, which did not see the process
            process.kill()

    def _ask(
        self,
        task: object,
        seeds: NDArray[np.int64],
        start: int,
        limits: Limits,
        doing: str = "",
    ) -> Any:
        """Return the process's answer, or its end as a SeedFailure."""
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
        known = 0 <= offset < len(seeds)
        verdict = process.end()
        message = f"{verdict.text}{doing} ({_in_words(seeds)})"
        return SeedFailure(
            position=start + offset if known else start,
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


def _in_words(seeds: NDArray[np.int64]) -> str:
    first, last = int(seeds[0]), int(seeds[-1])
    return f"seed {first}" if len(seeds) == 1 else f"seeds {first} to {last}"
