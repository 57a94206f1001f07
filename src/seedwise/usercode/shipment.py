"""A loss on its way to a worker or to a process of its own."""

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
    """A loss on its way: either its pickle, or the module in which it is found by name."""

    #: The loss's name.
    name: str
    #: The loss, pickled by value.
    pickled: bytes | None
    #: Module, or path of a .py file, to import instead.
    module: str | None
    #: ``sys.argv`` while it is loaded; None leaves the worker's own.
    argv: tuple[str, ...] | None
    #: Further entries for ``sys.path``, for what the loss imports when it is called.
    path: tuple[str, ...]

    def load(self) -> LossDefinition:
        """Return the loss, on the worker.

        Raises
        ------
        ImportError
            If the module does not define a loss of this name.
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
                "when the module is imported, and not under the main guard; if the name depends "
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
        raise ImportError(f"loss_module={module!r}: no such Python file")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
