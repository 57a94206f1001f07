"""A script as a Slurm job: what is submitted and shown, and how its runs go on in the next job."""

from __future__ import annotations

import re
import stat
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import seedwise as sw
from seedwise.cli import main
from seedwise.folder.find import NOTES_VARIABLE, START_VARIABLE
from tests.faults.harness import ROOT
from tests.faults.loss import LOG_VARIABLE, PACE_VARIABLE, evaluations, noted
from tests.losses import bowl
from tests.tables import table
from tests.testbed.daemons import poll


def submit(*arguments: str):
    return CliRunner().invoke(main, ["submit", *arguments])


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fake_sbatch(here, monkeypatch):
    """Have sbatch take what it gets, or refuse it."""

    def fake_sbatch(*lines: str) -> None:
        (here / "bin").mkdir()
        program = here / "bin" / "sbatch"
        program.write_text("\n".join(["#!/bin/bash", f"cat > {here}/submitted.sh", *lines]))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{here}/bin:/usr/bin:/bin")
        monkeypatch.setattr(
            "seedwise.slurm.preflight.check.slurm_limits", lambda timeout_s: sw.SlurmLimits()
        )

    return fake_sbatch


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_submitted_and_shown(here, fake_sbatch):
    fake_sbatch("echo 12")
    (here / "my fit.py").touch()
    shown = submit("--cpus", "2", "--partition", "long", "my fit.py", "--cpus", "3", "-h")
    assert shown.exit_code == 0, shown.output
    (folder,) = (here / "submitted").iterdir()
    name = f"seedwise-{folder.name}"
    assert re.fullmatch(r"my_fit-[0-9a-f]{8}", folder.name)
    assert (
        shown.stderr == "note: --cpus 3 goes to my fit.py; for the job put it before the script\n"
    )
    assert shown.stdout.splitlines() == [
        f"submitted: job 12, named {name}",
        f"log: {folder}/driver.log",
        f"to follow it: tail -F {folder}/driver.log",
        f"to see whether it waits: squeue --name={name}",
        "to see the run's progress: seedwise status RUN_DIR, with the run folder from the log",
        "dashboard: its link, and the ssh line that leads to it through the node, are in the log",
        f"to cancel it, and the jobs that follow it: scancel --name={name}",
    ]
    script = (folder / "job.sh").read_text()
    assert script == (here / "submitted.sh").read_text()
    assert f"\n{sys.executable} 'my fit.py' --cpus 3 -h &\n" in script
    assert "#SBATCH --cpus-per-task=2\n" in script
    assert "#SBATCH --partition=long\n" in script
    assert mode(folder) == 0o700
    assert {mode(path) for path in folder.iterdir()} == {0o600}
    assert (folder / ".gitignore").read_text() == "*\n"


def test_what_is_for_the_script_alone_is_not_noted(here, fake_sbatch):
    fake_sbatch("echo 12")
    (here / "fit.py").touch()
    shown = submit("fit.py", "--n-trials", "5", "--walltime=5", "--memory", "-h")
    assert shown.stderr.splitlines() == [
        "note: --walltime 5 goes to fit.py; for the job put it before the script",
        "note: --memory goes to fit.py; for the job put it before the script",
    ]


def test_the_help_shows_defaults_and_what_has_a_meaning():
    text = " ".join(submit("--help").output.split())
    assert re.search(r"--cpus INTEGER CPUs of the job\. +\[default: \(?1\)?\]", text)
    assert re.search(r"Memory of the job\. +\[default: \(?2G\)?\]", text)
    assert "interface" not in text


def test_what_is_refused_leaves_nothing(here, fake_sbatch):
    fake_sbatch("echo 'sbatch: error: invalid account' >&2; exit 1")
    (here / "fit.py").touch()
    shown = submit("fit.py")
    assert shown.exit_code == 1
    assert "Slurm refuses it: sbatch: error: invalid account" in shown.output
    assert not (here / "submitted").exists()


def test_without_slurm_or_a_script(here, monkeypatch):
    monkeypatch.setenv("PATH", str(here))
    assert "'fit.py' does not exist" in submit("fit.py").output
    (here / "fit.py").touch()
    assert "sbatch" in submit("fit.py").output
    assert submit("--interface", "ib0", "fit.py").exit_code == 2
    assert not (here / "submitted").exists()


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Let this process be in that start of a submitted job."""

    def start(name: str) -> None:
        monkeypatch.setenv(NOTES_VARIABLE, str(tmp_path / "runs.jsonl"))
        monkeypatch.setenv(START_VARIABLE, name)

    return start


@pytest.fixture
def run(client, tmp_path):
    def run(loss=bowl, **keywords):
        fixed = {"cluster": client, "run_root": tmp_path / "runs", "progress": False}
        return sw.optimize_run(loss, n_seeds=4, **{**fixed, **keywords})

    return run


def test_calls_without_a_name_go_on_with_their_runs_in_the_next_job(run, start):
    start("12.0")
    first, second = run(n_trials=2), run(n_trials=3, random_seed=5)
    with pytest.raises(sw.OptionError, match="run_name=None: must be a name for each"):
        run(n_trials=4)
    start("13.0")  # which leaves the first out
    again = run(n_trials=3, random_seed=5)
    assert (again.run_dir, again.trials) == (second.run_dir, second.trials)
    start("14.0")
    again = run(n_trials=2)
    assert (again.run_dir, again.trials) == (first.run_dir, first.trials)
    assert Path(run(n_trials=2, random_seed=6).run_dir).name == "bowl_v0003"


def test_another_loss_in_the_next_job_is_refused_and_not_mixed(run, start):
    start("12.0")
    run(n_trials=2)
    start("13.0")
    other = sw.loss(name="bowl", description="another", parameter_space=bowl.parameter_space)(
        lambda params, seed: 0.0
    )
    with pytest.raises(sw.ChangedRunError):
        run(other, n_trials=2)


def test_the_next_job_does_not_begin_a_run_anew(run, start):
    """Else a run that is to begin anew would do so in each job, and never finish."""
    anew = {"run_name": "mine", "clean_run_dir": True, "assume_yes": True}
    run(n_trials=2, run_name="mine")
    start("12.0")
    assert run(n_trials=1, **anew).n_trials == 1
    start("13.0")
    ledger = Path(run(n_trials=1, **anew).run_dir) / "chunks.ledger"
    first_inode = ledger.stat().st_ino
    start("14.0")
    run(n_trials=2, **anew)
    assert ledger.stat().st_ino == first_inode


#: Its run has no name.
FIT = """
import sys
from pathlib import Path

