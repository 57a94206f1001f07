"""What the workers' loss of one seed is compared with: the driver's own, and the recorded one."""

import contextlib
import ctypes
import os
import pickle
import signal
import sys
import tempfile
import warnings
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

import attrs

from seedwise.dispatch.self_check import Answer, Record
from seedwise.driver.run import Run
from seedwise.model.loss import LossDefinition
from seedwise.worker.block import Context, TrialDir, evaluate_block
from seedwise.worker.chunk import Reference

_PR_SET_PDEATHSIG = 1


class ForkedWitness:
    """A fork of this process that evaluates one seed, with all that the process has by now.

    Whatever the loss does there, the driver goes on: it may crash, take all memory or never end.
    """

    def __init__(self, loss: LossDefinition) -> None:
        self._connection, theirs = Pipe()
        self._answer: Answer | None = None
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

    def answer(self) -> Answer | None:
        """Return what came of it; None while it goes on."""
        if self._answer is None and self._connection.poll():
            try:
                self._answer = self._connection.recv()
            except (EOFError, OSError, pickle.UnpicklingError):
                self._answer = Answer(None, "its process died")
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


def record_of(run: Run) -> Record | None:
    """Return what a run has on record of its first seed; None if there is nothing."""
    content = run.directory.home.reference.read()
    if "reference" not in content:
        return None
    return Record(Reference(**content["reference"]), content["loss"])


def keep_record(run: Run, record: Record) -> None:
    """Write what a run is to have on record."""
    run.guard()
    run.directory.home.reference.write(attrs.asdict(record))


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


def _evaluated(loss: LossDefinition, reference: Reference, folder: Path) -> Answer:
    items = {"entry_id": reference.entry_id, "trial_number": reference.trial}
    context = Context(items, TrialDir(folder / "trial", folder))
    block = evaluate_block(loss, reference.params, reference.chunk, context)
    if block.losses is None:
        assert block.failure is not None  # or there were losses
        return Answer(None, f"{block.failure.exception_type}: {block.failure.message}")
    return Answer(float(block.losses[0]))
