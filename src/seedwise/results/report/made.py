"""What a report says of how a result was made: time, work, jobs, code and machine."""

import difflib
import hashlib
import subprocess
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from seedwise.errors.durations import exact_duration
from seedwise.folder.directory import RunDirectory
from seedwise.folder.ledger import Work, work_in
from seedwise.folder.status import read_status
from seedwise.results.report.formats import Block, Cell, Section, facts
from seedwise.slurm.commands import readable_memory
from seedwise.slurm.ends import ask_usage
from seedwise.slurm.queue import JobBook, job_name

_CALLS = {"run": "optimize_run", "entries": "optimize_entries", "sweep": "run_sweep"}
_GIT_S = 5.0
_MOST_FILES = 50
_HOUR_S = 3600
_LOW = 0.5  # of an efficiency


def made_sections(directory: RunDirectory) -> Iterator[Section]:
    """Yield how a run was made, as its folder tells."""
    meta = directory.read_meta()
    yield "Time and work", list(_time(directory, meta))
    yield "Slurm jobs", list(_jobs(directory, meta))
    yield "What was run", list(_call(directory, meta))
    yield "Code", list(_code(directory, meta))
    yield "Software and machine", [_environment(directory)]


def _time(directory: RunDirectory, meta: Mapping[str, Any]) -> Iterator[Block]:
    ended, resumed = meta.get("completed_at_utc"), meta["resumed_at_utc"]
    rows: dict[str, Cell] = {
        "began": _local(meta["started_at_utc"]),
        "resumed": ", ".join(map(_local, resumed)) or "never",
        "ended": _local(ended) if ended else "it has not ended",
    }
    if "duration_seconds" in meta:
        last = "the last driver" if resumed else "the driver"
        rows[f"{last} worked for"] = exact_duration(meta["duration_seconds"])
    done = _work(directory)
    rows |= {
        "evaluations of seeds": done.n_seeds,
        "chunks": done.n_chunks,
        "time of workers in chunks": exact_duration(done.seconds),
    }
    if (busy := read_status(directory).busy_share) is not None:
        rows["busy workers"] = f"{busy:.0%} of their time, with the last driver"
    yield facts(rows)


def _work(directory: RunDirectory) -> Work:
    """Return what workers evaluated, for all entries together."""
    folders = [directory, *map(RunDirectory, sorted(directory.entries.glob("*")))]
    ledgers = [path for one in folders for path in (one.ledger, one.validation_ledger)]
    done = [work_in(path) for path in ledgers if path.exists()]
    return Work(*map(sum, zip(*((w.n_chunks, w.n_seeds, w.seconds) for w in done), strict=True)))


def _jobs(directory: RunDirectory, meta: Mapping[str, Any]) -> Iterator[Block]:
    ids = JobBook(directory.jobs_file).ids()
    if not ids:
        return
    name = meta["run_name"] if directory.parent is None else directory.home.name
    used = ask_usage(ids, job_name(name))
    if used is None:
        text = "Slurm's accounting does not answer here, or does not know the jobs."
        yield Block(sentences=[f"{len(ids)} jobs were submitted. {text}"])
        return
    peak, asked = used.peak_memory_mb, used.memory_mb
    yield facts(
        {
            "jobs that have ended": used.n_jobs,
            "core hours": used.core_s / _HOUR_S,
            "CPU efficiency": None if used.efficiency is None else f"{used.efficiency:.0%}",
            "most memory of a job": None if peak is None else readable_memory(peak),
            "memory asked for": None if asked is None else f"{readable_memory(asked)} a job",
        }
    )
    if used.fitting_mb is not None:
        memory = f"mem_per_cpu='{used.fitting_mb}M' would do, with a quarter to spare."
        yield Block(sentences=[f"Next time, {memory}"])
    if used.efficiency is not None and used.efficiency < _LOW:
        words = (
            f"The jobs used {used.efficiency:.0%} of their CPUs' time: fewer workers, more "
            "max_concurrent_trials, or fewer cpus_per_task would waste less."
        )
        yield Block(sentences=[words])


