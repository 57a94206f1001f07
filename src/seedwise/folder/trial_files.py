"""The folders of files that losses wrote: one for each trial, from those of its evaluations.

An evaluation of a chunk writes to a folder of its own, ``trials/.attempts/trial_007-32-0f1e2d3c``,
where 32 is the position of its first seed and the rest is random. The accepted files of a trial
end up in ``trials/trial_007``. Beside it, ``trials/trial_007.json`` says what the trial is and
which evaluations the files are of.
"""

import contextlib
import json
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seedwise.disk.files import is_folder, remove, replace_file, writing

_ATTEMPT = re.compile(r"trial_([0-9]+)-([0-9]+)-[0-9a-f]{8}")
_LEFT_OVER = re.compile(r"trial_([0-9]+)-.*", re.DOTALL)
_TRIAL = re.compile(r"trial_([0-9]+)")
_EVALUATIONS = "evaluations"


class TrialFolders:
    """The owner of a run's ``trials/``, in which nothing is made before a loss makes it.

    Symbolic links, which losses may make, are moved and removed, and never followed.
    """

    def __init__(self, run_dir: Path, digits: int) -> None:
        self._trials = run_dir.absolute() / "trials"
        self._attempts = self._trials / ".attempts"
        #: Where evaluations write to, each in a folder of its own.
        self.attempts_dir = str(self._attempts)
        self._digits = digits

    def stem(self, number: int) -> str:
        """Return how the names of a trial begin, such as ``trial_007``."""
        return f"trial_{number:0{self._digits}d}"

    def settle(self, number: int, accepted: Sequence[str], about: Mapping[str, Any]) -> None:
        """Keep the files of a trial's accepted evaluations in its folder, and no others.

        To be called when the trial is decided and before it is told. If it is interrupted, the
        same call again completes it. `accepted` has the names of the evaluations' folders, in the
        order of the seeds. Of files of the same name and place the first keeps the name, and the
        others get the position of their evaluation's first seed: ``plot.from-32.png``.
        """
        positions = [_first_position(number, name) for name in accepted]
        folder = self._trials / self.stem(number)
        about_file = folder.with_name(f"{folder.name}.json")
        with writing(self._trials):
            earlier = _evaluations(about_file)
            if earlier and not earlier.intersection(accepted):
                if os.path.lexists(folder):  # in one step: it is there whole or not at all
                    self._make_attempts()
                    aside = f"{folder.name}-old-{uuid.uuid4().hex[:8]}"
                    folder.rename(self._attempts / aside)
                about_file.unlink(missing_ok=True)
            attempts = [self._attempts / name for name in accepted]
            if any(self._is_there(path) for path in attempts) or (accepted and is_folder(folder)):
                self._write_about(about_file, {**about, _EVALUATIONS: list(accepted)})
            for attempt, position in zip(attempts, positions, strict=True):
                if self._is_there(attempt):
                    _move_content(attempt, folder, position)
            for path in list(self._attempts.iterdir()) if is_folder(self._attempts) else ():
                match = _LEFT_OVER.fullmatch(path.name)
                if match is not None and int(match[1]) == number:
                    remove(path)

    def close(self) -> None:
        """Remove what evaluations left; to be called when all trials of the run are told."""
        remove(self._attempts)
        with contextlib.suppress(OSError):  # there are files, or there is no folder
            self._trials.rmdir()

    def _is_there(self, attempt: Path) -> bool:
        return is_folder(self._attempts) and is_folder(attempt)

    def _make_attempts(self) -> None:
        if not is_folder(self._attempts):
            remove(self._attempts)  # a link, say
        self._attempts.mkdir(mode=0o700, exist_ok=True)

    def _write_about(self, path: Path, content: Mapping[str, Any]) -> None:
        # Before any file is moved: it tells a half-filled folder from an earlier evaluation's.
        text = f"{json.dumps(content, indent=2, default=str)}\n".encode()
        with contextlib.suppress(OSError):
            if path.read_bytes() == text:
                return
        self._make_attempts()
        aside = self._attempts / f"{path.stem}-about-{uuid.uuid4().hex[:8]}"
        replace_file(path, text, durable=False, aside=aside)


def artifacts(run_dir: Path) -> dict[int, tuple[Path, ...]]:
    """Return the files that losses wrote, absolute and sorted, by numbers of settled trials."""
    found: dict[int, list[Path]] = {}
    with contextlib.suppress(FileNotFoundError):
        for path in (run_dir.absolute() / "trials").iterdir():
            match = _TRIAL.fullmatch(path.name)
            if match is not None and is_folder(path):
                files = found.setdefault(int(match[1]), [])
                files += [Path(place, name) for place, _, names in os.walk(path) for name in names]
    return {number: tuple(sorted(found[number])) for number in sorted(found)}


def _first_position(number: int, name: str) -> int:
    match = _ATTEMPT.fullmatch(name)
    if match is None or int(match[1]) != number:
        raise ValueError(f"{name!r} is not a folder of an evaluation of trial {number}")
    return int(match[2])


def _evaluations(about_file: Path) -> set[str]:
    """Return the evaluations that a trial's files are of; none if unknown."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return set(json.loads(about_file.read_bytes())[_EVALUATIONS])
    return set()


def _move_content(source: Path, target: Path, position: int) -> None:
    """Move a folder to a name; if that exists, its files into it, under marked names if taken."""
    if not os.path.lexists(target):
        source.rename(target)
        return
    if not is_folder(target):
        target.rename(_free(target, position))
        source.rename(target)
        return
    for path in sorted(source.iterdir()):
        place = target / path.name
        with contextlib.suppress(FileNotFoundError):  # what the loss left running took it away
            if not os.path.lexists(place):
                path.rename(place)
            elif is_folder(path) and is_folder(place):
                _move_content(path, place, position)
            else:
                path.rename(_free(place, position))


def _free(place: Path, position: int) -> Path:
    """Return a name like this one that is not taken."""
    free, count = place.with_name(f"{place.stem}.from-{position}{place.suffix}"), 1
    while os.path.lexists(free):
        count += 1
        free = place.with_name(f"{place.stem}.from-{position}-{count}{place.suffix}")
    return free
