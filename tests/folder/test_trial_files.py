"""Folders of trials: what was accepted ends up there, whole and once, whenever a driver dies."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedwise.errors import RunFileError
from seedwise.folder.trial_files import TrialFolders, artifacts

ABOUT = {"number": 7, "params": {"x": 0.1, "kind": "ä"}, "entry_id": "s01"}


def attempt(number: int, position: int, letter: str = "a") -> str:
    return f"trial_{number:03d}-{position}-{letter * 8}"


A, B, C = attempt(7, 0, "a"), attempt(7, 16, "b"), attempt(7, 32, "c")
OTHER = attempt(70, 0, "d")
#: What evaluations of a trial wrote, with names that meet in each way.
WRITTEN = {
    A: {"plot.png": "A", "log": "A", "only-a": "A", "sub/deep/x.txt": "A", "sub/y": "A"},
    B: {"plot.png": "B", "log/file": "B", "sub/deep/x.txt": "B", "sub/z": "B", ".dot": "B"},
    C: {"plot.png": "C", "log": "C", "sub": "C", ".dot": "C", "only-a/c": "C"},
}
SETTLED = {
    "plot.png": "A",
    "plot.from-16.png": "B",
    "plot.from-32.png": "C",
    "log": "A",
    "log.from-16/file": "B",
    "log.from-32": "C",
    "only-a": "A",
    "only-a.from-32/c": "C",
    "sub/deep/x.txt": "A",
    "sub/deep/x.from-16.txt": "B",
    "sub/y": "A",
    "sub/z": "B",
    "sub.from-32": "C",
    ".dot": "B",
    ".dot.from-32": "C",
}


@pytest.fixture
def run_dir(tmp_path):
    path = tmp_path / "run"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def folders(run_dir):
    return TrialFolders(run_dir, 3)


def write(run_dir, written) -> None:
    """Write files as the evaluations of a loss do."""
    for folder, files in written.items():
        place = run_dir / "trials" / ".attempts" / folder
        place.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)


def tree(folder: Path) -> dict[str, str]:
    """Return files with their texts, links with their targets; empty folders end in /."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(place, name)
            key = str(path.relative_to(folder))
            if path.is_symlink():
                found[key] = f"-> {path.readlink()}"
            elif path.is_file():
                found[key] = path.read_text()
            elif not any(path.iterdir()):
                found[f"{key}/"] = ""
    return found


def about(run_dir, stem: str = "trial_007") -> dict:
    return json.loads((run_dir / "trials" / f"{stem}.json").read_text())


def attempts(run_dir) -> list[str]:
    return sorted(path.name for path in (run_dir / "trials" / ".attempts").iterdir())


# Names.


@pytest.mark.parametrize(
    ("digits", "number", "stem"),
    [(3, 7, "trial_007"), (1, 7, "trial_7"), (3, 12345, "trial_12345"), (2, 0, "trial_00")],
)
def test_names_have_digits_of_a_length_or_more(digits, number, stem, run_dir):
    assert TrialFolders(run_dir, digits).stem(number) == stem


def test_the_folder_for_evaluations_is_absolute(run_dir, monkeypatch):
    monkeypatch.chdir(run_dir.parent)
    folders = TrialFolders(Path("run"), 3)
    assert folders.attempts_dir == str(run_dir / "trials" / ".attempts")
    write(run_dir, {A: {"x": "A"}})
    folders.settle(7, [A], ABOUT)
    assert artifacts(Path("run")) == {7: (run_dir / "trials" / "trial_007" / "x",)}


# Settling.


def test_where_nothing_was_written_nothing_is_made(folders, run_dir):
    folders.settle(7, [], ABOUT)
    folders.settle(8, [attempt(8, 0)], ABOUT)  # the loss removed it again
    folders.close()
    assert list(run_dir.iterdir()) == []
    assert artifacts(run_dir) == {}


def test_a_single_folder_is_moved_as_it_is(folders, run_dir):
    write(run_dir, {A: WRITTEN[A]})
    inode = (run_dir / "trials" / ".attempts" / A).stat().st_ino
    folders.settle(7, [A], ABOUT)
    settled = run_dir / "trials" / "trial_007"
    assert tree(settled) == WRITTEN[A]
    assert settled.stat().st_ino == inode
    assert about(run_dir) == {**ABOUT, "evaluations": [A]}
    assert stat.S_IMODE((run_dir / "trials" / "trial_007.json").stat().st_mode) == 0o600
    assert attempts(run_dir) == []


def test_several_folders_are_put_together_and_no_file_is_lost(folders, run_dir):
    write(run_dir, WRITTEN)
    folders.settle(7, [A, B, C], ABOUT)
    assert tree(run_dir / "trials" / "trial_007") == SETTLED
    assert about(run_dir) == {**ABOUT, "evaluations": [A, B, C]}
    assert attempts(run_dir) == []


