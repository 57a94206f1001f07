"""Why jobs ended: what Slurm's accounting, slurmctld and the jobs' logs say."""

import os
import pwd
import re
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import attrs

from seedwise.slurm.commands import CommandError, run_command
from seedwise.slurm.limits.words import records, rows
from seedwise.slurm.logs import last_lines

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


@attrs.frozen(kw_only=True)
class JobEnd:
    """How a job ended."""

    job_id: str
    #: Slurm's word for its end.
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
        if self.state == "FAILED" and (self.signal or self.exit_code):
            return self._failure
        words = END_STATES[self.state][0].format(
            node=f" {self.node}" if self.node else "", memory=self.memory or "its limit"
        )
        return f"{words} ({self.state})"

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

    @property
    def _failure(self) -> str:
        if self.signal == _NOT_STARTED:
            return "Slurm could not start it or open its log files (FAILED)"
        if self.signal:
            return f"it was killed by signal {_signal_name(self.signal)}"
        code = self.exit_code
        if code > 128 and _is_deadly(code - 128):
            name = _signal_name(code - 128)
            return f"it exited with code {code}, so its program was killed by signal {name}"
        if _is_deadly(code):
            # sacct takes 128 away, and a shell adds as much to the signal that ended a program.
            name = _signal_name(code)
            return f"it exited with code {code}, or its program was killed by signal {name}"
        return f"it exited with code {code}"


def parse_sacct(text: str) -> dict[str, JobEnd]:
    """Return how jobs ended, by id, from what sacct prints of `_COLUMNS`; the others go on."""
    ends: dict[str, JobEnd] = {}
    short_of_memory: set[str] = set()
    for row in rows(text, _COLUMNS):
        job_id, _, step = row["JobIDRaw"].partition(".")
        if step:
            if row["State"].startswith("OUT_OF_ME"):
                short_of_memory.add(job_id)
            continue
        memory = _memory(row["ReqMem"])
        end = _job_end(job_id, row["State"], row["ExitCode"], row["NodeList"], memory)
        if end is not None:
            ends[job_id] = end
    for job_id in short_of_memory & ends.keys():
        # A program can outlive a step that ran out of memory, and end otherwise.
        if ends[job_id].state == "FAILED":
            ends[job_id] = attrs.evolve(ends[job_id], state="OUT_OF_MEMORY")
    return ends


def parse_scontrol(text: str) -> dict[str, JobEnd]:
    """Return how jobs ended, by id, from ``scontrol -o show job``; others have not ended."""
    ends: dict[str, JobEnd] = {}
    for found in records(text, "JobId"):
        job_id, memory = found["JobId"], None
        if "MinMemoryCPU" in found:
            memory = f"--mem-per-cpu={found['MinMemoryCPU']}"
        elif "MinMemoryNode" in found:
            memory = f"--mem={found['MinMemoryNode']}"
        state, code = found.get("JobState", ""), found.get("ExitCode", "")
        end = _job_end(job_id, state, code, found.get("NodeList", ""), memory)
        if end is not None:
            ends[job_id] = end
            if found.get("Reason") == "OutOfMemory":
                ends[job_id] = attrs.evolve(end, state="OUT_OF_MEMORY")
    return ends


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
    asked = ["-n", "-P", f"--jobs={','.join(wanted)}", "-o", ",".join(_COLUMNS)]
    if cluster := os.environ.get("SLURM_CLUSTERS"):  # sacct alone does not heed it
        asked.append(f"--clusters={cluster}")
    text = _ask(timeout_s / 2, "sacct", *asked)
    ends = parse_sacct(text or "")
    ends = {job_id: ends[job_id] for job_id in wanted if job_id in ends}
    # The newest are most likely to be remembered.
    unsure = [job_id for job_id in wanted if job_id not in ends or _is_cut(ends[job_id])]
    for job_id in unsure[-_MOST_ASKED:]:
        left = until - time.monotonic()
        shown = _ask(left, "scontrol", "-o", "show", "job", job_id) if left > 0 else None
        end = parse_scontrol(shown or "").get(job_id)
        if end is not None and (job_id not in ends or end.exit_code > 128):
            ends[job_id] = end
    return ends if ends or text is not None else None


def describe_end(end: JobEnd | None, log_dir: Path, job_id: str) -> str:
    """Say in a sentence, without a full stop, how a job ended; None if Slurm could not be asked.

    It quotes the end of the log where that may say more than Slurm.
    """
    path, lines = last_lines(log_dir, job_id)
    if end is None:
        where = f"see {path}" if path else f"it left no log in {log_dir}"
        return f"job {job_id} ended for an unknown reason; {where}"
    text = f"job {job_id} ended because {end.words}"
    if end.is_own_fault is False:
        return text
    if path is None:
        return f"{text}; it left no log in {log_dir}"
    return f"{text}; the last line of {path} is {lines[-1].strip()[:200]!r}"


def _job_end(
    job_id: str, state: str, exit_code: str, node: str, memory: str | None
) -> JobEnd | None:
    """Return a job's end from the fields that describe it; None if it has not ended."""
    word, _, rest = state.partition(" ")
    word = word.rstrip("+")
    if word not in END_STATES or not job_id.isdigit():
        return None
    by = re.fullmatch(r"by (\d+)", rest)
    codes = re.fullmatch(r"(\d+):(\d+)", exit_code)
    number = int(codes[2]) if codes else 0
    if word == "FAILED" and number == _SIG_OOM:
        word = "OUT_OF_MEMORY"
    return JobEnd(
        job_id=job_id,
        state=word,
        exit_code=int(codes[1]) if codes else 0,
        signal=0 if number == _SIG_OOM else number,
        by_uid=int(by[1]) if by and int(by[1]) < _NO_UID else None,
        node=None if node in ("", "None assigned", "(null)") else node,
        memory=memory,
    )


def _memory(asked: str) -> str | None:
    """Return the option that sacct's ReqMem stands for; until Slurm 21.08 it says of what."""
    if not asked or asked.startswith("0"):
        return None
    per_cpu = asked.endswith("c")
    return f"--mem{'-per-cpu' if per_cpu else ''}={asked.rstrip('cn')}"


def _is_cut(end: JobEnd) -> bool:
    """Tell whether sacct may have taken 128 from the exit code."""
    return end.state == "FAILED" and not end.signal and _is_deadly(end.exit_code)


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
