"""Slurm's queue: jobs are tried, submitted, noted, listed and cancelled, in bounded time."""

import argparse
import itertools
import os
import re
import shlex
import shutil
import socket
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import attrs

from seedwise.disk.files import append_lines, read_lines
from seedwise.errors import OptionError, SlurmNotFoundError
from seedwise.slurm.commands import SEPARATOR, CommandError, run_command

_TIMEOUT_S = 8.0

_SUBMITTED = re.compile(r"^\s*(?:submitted batch job\s+)?(\d+)(?:;\S*)?\s*$", re.IGNORECASE)
# What people write comes last: it may hold anything.
_QUEUE_FORMAT = SEPARATOR.join(["%i", "%T", "%P", "%S", "%k", "%r", "%j"])

_NOT_NOW = re.compile(
    r"requested node configuration is not available|required node not available|"
    r"requested partition configuration not available|requested nodes are busy",
    re.IGNORECASE,
)

# squeue has the last three for jobs that are held after something went wrong.
_PENDING = {"PENDING", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}

# Variables that would override what the job script says.
_NOT_FOR_SBATCH = re.compile(
    r"SBATCH_(ARRAY_INX|CLUSTERS|COMMENT|ERROR|INPUT|JOB_NAME|MEM_PER_(CPU|GPU|NODE)|NO_REQUEUE|"
    r"OPEN_MODE|OUTPUT|REQUEUE|TIMELIMIT|WAIT)$"
)
# What Slurm sets in a job, and a new job would take for its own. Not the variables that say which
# Slurm to ask, and not what users set for sbatch: of SBATCH_..., Slurm itself sets only bindings.
# PMI_... and PMIX_... are srun's, for MPI.
_OF_A_JOB = re.compile(
    r"SLURMD?_(?!(CONF|CLUSTERS|JWT|SACK_\w+)$)|SRUN_|SBATCH_(CPU|MEM)_BIND|"
    r"PMI_(FD|JOBID|RANK|SIZE)$|PMIX_(NAMESPACE|RANK|SERVER_\w+)$"
)
_EXCLUDE = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
_EXCLUDE.add_argument("-x", "--exclude", default="")
_SHORT = {"-A": "ACCOUNT", "-C": "CONSTRAINT", "-G": "GPUS", "-p": "PARTITION", "-q": "QOS"}


@attrs.frozen
class QueuedJob:
    """A job as squeue lists it."""

    job_id: str
    #: Such as PENDING or RUNNING.
    state: str
    reason: str = ""
    #: When it started or will start, as Slurm writes it; ``N/A`` if unknown.
    start: str = "N/A"
    #: Where it waits or runs; several partitions, of which any will do, are parted by commas.
    partition: str = ""

    @property
    def is_pending(self) -> bool:
        """Whether it waits to start, perhaps until a user or an administrator releases it."""
        return self.state in _PENDING


class JobBook:
    """A file with a line for each job that was submitted, also by a driver that was killed."""

    def __init__(self, path: Path) -> None:
        self.own: list[str] = []
        self._path = path

    def note(self, job_id: str) -> None:
        """Write down a job's id; it is on disk when this returns."""
        self.own.append(job_id)
        submitted_at = datetime.now(UTC).isoformat(timespec="seconds")
        line = {"job_id": job_id, "submitted_at_utc": submitted_at}
        append_lines(self._path, [line], durable=True)

    def ids(self) -> list[str]:
        """Return the ids of all jobs that were ever submitted for the run, in their order."""
        found = (line.get("job_id") for line in read_lines(self._path))
        return list(dict.fromkeys(job_id for job_id in found if isinstance(job_id, str)))


def job_name(run_name: str) -> str:
    """Return the name of a run's jobs: its own, of which squeue shows the first eight letters."""
    return re.sub("[^A-Za-z0-9_.-]", "_", run_name)


