"""Errors about the arguments of a call, the loss first of all."""

import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from seedwise.errors.advice import remedy
from seedwise.errors.base import SeedwiseError, shown


class CheckFailedError(SeedwiseError, RuntimeError):
    """Raised when the loss failed on the one seed that is evaluated before a run.

    Attributes
    ----------
    loss_name, params : str, dict
        The loss's name, and the params that were tried; empty if unknown.
    seed : int or None
        The seed that failed; None if no single seed is to blame, as when the loss can't be loaded.
    exception_type, traceback : str
        The exception that the loss raised on the worker, and its traceback, as text.
    log_tail : str
        The end of the job's log; empty if it has nothing to add.
    """

    def __init__(
        self,
        loss_name: str,
        params: Mapping[str, object],
        seed: int | None,
        exception_type: str,
        traceback: str,
        log_tail: str = "",
    ) -> None:
        self.loss_name, self.params, self.seed = loss_name, dict(params), seed
        self.exception_type, self.traceback, self.log_tail = exception_type, traceback, log_tail
        where = "the worker" if seed is None else f"seed {seed}"
        with_params = f", with params {self.params!r}" if self.params else ""
        log = f"The job's log ends with:\n\n{log_tail}\n\n" if log_tail else ""
        found = remedy(f"{exception_type}: {traceback}")
        advice = f"{found[0]}." if found else _CHECK_ADVICE.get(exception_type, _REPEAT)
        super().__init__(
            f"loss {loss_name!r} failed on {where}{with_params}:\n\n{traceback.rstrip()}\n\n{log}"
            f"{advice} Nothing was begun, and the check left nothing behind."
        )


#: What is wrong with a loss that is NaN or infinite.
NOT_FINITE = "not finite"

_MISSING = (
    "The Python of the workers must be able to import what the loss imports: see "
    "SlurmOptions(python=..., prologue=...)."
)
_REPEAT = "To see it happen here, call the loss with these params and this seed."
_CHECK_ADVICE = {
    "ImportError": _MISSING,
    "ModuleNotFoundError": _MISSING,
    "ChunkTooLongError": "Use a longer worker_time_limit.",
}


class LossDefinitionError(SeedwiseError, ValueError):
    """Raised when ``@loss`` lacks its name, description or space; `missing` is a tuple of them."""

    def __init__(self, missing: Sequence[str]) -> None:
        self.missing = tuple(missing)
        super().__init__(
            f"@loss lacks {', '.join(missing)}. Give all three, for example "
            "@loss(name='my_loss', description='what it measures', "
            "parameter_space={'x': (0.0, 1.0)})."
        )


class LossSignatureError(SeedwiseError, TypeError):
    """Raised when a loss can't be called as it will be; `signature` is that of its function."""

    def __init__(
        self,
        function: str,
        signature: str,
        vectorized: bool,
        problem: str = "can't be called",
        hint: str = "",
    ) -> None:
        self.signature = signature
        seed, end = "seeds" if vectorized else "seed", f" {hint}" if hint else ""
        super().__init__(
            f"loss {function}{signature} {problem}: it must take (params, {seed}), "
            f"(params, {seed}, context) or (params, {seed}, *, context).{end}"
        )


