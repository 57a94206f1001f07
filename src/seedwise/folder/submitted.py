"""The runs that a script begins in a job of `seedwise submit`: its next job resumes them.

The next job runs the script again from its first line, so a call without a `run_name` would begin
another run. Each call notes its run, and the same call in a later job takes it up. A later job may
leave calls out, so it would not be known which of two equal calls is which: that is refused.
"""

import os
import sys
from pathlib import Path

import attrs

from seedwise.disk.files import append_lines, read_lines
from seedwise.errors import OptionError, RunFileError

#: The variable that names the file of these notes; it is set in such a job only.
NOTES_VARIABLE = "SEEDWISE_SUBMITTED_RUNS"
#: The variable that tells one start of one job from all others.
START_VARIABLE = "SEEDWISE_SUBMITTED_START"


@attrs.frozen
class Call:
    """A call that begins a run, or resumes one."""

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
