"""What a situation is: a small project of a user's, and the value that its loss has by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

#: What follows a script: the loss of one point by hand, or a run with the options of OPTIONS, all
#: of whose trials are at this point.
GUARD = """

if __name__ == "__main__":
    import json
    import os

    point = {"x": 1.0}
    if "OPTIONS" in os.environ:
        options = json.loads(os.environ["OPTIONS"])
        sw.optimize_run(loss, trial_zero=point, enqueue=sw.manual([point, point]), **options)
    else:
        print([float(loss(point, seed)) for seed in range(2)])
"""


@attrs.frozen
class Situation:
    """A project that has a script with the name `sw` for seedwise and `loss` for the loss."""

    name: str
    #: The mean loss of seeds 0 and 1 at x = 1.0.
    value: float
    #: Texts, or the bytes of data files, by their path in the project's folder.
    files: Mapping[str, str | bytes]
    #: The file that is the script.
    script: str = "fit.py"
    #: What stands after ``python``; "-" gives the script on standard input, "-c" as an argument,
    #: and then it is not in the folder.
    command: tuple[str, ...] = ("fit.py",)
    #: The working directory, as seen from the project's folder.
    folder: str = "."
    #: Further keywords of the run.
    options: Mapping[str, Any] = {}

    @property
    def program(self) -> str:
        """The script's text, with what begins the run."""
        text = self.files[self.script]
        assert isinstance(text, str)
        return text + GUARD

    @property
    def written(self) -> dict[str, str | bytes]:
        """The files of the folder."""
        others = {path: file for path, file in self.files.items() if path != self.script}
        return others if self.command[0] in ("-", "-c") else {**others, self.script: self.program}
