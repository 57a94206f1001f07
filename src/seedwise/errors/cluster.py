"""Errors about the place where the work runs."""

from __future__ import annotations

from seedwise.errors.base import SeedwiseError

__all__ = [
    "AddressError",
    "ClusterError",
    "ClusterStartError",
    "MainGuardError",
    "SlurmNotFoundError",
    "SubmitRefusedError",
]


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
