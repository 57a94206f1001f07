"""The note of why a study stopped, which is written before the study is told of the failure."""

from pathlib import Path

import attrs

from seedwise import errors
from seedwise.errors import SeedwiseError
from seedwise.errors.base import rebuilt
from seedwise.folder.directory import RunDirectory

#: The number in a note of an entry that did not fail at a trial.
NO_TRIAL = -1

_PATHS = ("path", "run_dir")


@attrs.frozen
class StopNote:
    """Why a study stopped."""

    #: The trial at whose failure it stopped; `NO_TRIAL` if it was something else.
    number: int
    error: SeedwiseError
    #: Whether the user was told, so that the next call resumes the study. A driver that was killed
    #: before that makes no difference.
    seen: bool = False


def write(directory: RunDirectory, note: StopNote) -> None:
    """Write the note into the folder of a run, or of an entry."""
    error = note.error
    said = {"trial": note.number, "seen": note.seen, "error": type(error).__name__}
    directory.failure.write({**said, "text": str(error), "data": vars(error)})


def read(directory: RunDirectory) -> StopNote | None:
    """Read the note; None if the study did not stop. Nothing in it is run as a program."""
    found = directory.failure.read()
    if not found:
        return None
    kind, text = getattr(errors, found["error"], None), found.get("text", found["error"])
    error = SeedwiseError(text)  # of a kind that an earlier version wrote
    if isinstance(kind, type) and issubclass(kind, SeedwiseError):
        data = found["data"].items()
        error = rebuilt(kind, (text,), {k: Path(v) if k in _PATHS else v for k, v in data})
    return StopNote(found["trial"], error, found["seen"])


def note_seen(directory: RunDirectory) -> None:
    """Have the study go on after the trial at which it stopped, when it is called again."""
    note = read(directory)
    if note is not None and not note.seen:
        write(directory, attrs.evolve(note, seen=True))