def test_names_that_are_taken_twice_are_counted(folders, run_dir):
    """As of a failed trial, whose last attempts may be of the same seeds."""
    names = [attempt(7, 16, letter) for letter in "abcd"]
    write(run_dir, {name: {"a.b.c": name[-1], "x": name[-1]} for name in names})
    folders.settle(7, names, ABOUT)
    assert tree(run_dir / "trials" / "trial_007") == {
        "a.b.c": "a",
        "a.b.from-16.c": "b",
        "a.b.from-16-2.c": "c",
        "a.b.from-16-3.c": "d",
        "x": "a",
        "x.from-16": "b",
        "x.from-16-2": "c",
        "x.from-16-3": "d",
    }


def test_what_was_not_accepted_is_removed_and_other_trials_are_left_alone(folders, run_dir):
    write(run_dir, {**WRITTEN, OTHER: {"x": "other"}, "notes": {"x": "mine"}})
    (run_dir / "trials" / ".attempts" / "trial_007-stray").write_text("stray")
    folders.settle(7, [B], ABOUT)
    assert tree(run_dir / "trials" / "trial_007") == WRITTEN[B]
    assert attempts(run_dir) == ["notes", OTHER]
    folders.settle(70, [], ABOUT)
    assert attempts(run_dir) == ["notes"]
    assert not (run_dir / "trials" / "trial_070").exists()


def test_an_empty_folder_is_kept(folders, run_dir):
    write(run_dir, {A: {}})
    folders.settle(7, [A], ABOUT)
    assert tree(run_dir / "trials") == {
        ".attempts/": "",
        "trial_007/": "",
        "trial_007.json": (run_dir / "trials" / "trial_007.json").read_text(),
    }


@pytest.mark.parametrize(
    "name", ["../x", "/etc", "", ".", OTHER, "trial_007", "trial_007-0-a", f"{A}/x", f"{A}\n"]
)
def test_a_name_that_is_not_an_evaluations_is_refused(name, folders, run_dir):
    write(run_dir, WRITTEN)
    before = tree(run_dir)
    with pytest.raises(ValueError, match="not a folder of an evaluation of trial 7"):
        folders.settle(7, [A, name], ABOUT)
    assert tree(run_dir) == before


def test_a_folder_that_can_not_be_moved_is_told(folders, run_dir, monkeypatch):
    def broken(*_):
        raise OSError(28, os.strerror(28))

    write(run_dir, WRITTEN)
    monkeypatch.setattr(os, "rename", broken)
    with pytest.raises(RunFileError, match="No space left") as caught:
        folders.settle(7, [A], ABOUT)
    assert f"seedwise resume {run_dir}" in str(caught.value)


def test_names_that_are_no_unicode_are_moved(folders, run_dir):
    name = os.fsdecode(b"\xff\xfe.txt")
    write(run_dir, {A: {name: "A"}, B: {name: "B"}})
    folders.settle(7, [A, B], ABOUT)
    assert sorted(tree(run_dir / "trials" / "trial_007").values()) == ["A", "B"]


FILES = st.dictionaries(
    st.sampled_from(["a", "b.txt", "c/a", "c/b.txt", "c/d/a", "e/a", "b.from-16.txt"]),
    st.text("xyz", max_size=3),
    max_size=6,
)


