"""The context, and the folder in it that is made when it is asked for."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from seedwise.errors import SeedwiseError, TrialDirError
from seedwise.worker.block import Context, TrialDir

ITEMS = {"entry_id": "p1", "trial_number": 4}


@pytest.fixture
def folder(tmp_path):
    return TrialDir(tmp_path / "trials" / ".attempts" / "trial_004-0-ab", tmp_path)


@pytest.fixture
def context(folder):
    return Context(ITEMS, folder)


def test_it_is_a_dict(context):
    assert isinstance(context, dict)
    assert context == ITEMS
    assert context["entry_id"] == context.get("entry_id") == "p1"
    with pytest.raises(KeyError, match="params"):
        context["params"]
    assert context.get("params") is None
    assert context.get("params", 3) == 3
    assert "params" not in context


@pytest.mark.parametrize(
    "look",
    [
        list,
        dict,
        repr,
        len,
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        Context.copy,
        lambda context: "trial_dir" in context,
        lambda context: context == ITEMS,
        lambda context: (context.keys(), list(context.values()), list(context.items())),
        lambda context: {**context},
        lambda context: context | {"more": 1},
        lambda context: [context["entry_id"], context.get("trial_number"), context.get("more")],
    ],
)
def test_what_makes_no_folder(context, look, tmp_path):
    look(context)
    assert list(tmp_path.iterdir()) == []
    assert context == ITEMS


@pytest.mark.parametrize("ask", [Context.get, Context.__getitem__])
def test_the_folder_is_made_when_it_is_asked_for(context, ask, folder, tmp_path):
    assert "trial_dir" in context
    path = ask(context, "trial_dir")
    assert path == folder.path
    assert path.is_dir()
    (path / "a.txt").write_text("a")
    assert ask(context, "trial_dir") == path
    assert [entry.name for entry in path.iterdir()] == ["a.txt"]
    assert context == ITEMS


def test_what_is_made_is_for_its_owner_only(context, tmp_path):
    before = os.umask(0)
    try:
        path = context["trial_dir"]
    finally:
        os.umask(before)
    for made in (path, path.parent, path.parent.parent):
        assert made.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_the_loss_removed_is_made_again(context):
    shutil.rmtree(context["trial_dir"])
    assert context["trial_dir"].is_dir()


@pytest.mark.parametrize("copied", [Context.copy, copy.copy, copy.deepcopy])
def test_a_copy_is_of_the_same_kind_and_of_its_own(context, copied):
    again = copied(context)
    assert type(again) is Context
    assert again == ITEMS
    assert again["trial_dir"] == context["trial_dir"]
    again["entry_id"] = again["trial_dir"] = "mine"
    assert again["trial_dir"] == again.get("trial_dir") == "mine"
    assert context == ITEMS


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_it_travels_whole(context, protocol):
    again = pickle.loads(pickle.dumps(context, protocol))
    assert type(again) is Context
    assert again == ITEMS
    assert not context.folder.path.exists()
    assert again["trial_dir"] == context.folder.path
    assert context.folder.path.is_dir()


def test_without_a_place_for_files_there_is_no_such_key():
    context = Context(ITEMS, None)
    assert "trial_dir" not in context
    assert context.get("trial_dir") is None
    assert context.get("trial_dir", "here") == "here"
    with pytest.raises(KeyError, match="trial_dir"):
        context["trial_dir"]
    assert context.copy().folder is None


@pytest.mark.parametrize("ask", [Context.get, Context.__getitem__])
def test_a_runs_folder_that_is_not_there_is_never_made(ask, tmp_path):
    run_dir = tmp_path / "elsewhere" / "run"
    context = Context(ITEMS, TrialDir(run_dir / "trials" / ".attempts" / "a", run_dir))
    with pytest.raises(TrialDirError, match=r"run_root must be .* all workers share") as caught:
        ask(context, "trial_dir")
    assert caught.value.run_dir == run_dir
    assert str(run_dir) in str(caught.value)
    assert isinstance(caught.value, SeedwiseError)
    assert isinstance(caught.value, FileNotFoundError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.run_dir) == (str(caught.value), run_dir)
    assert list(tmp_path.iterdir()) == []


def test_another_refusal_of_the_system_comes_out_as_it_is(context, folder):
    folder.path.parent.mkdir(parents=True)
    folder.path.write_text("a file")
    with pytest.raises(FileExistsError):
        context["trial_dir"]


def test_threads_that_ask_at_once_get_one_folder(tmp_path):
    n_threads = 8
    with ThreadPoolExecutor(n_threads) as threads:
        for number in range(50):
            run_dir = tmp_path / str(number)
            run_dir.mkdir()
            context = Context(ITEMS, TrialDir(run_dir / "trials" / ".attempts" / "a", run_dir))
            together = threading.Barrier(n_threads, timeout=30)

            def ask(name, context=context, together=together):
                own = context.copy()
                together.wait()
                path = own["trial_dir"] / str(name)
                path.write_text("x")
                return path

            paths = list(threads.map(ask, range(n_threads)))
            assert sorted(paths) == sorted((run_dir / "trials" / ".attempts" / "a").iterdir())
