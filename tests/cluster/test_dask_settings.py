"""What a run lets Dask and the libraries under it say."""

from __future__ import annotations

import logging
import subprocess
import sys

import dask
import pytest

from seedwise.cluster.dask_settings import tidy_dask

SCRIPT = """
import logging
logging.basicConfig(level=logging.INFO)
{user}
import seedwise as sw

@sw.loss(name="walk", description="where it ends", parameter_space={{"x": (0.0, 1.0)}})
def walk(params, seed):
    return params["x"] + seed

if __name__ == "__main__":
    sw.optimize_run(walk, n_trials=2, n_seeds=4, workers=1, progress=False)
"""


def said(folder, script: str) -> str:
    """What a script of its own says on stderr."""
    (folder / "fit.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "fit.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_script_that_shows_all_messages_sees_none_of_dask(tmp_path):
    assert said(tmp_path, SCRIPT.format(user="")) == ""


def test_a_level_that_the_user_gave_stays(tmp_path):
    user = "logging.getLogger('distributed.scheduler').setLevel(logging.INFO)"
    assert "Register worker" in said(tmp_path, SCRIPT.format(user=user))


@pytest.mark.parametrize(
    ("level", "configured", "inside"),
    [
        (logging.INFO, None, logging.WARNING),
        (logging.DEBUG, None, logging.DEBUG),
        (logging.ERROR, None, logging.ERROR),
        (logging.INFO, {"distributed": "info"}, logging.INFO),
    ],
)
def test_the_level_of_dask(monkeypatch, level, configured, inside):
    logger = logging.getLogger("distributed")
    monkeypatch.setattr(logger, "level", level)
    with dask.config.set(logging=configured), tidy_dask():
        assert logger.level == inside
    assert logger.level == level


def test_a_notebook_is_not_asked_for_widgets(tmp_path):
    script = "import ipykernel.zmqshell\nimport seedwise\nseedwise.optimize_run\n"
    shell = "from IPython.core.interactiveshell import InteractiveShell as S; S.instance()\n"
    assert "TqdmWarning" not in said(tmp_path, shell + script)
