"""Errors about the place where the work runs."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from seedwise.errors.advice import what_to_change
from seedwise.errors.base import SeedwiseError, masked
from seedwise.errors.durations import exact_duration


class ClusterError(SeedwiseError, RuntimeError):
    """Base class of errors about the place where the work runs."""


class ClusterStartError(ClusterError):
    """Raised when the place where the work is to run does not start."""

    def __init__(self, what: str, problem: str) -> None:
        super().__init__(f"{what} did not start: {problem}")


class ChunkTooLongError(ClusterError, ValueError):
    """Raised when a chunk takes longer than a job lasts.

    Attributes
    ----------
    n_seeds : int
        Seeds of the chunk.
    needs_s, walltime_s : float
        Seconds that it takes, or had if the end of a job cut it off; seconds after which jobs end.
    fits : int
        The largest `chunk_size` that fits, or one to try if the end of a job cut the chunk off; 0
        if not even one seed fits.
    """

    def __init__(
        self, n_seeds: int, needs_s: float, walltime_s: float, fits: int, *, at_least: bool = False
    ) -> None:
        self.n_seeds, self.needs_s = n_seeds, needs_s
        self.walltime_s, self.fits = walltime_s, fits
        takes = "more than" if at_least else "about"
        seeds = "1 seed" if n_seeds == 1 else f"{n_seeds} seeds"
        smaller = f"chunk_size <= {fits}, or " if fits else ""
        super().__init__(
            f"a chunk of {seeds} takes {takes} {exact_duration(needs_s)} "
            f"({exact_duration(needs_s / n_seeds)} a seed), and jobs end after "
            f"worker_time_limit={timedelta(seconds=round(walltime_s))}: use {smaller}a longer "
            "worker_time_limit. What was evaluated is kept: the run can be resumed."
        )


class KeyFolderError(ClusterError):
    """Raised when there is no safe place for the keys of a run's connections.

    Attributes
    ----------
    path, problem : pathlib.Path, str
        The folder or file, and what is wrong with it.
    """

    def __init__(self, path: Path, problem: str, advice: str | None = None) -> None:
        self.path, self.problem = path, problem
        usual = (
            "The keys of a run's connections must be out of reach of other users: the folder must "
            "be yours and of mode 0700, its files of mode 0600. Remove it, or give a run_root on "
            "a file system that keeps owners and modes."
        )
        super().__init__(f"{path}: {problem}. {advice or usual}")


class MainGuardError(ClusterError):
    """Raised when a script begins a run without ``if __name__ == "__main__":``.

    Attributes
    ----------
    script, line : str, int
        The script's path, and the line of the unguarded call.
    """

    def __init__(self, script: str, line: int) -> None:
        self.script, self.line = script, line
        super().__init__(
            f"{script}, line {line}: workers import this script, and would make this very call "
            "again. Put it under the main guard:\n\n"
            '    if __name__ == "__main__":\n'
            "        result = optimize_run(...)\n"
        )


class NestedDriverError(ClusterError):
    """Raised when a run is begun in a process, or in a Dask task, where it could not end."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(f"a run can't be begun here: {problem}. {advice}")


class AddressError(ClusterError, ConnectionError):
    """Raised when no Dask scheduler answers at the `address` that was given."""

    def __init__(self, address: str, problem: str) -> None:
        self.address = address
        super().__init__(
            f"cluster={address!r}: no Dask scheduler answers there ({problem}). Give an address "
            "such as 'tcp://host:8786' of a running one, or 'local' or 'slurm' to start one."
        )


class SlurmNotFoundError(ClusterError, FileNotFoundError):
    """Raised when a run on Slurm is asked for on a machine that has no ``sbatch``."""

    def __init__(self, command: str) -> None:
        super().__init__(
            f"cluster='slurm': there is no {command} on this machine's PATH. Run on a login node "
            "of the cluster, load its Slurm module, or use cluster='local'."
        )


class PreflightError(ClusterError, ValueError):
    """Raised when it is known before any job is submitted that none could start.

    Attributes
    ----------
    problems : tuple
        Each thing that is wrong; it has `option`, `value`, `allowed` and `fatal`.
    """

    def __init__(self, problems: Iterable[object]) -> None:
        self.problems = tuple(problems)
        lines = "".join(f"\n  {problem}" for problem in self.problems)
        super().__init__(
            "this Slurm cluster can't start such jobs; seedwise slurm shows what it allows. "
            f"Change what is named:{lines}"
        )


class SubmitRefusedError(ClusterError):
    """Raised when Slurm refuses the job.

    Attributes
    ----------
    stderr, script : str
        What sbatch said, and the job script, without the certificate of the run's connections.
    problems : tuple
        Each thing that is known to be wrong; it has `option`, `value` and `allowed`.
    script_path : pathlib.Path or None
        Where the script is; None if it is in no file.
    """

    def __init__(
        self,
        stderr: str,
        script: str,
        problems: Iterable[object] = (),
        script_path: Path | None = None,
    ) -> None:
        self.stderr, self.script = masked(stderr), masked(script)
        self.problems, self.script_path = tuple(problems), script_path
        where = "" if script_path is None else f"The job script is {script_path}; "
        known = "\n".join(f"  {problem}" for problem in self.problems)
        # The reason and the option to change come last, where a terminal still shows them.
        super().__init__(
            f"Slurm refuses the job: {self.stderr.strip()}\n"
            f"{where}seedwise slurm shows what the cluster allows.\n"
            f"{known or what_to_change(self.stderr)}"
        )


class JobNeverStartsError(ClusterError):
    """Raised when Slurm keeps the jobs waiting for something that will never happen.

    Attributes
    ----------
    job_id, reason : str
        One of the jobs, and the reason that Slurm gives.
    """

    def __init__(self, job_id: str, reason: str, words: str, advice: str) -> None:
        self.job_id, self.reason = job_id, reason
        what_to_do = f" To change it: {advice}." if advice else ""
        super().__init__(f"job {job_id} can never start: {words} ({reason}).{what_to_do}")


class WorkersFailedError(ClusterError):
    """Raised when several jobs in a row fail at their start.

    Attributes
    ----------
    n_jobs, log_tail : int, str
        Number of jobs, and the end of the last one's log.
    nodes : tuple of str
        The nodes that they ran on, as far as they are known.
    """

    def __init__(
        self, n_jobs: int, problem: str, log_tail: str, nodes: Iterable[str] = ()
    ) -> None:
        self.n_jobs, self.log_tail = n_jobs, log_tail
        self.nodes = tuple(dict.fromkeys(nodes))
        where = f" on {', '.join(self.nodes)}" if self.nodes else ""
        is_quoted = repr(log_tail.strip()) in problem  # its one line
        log = f"\nIts log ends with:\n\n{log_tail}" if log_tail and not is_quoted else ""
        super().__init__(
            f"{n_jobs} jobs in a row{where} ended before their worker joined; the last one: "
            f"{problem}.{log}\n"
            "Check that the nodes have the Python of SlurmOptions(python=...) and its packages "
            "(SlurmOptions(prologue=...) can load modules), and that they can reach this machine "
            "over SlurmOptions(interface=...)."
        )