import seedwise as sw
from tests.faults.loss import noted
from tests.tables import table


def main():
    result = sw.optimize_run(
        noted, n_trials=int(sys.argv[1]), n_seeds=6, chunk_size=3, workers=1, self_check=False
    )
    Path("table").write_text(repr(table(result)))


if __name__ == "__main__":
    main()
"""
N_TRIALS = 6


class Submitted:
    """A script that was submitted, and the jobs that it has had."""

    def __init__(self, slurm, shown) -> None:
        assert shown.exit_code == 0, shown.output
        self.slurm = slurm
        self.job_id, self.name = re.match(
            r"submitted: job (\d+), named (\S+)", shown.output
        ).groups()
        self.log_file = Path(re.search(r"(?m)^log: (.*)$", shown.output)[1])

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def wait_for(self, text: str) -> None:
        poll(lambda: text in self.log, f"{text!r} in {self.log_file}")

    def ends(self, *states: str) -> None:
        """Wait until there is no job of that name, and see that it had jobs with these states."""
        listing = ["squeue", "--noheader", f"--name={self.name}", "--format=%i"]
        poll(lambda: not self.slurm.run(*listing), f"the end of {self.name}")
        ended = ["sacct", "-X", "-n", "-P", "--starttime=now-1hour", f"--name={self.name}"]

        def known() -> bool:  # accounting comes after the queue
            lines = self.slurm.run(*ended, "--format=State%10").splitlines()
            return [line.split()[0] for line in lines] == list(states)

        poll(known, f"{self.name} to be accounted for as {states}")


@pytest.fixture
def fit(slurm, here, monkeypatch):
    """Submit `FIT`."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv(LOG_VARIABLE, str(here / "evaluations"))
    monkeypatch.setenv(PACE_VARIABLE, str(here / "pace"))
    (here / "fit.py").write_text(FIT)
    (here / "pace").write_text("0")

    def fit(*options: str) -> Submitted:
        return Submitted(slurm, submit(*options, "fit.py", str(N_TRIALS)))

    return fit


def expected(client, folder: Path) -> str:
    result = sw.optimize_run(
        noted,
        n_trials=N_TRIALS,
        n_seeds=6,
        cluster=client,
        run_root=folder,
        progress=False,
        self_check=False,
    )
    return repr(table(result))


@pytest.mark.slurm
def test_a_run_goes_on_in_a_new_job_when_its_walltime_is_nearly_up(fit, here, client, slurm):
    (here / "pace").write_text("0.1")
    submitted = fit()
    poll(lambda: (1, 1) in done(here), f"the run: {submitted.log_file}")
    # What Slurm sends when the walltime is nearly up.
    slurm.run("scancel", "--batch", "--signal=USR1", submitted.job_id)
    submitted.wait_for("resumes the run")
    (here / "pace").write_text("0")
    submitted.ends("FAILED", "COMPLETED")
    assert (here / "table").read_text() == expected(client, here / "expected")
    assert [path.name for path in (here / "runs").iterdir()] == ["noted_v0001"]
    assert "seedwise: stopped with" in submitted.log
    assert "seedwise: resumed after" in submitted.log
    assert re.search(r"dashboard  http://127.0.0.1:\d+/status\?token=", submitted.log)
    assert mode(submitted.log_file) == 0o600


def done(folder: Path) -> set[tuple[int, int]]:
    return {(trial, seed) for _, trial, seed in evaluations(folder / "evaluations")}


@pytest.mark.slurm
@pytest.mark.full
def test_slurm_itself_says_that_the_walltime_is_nearly_up(fit, here, client):
    (here / "pace").write_text("3")
    submitted = fit("--walltime", "00:01:00")
    submitted.wait_for("resumes the run")
    (here / "pace").write_text("0")
    submitted.ends("FAILED", "COMPLETED")
    assert (here / "table").read_text() == expected(client, here / "expected")


@pytest.mark.slurm
def test_a_script_that_fails_at_once_is_not_repeated(slurm, here):
    (here / "fit.py").write_text("raise SystemExit('no such data')")
    submitted = Submitted(slurm, submit("fit.py"))
    submitted.ends("FAILED")
    assert submitted.log == "no such data\n"


@pytest.mark.slurm
def test_scancel_ends_it_for_good(slurm, here):
    (here / "fit.py").write_text("import time\nprint('begun')\ntime.sleep(600)\n")
    submitted = Submitted(slurm, submit("fit.py"))
    submitted.wait_for("begun")
    slurm.run("scancel", f"--name={submitted.name}")
    submitted.ends("CANCELLED")
    assert "resumes the run" not in submitted.log
