"""What is never printed: keys, and the library's own frames."""

from __future__ import annotations

import traceback

import pytest

import seedwise as sw
from seedwise.errors import SubmitRefusedError
from seedwise.errors.base import masked
from seedwise.slurm.commands import CommandError
from seedwise.slurm.ends import log_tail

BEGINS = {
    "optimize_run": (None,),
    "optimize_entries": (None,),
    "run_sweep": (None, None),
    "check_run": (None,),
    "resume_run": ("there is no run",),
}
LINES = "MIIBUzCB+aAD/AgECA==\nMIIBUzCB\n"
CERTIFICATE = f"-----BEGIN CERTIFICATE-----\n{LINES}-----END CERTIFICATE-----"
SCRIPT = f"#!/bin/sh\nexport A='{CERTIFICATE}\n'\nexport B='{CERTIFICATE}'\nexec work\n"


@pytest.mark.parametrize("kind", ["CERTIFICATE", "EC PRIVATE KEY"])
def test_certificates_and_keys_are_left_out(kind):
    text = SCRIPT.replace("CERTIFICATE", kind)
    rest = f"#!/bin/sh\nexport A='({kind.lower()} left out)\n'\n"
    assert masked(text).startswith(rest)
    assert masked(text).endswith("left out)'\nexec work\n")
    assert "MII" not in masked(text)
    assert (
        masked(f"cut off: -----BEGIN {kind}-----\nMIIB") == f"cut off: ({kind.lower()} left out)"
    )
    assert masked("nothing -- of it -----") == "nothing -- of it -----"


def test_neither_in_errors_nor_from_logs(tmp_path):
    (tmp_path / "7.err").write_text(SCRIPT)
    error = SubmitRefusedError(f"sbatch: error: no\n{SCRIPT}", SCRIPT)
    shown = [str(error), error.stderr, error.script, log_tail(tmp_path, "7")]
    for text in [*shown, CommandError(SCRIPT).text, str(CommandError(SCRIPT))]:
        assert "exec work" in text
        assert "MII" not in text


@pytest.mark.parametrize(("name", "arguments"), BEGINS.items())
def test_an_error_of_a_run_has_no_frames_of_the_library(name, arguments):
    with_options = {name for name in sw.__all__ if hasattr(getattr(sw, name), "__signature__")}
    assert BEGINS.keys() == {*with_options, "resume_run"}
    with pytest.raises(sw.SeedwiseError) as caught:
        getattr(sw, name)(*arguments)
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert {frame.filename for frame in frames} == {__file__}


def test_an_error_that_is_not_ours_keeps_its_frames():
    with pytest.raises(TypeError) as caught:
        sw.optimize_run()
    assert traceback.extract_tb(caught.value.__traceback__)[-1].filename != __file__
