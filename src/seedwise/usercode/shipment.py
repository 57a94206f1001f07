"""A loss as it travels to a worker or to a child process."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from seedwise.model.loss import LossDefinition, registered_losses


@attrs.frozen
class Shipment:
    """A loss on its way: its pickle, or the module that defines it."""

    name: str
    #: The loss, by value; None if `module` is given.
    pickled: bytes | None
    #: A module, or the path of a .py file, to import; None if `pickled` is given.
    module: str | None
    #: ``sys.argv`` while the loss is loaded; None means the worker's own.
    argv: tuple[str, ...] | None
    #: More entries for ``sys.path``, for what the loss imports when it is called.
    path: tuple[str, ...]

    def load(self) -> LossDefinition:
        """Return the loss, on the worker.

        Raises ImportError if the module does not define a loss of this name.
        """
        sys.path.extend(entry for entry in self.path if entry not in sys.path)
        with _argv(self.argv):
            if self.pickled is not None:
                loss: LossDefinition = pickle.loads(self.pickled)
                return loss
            assert self.module is not None  # one of the two is given
            _import(self.module)
        losses = registered_losses()
        if self.name not in losses:
            msg = (
                f"importing {self.module!r} defined no loss {self.name!r}, but "
                f"{sorted(losses) or 'none at all'}; sys.argv was {self.argv!r}. @loss must run "
                "when the module is imported, so not under the main guard. If the name depends "
                "on sys.argv, leave forward_sys_argv_to_workers=True."
            )
            raise ImportError(msg)
        return losses[self.name]


@contextmanager
def _argv(argv: tuple[str, ...] | None) -> Iterator[None]:
    own = sys.argv
    if argv is not None:
        sys.argv = list(argv)
    try:
        yield
    finally:
        sys.argv = own


def _import(module: str) -> None:
    if not module.endswith(".py"):
        importlib.import_module(module)
        return
    spec = importlib.util.spec_from_file_location("_seedwise_loss_module", module)
    if spec is None or spec.loader is None:
        raise ImportError(f"loss_module={module!r} is not a Python file")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
