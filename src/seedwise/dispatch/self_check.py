"""The check that a worker makes the same of a seed as the driver, and as every other worker."""

import contextlib
import ctypes
import math
import os
import pickle
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

import attrs

from seedwise.dispatch.channel import Order
from seedwise.errors import SelfCheckError
from seedwise.model.loss import LossDefinition
from seedwise.model.trials import ChunkResult
from seedwise.worker.block import Context, TrialDir, evaluate_block
from seedwise.worker.chunk import ChunkTask, Reference

# Another model of CPU, or another number of BLAS's threads, may round in another way; float32 has
# seven digits.
_ROUNDING = {"rel_tol": 1e-4, "abs_tol": 1e-12}

_PR_SET_PDEATHSIG = 1

# How long the driver's value is waited for once a worker's is there.
_PATIENCE_S = 30.0


class ForkedWitness:
    """A fork of this process that evaluates one seed, with all that the process has by now.

    Whatever the loss does there, the driver goes on: it may crash, take all memory or never end.
    """

    def __init__(self, loss: LossDefinition) -> None:
        self._connection, theirs = Pipe()
        self._answer: float | str | None = None
        # Made here: who is killed leaves it behind.
        self._folder = tempfile.TemporaryDirectory(prefix="seedwise-")
        with warnings.catch_warnings():
            # Python warns of threads, whose locks the fork may find taken: then it is too late.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid == 0:
            self._connection.close()  # or it would not see that the driver is gone
            _serve(loss, theirs, Path(self._folder.name))
        theirs.close()
        with contextlib.suppress(OSError):  # the fork does so, too: whoever is first
            os.setpgid(self._pid, 0)

    def ask(self, reference: Reference) -> None:
        """Begin with the evaluation."""
        with contextlib.suppress(OSError):  # it has died, which the answer says
            self._connection.send(reference)

    def answer(self) -> float | str | None:
        """Return the loss, or why there is none; None while it goes on."""
        if self._answer is None and self._connection.poll():
            try:
                self._answer = self._connection.recv()
            except (EOFError, OSError, pickle.UnpicklingError):
                self._answer = "its process died"
        return self._answer

    def close(self) -> None:
        """End the process, and those that the loss has started there."""
        if self._connection.closed:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        self._connection.close()
        self._folder.cleanup()


@attrs.frozen
class Record:
    """What a run has on record of the reference."""

    reference: Reference
    #: None if the loss is known to give another value each time.
    loss: float | None


