"""A loss as it is packed, travels to a worker or to a child process, and is loaded there."""

import contextlib
import contextvars
import dis
import hashlib
import importlib
import inspect
import pickle
import sys
import uuid
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import CodeType
from typing import Any

import attrs

from seedwise.errors import ForeignCodeError, LossTransportError, OptionError
from seedwise.model.loss import LossDefinition, registered_losses
from seedwise.model.options.work import WorkOptions
from seedwise.usercode.code import SCRIPT, Code
from seedwise.usercode.find import argv_of
from seedwise.usercode.importing import find_loss, has_imported, hold, release, senders
from seedwise.usercode.pickling import dumps, is_importable, name_of
from seedwise.usercode.snapshot import take_snapshot

#: The file of a pickle in the folder of the code.
PICKLE = "loss.pickle"


# What is larger is read from the run's folder and does not go through Dask.
_LARGEST_MESSAGE_B = 2 * 1024**2
_LARGE_B = 10 * 1024**2

_LOSS_MODULE = "_seedwise_loss_module"


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
        """Return the loss, on the worker.

        `as_imported` takes modules as they are if this process has imported the same files.
        """
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


@attrs.frozen
class Packed:
    """A loss, packed, and the files that the run's folder is to keep."""

    shipment: Shipment
    #: The content of the snapshot's files, by their paths in it.
    files: Mapping[str, bytes] = attrs.field(repr=False)
    #: What goes by value and how large it is, in words; None if nothing does.
    by_value: str | None = None


def pack(loss: LossDefinition, options: WorkOptions) -> Packed:
    """Pack a loss: by its name if an import makes it, else by value; and the user's code."""
    sender = uuid.uuid4().hex
    senders[sender] = contextvars.copy_context()
    module, also = _loss_module(options.loss_module)
    home = str(getattr(loss.function, "__module__", None))
    argv = argv_of(loss) if options.forward_sys_argv_to_workers else None
    code, files = take_snapshot(argv, {**dict.fromkeys([home, *_imported(loss)]), **also})
    variable: str | None = None
    if module is None and (by_name := name_of(loss, code.sources.get)) is not None:
        module, variable = by_name
    shipment = Shipment(loss.name, code, module, variable, sender=sender)
    if module is not None:
        return Packed(shipment, files)
    try:
        pickled = dumps(loss, code.sources.get)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        raise LossTransportError.not_picklable(loss.name, problem) from error
    if len(pickled) > _LARGE_B:
        warnings.warn(
            f"loss {loss.name!r} takes {len(pickled) / 1e6:.0f} MB with it to each worker, as it "
            "is defined inside a function, in a notebook or under the main guard and holds data. "
            "Define it, and load the data, at the top of a .py file: then each worker loads them "
            "once, as the script does.",
            stacklevel=2,
        )
    is_small = len(pickled) <= _LARGEST_MESSAGE_B
    shipment = attrs.evolve(
        shipment,
        # What the import of the module around it does counts, too.
        module=home if home != SCRIPT and home in code.modules else None,
        digest=hashlib.sha256(pickled).hexdigest(),
        pickled=pickled if is_small else None,
        python=sys.version_info[:2],
    )
    name = getattr(loss.function, "__qualname__", repr(loss.function))
    words = f"the loss, {name}, with what it captures: {len(pickled) / 1e6:.3g} MB"
    return Packed(shipment, files if is_small else {**files, PICKLE: pickled}, words)


def _loss_module(module: str | None) -> tuple[str | None, Mapping[str, Path | None]]:
    """Return the module to import, and where it is to be loaded from: None is as usual."""
    if module is None or module == SCRIPT:
        return None, {}
    if module.endswith(".py"):
        path = Path(module).expanduser().absolute()
        if path.is_file():
            return _LOSS_MODULE, {_LOSS_MODULE: path}
    elif is_importable(module):
        return module, {module: None}
    raise OptionError("loss_module", module, "a module or .py file that can be imported")


def _imported(loss: LossDefinition) -> list[str]:
    """Return what a loss imports when it is called, which may have no source that says so."""
    code = getattr(inspect.unwrap(loss.function), "__code__", None)
    codes = [] if code is None else [code]
    for piece in codes:
        codes += [const for const in piece.co_consts if isinstance(const, CodeType)]
    steps = (step for piece in codes for step in dis.get_instructions(piece))
    return [step.argval for step in steps if step.opname == "IMPORT_NAME"]
