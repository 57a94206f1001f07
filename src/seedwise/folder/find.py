"""The finding and making of run folders."""

import contextlib
import os
import re
import sys
from pathlib import Path

import attrs

from seedwise.disk.files import append_lines, make_own_folder, read_lines, writing
from seedwise.errors import (
    EntryOfARunError,
    NotARunError,
    OptionError,
    RunExistsError,
    RunFileError,
)
from seedwise.folder.directory import BEFORE_IT_BEGINS, GITIGNORE, RunDirectory
from seedwise.folder.owner import allowed_to_us, require_own

#: The variable that names the file of a script's runs, in a job of `seedwise submit` only.
NOTES_VARIABLE = "SEEDWISE_SUBMITTED_RUNS"
#: The variable that tells one start of one job from all others.
START_VARIABLE = "SEEDWISE_SUBMITTED_START"


def existing_run(path: str | Path) -> RunDirectory:
    """Return the folder of an existing run, or of an entry; raise NotARunError if it is none."""
    path = Path(path).expanduser().absolute()
    with allowed_to_us(path):
        try:
            (path / "meta.json").open("rb").close()
        except (FileNotFoundError, NotADirectoryError):
            missing = "meta.json, so this is not a run" if path.is_dir() else "such folder"
            raise NotARunError(path, f"there is no {missing}") from None
        return RunDirectory(path, run_of_entry(path))


def open_run_directory(run_root: Path, run_name: str | None, loss_name: str) -> RunDirectory:
    """Make the folder of a new run, such as ``walk_v0001``, or find the one of a run to resume."""
    root = run_root.expanduser().absolute()
    try:
        # Not for a group to write to, whatever the umask: it could put other folders in there.
        root.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        allowed = "a folder, or where one can be made"
        raise OptionError("run_root", str(root), allowed, f"The system says: {error}") from error
    if run_name is None:
        path = _next_free(root, _stem(loss_name))
    else:
        path = root / run_name
        with contextlib.suppress(FileExistsError):
            make_own_folder(path)
    directory = RunDirectory(path)
    if (parent := run_of_entry(path)) is not None:
        raise EntryOfARunError(path, parent.path)
    if path.is_dir():
        require_own(path)
    if not directory.has_begun:
        if not is_unborn(path):
            raise RunExistsError(path)
        directory.furnish()
    return directory


def unfinished_run(
    run_root: Path, loss_name: str, kind: str, suffix: str = ""
) -> RunDirectory | None:
    """Return the newest of the loss's runs that got a number, if it is unfinished."""
    root = run_root.expanduser().absolute()
    numbers = _numbers(root, _stem(f"{loss_name}{suffix}")) if root.is_dir() else {}
    for number in sorted(numbers, reverse=True):
        directory = RunDirectory(root / numbers[number])
        if directory.has_begun:
            try:
                meta = directory.read_meta()
            except (NotARunError, OSError):
                return None
            if meta.get("loss_name") != loss_name:  # "fit p1" and "fit_p1" have the same folders
                continue
            can_be_resumed = meta.get("kind") == kind and "completed_at_utc" not in meta
            return directory if can_be_resumed else None
    return None


def run_of_entry(path: Path) -> RunDirectory | None:
    """Return the run that a folder is an entry of; None if it is not an entry."""
    parent = RunDirectory(path.parent.parent)
    return parent if parent.entries == path.parent and parent.has_begun else None


def is_unborn(path: Path) -> bool:
    """Tell whether a folder is empty, or holds only what is made before a run begins."""
    if not path.is_dir():
        return False
    for entry in path.iterdir():
        made_aside = re.fullmatch(r"\.(.+?)\.[0-9a-f]+\.new", entry.name)
        if entry.name == "slurm":
            ours = entry.is_dir() and not any(entry.iterdir())
        elif entry.name == ".gitignore":
            ours = entry.read_bytes() == GITIGNORE
        elif made_aside is not None:
            ours = made_aside[1] in BEFORE_IT_BEGINS | {"meta.json"}
        else:
            ours = entry.name in BEFORE_IT_BEGINS
        if not ours:
            return False
    return True


def _stem(loss_name: str) -> str:
    return re.sub(r"^-|[^A-Za-z0-9._-]", "_", loss_name)


def _numbers(root: Path, stem: str) -> dict[int, str]:
    """Return the names of the folders that were numbered, by their numbers."""
    pattern = re.compile(rf"{re.escape(stem)}_v(\d{{4,}})")
    found = (pattern.fullmatch(entry.name) for entry in root.iterdir())
    return {int(match[1]): match[0] for match in found if match is not None}


def _next_free(root: Path, stem: str) -> Path:
    number = max(_numbers(root, stem), default=0)
    while True:
        number += 1
        path = root / f"{stem}_v{number:04d}"
        with contextlib.suppress(FileExistsError):  # another run took the number in this moment
            make_own_folder(path)
            return path


def entry_directory(parent: RunDirectory, label: str) -> RunDirectory:
    """Return the folder of an entry; it is made if there is none."""
    path = parent.entries / label
    with writing(parent.entries):
        parent.entries.mkdir(mode=0o700, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    return RunDirectory(path, parent)


@attrs.frozen
class Call:
    """A call that begins a run, or resumes one; a job of `seedwise submit` notes its run.

    The next job runs the script again from its first line, so a call without a `run_name` would
    begin another run. Each call notes its run, and the same call in a later job takes it up. A
    later job may leave calls out, so it would not be known which of two equal calls is which: that
    is refused.
    """

    run_root: str
    #: None is the next free number.
    run_name: str | None
    loss_name: str
    #: What decides its results, but for the code of the loss: that is compared with the run's.
    options: str
    argv: list[str] = attrs.field(factory=lambda: list(sys.argv))

    def run_before(self, name_keyword: str) -> str | None:
        """Return the name of its run in an earlier job; refuse equal calls without a name."""
        path, start = _place()
        if path is None:
            return None
        mine = [note for note in read_lines(path) if note.get("call") == attrs.asdict(self)]
        if self.run_name is None and any(note["start"] == start for note in mine):
            allowed = "a name for each of several equal calls in a submitted script"
            hint = "Without it, the next job could not tell which run is which call's."
            raise OptionError(name_keyword, None, allowed, hint)
        return mine[-1]["run"] if mine else None

    def note(self, run_dir: Path) -> None:
        """Note the run that it has; does nothing elsewhere than in such a job."""
        path, start = _place()
        if path is None:
            return
        note = {"start": start, "call": attrs.asdict(self), "run": run_dir.name}
        try:
            append_lines(path, [note], durable=True)
        except OSError as error:
            raise RunFileError(path, error.strerror or str(error), run_dir) from error


def _place() -> tuple[Path | None, str]:
    path = os.environ.get(NOTES_VARIABLE)
    return Path(path) if path else None, os.environ.get(START_VARIABLE, "")