class SelfCheck:
    """Has each worker evaluate a seed before its first chunk that begins with it, and compares.

    So no two of them evaluate the seed at the same time, where a loss may write to a folder named
    after it. The driver evaluates it after the first worker. Until then no result is handed on, so
    a run whose first value is wrong does not begin. `record` is that of a run that is resumed;
    without it, the seed is the first of the first chunk that is sent.
    """

    def __init__(
        self,
        witness: ForkedWitness | None,
        note: Callable[[str], None],
        keep: Callable[[Record], None] = lambda _: None,
        record: Record | None = None,
    ) -> None:
        self._witness = witness
        self._note = note
        self._keep = keep
        self._reference: Reference | None = None
        self._answers: dict[str, float] = {}
        self._error: SelfCheckError | None = None
        self._withheld: list[tuple[Order, ChunkResult]] = []
        # None until the first worker's value is there, or it is known that there will be none.
        self._waits_until_s: float | None = None
        self._is_kept = record is not None
        self._is_by_chance = None if record is None else record.loss is None  # None is unknown
        self._has_noted = False
        if record is not None:
            self._reference = record.reference
            if record.loss is not None:
                self._compare("the run's record", record.loss)

    @property
    def waits_for_driver(self) -> bool:
        """Whether results wait for nothing but the driver's value."""
        is_asked = self._waits_until_s is not None and self._witness is not None
        return is_asked and bool(self._withheld)

    def with_reference(self, order: Order) -> Order:
        """Return a chunk with the seed that its worker is to evaluate, if it begins with it."""
        task = order.task
        if self._reference is None:
            seed, start = int(task.chunk.seeds[0]), task.chunk.start
            self._reference = Reference(task.trial, task.params, seed, task.entry_id, start)
        if task.chunk.start != self._reference.start:
            return order
        return attrs.evolve(order, task=attrs.evolve(task, reference=self._reference))

    def passed(
        self, results: Sequence[tuple[Order, ChunkResult]]
    ) -> list[tuple[Order, ChunkResult]]:
        """Return the results that may be handed on; raises SelfCheckError if values differ."""
        for order, result in results:
            if order.task.reference is not None:
                self._settle(result)
            self._look_for_chance(order.task, result)
        self._withheld += results
        if self._is_waiting():
            return []
        is_known = self._error is not None or self._waits_until_s is not None
        if is_known and not self._is_kept and self._reference is not None and self._answers:
            self._is_kept = True
            # By hand is right: a run that began otherwise is stopped again when it is resumed.
            right = self._answers.get("the driver", next(iter(self._answers.values())))
            self._keep(Record(self._reference, None if self._is_by_chance else right))
        if self._error is not None:
            raise self._error
        passed, self._withheld = self._withheld, []
        return passed

    def _settle(self, result: ChunkResult) -> None:
        """Take what a worker made of the reference; the driver evaluates it after the first."""
        if result.reference is not None:
            self._compare(_named(result), result.reference)
        if self._waits_until_s is not None:
            return
        self._waits_until_s = time.monotonic() + _PATIENCE_S
        if self._witness is not None and result.reference is not None:
            assert self._reference is not None  # or no worker would have it
            self._witness.ask(self._reference)
        else:  # the loss fails on workers, so there is nothing to compare
            self._end_witness()

    def _is_waiting(self) -> bool:
        if not self._withheld:
            return False
        if self._is_by_chance is None:  # the chunk that the seed is of is out
            return self._witness is not None or self._error is not None
        if self._waits_until_s is None or self._witness is None:
            return False  # of a run that is resumed, a later trial has such a chunk
        answer = self._witness.answer()
        if answer is None and time.monotonic() < self._waits_until_s:
            return True
        self._end_witness()
        if isinstance(answer, float):
            self._compare("the driver", answer)
        else:
            why = "in time" if answer is None else f"({answer})"
            self._note(f"the driver could not evaluate the first seed {why}: it is not compared")
        return False

    def _end_witness(self) -> None:
        if self._witness is not None:
            self._witness.close()
            self._witness = None

    def _compare(self, who: str, loss: float) -> None:
        first = next(iter(self._answers.items()), (who, loss))
        self._answers[who] = loss
        if loss == first[1] or self._is_by_chance:
            return
        assert self._reference is not None  # or nobody would have evaluated it
        error = SelfCheckError(
            self._reference.seed, self._reference.params, dict([first, (who, loss)])
        )
        if not math.isclose(loss, first[1], **_ROUNDING):
            self._error = self._error or error
        elif not self._has_noted:
            self._has_noted = True
            self._note(error.by_rounding())

    def _look_for_chance(self, task: ChunkTask, result: ChunkResult) -> None:
        """See whether a worker gives the same seed another value the second time."""
        reference = self._reference
        assert reference is not None  # or no chunk would have been sent
        place = (reference.entry_id, reference.trial, reference.start)
        known = self._is_by_chance is not None
        if known or (task.entry_id, task.trial, task.chunk.start) != place:
            return
        self._is_by_chance = False
        first = self._answers.get(_named(result))
        # A vectorized loss may give other last bits when it is called for more seeds.
        if first is None or result.losses is None:
            return
        again = float(result.losses[0])
        if not math.isclose(again, first, **_ROUNDING):
            self._is_by_chance, self._error = True, None
            self._note(
                f"the loss is not a function of params and seed: for seed {reference.seed} it "
                f"gave {first!r} and then {again!r} on one worker, so the run can't be repeated. "
                "Draw all random numbers from a generator that is made from the seed"
            )


def _named(result: ChunkResult) -> str:
    job = "" if result.job_id is None else f", job {result.job_id}"
    return f"worker {result.worker}{job}"


def _serve(loss: LossDefinition, connection: Connection, folder: Path) -> None:
    """Evaluate one seed, in the fork; never returns."""
    try:
        _leave_the_driver_alone()
        connection.send(_evaluated(loss, connection.recv(), folder))
        signal.pause()  # it is killed when nobody needs it any more
    finally:
        os._exit(0)  # no exit handler of the driver is to run twice


def _leave_the_driver_alone() -> None:
    if sys.platform == "linux":  # else it would outlive a killed driver until the loss ends
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setpgid(0, 0)  # Ctrl-C is for the driver
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    null = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until it ends
    for stream in (1, 2):  # the workers' prints are shown
        os.dup2(null.fileno(), stream)
    sys.stdout = sys.stderr = null  # a notebook's lead elsewhere


def _evaluated(loss: LossDefinition, reference: Reference, folder: Path) -> float | str:
    items = {"entry_id": reference.entry_id, "trial_number": reference.trial}
    context = Context(items, TrialDir(folder / "trial", folder))
    block = evaluate_block(loss, reference.params, reference.chunk, context)
    if block.losses is None:
        assert block.failure is not None  # or there were losses
        return f"{block.failure.exception_type}: {block.failure.message}"
    return float(block.losses[0])