def _call(directory: RunDirectory, meta: Mapping[str, Any]) -> Iterator[Block]:
    options = meta["options"]
    given = {name: options.get(name) for name in options["given"]}
    words = [meta["loss_name"], *(f"{name}={value!r}" for name, value in given.items())]
    yield facts(
        {
            "call": f"{_CALLS[meta['kind']]}({', '.join(words)})",
            "command": " ".join(directory.environment.read().get("argv") or []),
            "folder": str(directory.path),
            "run id": meta["run_id"],
        }
    )
    yield Block(sentences=["The results depend on this, and on nothing else."])
    yield facts(
        {
            name: value
            for name, value in meta["results_depend_on"].items()
            if value != "None" and not name.startswith("parameter_space")  # see the table below
        }
    )
    if space := meta.get("parameter_space"):
        searched = [(name, _searched(param)) for name, param in space.items()]
        yield Block(columns=["parameter", "searched"], rows=searched)
    changes = [
        (_local(change["at_utc"]), name, old, new)
        for change in meta["accepted_changes"]
        for name, (old, new) in change["changes"].items()
    ]
    if changes:
        yield Block(sentences=["These changes were accepted when the run was resumed."])
        yield Block(columns=["when", "what", "before", "after"], rows=changes)


def _searched(param: Mapping[str, Any]) -> str:
    if param["allowed"] is not None:
        return f"one of {', '.join(map(repr, param['allowed']))}"
    low, high = param["range"]
    how = [param["dtype"], "logarithmic" if param["log"] else ""]
    how.append("" if param["step"] is None else f"in steps of {param['step']!r}")
    return f"{low!r} to {high!r}, {', '.join(filter(None, how))}"


def _code(directory: RunDirectory, meta: Mapping[str, Any]) -> Iterator[Block]:
    """Yield the files of the snapshot, and how they differ from the commit of their repository."""
    code = directory.parts.read().get("code") or {}
    commit = directory.environment.read().get("git_commit")
    yield facts({"code of the loss": meta["results_depend_on"].get("loss"), "git commit": commit})
    paths = {one["copy"]: Path(one["path"]) for one in code.get("modules", {}).values()}
    rows, differences = [], []
    for copy, digest in list(code.get("hashes", {}).items())[:_MOST_FILES]:
        path = paths.get(copy, Path("/", copy))
        ours, theirs = _copied(directory, copy, digest), _committed(path, commit)
        state: str | None = None
        if theirs is not None and ours is not None:
            names = f"committed {path.name}", path.name
            old, new = (one.decode("utf-8", "replace").splitlines() for one in (theirs, ours))
            changed = list(difflib.unified_diff(old, new, *names, lineterm=""))
            state = "changed" if changed else "as committed"
            if changed:
                title = f"{path.name}, as it differs from the commit"
                differences.append(Block(title, text="\n".join(changed)))
        rows.append((str(path), digest[:12], state))
    if rows:
        yield Block(columns=["file", "SHA-256", "against the commit"], rows=rows)
    yield from differences


def _copied(directory: RunDirectory, copy: str, digest: str) -> bytes | None:
    """Return the snapshot's copy of a file; None if it is gone."""
    for path in sorted(directory.code.glob("*")):
        if (file := path / copy).is_file():
            content = file.read_bytes()
            if hashlib.sha256(content).hexdigest() == digest:
                return content
    return None


def _committed(path: Path, commit: str | None) -> bytes | None:
    """Return a file as it was committed; None if git does not know it here."""
    if commit is None:
        return None
    command = ["git", "-C", str(path.parent), "cat-file", "blob", f"{commit}:./{path.name}"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_GIT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _environment(directory: RunDirectory) -> Block:
    found = directory.environment.read()
    packages = found.get("packages") or {}
    rows = {
        "Python": str(found.get("python", "")).partition(" (")[0],
        **{name: version for name, version in packages.items() if version is not None},
        "machine": found.get("host"),
        "CPU": f"{found.get('cpu_model')}, {found.get('n_cpus')} cores",
        "platform": found.get("platform"),
    }
    return facts(rows)


def _local(at_utc: str) -> str:
    return f"{datetime.fromisoformat(at_utc).astimezone():%Y-%m-%d %H:%M:%S %Z}"
