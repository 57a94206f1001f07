"""The note of a trial at which a study stopped; it is there before the study is told of it."""

from __future__ import annotations

import pickle

import attrs

from seedwise.run.directory import RunDirectory

__all__ = ["NO_TRIAL", "StopNote", "read_stop_note", "write_stop_note"]

#: Of an entry that failed otherwise than at a trial.
NO_TRIAL = -1


@attrs.frozen
class StopNote:
    """Why a study stopped.

    Attributes
    ----------
    number : int
        The trial at whose failure it stopped; -1 if it was something else.
    error : Exception
        The error.
    seen : bool
        Whether the user was told, so that the study goes on when it is called again. A driver that
        was killed before that is not to make a difference.
    """

    number: int
    error: Exception
    seen: bool = False


def write_stop_note(directory: RunDirectory, note: StopNote) -> None:
    """Write the note into the folder of a run, or of an entry."""
    try:
        pickled = pickle.dumps(note)
        pickle.loads(pickled)
    except Exception:  # an exception of somebody else's
        error = RuntimeError(f"{type(note.error).__name__}: {note.error}")
        pickled = pickle.dumps(attrs.evolve(note, error=error))
    directory.write_failure(pickled)


def read_stop_note(directory: RunDirectory) -> StopNote | None:
    """Read the note; None if the study did not stop."""
    pickled = directory.read_failure()
    if pickled is None:
        return None
    note: StopNote = pickle.loads(pickled)
    return note
