"""How jobs ended and what they used: what Slurm's accounting, slurmctld and the logs say."""

import math
import os
import pwd
import re
import signal
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import attrs

from seedwise.errors.base import masked
from seedwise.model.slurm_time import time_s
from seedwise.slurm.commands import CommandError, memory_mb, records, rows, run_command

_COLUMNS = ("JobIDRaw", "State", "ExitCode", "NodeList", "ReqMem")

#: What the states of a job that has ended mean, and whether its own program is to blame (None if
#: the state does not tell). A job in any other state has not ended, or will be queued again.
END_STATES = {
    "BOOT_FAIL": ("its node{node} did not boot", False),
    "CANCELLED": ("it was cancelled", False),
    "COMPLETED": ("it had done its work", False),
    "DEADLINE": ("it reached its deadline", False),
    "FAILED": ("it failed", None),
    "NODE_FAIL": ("its node{node} failed", False),
    "OUT_OF_MEMORY": ("Slurm killed it because it took more memory than {memory} allows", True),
    "PREEMPTED": ("it was preempted by another job", False),
    "REVOKED": ("another cluster of the federation took it", None),
    "TIMEOUT": ("it reached its walltime", False),
}
_NO_UID = 2**32 - 2  # Slurm's NO_VAL; from here on it is not a user

# slurmstepd's own "signals": it could not start the program, or the program ran out of memory.
_NOT_STARTED = 53
_SIG_OOM = 125

# slurmctld is asked about one job at a time, and must not be kept busy with it.
_MOST_ASKED = 20

_USAGE_COLUMNS = (
    *("JobIDRaw", "JobName", "State", "ElapsedRaw", "AllocCPUS", "TotalCPU", "MaxRSS", "ReqMem"),
)

# Of these, the accounting has all figures.
_GOES_ON = ("PENDING", "RUNNING", "SUSPENDED", "REQUEUED")
_TO_SPARE = 1.25
_WORTH_IT = 0.7
_STEP_MB = 100

_TAIL_BYTES = 64 * 1024
_LINE_CHARS = 1000
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles and links
    r"|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)


@attrs.frozen(kw_only=True)
class JobEnd:
    """How a job ended."""

    job_id: str
    state: str = attrs.field(validator=attrs.validators.in_(END_STATES))
    #: What its script exited with; sacct takes 128 from a code of 128 or more.
    exit_code: int = 0
    #: The signal that ended its script; 0 if none did.
    signal: int = 0
    #: Who cancelled it; None if nobody did, or unknown: slurmctld does not say.
    by_uid: int | None = None
    #: Its node, or several as Slurm writes them; None if it never ran.
    node: str | None = None
    #: The option that asked for its memory, such as ``--mem=2G``; None if unknown.
    memory: str | None = None

    @property
    def words(self) -> str:
        """Why the job ended, to follow "because"."""
        if self.state == "CANCELLED":
            return f"it was cancelled{_by(self.by_uid)}"
        if self.state != "FAILED" or not (self.signal or self.exit_code):
            node, memory = f" {self.node}" if self.node else "", self.memory or "its limit"
            words = END_STATES[self.state][0].format(node=node, memory=memory)
            return f"{words} ({self.state})"
        if self.signal == _NOT_STARTED:
            return "Slurm could not start it or open its log files (FAILED)"
        if self.signal:
            return f"it was killed by signal {_signal_name(self.signal)}"
        words = f"it exited with code {self.exit_code}"
        # A shell adds 128 to the signal that ended a program, and sacct takes as much away.
        for number, link in ((self.exit_code - 128, "so"), (self.exit_code, "or")):
            if _is_deadly(number):
                return f"{words}, {link} its program was killed by signal {_signal_name(number)}"
        return words

    @property
    def is_own_fault(self) -> bool | None:
        """Whether its own program failed, rather than the cluster ended it; None if unknown."""
        if self.state == "FAILED" and self.signal != _NOT_STARTED:
            return True if self.exit_code or self.signal else None
        return END_STATES[self.state][1]

    @property
    def only_node(self) -> str | None:
        """The node that it ran on; None if there were several, or if it is unknown."""
        return self.node if re.fullmatch(r"[\w.-]+", self.node or "") else None


@attrs.frozen
class Usage:
    """What the jobs that have ended used together."""

    n_jobs: int
    #: Seconds of all their CPUs.
    core_s: float
    #: Seconds in which their CPUs had work.
    busy_s: float
    #: CPUs of a job, at least.
    n_cpus: int
    #: The most memory that a job took; None if it is not recorded.
    peak_memory_mb: float | None
    #: What a job asked for; None without a limit.
    memory_mb: float | None

    @property
    def efficiency(self) -> float | None:
        """The share of the CPUs' time in which they had work; None if none passed."""
        return self.busy_s / self.core_s if self.core_s else None

    @property
    def fitting_mb(self) -> int | None:
        """The memory a CPU that would do, if that is clearly less than was asked for."""
        if self.peak_memory_mb is None or self.memory_mb is None:
            return None
        wanted = _STEP_MB * math.ceil(_TO_SPARE * self.peak_memory_mb / self.n_cpus / _STEP_MB)
        return wanted if wanted * self.n_cpus < _WORTH_IT * self.memory_mb else None