@given(contents=st.lists(FILES, min_size=1, max_size=4))
def test_whatever_is_written_all_of_it_is_there(contents, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("run")
    names = [attempt(7, 16 * index, "abcd"[index]) for index in range(len(contents))]
    written = dict(zip(names, contents, strict=True))
    write(run_dir, written)
    TrialFolders(run_dir, 3).settle(7, names, ABOUT)
    found = tree(run_dir / "trials" / "trial_007")
    texts = [text for files in contents for text in files.values()]
    assert sorted(text for name, text in found.items() if name[-1] != "/") == sorted(texts)
    assert found.items() >= contents[0].items()
    shutil.rmtree(run_dir)


# Drivers that die.


class KilledError(BaseException):
    pass


CHANGES = ["rename", "replace", "unlink", "rmdir", "mkdir", "open"]


@contextlib.contextmanager
def dying(count: int, after: bool):
    """Have the driver die at one of the calls that change a folder, before or after it."""
    calls = itertools.count()

    def deadly(call):
        def changed(*args, **keywords):
            if next(calls) != count:
                return call(*args, **keywords)
            if after:
                with contextlib.suppress(OSError):
                    call(*args, **keywords)
            raise KilledError

        return changed

    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGES:
            patch.setattr(os, name, deadly(getattr(os, name)))
        yield


def prepared(run_dir, case: str) -> tuple[TrialFolders, list[str]]:
    """Make the files from before trial 7 is settled; return its accepted folders."""
    folders = TrialFolders(run_dir, 3)
    if case == "again":
        earlier = [attempt(7, 0, "e"), attempt(7, 16, "f")]
        write(run_dir, {name: {"plot.png": "old", "old": "old"} for name in earlier})
        folders.settle(7, earlier, {**ABOUT, "params": {"x": 9}})
    if case == "again, nothing":
        write(run_dir, {attempt(7, 0, "e"): {"plot.png": "old"}})
        folders.settle(7, [attempt(7, 0, "e")], ABOUT)
        return folders, []
    write(run_dir, WRITTEN)
    return folders, [A] if case == "one" else [A, B, C]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("case", ["one", "several", "again", "again, nothing"])
def test_a_driver_that_dies_anywhere_leaves_what_the_same_call_completes(case, after, tmp_path):
    undisturbed = tmp_path / "undisturbed"
    folders, accepted = prepared(undisturbed, case)
    folders.settle(7, accepted, ABOUT)
    expected = tree(undisturbed)
    if case != "again, nothing":
        settled = SETTLED if case != "one" else WRITTEN[A]
        assert tree(undisturbed / "trials" / "trial_007") == settled
        assert about(undisturbed) == {**ABOUT, "evaluations": accepted}
    for count in itertools.count():
        run_dir = tmp_path / str(count)
        folders, accepted = prepared(run_dir, case)
        try:
            with dying(count, after):
                folders.settle(7, accepted, ABOUT)
        except KilledError:
            with contextlib.suppress(KilledError), dying(count // 2, after):
                folders.settle(7, accepted, ABOUT)  # it dies again
            folders.settle(7, accepted, ABOUT)
            assert tree(run_dir) == expected, f"at call {count}"
        else:
            break
        shutil.rmtree(run_dir)
    assert count > {"one": 5, "several": 20, "again": 20, "again, nothing": 3}[case]


def test_to_settle_once_more_changes_nothing(folders, run_dir):
    write(run_dir, WRITTEN)
    folders.settle(7, [A, B, C], ABOUT)
    settled = tree(run_dir)
    folders.close()
    folders.settle(7, [A, B, C], ABOUT)
    assert tree(run_dir) == {name: text for name, text in settled.items() if ".att" not in name}


# Trials that are evaluated again.


def test_a_folder_of_an_earlier_evaluation_makes_way(folders, run_dir):
    write(run_dir, {A: {"plot.png": "A", "old": "A"}})
    folders.settle(7, [A], ABOUT)
    write(run_dir, {B: {"plot.png": "B"}})
    folders.settle(7, [B], {**ABOUT, "params": {"x": 2}})
    assert tree(run_dir / "trials" / "trial_007") == {"plot.png": "B"}
    assert about(run_dir) == {**ABOUT, "params": {"x": 2}, "evaluations": [B]}
    assert attempts(run_dir) == []


def test_a_folder_of_an_earlier_evaluation_makes_way_for_none(folders, run_dir):
    write(run_dir, {A: {"plot.png": "A"}})
    folders.settle(7, [A], ABOUT)
    folders.settle(7, [], ABOUT)
    folders.close()
    assert not (run_dir / "trials").exists()


def test_what_is_accepted_of_the_same_evaluations_comes_to_what_is_there(folders, run_dir):
    """As when the ledger lost its end in a power cut, and a chunk was evaluated once more."""
    write(run_dir, {A: {"x": "A"}, B: {"y": "B"}})
    folders.settle(7, [A, B], ABOUT)
    write(run_dir, {C: {"y": "C"}})
    folders.settle(7, [A, C], ABOUT)
    found = tree(run_dir / "trials" / "trial_007")
    assert found == {"x": "A", "y": "B", "y.from-32": "C"}


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"evaluations": 3}'])
def test_files_of_unknown_evaluations_are_kept(text, folders, run_dir):
    write(run_dir, {A: {"x": "A"}})
    folders.settle(7, [A], ABOUT)
    about_file = run_dir / "trials" / "trial_007.json"
    about_file.unlink() if text is None else about_file.write_text(text)
    write(run_dir, {B: {"x": "B"}})
    folders.settle(7, [B], ABOUT)
    assert tree(run_dir / "trials" / "trial_007") == {"x": "A", "x.from-16": "B"}
    assert about(run_dir)["evaluations"] == [B]


# Links.


@pytest.fixture
def outside(tmp_path):
    """A folder of something else."""
    path = tmp_path / "outside"
    write(path, {attempt(7, 0, "a"): {"x": "mine"}})
    (path / "sub").mkdir()
    (path / "sub" / "deep").write_text("mine")
    return path


def test_links_are_moved_as_links(folders, run_dir, outside):
    write(run_dir, {A: {"x": "A"}, B: {"sub/y": "B", "x/y": "B"}})
    before = tree(outside)
    (run_dir / "trials" / ".attempts" / A / "sub").symlink_to(outside / "sub")
    (run_dir / "trials" / ".attempts" / B / "link").symlink_to(outside)
    (run_dir / "trials" / ".attempts" / B / "broken").symlink_to("gone")
    folders.settle(7, [A, B], ABOUT)
    assert tree(run_dir / "trials" / "trial_007") == {
        "x": "A",
        "sub": f"-> {outside / 'sub'}",
        "sub.from-16/y": "B",
        "x.from-16/y": "B",
        "link": f"-> {outside}",
        "broken": "-> gone",
    }
    assert tree(outside) == before
    assert sorted(path.name for path in artifacts(run_dir)[7]) == ["broken", "x", "y", "y"]


def test_what_is_removed_ends_at_links(folders, run_dir, outside):
    write(run_dir, {A: {"x": "A"}, B: {"x": "B"}})
    before = tree(outside)
    planted = run_dir / "trials" / ".attempts"
    (planted / B / "sub").symlink_to(outside)
    (planted / C).symlink_to(outside)
    (planted / "trial_007-x").symlink_to(outside)
    (planted / "other").symlink_to(outside)
    folders.settle(7, [A, C], ABOUT)  # C is not a folder, but a link that a loss put in its place
    assert tree(run_dir / "trials" / "trial_007") == {"x": "A"}
    assert attempts(run_dir) == ["other"]
    folders.close()
    assert not planted.exists()
    assert tree(outside) == before


@pytest.mark.parametrize("accepted", [[], [A], [B]])
def test_a_link_in_place_of_the_evaluations_is_not_followed(accepted, folders, run_dir, outside):
    write(run_dir, {A: {"x": "A"}})
    folders.settle(7, [A], ABOUT)
    before = tree(outside)
    planted = run_dir / "trials" / ".attempts"
    planted.rmdir()
    planted.symlink_to(outside / "trials" / ".attempts")
    folders.settle(7, accepted, {**ABOUT, "params": {}})
    folders.close()
    assert tree(outside) == before
    assert not planted.is_symlink()


def test_a_link_in_place_of_a_trials_folder_is_kept_as_a_link(folders, run_dir, outside):
    write(run_dir, {A: {"sub/deep": "A"}, B: {"sub/deep": "B"}})
    before = tree(outside)
    (run_dir / "trials" / "trial_007").symlink_to(outside)
    folders.settle(7, [A, B], ABOUT)
    assert tree(run_dir / "trials" / "trial_007") == {"sub/deep": "A", "sub/deep.from-16": "B"}
    assert (run_dir / "trials" / "trial_007.from-0").readlink() == outside
    assert tree(outside) == before
    assert len(artifacts(run_dir)[7]) == 2


# Losses that continue to write.


def test_what_is_still_written_to_is_removed_without_an_error(folders, run_dir):
    write(run_dir, {A: {"x": "A"}})
    abandoned = run_dir / "trials" / ".attempts" / B
    stop, wrote = threading.Event(), threading.Event()

    def straggle():
        for count in itertools.count():
            if stop.wait(0.0005):
                return
            with contextlib.suppress(OSError):
                abandoned.mkdir(parents=True, exist_ok=True)
                (abandoned / f"{count}").write_text("late")
                wrote.set()

    threads = [threading.Thread(target=straggle) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert wrote.wait(30)
        for _ in range(20):
            folders.settle(7, [A], ABOUT)
        folders.close()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    folders.close()
    assert tree(run_dir / "trials" / "trial_007") == {"x": "A"}
    assert not abandoned.exists()


# Closing, and what is there.


def test_at_the_end_only_what_was_settled_is_left(folders, run_dir):
    write(run_dir, {A: {"x": "A"}, OTHER: {"x": "other"}})
    folders.settle(7, [A], ABOUT)
    folders.close()
    assert sorted(tree(run_dir)) == ["trials/trial_007.json", "trials/trial_007/x"]
    folders.close()


def test_artifacts_are_files_by_number(run_dir):
    folders = TrialFolders(run_dir, 2)
    for number in (100, 9, 10):
        name = attempt(number, 0)
        write(run_dir, {name: {"b": "", "a/c": "", "a/b/d": ""}})
        folders.settle(number, [name], {"number": number})
    write(run_dir, {attempt(11, 0): {"x": ""}})
    (run_dir / "trials" / "trial_12").write_text("no folder")
    (run_dir / "trials" / "notes").mkdir()
    trials = run_dir / "trials"
    expected = {
        number: tuple(trials / f"trial_{number:02d}" / name for name in ("a/b/d", "a/c", "b"))
        for number in (9, 10, 100)
    }
    assert artifacts(run_dir) == expected
    assert list(artifacts(run_dir)) == [9, 10, 100]
