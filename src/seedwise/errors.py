"""Every error that seedwise raises, in one tree.

The data is on the object, the sentence is made here: what was wrong (the value), what is
allowed, what to do. Each class has :class:`SeedwiseError` and the fitting builtin as parents,
so that ``except ValueError`` works as well as ``except SeedwiseError``.
Imports nothing of seedwise.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = [
    "AddressError",
    "ClusterError",
    "ClusterStartError",
    "LossDefinitionError",
    "LossFailedError",
    "LossSignatureError",
    "LossTransportError",
    "LossValueError",
    "MainGuardError",
    "MissingExtraError",
    "NoCompleteTrialError",
    "NotALossError",
    "OptionError",
    "RunExistsError",
    "SeedwiseError",
    "SlurmNotFoundError",
    "SpaceError",
    "StudyFileError",
    "SubmitRefusedError",
    "UnknownOptionError",
]


def _rebuild(cls: type[SeedwiseError], args: tuple[Any, ...], data: dict[str, Any]) -> Any:
    # An OSError makes its object by itself, and lets no other class do that for it.
    new = OSError.__new__ if issubclass(cls, OSError) else Exception.__new__
    error = new(cls, *args)
    error.args = args
    error.__dict__.update(data)
    return error


class SeedwiseError(Exception):
    """Base class of every error that seedwise raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by data: subclasses take their data, not their sentence, as arguments."""
        return _rebuild, (type(self), self.args, self.__dict__)


class OptionError(SeedwiseError, ValueError):
    """Raised when a keyword has a value that is not allowed.

    Attributes
    ----------
    name : str
        The keyword.
    value : object
        What was given.
    allowed : str
        What is allowed, in words.
    """

    def __init__(self, name: str, value: object, allowed: str, hint: str = "") -> None:
        self.name = name
        self.value = value
        self.allowed = allowed
        super().__init__(f"{name}={value!r}: must be {allowed}.{' ' + hint if hint else ''}")


class UnknownOptionError(SeedwiseError, TypeError):
    """Raised when there is no such keyword.

    Attributes
    ----------
    name : str
        The keyword.
    known : tuple of str
        The keywords that there are.
    """

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        self.known = tuple(known)
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}."
        super().__init__(f"unknown keyword {name!r}: {hint}")


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
        self.parameter = parameter
        self.problem = problem
        where = "search_param" if parameter is None else f"parameter {parameter!r}"
        super().__init__(f"{where}: {problem}")


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
            f"{_shown(value)} is not a loss. Decorate the function with "
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
            f"the loss returned {_shown(value)}: {problem}. Return a finite number, a "
            "dict of numbers, {'total_loss': x, 'components': {...}}, or a list of these; a "
            "vectorized loss returns an array with one finite number for each seed."
        )


class LossFailedError(SeedwiseError, RuntimeError):
    """Raised when the loss failed on a seed and the run was told to stop at that.

    Attributes
    ----------
    trial : int
        The trial's number.
    seed : int or None
        The first seed that failed, in the order of the seed plan; None if none alone is to blame.
    chunk_start : int
        First seed of the chunk that failed.
    params : dict
        The parameters of the trial.
    exception_type, traceback : str
        The exception that the loss raised on the worker, and its traceback, as text.
    """

    def __init__(
        self,
        trial: int,
        seed: int | None,
        chunk_start: int,
        params: Mapping[str, object],
        exception_type: str,
        traceback: str,
    ) -> None:
        self.trial = trial
        self.seed = seed
        self.chunk_start = chunk_start
        self.params = dict(params)
        self.exception_type = exception_type
        self.traceback = traceback
        where = (
            f"the chunk that begins with seed {chunk_start}" if seed is None else f"seed {seed}"
        )
        advice = _ADVICE.get(exception_type, "Call the loss with these params and seed to see it.")
        super().__init__(
            f"the loss failed in trial {trial}, {where}, with params {self.params!r}:\n\n"
            f"{traceback.rstrip()}\n\n{advice} With fail_on_chunk_error=False the run goes on "
            "without such trials."
        )


_ADVICE = {
    "KilledWorker": (
        "Each worker that evaluated it died: of a crash in compiled code, of os._exit, or of more "
        "memory than it may have (mem_per_cpu on Slurm)."
    ),
    "TrialTimeout": "Raise slurm_timeout_minutes if the loss may take that long.",
}


class NoCompleteTrialError(SeedwiseError, ValueError):
    """Raised at the end of a run in which no trial was completed, so that there is no best.

    Attributes
    ----------
    run_dir : pathlib.Path
        The run's folder.
    n_failed : int
        How many trials failed.
    """

    def __init__(self, run_dir: Path, n_failed: int, example: str | None) -> None:
        self.run_dir = run_dir
        self.n_failed = n_failed
        if n_failed:
            problem = f"all {n_failed} trials failed, the first with: {example}"
        else:
            problem = "none was asked for before the timeout"
        super().__init__(f"no trial was completed: {problem}. The run's folder is {run_dir}.")


class RunExistsError(SeedwiseError, FileExistsError):
    """Raised when the folder of a new run holds a run already. `run_dir` is the folder."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        super().__init__(
            f"{run_dir} exists already, and a run is never overwritten. Give another run_name, "
            "or none for the next free number."
        )


