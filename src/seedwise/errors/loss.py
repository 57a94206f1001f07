"""Errors about a loss."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

from seedwise.errors.base import SeedwiseError, shown

__all__ = [
    "LossDefinitionError",
    "LossSignatureError",
    "LossTransportError",
    "LossValueError",
    "NotALossError",
    "TrialDirError",
]


class LossDefinitionError(SeedwiseError, ValueError):
    """Raised when ``@loss`` lacks its name, description or parameter space.

    Attributes
    ----------
    missing : tuple of str
        The fields that are missing or empty.
    """

    def __init__(self, missing: Sequence[str]) -> None:
        self.missing = tuple(missing)
        super().__init__(
            f"@loss lacks {', '.join(missing)}. Give all three, for example "
            "@loss(name='my_loss', description='what it measures', "
            "parameter_space={'x': (0.0, 1.0)})."
        )


class LossSignatureError(SeedwiseError, TypeError):
    """Raised when a loss does not take the arguments that it will be called with.

    Attributes
    ----------
    signature : str
        The signature of the function, as Python prints it.
    """

    def __init__(self, function: str, signature: str, vectorized: bool) -> None:
        self.signature = signature
        seed = "seeds" if vectorized else "seed"
        super().__init__(
            f"loss {function}{signature} can't be called: it must take (params, {seed}), "
            f"(params, {seed}, context) or (params, {seed}, *, context)."
        )


class NotALossError(SeedwiseError, TypeError):
    """Raised when what is to be optimised is not a loss. `value` is what was given."""

    def __init__(self, value: object) -> None:
        self.value = value
        super().__init__(
            f"{shown(value)} is not a loss. Decorate the function with "
            "@seedwise.loss(name=..., description=..., parameter_space={...})."
        )


class LossValueError(SeedwiseError, ValueError):
    """Raised when a loss returns something that is not a loss.

    Attributes
    ----------
    value : object
        What was returned.
    """

    def __init__(self, value: object, problem: str) -> None:
        self.value = value
        super().__init__(
            f"the loss returned {shown(value)}: {problem}. Return a finite number, a "
            "dict of numbers, {'total_loss': x, 'components': {...}}, or a list of these; a "
            "vectorized loss returns an array with one finite number for each seed."
        )


class LossTransportError(SeedwiseError, TypeError):
    """Raised when the loss can't be pickled, so that no worker can get it."""

    def __init__(self, loss: str, problem: str) -> None:
        super().__init__(
            f"loss {loss!r} can't be sent to workers: {problem}. What it refers to must be "
            "picklable: make open files, locks and clients inside the function."
        )


class TrialDirError(SeedwiseError, FileNotFoundError):
    """Raised when a loss asks for its folder where the run's folder is not.

    Attributes
    ----------
    run_dir : pathlib.Path
        The run's folder.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        super().__init__(
            f"there is no context['trial_dir']: the run's folder {run_dir} is not on the disk of "
            f"this worker, {platform.node()}. run_root must be a folder that all workers share."
        )
