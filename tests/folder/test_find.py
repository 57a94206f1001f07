"""Run folders that are made, found and removed; whatever else is there is left alone."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from seedwise.driver import cleaning
from seedwise.driver.cleaning import clean_run_directory
from seedwise.errors import (
    CleanRefusedError,
    NotARunError,
    OptionError,
    RunExistsError,
    RunLockedError,
)
from seedwise.folder.directory import RunDirectory
from seedwise.folder.find import (
    entry_directory,
    existing_run,
    open_run_directory,
    unfinished_run,
)
from seedwise.folder.lease import acquire_lease
from seedwise.slurm.commands import CommandError

RUN_ID = "0123456789abcdef" * 2


@pytest.fixture
def directory(tmp_path) -> RunDirectory:
    return open_run_directory(tmp_path, "mine", "walk")


def read(directory: RunDirectory, name: str):
    return json.loads((directory.path / name).read_text(encoding="utf-8"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_runs_are_numbered(tmp_path):
    names = [open_run_directory(tmp_path, None, "walk").name for _ in range(3)]
    assert names == ["walk_v0001", "walk_v0002", "walk_v0003"]


def test_the_newest_run_is_the_one_to_resume(tmp_path):
    def begin(**content):
        directory = open_run_directory(tmp_path, None, "walk")
        directory.meta.write({"kind": "run", "loss_name": "walk", **content})

    assert unfinished_run(tmp_path / "none", "walk", "run") is None
    begin()
    assert unfinished_run(tmp_path, "walk", "run").name == "walk_v0001"
    assert unfinished_run(tmp_path, "walk", "sweep") is None
    open_run_directory(tmp_path, None, "walk")  # no run has begun in it
    assert unfinished_run(tmp_path, "walk", "run").name == "walk_v0001"
    begin(completed_at_utc="2026-01-01T00:00:00+00:00")
    assert unfinished_run(tmp_path, "walk", "run") is None
    begin(loss_name="walk ")
    assert unfinished_run(tmp_path, "walk", "run") is None  # it is another loss's
    begin()
    (tmp_path / "walk_v0005" / "meta.json").write_text("{")
    assert unfinished_run(tmp_path, "walk", "run") is None


@pytest.mark.parametrize(
    ("taken", "name"),
    [
        (["walk_v0007", "walk_v0002"], "walk_v0008"),
        (["walk_v9999"], "walk_v10000"),
        (["walk_v10000", "walk_v9999"], "walk_v10001"),
        (["walk_v3", "walk_v0004_old", "walks_v0005", "old_walk_v0006"], "walk_v0001"),
    ],
)
def test_the_next_free_number_is_above_all_others(tmp_path, taken, name):
    for other in taken:
        (tmp_path / other).mkdir()
    assert open_run_directory(tmp_path, None, "walk").name == name


def test_a_file_takes_a_number_too(tmp_path):
    (tmp_path / "walk_v0001").touch()
    assert open_run_directory(tmp_path, None, "walk").name == "walk_v0002"


@pytest.mark.parametrize(
    ("loss_name", "name"),
    [
        ("a/b c", "a_b_c_v0001"),
        ("../up", ".._up_v0001"),
        ("größe$(x)\n", "gr__e__x___v0001"),
        ("a.b-c_D9", "a.b-c_D9_v0001"),
        ("-x-", "_x-_v0001"),
    ],
)
def test_odd_characters_of_a_loss_name_are_replaced(tmp_path, loss_name, name):
    assert open_run_directory(tmp_path, None, loss_name).path == tmp_path / name
    assert open_run_directory(tmp_path, None, loss_name).name == name[:-1] + "2"


def test_a_name_of_ones_own_is_kept(tmp_path):
    directory = open_run_directory(tmp_path, "my run, 2nd $try", "walk")
    assert directory.path == tmp_path / "my run, 2nd $try"
    assert directory.name == "my run, 2nd $try"


def snapshot(path: Path) -> dict[str, bytes | None]:
    return {
        str(entry.relative_to(path)): entry.read_bytes() if entry.is_file() else None
        for entry in path.rglob("*")
    }


@pytest.mark.parametrize("name", ["data.csv", "study.journal", "slurm.txt", "src/walk.py"])
def test_a_folder_that_holds_something_else_is_left_alone(tmp_path, name):
    path = tmp_path / "mine"
    (path / name).parent.mkdir(parents=True)
    (path / name).write_text("what somebody needs")
    before = snapshot(path)
    with pytest.raises(RunExistsError, match="mine already exists and holds no run") as caught:
        open_run_directory(tmp_path, "mine", "walk")
    assert caught.value.run_dir == path
    assert snapshot(path) == before


def test_a_file_of_that_name_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("what somebody needs")
    with pytest.raises(RunExistsError) as caught:
        open_run_directory(tmp_path, "mine", "walk")
    assert caught.value.run_dir == tmp_path / "mine"
    assert (tmp_path / "mine").read_text() == "what somebody needs"


@pytest.mark.parametrize("name", [".env", ".git/config", "slurm/job.sh"])
def test_what_is_not_ours_is_never_discarded(tmp_path, name):
    path = tmp_path / "mine" / name
    path.parent.mkdir(parents=True)
    path.write_text("what somebody needs")
    with contextlib.suppress(RunExistsError):
        open_run_directory(tmp_path, "mine", "walk").discard()
    assert path.exists()


def test_a_run_that_has_begun_is_found_and_nothing_of_it_changes(tmp_path):
    directory = open_run_directory(tmp_path, "mine", "walk")
    directory.meta.write({"n": 1})
    (directory.path / "data.csv").write_text("of the user's")
    before = snapshot(directory.path)
    assert open_run_directory(tmp_path, "mine", "another loss") == directory
    assert snapshot(directory.path) == before


def test_a_run_whose_driver_was_killed_before_it_began_is_begun_again(tmp_path):
    directory = open_run_directory(tmp_path, "mine", "walk")
    directory.parts.write({})
    for name in ("driver.lease", "driver.lease.lock", ".run.json.0a1b2c3d.new"):
        (directory.path / name).touch()
    assert not directory.has_begun
    assert open_run_directory(tmp_path, "mine", "walk") == directory


def test_a_root_that_can_not_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="Not a directory") as caught:
        open_run_directory(tmp_path / "file" / "runs", None, "walk")
    assert (caught.value.name, caught.value.value) == ("run_root", str(tmp_path / "file/runs"))


@pytest.mark.parametrize("as_type", [str, Path])
def test_an_existing_run_is_found(tmp_path, as_type, monkeypatch):
    directory = open_run_directory(tmp_path, "mine", "walk")
    directory.meta.write({})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (directory.path, "mine", "~/mine"):
        assert existing_run(as_type(path)) == directory


def test_what_is_no_run_is_refused(tmp_path):
    open_run_directory(tmp_path, "unborn", "walk")
    (tmp_path / "file").touch()
    for name, problem in (
        ("gone", "there is no such folder"),
        ("file", "there is no such folder"),
        ("unborn", "there is no meta.json, so this is not a run"),
    ):
        with pytest.raises(NotARunError, match=f"{name}: {problem}") as caught:
            existing_run(tmp_path / name)
        assert caught.value.run_dir == tmp_path / name


def test_a_relative_root_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_run_directory(Path("a/b"), None, "walk").path == tmp_path / "a/b/walk_v0001"


def test_a_root_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_run_directory(Path("~/r"), "x", "walk").path == tmp_path / "r/x"


@pytest.mark.parametrize("name", [None, "mine"])
def test_the_folder_is_its_owners_only_and_no_business_of_git(tmp_path, name):
    directory = open_run_directory(tmp_path, name, "walk")
    assert mode(directory.path) == 0o700
    assert mode(directory.log_dir) == 0o700
    assert (directory.path / ".gitignore").read_text() == "*\n"


def test_creators_that_race_get_folders_of_their_own(tmp_path):
    n_creators = 6
    barrier = Barrier(n_creators)

    def create(_) -> Path:
        barrier.wait()
        return open_run_directory(tmp_path, None, "walk").path

    with ThreadPoolExecutor(n_creators) as pool:
        paths = list(pool.map(create, range(n_creators)))
    assert len(set(paths)) == n_creators
    assert sorted(paths) == sorted(tmp_path.iterdir())


def test_creators_that_race_for_a_name_get_the_same_folder(tmp_path, monkeypatch):
    found, fsync = [], os.fsync

    def while_the_first_writes(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        found.append(open_run_directory(tmp_path, "mine", "walk"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", while_the_first_writes)
    found.append(open_run_directory(tmp_path, "mine", "walk"))
    assert found == [RunDirectory(tmp_path / "mine")] * 2
    assert read(found[0], "environment.json")["python"] == sys.version


def test_a_number_that_another_run_takes_in_this_moment_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "walk_v0001").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", lambda self: iter(()))  # seen before it was made
        path = open_run_directory(tmp_path, None, "walk").path
    assert path == tmp_path / "walk_v0002"


# Entries.


def test_the_folder_of_an_entry_is_made_once_in_that_of_its_run(directory):
    entry = entry_directory(directory, "anna")
    assert entry == RunDirectory(directory.path / "entries" / "anna", directory)
    assert mode(entry.path) == mode(directory.entries) == 0o700
    (entry.path / "data").touch()
    assert entry_directory(directory, "anna") == entry
    assert (entry.path / "data").exists()


def test_an_entry_is_found_with_the_run_that_it_is_of(directory):
    directory.meta.write({})
    entry = entry_directory(directory, "anna")
    entry.meta.write({})
    found = existing_run(entry.path)
    assert found == entry
    assert found.parent == directory
    assert existing_run(directory.path).parent is None


def test_a_folder_called_entries_makes_no_entry_of_a_run(tmp_path):
    directory = open_run_directory(tmp_path / "entries", "mine", "walk")
    directory.meta.write({})
    assert existing_run(directory.path).parent is None


def test_an_entry_that_has_not_begun_is_no_run(directory):
    directory.meta.write({})
    entry = entry_directory(directory, "anna")
    with pytest.raises(NotARunError, match="anna: there is no meta"):
        existing_run(entry.path)


# What is removed.


@pytest.fixture(autouse=True)
def cancelled(monkeypatch) -> list[str]:
    """Ids of the runs whose jobs were cancelled."""
    ids: list[str] = []
    monkeypatch.setattr(cleaning, "cancel_jobs", lambda run_id, **_: ids.append(run_id) or [])
    return ids


def begun(directory: RunDirectory) -> RunDirectory:
    """Fill the folder as a run does that was worked on, and as its user may do."""
    directory.meta.write({"run_id": RUN_ID})
    directory.parts.write({})
    directory.summary.write({"n_told": 3})
    directory.ledger.write_bytes(b"results")
    directory.study_file.write_bytes(b"trials")
    entry_directory(directory, "anna").meta.write({})
    (directory.path / "slurm" / "job.err").write_text("a log")
    (directory.path / "trials" / "trial_000").mkdir(parents=True)
    (directory.path / "plot.pdf").write_text("of the user's")
    return directory


def test_a_run_is_removed_and_can_be_begun_anew(directory, cancelled):
    clean_run_directory(begun(directory).path)
    assert not directory.has_begun
    assert {path.name for path in directory.path.iterdir()} <= {"driver.lease.lock"}
    assert cancelled == [RUN_ID]
    again = open_run_directory(directory.path.parent, "mine", "walk")
    assert again == directory
    assert read(again, "environment.json")["python"] == sys.version


def test_a_run_that_never_began_is_removed(directory, cancelled):
    clean_run_directory(directory.path)
    assert {path.name for path in directory.path.iterdir()} <= {"driver.lease.lock"}
    assert cancelled == []
    clean_run_directory(directory.path)


def test_where_nothing_is_nothing_is_removed(tmp_path):
    clean_run_directory(tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["thesis.tex", "study.journal", "slurm/job.sh", "src/walk.py"])
def test_what_is_no_run_is_never_removed(tmp_path, name):
    path = tmp_path / "mine"
    (path / name).parent.mkdir(parents=True)
    (path / name).write_text("what somebody needs")
    before = snapshot(path)
    with pytest.raises(RunExistsError) as caught:
        clean_run_directory(path)
    assert caught.value.run_dir == path
    assert snapshot(path) == before


def test_a_file_is_never_removed(tmp_path):
    (tmp_path / "mine").write_text("what somebody needs")
    with pytest.raises(RunExistsError):
        clean_run_directory(tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "what somebody needs"


def test_through_a_link_nothing_is_removed(directory, tmp_path):
    begun(directory)
    before = snapshot(directory.path)
    link = tmp_path / "link"
    link.symlink_to(directory.path)
    with pytest.raises(RunExistsError):
        clean_run_directory(link)
    assert snapshot(directory.path) == before


def test_what_links_in_a_run_lead_to_is_never_removed(directory, tmp_path):
    elsewhere = tmp_path / "data"
    (elsewhere / "raw").mkdir(parents=True)
    (elsewhere / "raw" / "a.csv").write_text("what somebody needs")
    begun(directory)
    (directory.path / "data").symlink_to(elsewhere)
    (directory.path / "trials" / "data").symlink_to(elsewhere)
    (directory.path / "gone").symlink_to(tmp_path / "nowhere")
    before = snapshot(elsewhere)
    clean_run_directory(directory.path)
    assert snapshot(elsewhere) == before
    assert {path.name for path in directory.path.iterdir()} <= {"driver.lease.lock"}


def test_a_run_that_somebody_works_on_is_not_removed(directory, cancelled):
    begun(directory)
    with acquire_lease(directory.lease):
        before = snapshot(directory.path)
        with pytest.raises(RunLockedError):
            clean_run_directory(directory.path)
        assert snapshot(directory.path) == before
    assert cancelled == []


def test_a_run_that_others_could_have_put_there_is_not_removed(directory):
    begun(directory).path.chmod(0o777)
    before = snapshot(directory.path)
    with pytest.raises(NotARunError, match="others could have put a program into it"):
        clean_run_directory(directory.path)
    assert snapshot(directory.path) == before


def test_a_removal_that_is_broken_off_can_be_done_again(directory, monkeypatch):
    begun(directory)
    unlink, n_left = Path.unlink, [3]

    def broken_off(self, missing_ok=False):
        if self.parent == directory.path and not self.name.startswith((".driver", "driver")):
            n_left[0] -= 1
            if n_left[0] < 0:
                raise KeyboardInterrupt
        unlink(self, missing_ok=missing_ok)

    for _ in range(2):
        n_left[0] = 3
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", broken_off)
            with pytest.raises(KeyboardInterrupt):
                clean_run_directory(directory.path)
        assert directory.has_begun
    clean_run_directory(directory.path)
    assert not directory.has_begun
    assert {path.name for path in directory.path.iterdir()} <= {"driver.lease.lock"}


def test_while_slurm_does_not_answer_a_run_stays_that_may_have_jobs(directory, monkeypatch):
    def unheard(run_id: str, **_: object) -> list[str]:
        raise CommandError("Unable to contact slurm controller")

    monkeypatch.setattr(cleaning, "cancel_jobs", unheard)
    begun(directory)
    before = snapshot(directory.path)
    with pytest.raises(CleanRefusedError, match=r"does not answer \(Unable to contact.*squeue"):
        clean_run_directory(directory.path)
    assert snapshot(directory.path) == {**before, "driver.lease.lock": b""}


@pytest.mark.parametrize("run_id", ["(null)", "abc", 7])
def test_of_what_is_no_id_no_job_is_cancelled(directory, cancelled, run_id):
    begun(directory).meta.write({"run_id": run_id})
    clean_run_directory(directory.path)
    assert cancelled == []


# Whose it is.

AS_NOBODY = """
import os
import sys
from pathlib import Path
from seedwise.driver.cleaning import clean
from seedwise.folder.requests import Request, ask
from seedwise.folder.directory import RunDirectory
from seedwise.folder.find import existing_run

