"""The note of why a study stopped, which is written before the study is told of the failure."""

from __future__ import annotations

import base64
import pickle

import attrs

from seedwise.folder.directory import RunDirectory

#: The number in a note of an entry that did not fail at a trial.
NO_TRIAL = -1


@attrs.frozen
class StopNote:
    """Why a study stopped."""

    #: The trial at whose failure it stopped; `NO_TRIAL` if it was something else.
    number: int
    error: Exception
    #: Whether the user was told, so that the next call resumes the study. A driver that was killed
    #: before that makes no difference.
    seen: bool = False


def write_stop_note(directory: RunDirectory, note: StopNote) -> None:
    """Write the note into the folder of a run, or of an entry."""
    text = f"{type(note.error).__name__}: {note.error}"
    try:
        pickled = pickle.dumps(note.error)
        pickle.loads(pickled)
    except Exception:  # the loss's own exception may not be picklable
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
    except Exception:  # its package is gone, or has changed
        error = RuntimeError(found["error"])
    return StopNote(found["trial"], error, found["seen"])