def parse_sacct(text: str) -> dict[str, JobEnd]:
    """Return how jobs ended, by id, from what sacct prints of `_COLUMNS`; the others go on."""
    found = rows(text, _COLUMNS)
    steps = [row for row in found if "." in row["JobIDRaw"]]
    # A program can outlive a step that ran out of memory, and end otherwise.
    short = [row["JobIDRaw"] for row in steps if row["State"].startswith("OUT_OF_ME")]
    return _ends([row.values() for row in found], [step.partition(".")[0] for step in short])


def parse_scontrol(text: str) -> dict[str, JobEnd]:
    """Return how jobs ended, by id, from ``scontrol -o show job``; others have not ended."""
    found = records(text, "JobId")
    for job in found:
        if "MinMemoryCPU" in job:
            job["MinMemoryNode"] = f"{job['MinMemoryCPU']}c"
    names = ("JobId", "JobState", "ExitCode", "NodeList", "MinMemoryNode")
    short = [job["JobId"] for job in found if job.get("Reason") == "OutOfMemory"]
    return _ends([[job.get(name, "") for name in names] for job in found], short)


def ask_ends(job_ids: Iterable[str], timeout_s: float = 10) -> dict[str, JobEnd] | None:
    """Ask Slurm how jobs ended, and return the answers by job id; others may still run.

    The accounting is asked about all of them at once, and slurmctld, which remembers jobs for some
    minutes, about those that it does not know. None if nothing could be learnt. All of it takes at
    most `timeout_s`.
    """
    wanted = list(dict.fromkeys(job_id for job_id in job_ids if re.fullmatch(r"\d+", job_id)))
    if not wanted:
        return {}
    until = time.monotonic() + timeout_s
    # Half of the time, for slurmctld may answer where the accounting hangs.
    text = ask_sacct(wanted, _COLUMNS, timeout_s / 2)
    known = parse_sacct(text or "")
    ends = {job_id: known[job_id] for job_id in wanted if job_id in known}
    # The newest are most likely to be remembered.
    unsure = [job_id for job_id in wanted if job_id not in ends or _is_unsure(ends[job_id])]
    for job_id in unsure[-_MOST_ASKED:]:
        left = until - time.monotonic()
        shown = _ask(left, "scontrol", "-o", "show", "job", job_id) if left > 0 else None
        end = parse_scontrol(shown or "").get(job_id)
        if end is None or (job_id in ends and ends[job_id].exit_code and end.exit_code <= 128):
            continue
        ends[job_id] = end
    return ends if ends or text is not None else None


def ask_sacct(job_ids: Iterable[str], columns: Iterable[str], timeout_s: float) -> str | None:
    """Return what the accounting prints of jobs; None if it does not answer."""
    asked = ["-n", "-P", f"--jobs={','.join(job_ids)}", "-o", ",".join(columns)]
    if cluster := os.environ.get("SLURM_CLUSTERS"):  # sacct alone does not heed it
        asked.append(f"--clusters={cluster}")
    return _ask(timeout_s, "sacct", *asked)


def describe_end(end: JobEnd | None, log_dir: Path, job_id: str) -> str:
    """Say in a sentence, without a full stop, how a job ended; it may quote the job's log."""
    path, lines = last_lines(log_dir, job_id)
    why = "for an unknown reason" if end is None else f"because {end.words}"
    text = f"job {job_id} ended {why}"
    if end is not None and end.is_own_fault is False:
        return text
    if path is None:
        return f"{text}; it left no log in {log_dir}"
    if end is None:
        return f"{text}; see {path}"
    return f"{text}; the last line of {path} is {lines[-1].strip()[:200]!r}"


def log_tail(log_dir: Path, job_id: str, n_lines: int = 20) -> str:
    """Return the last lines of a job's error log, or of its output if it has no errors."""
    return "\n".join(last_lines(log_dir, job_id)[1][-n_lines:])


def last_lines(log_dir: Path, job_id: str) -> tuple[Path | None, list[str]]:
    """Return the log that says something, and its last lines; None and none if there is none."""
    for suffix in (".err", ".out"):
        path = log_dir / f"{job_id}{suffix}"
        lines = _read_end(path)
        if lines:
            return path, lines
    return None, []


def ask_usage(job_ids: Iterable[str], name: str, timeout_s: float = 10.0) -> Usage | None:
    """Ask the accounting what jobs used; None if it does not answer, or knows none that ended."""
    wanted = [job_id for job_id in job_ids if re.fullmatch(r"\d+", job_id)]
    if not wanted:
        return None
    return parse_usage(ask_sacct(wanted, _USAGE_COLUMNS, timeout_s) or "", name)