os.setgid(65534)
os.setuid(65534)
path = Path(sys.argv[1])
for call in (
    lambda: existing_run(path),
    lambda: clean(RunDirectory(path)),
    lambda: ask(RunDirectory(path), Request(scale=(1, 2))),
    lambda: ask(RunDirectory(path), Request()),
):
    try:
        call()
    except Exception as error:
        print(type(error).__name__, isinstance(error, PermissionError), error)
"""


@pytest.fixture
def public():
    """Give the folder of a run of root's, in one that every user can look into."""
    folder = Path(tempfile.mkdtemp(prefix="seedwise-owner-"))
    folder.chmod(0o755)
    directory = open_run_directory(folder, "mine", "walk")
    yield begun(directory)
    shutil.rmtree(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_another_users_run_says_whose_it_is(public, mode):
    public.path.chmod(mode)
    before = snapshot(public.path)
    with acquire_lease(public.lease):
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(public.path)],
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
        )
    owned = f"{public.path} belongs to user root: only root can do this with it."
    assert done.stdout.splitlines() == [f"NotYourRunError True {owned}"] * 4
    assert snapshot(public.path) == {**before, "driver.lease.lock": b""}


def test_a_run_of_ones_own_that_is_closed_says_which_file(directory, monkeypatch):
    directory.meta.write({})

    def denied(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(NotARunError, match=r"meta.json: Permission denied, though it is yours"):
        existing_run(directory.path)