class LossNotFoundError(SeedwiseError, LookupError):
    """Raised when a file or module does not hold the loss that is looked for.

    Attributes
    ----------
    target, losses : str, tuple of str
        What was given, such as ``fit.py:walk``, and the names of the losses that are there.
    traceback : str or None
        Why the file or module can't be imported; None if it can be.
    """

    def __init__(
        self,
        target: str,
        problem: str,
        *,
        losses: Sequence[str] = (),
        traceback: str | None = None,
    ) -> None:
        self.target, self.losses, self.traceback = target, tuple(losses), traceback
        end = "." if traceback is None else f":\n\n{traceback.rstrip()}"
        super().__init__(f"{target}: {problem}{'' if problem.endswith(':') else end}")


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
    value, problem : object, str
        What it returned, or the part of it that is wrong, and what is wrong with it.
    """

    def __init__(self, value: object, problem: str) -> None:
        self.value, self.problem = value, problem
        super().__init__(
            f"the loss returned {shown(value)}: {problem}. Return a finite number, a "
            "dict of numbers, {'total_loss': x, 'components': {...}}, or a list of one of these "
            "forms; a vectorized loss returns an array with one finite number for each seed."
        )


class LossTransportError(SeedwiseError, TypeError):
    """Raised when the loss, or the code that it is in, can't reach the workers."""

    @classmethod
    def not_picklable(cls, loss: str, problem: str) -> Self:
        """Make the error of a loss that goes by value and can't be pickled."""
        return cls(
            f"loss {loss!r} can't be sent to workers: {problem}. It goes by value, as it is "
            "defined inside a function, in a notebook or under the main guard. Define it at the "
            "top of a .py file, or make open files, locks and clients inside the function."
        )

    @classmethod
    def unreadable(cls, loss: str, path: Path, problem: str) -> Self:
        """Make the error of a loss whose pickle a worker can't read."""
        return cls(
            f"loss {loss!r} can't be loaded on {platform.node()}: {path}: {problem}. It goes by "
            "value and is large, so workers read it from the run's folder. Define it at the top "
            "of a .py file, or give a run_root that all workers share."
        )

    @classmethod
    def from_other_python(cls, loss: str, sent_by: tuple[int, int]) -> Self:
        """Make the error of a loss by value that another version of Python has pickled."""
        theirs, ours = ".".join(map(str, sent_by)), ".".join(map(str, sys.version_info[:2]))
        return cls(
            f"loss {loss!r} was sent by value by Python {theirs}, and Python {ours} on "
            f"{platform.node()} can't read it. Use Python {theirs} there, or define the loss at "
            "the top of a .py file: any version can import that."
        )


class SelfCheckError(SeedwiseError, RuntimeError):
    """Raised when one seed has different losses where it is evaluated: the run does not begin.

    Attributes
    ----------
    seed, params : int, dict
        The seed and the parameters.
    values : dict of str to float
        The loss, by who evaluated it.
    """

    def __init__(self, seed: int, params: Mapping[str, object], values: Mapping[str, float]):
        self.seed, self.params, self.values = seed, dict(params), dict(values)
        super().__init__(
            f"seed {seed} has different losses, so no result could be trusted:{self._lines()}\n"
            f"with params {self.params!r}. Workers import your script, without what is below its "
            'main guard, so the usual cause is something set under if __name__ == "__main__":, '
            "in another cell or by hand, such as a global variable: set it at the top of the "
            "file. Others are a module that was edited after its import, other versions of a "
            "library, another machine, and random numbers that are not drawn from the seed. "
            "self_check=False (--no-self-check) leaves this check out."
        )

    def by_rounding(self) -> str:
        """Return what is to be said if the values may differ by rounding only."""
        return (
            f"seed {self.seed} differs a little, as models of CPU, threads of BLAS and float32 "
            f"may round differently; the run can't be repeated bit by bit:{self._lines()}"
        )

    def _lines(self) -> str:
        return "".join(f"\n  {value!r} on {who}" for who, value in self.values.items())


class SnapshotError(SeedwiseError, ValueError):
    """Raised when the user's own code seems too large to be copied; `folders` holds it."""

    def __init__(self, size: str, folders: list[str]) -> None:
        self.folders = folders
        super().__init__(
            f"the code to copy for the workers has {size}, in {', '.join(folders)}. What is "
            "not below Python's own library or a site-packages folder counts as your own code. "
            "Install what is not (pip install), or start from a folder with less in it."
        )


class ForeignCodeError(SeedwiseError, ImportError):
    """Raised when a process has imported other code than a run's; `modules` lists what it has."""

    def __init__(self, modules: list[str]) -> None:
        self.modules = modules
        held = ", ".join(modules) or "those of another run"
        super().__init__(
            f"this process has imported modules that the run has copies of ({held}), and one "
            "process can't hold both. Use a new process, such as the command seedwise replay."
        )