class MissingExtraError(SeedwiseError, ImportError):
    """Raised when an optional part is used whose packages are not installed.

    `extra` installs them.
    """

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(
            f"{what} needs packages that are not installed. "
            f"Install them with: pip install 'seedwise[{extra}]'"
        )


class LossTransportError(SeedwiseError, TypeError):
    """Raised when the loss can't be pickled, so that no worker can get it."""

    def __init__(self, loss: str, problem: str) -> None:
        super().__init__(
            f"loss {loss!r} can't be sent to workers: {problem}. What it refers to must be "
            "picklable: make open files, locks and clients inside the function."
        )


class ClusterError(SeedwiseError, RuntimeError):
    """Base class of errors about the place where the work runs."""


class ClusterStartError(ClusterError):
    """Raised when the place where the work is to run does not start."""

    def __init__(self, what: str, problem: str) -> None:
        super().__init__(f"{what} did not start: {problem}")


class MainGuardError(ClusterError):
    """Raised when a script starts local workers without ``if __name__ == "__main__":``.

    Attributes
    ----------
    script, line : str, int
        The script's path, and the line of the unguarded call.
    """

    def __init__(self, script: str, line: int) -> None:
        self.script = script
        self.line = line
        super().__init__(
            f"{script}, line {line}: local workers import this script when they start, and would "
            "make this very call again. Put it under the main guard:\n\n"
            '    if __name__ == "__main__":\n'
            "        result = optimize_run(...)\n"
        )


class AddressError(ClusterError, ConnectionError):
    """Raised when no Dask scheduler answers at the address that was given.

    `address` is what was given.
    """

    def __init__(self, address: str, problem: str) -> None:
        self.address = address
        super().__init__(
            f"cluster={address!r}: no Dask scheduler answers there ({problem}). Give an address "
            "such as 'tcp://host:8786' of a running one, or 'local' or 'slurm' to start one."
        )


class SlurmNotFoundError(ClusterError, FileNotFoundError):
    """Raised when Slurm is asked for on a machine that has no ``sbatch``."""

    def __init__(self, command: str) -> None:
        super().__init__(
            f"cluster='slurm': there is no {command} on this machine's PATH. Run on a login node "
            "of the cluster, load its Slurm module, or use cluster='local'."
        )


class SubmitRefusedError(ClusterError):
    """Raised when Slurm refuses the job.

    Attributes
    ----------
    stderr, script : str
        What sbatch said, and the job script.
    """

    def __init__(self, stderr: str, script: str) -> None:
        self.stderr = stderr
        self.script = script
        super().__init__(
            f"Slurm refuses the job: {stderr.strip()}\nThe job script was:\n\n{script}\n"
            "Change partition, account and extra_directives in SlurmOptions, or slurm_qos, "
            "worker_time_limit, cpus_per_task and mem_per_cpu."
        )


class StudyFileError(SeedwiseError, OSError):
    """Raised when the scheduler can't keep the study file in the run folder.

    `path` is the file.
    """

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        super().__init__(
            f"study file {path}: {problem}. The Dask scheduler writes it, so run_root must be a "
            "folder that the scheduler's machine shares with this one."
        )


def _shown(value: object, limit: int = 200) -> str:
    """Return a value's repr in one line, and not too long a one."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a repr of the user's that fails, or an int of too many digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= limit else text[: limit - 3] + "..."
