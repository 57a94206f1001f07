"""A loss as it travels to a worker or to a child process."""

import contextlib
import contextvars
import hashlib
import importlib
import pickle
import sys
from pathlib import Path
from typing import Any

import attrs

from seedwise.errors import ForeignCodeError, LossTransportError
from seedwise.model.loss import LossDefinition, registered_losses
from seedwise.usercode.code import Code
from seedwise.usercode.importing import find_loss, has_imported, hold, release, senders

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
    #: The call that sent it; workers may live in its process, with the modules as they are.
    sender: str = ""

    @property
    def id(self) -> str:
        """What tells this loss and its code from any other: 16 hex digits."""
        parts = (self.name, self.code.id, self.module, self.variable, self.digest)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def context(self) -> contextvars.Context:
        """Return the context to load the loss in, and to evaluate it in."""
        return senders.get(self.sender, contextvars.copy_context()).copy()

    def load(self, *, as_imported: bool = False) -> LossDefinition:
        """Return the loss, on the worker; `as_imported` keeps modules of the same files."""
        if self.python not in (None, sys.version_info[:2]):
            raise LossTransportError.from_other_python(self.name, self.python)
        if self.sender in senders:
            return self._loaded()
        with contextlib.redirect_stdout(sys.stderr):  # the results on stdout are not the script's
            try:
                hold(self.code)
            except ForeignCodeError:
                if not (as_imported and has_imported(self.code)):
                    raise
            try:
                return self._loaded()
            except BaseException:
                self.release()
                raise

    def release(self) -> None:
        """Leave the process, which does not need the loss any more, as it was before `load`."""
        if self.sender not in senders:
            release(self.code)

    def _loaded(self) -> LossDefinition:
        if self.module is not None:
            importlib.import_module(self.module)
        if self.digest:
            loss: LossDefinition = self._unpickled()
            return loss
        if self.variable is not None:
            return find_loss(str(self.module), self.variable)
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

    def _unpickled(self) -> Any:
        if self.pickled is not None:
            return pickle.loads(self.pickled)
        path, problem = Path(self.code.folder) / PICKLE, "it has changed since the run began"
        try:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() == self.digest:
                    file.seek(0)
                    return pickle.load(file)
        except OSError as error:
            problem = str(error.strerror)
        raise LossTransportError.unreadable(self.name, path, problem)