class TrialDirError(SeedwiseError, FileNotFoundError):
    """Raised when a loss asks for its folder on a machine that can't see the run's, `run_dir`."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        super().__init__(
            f"there is no context['trial_dir']: the run's folder {run_dir} is not on the disk of "
            f"this worker, {platform.node()}. run_root must be a folder that all workers share."
        )


class OptionError(SeedwiseError, ValueError):
    """Raised when a keyword has a value that is not allowed.

    Attributes
    ----------
    name, value, allowed : str, object, str
        The keyword, the value that was given, and in words what is allowed.
    """

    def __init__(self, name: str, value: object, allowed: str, hint: str = "") -> None:
        self.name, self.value, self.allowed = name, value, allowed
        super().__init__(f"{name}={value!r}: must be {allowed}.{' ' + hint if hint else ''}")


class UnknownOptionError(SeedwiseError, TypeError):
    """Raised when a keyword does not exist, or a value is given without its keyword.

    Attributes
    ----------
    name, known : str or None, tuple of str
        The keyword, which is None for a value without one, and the keywords that exist.
    """

    def __init__(self, name: str | None, known: Sequence[str], hint: str) -> None:
        self.name, self.known = name, tuple(known)
        what = "value without a keyword" if name is None else f"unknown keyword {name!r}"
        super().__init__(f"{what}: {hint}")


class SettingsFileError(SeedwiseError, ValueError):
    """Raised when a file of options can't be read, or has an option that is not allowed.

    Attributes
    ----------
    path, key, problem : pathlib.Path, str or None, str
        The file, the option, which is None where no single one is to blame, and what is wrong.
    """

    def __init__(self, path: Path, problem: str, key: str | None = None) -> None:
        self.path, self.key, self.problem = path, key, problem
        super().__init__(f"{path}: {problem}")


class SpaceError(SeedwiseError, ValueError):
    """Raised when a parameter's search range or list of values makes no sense.

    Attributes
    ----------
    parameter : str or None
        The parameter's name; None while `search_param` does not know it yet.
    problem : str
        What is wrong, and what is allowed.
    """

    def __init__(self, problem: str, parameter: str | None = None) -> None:
        self.parameter, self.problem = parameter, problem
        where = "search_param" if parameter is None else f"parameter {parameter!r}"
        super().__init__(f"{where}: {problem}")


class SourceError(SeedwiseError, ValueError):
    """Raised when a source of parameters, or its manifest, makes no sense.

    Attributes
    ----------
    parameter : str or None
        The parameter's name; None where no single parameter is to blame.
    problem : str
        What is wrong, and what is allowed.
    """

    def __init__(self, problem: str, parameter: str | None = None) -> None:
        self.parameter, self.problem = parameter, problem
        super().__init__(problem if parameter is None else f"parameter {parameter!r}: {problem}")


class CaseIndexError(SeedwiseError, IndexError):
    """Raised when a source has no case of this index.

    Attributes
    ----------
    index, n_cases : int
        The index that was asked for, and how many cases the source has.
    """

    def __init__(self, index: int, n_cases: int) -> None:
        self.index, self.n_cases = index, n_cases
        last = shown(n_cases - 1)
        super().__init__(f"there is no case {shown(index)}: the source's cases are 0 to {last}")


class MissingExtraError(SeedwiseError, ImportError):
    """Raised when the packages of an optional part are not installed. `extra` installs them."""

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(
            f"{what} needs packages that are not installed. "
            f"Install them with: pip install 'seedwise[{extra}]'"
        )


class NoFigureError(SeedwiseError, ValueError):
    """Raised when a result does not hold what a figure shows.

    Attributes
    ----------
    figure, problem : str, str
        The figure's name, and what the result lacks.
    """

    def __init__(self, figure: str, problem: str) -> None:
        self.figure, self.problem = figure, problem
        super().__init__(f"plot.{figure}(): {problem}")