def parse_usage(text: str, name: str) -> Usage | None:
    """Return what `_USAGE_COLUMNS` say of jobs of a name; None if none of them ended."""
    found = rows(text, _USAGE_COLUMNS)
    # Those of another name are another cluster's, where the run's folder was copied to.
    jobs = {
        row["JobIDRaw"]: row
        for row in found
        if row["JobName"] == name and not row["State"].startswith(_GOES_ON)
    }
    cpus = [int(row["AllocCPUS"]) for row in jobs.values()]
    if not any(cpus):
        return None
    elapsed_s = [int(row["ElapsedRaw"]) for row in jobs.values()]
    # The steps have the memory, the jobs the rest.
    peaks_mb = [
        memory_mb(row["MaxRSS"]) or 0.0
        for row in found
        if row["MaxRSS"] and row["JobIDRaw"].partition(".")[0] in jobs
    ]
    return Usage(
        n_jobs=len(jobs),
        core_s=float(sum(n * s for n, s in zip(cpus, elapsed_s, strict=True))),
        busy_s=sum(time_s(row["TotalCPU"]) or 0.0 for row in jobs.values()),
        n_cpus=min(filter(None, cpus)),
        peak_memory_mb=max(peaks_mb) if any(peaks_mb) else None,
        memory_mb=min(map(_asked_mb, jobs.values())) or None,
    )


def _ends(jobs: Iterable[Iterable[str]], short_of_memory: Collection[str]) -> dict[str, JobEnd]:
    """Return how jobs ended, by id, from `_COLUMNS`; those that have not ended are left out."""
    ends: dict[str, JobEnd] = {}
    for job_id, state_and_who, exit_code, node, memory in jobs:
        word, _, who = state_and_who.partition(" ")
        state = word.rstrip("+")
        if state not in END_STATES or not job_id.isdigit():
            continue
        by = re.fullmatch(r"by (\d+)", who)
        codes = re.fullmatch(r"(\d+):(\d+)", exit_code)
        number = int(codes[2]) if codes else 0
        if state == "FAILED" and (number == _SIG_OOM or job_id in short_of_memory):
            state = "OUT_OF_MEMORY"
        # Until Slurm 21.08 a letter at its end says of what it is.
        option = "--mem-per-cpu" if memory.endswith("c") else "--mem"
        is_limited = bool(memory) and not memory.startswith("0")
        ends[job_id] = JobEnd(
            job_id=job_id,
            state=state,
            exit_code=int(codes[1]) if codes else 0,
            signal=0 if number == _SIG_OOM else number,
            by_uid=int(by[1]) if by and int(by[1]) < _NO_UID else None,
            node=None if node in ("", "None assigned", "(null)") else node,
            memory=f"{option}={memory.rstrip('cn')}" if is_limited else None,
        )
    return ends


def _is_unsure(end: JobEnd) -> bool:
    """Tell whether sacct may have taken 128 from the exit code, or does not have it yet."""
    is_unsure = end.exit_code == 0 or _is_deadly(end.exit_code)
    return end.state == "FAILED" and not end.signal and is_unsure


def _is_deadly(number: int) -> bool:
    # 1 and 2 are signals as well, but much more often what programs exit with.
    return number > 2 and number in signal.valid_signals()


def _signal_name(number: int) -> str:
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)


def _by(uid: int | None) -> str:
    if uid is None:
        return ""
    if uid == os.getuid():
        return " by you"
    try:
        return f" by user {uid} ({pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return f" by user {uid}"


def _ask(timeout_s: float, *command: str) -> str | None:
    """Return what a command printed; None if it failed, took too long or is not there."""
    try:
        return run_command(*command, timeout_s=timeout_s)
    except CommandError:
        return None


def _read_end(path: Path) -> list[str]:
    try:
        if not path.is_file():  # reading a pipe would wait for a writer
            return []
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES)
            file.seek(start)
            data = file.read(_TAIL_BYTES)
    except OSError:
        return []
    lines = masked(data.decode(errors="replace")).split("\n")
    if start > 0 and len(lines) > 1:
        del lines[0]  # its beginning is cut off
    # A progress bar overwrites its line from the start.
    shown = [_ESCAPES.sub("", line.rstrip("\r").rpartition("\r")[2]) for line in lines]
    shown = [line if len(line) <= _LINE_CHARS else line[:_LINE_CHARS] + "…" for line in shown]
    while shown and not shown[-1].strip():
        shown.pop()
    return shown


def _asked_mb(row: Mapping[str, str]) -> float:
    """Return the memory that a job asked for; until Slurm 21.08 it may be said by CPU."""
    by_cpu = row["ReqMem"].endswith("c")
    return (memory_mb(row["ReqMem"] or "0") or 0.0) * (int(row["AllocCPUS"]) if by_cpu else 1)