def require_slurm(interface: str | None, keyword: str = "interface") -> None:
    """Refuse to start without Slurm, or with an interface that is not on this machine."""
    if shutil.which("sbatch") is None:
        raise SlurmNotFoundError("sbatch")
    known = [name for _, name in socket.if_nameindex()]
    if interface is not None and interface not in known:
        hint = (
            "If the nodes' interface has another name, give both: "
            "SlurmOptions(interface=..., scheduler_interface=...)."
        )
        raise OptionError(keyword, interface, f"one of this machine's: {', '.join(known)}", hint)


def quoted(text: str) -> str:
    """Return text as one word of a ``#SBATCH`` line, which sbatch reads as a shell would."""
    return '"' + text.replace('"', '\\"') + '"'


def quoted_file(folder: Path, name: str) -> str:
    """Return a file's path as one word; in `name` alone, sbatch fills in %J and the like."""
    return quoted(f"{str(folder).replace('%', '%%')}/{name}")


def directive_words(script: str) -> list[str]:
    """Return the words of a job script's ``#SBATCH`` lines; ValueError for an open quote."""
    # Lines after the first command of the script don't count.
    head = itertools.takewhile(lambda line: line.strip()[:1] in ("", "#"), script.splitlines())
    lines = [line.removeprefix("#SBATCH ") for line in head if line.startswith("#SBATCH ")]
    return [word for line in lines for word in shlex.split(line, comments=True)]


def sbatch_environment(script: str) -> dict[str, str]:
    """Return the environment for submitting a job script, which jobs inherit.

    For sbatch, variables override the lines of a script. So what a user has set for all jobs is
    left out where the script says something itself, and so are variables of a job that we are in.
    """
    try:
        words = directive_words(script)
    except ValueError:  # sbatch will say so
        words = []
    options = [
        _SHORT.get(word[:2]) or word.removeprefix("--").partition("=")[0]
        for word in words
        if word.startswith("-")
    ]
    said = {f"SBATCH_{option.replace('-', '_').upper()}" for option in options}
    in_a_job = "SLURM_JOB_ID" in os.environ
    return {
        name: value
        for name, value in os.environ.items()
        if name not in said
        and not _NOT_FOR_SBATCH.match(name)
        and not (in_a_job and _OF_A_JOB.match(name))
    }


def test_submit(script: str, *excluded: str) -> CommandError | None:
    """Return why Slurm would not take a job that goes to no `excluded` node; None if it would."""
    try:
        _sbatch("--test-only", script, excluded)
    except CommandError as error:
        return error
    return None


def has_no_node_now(refusal: str) -> bool:
    """Tell whether `test_submit` found no node that is up; Slurm may still take the job."""
    return _NOT_NOW.search(refusal) is not None


def submit_job(script: str, *excluded: str) -> str | None:
    """Submit a job and return its id; it goes to none of the nodes that are `excluded`.

    None if ``sbatch`` printed no id, as a wrapper may do. Raises CommandError if Slurm refuses the
    job, or does not answer; if it does not answer, there may still be a job.
    """
    out = _sbatch("--parsable", script, excluded)
    ids = [found.group(1) for line in out.splitlines() if (found := _SUBMITTED.match(line))]
    return ids[-1] if ids else None


def list_jobs(
    tag: str, known: Collection[str] = (), name: str | None = None, timeout_s: float = _TIMEOUT_S
) -> dict[str, QueuedJob]:
    """Return the jobs of a run that are queued, running or ending, by id.

    `tag` is the run's id, with which the comment of its jobs begins, or the whole comment of the
    jobs of one of its drivers. `known` are ids of its jobs, whatever their comment is now; they
    count only with the `name` of its jobs, because a Slurm that is set up again reuses ids.
    """
    jobs: dict[str, QueuedJob] = {}
    for line in _own_jobs(timeout_s).splitlines():
        words = line.strip().split(SEPARATOR, 4)
        if len(words) < 5:  # a site's banner
            continue
        job_id, state, partition, start, rest = words
        comment, _, reason_and_name = rest.partition(SEPARATOR)
        if comment == tag or comment.startswith(f"{tag}."):
            reason = reason_and_name.partition(SEPARATOR)[0]
        elif name is not None and job_id in known and rest.endswith(f"{SEPARATOR}{name}"):
            reason = rest.removesuffix(f"{SEPARATOR}{name}").rpartition(SEPARATOR)[2]
        else:
            continue
        jobs[job_id] = QueuedJob(job_id, state, reason, start, partition)
    return jobs


