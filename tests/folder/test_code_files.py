"""The copies of the user's code: written once, private, and refused if they were changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from seedwise.errors import NotARunError, RunFileError
from seedwise.folder.directory import RunDirectory, drop_code, read_code, write_code

FILES = {
    "project/fit.py": b"import pkg\n",
    "project/pkg/__init__.py": b"",
    "project/pkg/deep/data.bin": bytes(range(256)),
}
HASHES = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "run"
    path.mkdir(mode=0o700)
    return RunDirectory(path)


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o022])
def test_what_was_written_is_read_and_is_private(umask, directory):
    before = os.umask(umask)
    try:
        write_code(directory, "v1", FILES)
    finally:
        os.umask(before)
    assert read_code(directory, "v1", HASHES) == FILES
    modes = {
        path.relative_to(directory.code): path.stat().st_mode & 0o777
        for path in directory.code.rglob("*")
    }
    assert {mode for path, mode in modes.items() if (directory.code / path).is_file()} == {0o600}
    # Nobody else comes as far as the folders in it.
    assert [modes[Path("v1")], directory.code.stat().st_mode & 0o777] == [0o700, 0o700]
    assert [path.name for path in directory.code.iterdir()] == ["v1"]


def test_a_part_of_it_can_be_read(directory):
    write_code(directory, "v1", FILES)
    part = {"project/fit.py": HASHES["project/fit.py"]}
    assert read_code(directory, "v1", part) == {"project/fit.py": b"import pkg\n"}


def test_no_files_at_all(directory):
    write_code(directory, "v1", {})
    assert (directory.code / "v1").is_dir()
    assert read_code(directory, "v1", {}) == {}


def edit(path):
    path.write_bytes(b"import os\n")


def tear(path):
    os.truncate(path, 3)


def remove(path):
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (edit, r"fit\.py is not the code that the run began with: it is a copy, and was changed"),
        (tear, "is not the code that the run began with"),
        (remove, r"there is no fit\.py"),
        (lambda path: path.chmod(0o622), "others could have put a program into it"),
    ],
)
def test_a_copy_that_was_changed_is_refused_until_it_is_written_again(damage, problem, directory):
    write_code(directory, "v1", FILES)
    damage(directory.code / "v1" / "project" / "fit.py")
    with pytest.raises(NotARunError, match=problem) as caught:
        read_code(directory, "v1", HASHES)
    assert caught.value.run_dir == directory.path
    if damage in (edit, tear, remove):
        write_code(directory, "v1", FILES)
        assert read_code(directory, "v1", HASHES) == FILES
        assert [path.name for path in directory.code.iterdir()] == ["v1"]


def test_what_is_there_is_not_written_again(directory):
    write_code(directory, "v1", FILES)
    before = (directory.code / "v1").stat().st_ino
    write_code(directory, "v1", FILES)
    write_code(directory, "v1", {})  # as of a run that is resumed from its folder
    assert (directory.code / "v1").stat().st_ino == before
    assert read_code(directory, "v1", HASHES) == FILES


def test_versions_lie_side_by_side(directory):
    write_code(directory, "v1", FILES)
    write_code(directory, "v2", {"project/fit.py": b"import other\n"})
    assert read_code(directory, "v1", HASHES) == FILES
    drop_code(directory, "v1")
    drop_code(directory, "never there")
    assert [path.name for path in directory.code.iterdir()] == ["v2"]


def test_a_folder_that_can_not_be_written_to_is_told(directory):
    directory.code.write_text("a file")
    with pytest.raises(RunFileError, match="code"):
        write_code(directory, "v1", FILES)


def test_a_version_that_was_not_finished_is_swept_away(directory, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("seedwise.folder.directory.replace_file", fail)
        with pytest.raises(RunFileError, match="No space left"):
            write_code(directory, "v1", FILES)
    assert not (directory.code / "v1").exists()
    write_code(directory, "v1", FILES)
    directory.sweep()
    assert [path.name for path in directory.code.iterdir()] == ["v1"]
