"""The packing of a loss for its way to the workers."""

import contextvars
import hashlib
import inspect
import sys
import uuid
import warnings
from collections.abc import Mapping
from pathlib import Path

import attrs

from seedwise.errors import LossTransportError, OptionError
from seedwise.model.loss import LossDefinition
from seedwise.model.options.work import WorkOptions
from seedwise.usercode.code import SCRIPT, take_snapshot
from seedwise.usercode.find import argv_of
from seedwise.usercode.fingerprint import code_steps
from seedwise.usercode.importing import senders
from seedwise.usercode.pickling import dumps, is_importable, name_of
from seedwise.usercode.shipment import PICKLE, Shipment

# What is larger is read from the run's folder and does not go through Dask.
_LARGEST_MESSAGE_B = 2 * 1024**2
_LARGE_B = 10 * 1024**2

_LOSS_MODULE = "_seedwise_loss_module"


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
    # What it imports when it is called may have no source that says so.
    own = getattr(inspect.unwrap(loss.function), "__code__", None)
    names = [name for step, name in code_steps(own) if step == "IMPORT_NAME"] if own else []
    code, files = take_snapshot(argv, {**dict.fromkeys([home, *names]), **also})
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