def _own_jobs(timeout_s: float) -> str:
    # Without --all, a job in a hidden partition is hidden from its own user, too.
    listing = ["squeue", "--all", "--noheader", f"--format={_QUEUE_FORMAT}"]
    try:
        return run_command(*listing, "--me", timeout_s=timeout_s)
    except CommandError as error:
        if "--me" not in error.text:
            raise
    # An older squeue. This comes second: without a word, it lists no jobs of a user unknown to it.
    return run_command(*listing, f"--user={os.getuid()}", timeout_s=timeout_s)


def scancel(job_ids: Iterable[str], *, timeout_s: float = _TIMEOUT_S) -> None:
    """Cancel jobs that are not gone already; raises CommandError if Slurm does not answer."""
    if ids := list(job_ids):
        _heard("scancel", *ids, timeout_s=timeout_s)


def cancel_jobs(
    tag: str, known: Collection[str] = (), name: str | None = None, timeout_s: float = _TIMEOUT_S
) -> list[str]:
    """Cancel the jobs that `list_jobs` finds, and return their ids; CommandError if unknown."""
    if shutil.which("squeue") is None and shutil.which("sbatch") is None:
        return []
    ids = list(list_jobs(tag, known, name, timeout_s))
    scancel(ids, timeout_s=timeout_s)
    return ids


@attrs.define
class Queue:
    """Slurm's queue, limited to the jobs of a driver, which all have one script."""

    script: str
    #: The jobs' comment and name.
    _tag: str
    _name: str
    _excluded: Collection[str] = attrs.field(init=False, default=())

    def submit(self) -> str | None:
        """Submit a job and return its id; None if sbatch printed no id."""
        return submit_job(self.script, *self._excluded)

    def list(self, known: Collection[str]) -> Mapping[str, QueuedJob]:
        """Return the jobs that are queued or run."""
        return list_jobs(self._tag, known, self._name)

    def cancel(self, job_ids: Iterable[str]) -> None:
        """Cancel jobs."""
        scancel(job_ids)

    def exclude(self, nodes: Collection[str], waiting: Collection[str]) -> None:
        """Keep jobs off these nodes: those to come, and those that wait. Others are allowed."""
        self._excluded = nodes
        if waiting:
            listed = ",".join([*_excluded_by(self.script), *nodes])
            jobs = f"JobId={','.join(waiting)}"
            _heard("scontrol", "update", jobs, f"ExcNodeList={listed}", timeout_s=_TIMEOUT_S)

    def try_without(self, nodes: Collection[str]) -> CommandError | None:
        """Return why Slurm would not take a job that may not run on these nodes."""
        return test_submit(self.script, *nodes)


def _heard(*command: str, timeout_s: float) -> None:
    """Run a command that Slurm may refuse, as of jobs that are gone; it must answer."""
    try:
        run_command(*command, timeout_s=timeout_s)
    except CommandError as error:
        if error.unheard:
            raise


def _sbatch(option: str, script: str, excluded: Collection[str]) -> str:
    # This option overrides that of the script.
    nodes = [f"--exclude={','.join([*_excluded_by(script), *excluded])}"] if excluded else []
    return run_command("sbatch", option, *nodes, stdin=script, env=sbatch_environment(script))


def _excluded_by(script: str) -> list[str]:
    """Return the nodes that a job script excludes, as it writes them."""
    nodes: str = _EXCLUDE.parse_known_args(directive_words(script))[0].exclude
    if "/" not in nodes:
        return [nodes] if nodes else []
    # For sbatch it is the name of a file.
    lines = [line.partition("#")[0] for line in Path(nodes).read_text().splitlines()]
    return [word for line in lines for word in line.split()]
