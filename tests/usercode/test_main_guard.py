"""The main guard: of the script that runs, and of a file before its import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from seedwise.errors import LossNotFoundError, MainGuardError
from seedwise.usercode.find import load_loss

SCRIPT = """
import seedwise as sw

@sw.loss(name="line", description="a line", parameter_space={"x": (0.0, 1.0)})
def line(params, seed):
    return params["x"] + seed

def main():
    r = sw.optimize_run(line, n_trials=1, n_seeds=2, workers=1, progress=False)
    print(r.n_trials)

"""


def run(tmp_path, tail, *arguments):
    script = tmp_path / "package" / "__main__.py"
    script.parent.mkdir()
    script.write_text(SCRIPT + tail)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        input=SCRIPT + tail,
        capture_output=True,
        text=True,
        check=False,
    )


GUARDED = [
    'if __name__ == "__main__":\n    main()\n',
    "if '__main__' == __name__:\n    for _ in range(1):\n        main()\n",
    "try:\n    if __name__ == '__main__':\n        main()\nfinally:\n    pass\n",
]


@pytest.mark.parametrize(
    ("arguments", "tail"),
    [
        (["package/__main__.py"], GUARDED[0]),
        *(
            pytest.param(["package/__main__.py"], tail, marks=pytest.mark.full)
            for tail in GUARDED[1:]
        ),
        (["-m", "package"], "main()\n"),  # spawned processes do not import it
        (["-"], "main()\n"),  # nor what has no file
    ],
)
def test_a_script_that_runs(tmp_path, arguments, tail):
    done = run(tmp_path, tail, *arguments)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


@pytest.mark.parametrize(("line", "tail"), [(12, "main()\n"), (13, "if sw:\n    main()\n")])
def test_a_script_without_main_guard(tmp_path, line, tail):
    done = run(tmp_path, tail, "package/__main__.py")
    assert done.returncode == 1
    assert MainGuardError.__name__ in done.stderr
    assert f"__main__.py, line {line}: workers import this script" in done.stderr
    assert 'if __name__ == "__main__":' in done.stderr
    # Once, from the script itself: no worker was started that would have made the call again.
    assert done.stderr.count("Traceback") == 1
    assert not (tmp_path / "runs").exists()


# A file that is imported to find a loss in it.


@pytest.mark.parametrize(
    "call",
    [
        "result = sw.optimize_run(line)",
        "from seedwise import optimize_run as fit\nfit(line)",
        "def fit():\n    sw.run_sweep(line, sw.grid(x=[1]))\nfit()",
        "def fit():\n    inner()\ndef inner():\n    sw.check_run(line)\nfit()",
        "fit = getattr(sw, 'optimize_' + 'entries')\nfit(line, entry_ids=['a'])",
        "class A:\n    r = sw.optimize_run(line)",
    ],
)
def test_a_file_that_would_begin_a_run(tmp_path, call):
    path = tmp_path / "begins_a_run.py"
    path.write_text(f"{SCRIPT}{call}\n")
    begins = " begins a run, and would do so at each import. Put it under if __name__ =="
    with pytest.raises(LossNotFoundError, match=begins) as caught:
        load_loss(f"{path}:line")
    assert caught.value.target == f"{path}:line"


def test_a_file_that_begins_no_run(tmp_path):
    path = tmp_path / "begins_no_run.py"
    guarded = 'if __name__ == "__main__" and True:\n    main()\n'
    path.write_text(f"{SCRIPT}later = lambda: sw.optimize_run(line)\n{guarded}")
    assert load_loss(f"{path}:line").name == "line"
