"""A loss as it travels to a worker or to a child process."""

from __future__ import annotations

import contextlib
import contextvars
import hashlib
import importlib
import pickle
import sys
from pathlib import Path

import attrs

from seedwise.errors import LossTransportError
from seedwise.model.loss import LossDefinition, registered_losses
from seedwise.usercode.code import Code
from seedwise.usercode.importing import (
    PROCESS,
    drivers_context,
    find_loss,
    has_already,
    hold,
    may_hold,
    release,
)

#: The file of a pickle in the folder of the code.
PICKLE = "loss.pickle"


@attrs.frozen
class Shipment:
    """A loss on its way: the code that it is in, and its name there, or the loss by value."""

    name: str
    code: Code
    #: A module to import first; None if there is none.
    module: str | None
    #: The name of the loss in the module; None if it goes by value, or if the import of the module
    #: makes it in some way or other.
    variable: str | None
    #: SHA-256 of the pickle of a loss that goes by value; empty of any other.
    digest: str = ""
    #: The pickle; None if it is so large that it is read from the folder of the code.
    pickled: bytes | None = attrs.field(default=None, repr=False)
    #: The version of Python that wrote the pickle: no other can read it.
    python: tuple[int, int] | None = None
    #: The driver's process; its own workers may live there, with the modules as they are.
    process: str = ""

    @property
    def id(self) -> str:
        """What tells this loss and its code from any other: 16 hex digits."""
        parts = (self.name, self.code.id, self.module, self.variable, self.digest)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def fits_here(self) -> bool:
        """Tell whether the loss may be loaded in this process."""
        return self.process == PROCESS or may_hold(self.code)

    def context(self) -> contextvars.Context:
        """Return the context to load the loss in, and to evaluate it in."""
        return drivers_context() if self.process == PROCESS else contextvars.copy_context()

    def load(self) -> LossDefinition:
        """Return the loss, on the worker.

        Raises ImportError if the module does not define a loss of this name, LossTransportError if
        its pickle can't be read by this version of Python, or is not to be found, and
        ForeignCodeError if this process holds other code.
        """
        if self.python not in (None, sys.version_info[:2]):
            raise LossTransportError.from_other_python(self.name, self.python)
        if self.process == PROCESS or has_already(self.code):
            return self._loaded()
        with contextlib.redirect_stdout(sys.stderr):  # the results on stdout are not the script's
            hold(self.code)
            return self._loaded()

    def release(self) -> None:
        """Leave the process, which does not need the loss any more, as it was before `load`."""
        if self.process != PROCESS:
            release(self.code)

    def _loaded(self) -> LossDefinition:
        if self.module is not None:
            importlib.import_module(self.module)
        if self.digest:
            return self._unpickled()
        if self.module is not None and self.variable is not None:
            return find_loss(self.module, self.variable)
        return self._registered()

    def _registered(self) -> LossDefinition:
        losses = registered_losses()
        if self.name not in losses:
            msg = (
                f"importing {self.module!r} defined no loss {self.name!r}, but "
                f"{sorted(losses) or 'none at all'}; sys.argv was {sys.argv!r}. @loss must run "
                "when the module is imported, so not under the main guard. If the name depends "
                "on sys.argv, leave forward_sys_argv_to_workers=True."
            )
            raise ImportError(msg)
        return losses[self.name]

    def _unpickled(self) -> LossDefinition:
        loss: LossDefinition
        if self.pickled is not None:
            loss = pickle.loads(self.pickled)
            return loss
        path = Path(self.code.folder) / PICKLE
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                if digest == self.digest:
                    loss = pickle.load(file)
                    return loss
                problem = "it has changed since the run began"
        except OSError as error:
            problem = str(error.strerror)
        raise LossTransportError.unreadable(self.name, path, problem)
