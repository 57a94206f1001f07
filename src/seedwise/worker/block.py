"""The evaluation of consecutive seeds: the only calls of the user's function, and its context."""

import re
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.errors import NOT_FINITE, LossValueError, TrialDirError
from seedwise.errors.base import users_traceback
from seedwise.model.loss import LossDefinition
from seedwise.model.seeds import Chunk
from seedwise.model.space import ParamValue
from seedwise.model.trials import SeedFailure
from seedwise.worker.returned import read_arrays, read_returned

# What Python says where a loss runs in a worker's thread: signal and asyncio; multiprocessing, on
# a Dask cluster that was passed.
_REFUSALS = ("main thread", "no current event loop in thread", "daemonic processes")
_REMEDY = (
    "The loss runs in a thread of its worker. With use_processes=True it runs in the main thread "
    "of a process, where this works.\n"
)

# What Python and NumPy say where a float is given and a whole number is needed.
_INTEGER_WANTED = re.compile(
    "interpreted as an integer|non-int of type|indices must be integers|only integers, slices|"
    "integer argument expected|sequence of integers|sequence or an integer|non-integer arg"
)


@attrs.frozen(eq=False)
class SeedBlock:
    """Losses of consecutive seeds with their components, or the first failure among them."""

    losses: NDArray[np.float64] | None
    failure: SeedFailure | None
    components: Mapping[str, NDArray[np.float64]] = attrs.field(factory=dict)


def joined(blocks: Sequence[SeedBlock]) -> SeedBlock:
    """Join blocks that follow one another; the first failure among them is that of all."""
    parts = [(block.losses, block.components) for block in blocks if block.losses is not None]
    if len(parts) < len(blocks):
        return next(block for block in blocks if block.failure is not None)
    components = {
        name: np.concatenate([own.get(name, np.full(len(part), np.nan)) for part, own in parts])
        for name in dict.fromkeys(name for _, own in parts for name in own)
    }
    return SeedBlock(np.concatenate([losses for losses, _ in parts]), None, components)


def evaluate_block(
    loss: LossDefinition,
    params: Mapping[str, ParamValue],
    chunk: Chunk,
    context: dict[str, Any],
    note: Callable[[int], None] = lambda _: None,
) -> SeedBlock:
    """Evaluate seeds, up to the first that fails: that is data, not an exception.

    `note` gets the offset of each seed before it is evaluated, but not of a vectorized loss.
    """
    if loss.vectorized:
        return _evaluate_vectorized(loss, params, chunk, context)
    losses = np.empty(len(chunk.seeds), dtype=np.float64)
    components: dict[str, NDArray[np.float64]] = {}
    for offset, seed in enumerate(chunk.seeds.tolist()):
        note(offset)
        try:
            losses[offset], parts = read_returned(loss.evaluate(params, seed, context))
        except BaseException as error:  # also a SystemExit: we take no orders from a loss
            failure = failure_from(error, chunk.start + offset, seed)
            return SeedBlock(None, _with_remark(failure, loss, params))
        for name, part in parts.items():
            if name not in components:
                components[name] = np.full(len(losses), np.nan)
            components[name][offset] = part
    return SeedBlock(losses, None, components)


def _with_remark(
    failure: SeedFailure, loss: LossDefinition, params: Mapping[str, ParamValue]
) -> SeedFailure:
    """Say how to search whole numbers if the loss failed because it got a float."""
    floats = {
        name: tuple(map(int, param.range))
        for name, param in loss.parameter_space.items()
        if param.dtype == "float"
        and param.range is not None
        and all(bound.is_integer() for bound in param.range)
        and isinstance(params.get(name), float)
    }
    if not floats or not _INTEGER_WANTED.search(failure.message):
        return failure
    name, bounds = next(iter(floats.items()))
    remark = (
        f"A tuple (low, high) is a range of floats, so the loss gets floats for "
        f"{', '.join(map(repr, floats))}. For whole numbers write {name!r}: "
        f"search_param(range={bounds}, dtype='int').\n"
    )
    return attrs.evolve(failure, traceback=failure.traceback + remark)


