"""The folder of a nanny's temporary files is removed when its process ends."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("given", [True, False])
def test_it_goes_with_the_nannys_process(given, tmp_path):
    folder = tmp_path / "scratch"
    (folder / "dask-scratch-space").mkdir(parents=True)
    (folder / "dask-scratch-space/global.lock").touch()
    environment = {**os.environ, **({"SEEDWISE_SCRATCH": str(folder)} if given else {})}
    code = (
        "from pathlib import Path\nfrom seedwise.worker.scratch import dask_setup\n"
        f"dask_setup(None)\nassert Path({str(folder)!r}).exists()"
    )
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert folder.exists() is not given
