"""The note of a trial at which a study stopped; it is there before the study is told of it."""

from __future__ import annotations

import base64
import pickle

import attrs

from seedwise.folder.directory import RunDirectory

#: Of an entry that failed otherwise than at a trial.
NO_TRIAL = -1


@attrs.frozen
class StopNote:
    """Why a study stopped."""

    #: The trial at whose failure it stopped; -1 if it was something else.
    number: int
    #: The error.
    error: Exception
    #: Whether the user was told, so that the study goes on when it is called again. A driver that
    #: was killed before that is not to make a difference.
    seen: bool = False


def write_stop_note(directory: RunDirectory, note: StopNote) -> None:
    """Write the note into the folder of a run, or of an entry."""
    text = f"{type(note.error).__name__}: {note.error}"
    try:
        pickled = pickle.dumps(note.error)
        pickle.loads(pickled)
    except Exception:  # an exception of somebody else's
        pickled = pickle.dumps(RuntimeError(text))
    directory.write_failure(
        {
            "trial": note.number,
            "seen": note.seen,
            "error": text,
            "pickled": base64.b64encode(pickled).decode("ascii"),
        }
    )


def read_stop_note(directory: RunDirectory) -> StopNote | None:
    """Read the note; None if the study did not stop."""
    found = directory.read_failure()
    if not found:
        return None
    try:
        error: Exception = pickle.loads(base64.b64decode(found["pickled"]))
    except Exception:  # of a package that is gone, or has changed
        error = RuntimeError(found["error"])
    return StopNote(found["trial"], error, found["seen"])