def failure_from(error: BaseException, position: int, seed: int | None) -> SeedFailure:
    """Turn an exception into data, with its traceback from the user's function on."""
    try:
        message = str(error).strip().partition("\n")[0]
    except Exception:
        message = "the exception has no text: its __str__ failed"
    text = "".join(users_traceback(error).format())
    messages = [line for line in text.splitlines() if not line.startswith(" ")]  # causes', too
    in_thread = threading.current_thread() is not threading.main_thread()
    text += _REMEDY if in_thread and any(map(needs_main_thread, messages)) else ""
    return SeedFailure(position, seed, type(error).__name__, message, text)


def needs_main_thread(message: str) -> bool:
    """Tell whether Python refuses something because it is done in a thread."""
    return any(words in message for words in _REFUSALS)


def _evaluate_vectorized(
    loss: LossDefinition, params: Mapping[str, ParamValue], chunk: Chunk, context: dict[str, Any]
) -> SeedBlock:
    blocks: list[SeedBlock] = []
    size = chunk.batch or len(chunk.seeds)
    for first in range(0, len(chunk.seeds), size):
        seeds, start = chunk.seeds[first : first + size], chunk.start + first
        try:
            returned = loss.evaluate(params, seeds.copy(), context)
            losses, components = read_arrays(returned, len(seeds))
        except BaseException as error:
            return SeedBlock(None, _with_remark(failure_from(error, start, None), loss, params))
        for at in np.flatnonzero(~np.isfinite(losses)).tolist():
            unfit = LossValueError(float(losses[at]), NOT_FINITE)
            return SeedBlock(None, failure_from(unfit, start + at, int(seeds[at])))
        blocks.append(SeedBlock(losses, None, components))
    return joined(blocks)


@attrs.frozen
class TrialDir:
    """A folder for the files of a loss; it is made when the loss asks for it."""

    #: Absolute.
    path: Path
    #: An ancestor, never made: where it is missing, it lies on the disk of another machine.
    run_dir: Path

    def make(self) -> Path:
        """Return the folder, and make it if it is missing; new folders have mode 0700."""
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
        except FileNotFoundError:
            if self.path.parent == self.run_dir:
                raise TrialDirError(self.run_dir) from None
            attrs.evolve(self, path=self.path.parent).make()
            self.path.mkdir(mode=0o700, exist_ok=True)
        return self.path


class Context(dict[str, Any]):
    """The context of a trial: a dict that answers to ``trial_dir`` without holding it.

    If there is a folder, ``in``, ``[]`` and `get` know the key, and the latter two make it.
    Iterating, printing, copying or pickling makes no folder and shows no ``trial_dir``.
    """

    __slots__ = ("folder",)

    def __init__(self, items: Mapping[str, Any], folder: TrialDir | None) -> None:
        super().__init__(items)
        self.folder = folder

    def __missing__(self, key: str) -> Path:
        """Make and return the folder for ``trial_dir``."""
        if key == "trial_dir" and self.folder is not None:
            return self.folder.make()
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        """Tell whether ``[]`` knows the key."""
        return super().__contains__(key) or (key == "trial_dir" and self.folder is not None)

    def get(self, key: str, default: Any = None) -> Any:
        """Return what ``[]`` does, or the default if there is no such key."""
        try:
            return self[key]
        except KeyError:
            return default

    def copy(self) -> "Context":
        """Return a copy with the same folder."""
        return Context(self, self.folder)


@contextmanager
def passing_context(items: Mapping[str, Any]) -> Iterator[Context]:
    """Make a context whose folder is removed in the end, for an evaluation that does not count."""
    root = Path(tempfile.gettempdir())
    folder = root / f"seedwise-{secrets.token_hex(8)}"  # it is made if the loss asks for it
    try:
        yield Context(items, TrialDir(folder, root))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
