"""Options of the command: the same as of the API and of files, in groups, and from where."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import dask
import pytest
from click.testing import CliRunner

import seedwise as sw
from seedwise.cli import main
from seedwise.cli.settings import FOR_WORKERS, TABLES
from seedwise.model.options.fields import Group, keyword_names
from seedwise.model.options.slurm import SlurmOptions, SubmitOptions
from seedwise.model.options.study import EntriesOptions, RunOptions, SweepOptions
from tests.losses import bowl

COMMANDS = dict(main.commands)

#: What a command has no flag for, and why.
SLURM_FIELDS = {"slurm": "each of its fields has a flag"}
WITHOUT_FLAG = {
    "run": SLURM_FIELDS,
    "sweep": SLURM_FIELDS,
    "check": SLURM_FIELDS
    | dict.fromkeys(["run_name", "clean_run_dir", "assume_yes"], "the check has no folder to keep")
    | dict.fromkeys(
        ["accept_changes", "retry_failed", "take_over", "refine_search_factor"],
        "it is about a run that exists",
    )
    | {"enqueue": "one seed of trial 0 is tried", "timeout": "one seed is tried"},
    "resume": SLURM_FIELDS
    | dict.fromkeys(["run_name", "run_name_prefix", "run_root"], "the folder is given")
    | dict.fromkeys(["clean_run_dir", "assume_yes"], "it would begin anew")
    | {"enqueue": "it can't change"},
    "submit": dict.fromkeys(FOR_WORKERS, "the driver's job has no workers"),
}
KINDS = {
    "run": (RunOptions, EntriesOptions, SlurmOptions),
    "sweep": (SweepOptions, SlurmOptions),
    "check": (RunOptions, SlurmOptions),
    "resume": (RunOptions, EntriesOptions, SweepOptions, SlurmOptions),
    "submit": (SubmitOptions, SlurmOptions),
}
#: Flags that are not options of the API, and what they are for.
OWN_FLAGS = {
    "config": "a file of options",
    "as_json": "how the result is printed",
    "entries_file": "entry_ids, from a file",
    "show_options": "shows, and checks nothing",
    "code": "an argument of resume_run",
    **dict.fromkeys(["grid", "random", "n_trials", "random_seed", "cases"], "the sweep's source"),
}

_SIGNALS, _CODES = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM), (129, 130, 143)

SCRIPT = """
import seedwise as sw

@sw.loss(name="walk", description="w", parameter_space={"x": (-1.0, 1.0)})
def walk(params, seed):
    return params["x"]
"""


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def names(*kinds):
    return {name for kind in kinds for name in keyword_names(kind)}


@pytest.mark.parametrize("command", KINDS)
def test_flags_are_the_options_of_the_api(command):
    flags = {one.name: one for one in COMMANDS[command].params if isinstance(one, click.Option)}
    without = WITHOUT_FLAG[command].keys()
    wanted = names(*KINDS[command])
    assert without <= wanted
    assert wanted - without == flags.keys() - (OWN_FLAGS.keys() - wanted)
    shorter = {"entry_ids": "--entries", "assume_yes": "--yes"}
    for name in wanted - without:
        assert flags[name].opts == [shorter.get(name, f"--{name.replace('_', '-')}")]
        assert isinstance(flags[name].group, Group)


def test_keys_of_files_are_the_options_of_the_api(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = {"": names(RunOptions, EntriesOptions, SweepOptions) - {"slurm"}}
    known["slurm"] = names(SlurmOptions)
    known["submit"] = names(SubmitOptions, SlurmOptions) - set(FOR_WORKERS)
    assert known.keys() == TABLES.keys()
    (tmp_path / "fit.py").write_text(SCRIPT)
    everything = names(RunOptions, EntriesOptions, SweepOptions, SubmitOptions, SlurmOptions)
    for table, keys in known.items():
        for key in everything - {"slurm"}:
            head = f"[{table}]\n" if table else ""
            (tmp_path / "run.toml").write_text(f"{head}{key} = 1979-05-27\n")  # fits none
            said = invoke("check", "fit.py", "--show-options", "--config", "run.toml").output
            assert ("unknown key" in said) == (key not in keys), (table, key)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_terminal_and_has_groups_and_an_example(command):
    shown = CliRunner().invoke(main, [command, "--help"], terminal_width=80)
    lines = shown.output.splitlines()
    assert max(map(len, lines)) <= 80
    example = lines[lines.index("Example:") + 1]
    assert example.startswith(f"  seedwise {command}")
    with_groups = {*KINDS, "demo"}
    titles = [line.removesuffix(":") for line in lines if re.fullmatch(r"\S[^:]*:", line)]
    groups = [title for title in titles if title in [group.value for group in Group]]
    assert bool(groups) == (command in with_groups)
    assert groups == [group.value for group in Group if group.value in groups]
    assert not re.search(r"`|\bNone\b|\bFalse\b|\bTrue\b", shown.output)


def test_the_help_of_all_has_each_command_in_a_section():
    shown = invoke("--help").output
    for title in ("Begin a run:", "Look at a run:", "Control a run:", "Look at the cluster:"):
        assert f"\n{title}\n" in shown
    assert "..." not in shown.replace("[ARGS]...", "")  # nothing is cut off
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", shown, re.MULTILINE)


# Files of options.


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a script, which is the current one, below a pyproject.toml."""
    folder = tmp_path / "project" / "scripts"
    folder.mkdir(parents=True)
    (folder / "fit.py").write_text(SCRIPT)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "seedwise").mkdir(parents=True)
    return tmp_path / "project"


def shown_options(*arguments):
    done = invoke("check", "fit.py", "--show-options", "--json", *arguments)
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_where_each_value_comes_from(project, tmp_path):
    user = tmp_path / "config" / "seedwise" / "config.toml"
    user.write_text(
        "n_trials = 1\nn_seeds = 1\ntimeout = 1\nmode = 'single'\n"
        "[slurm]\naccount = 'me'\npartition = 'mine'\n"
    )
    pyproject = project / "pyproject.toml"
    pyproject.write_text(
        "[tool.seedwise]\nn_trials = 2\nn_seeds = 2\nworkers = [1, 4]\nentry_ids = ['a', 'b']\n"
        "race = {first_look = 16}\n"
        "[tool.seedwise.slurm]\npartition = 'cpu'\n[tool.seedwise.submit]\ncpus = 2\n"
    )
    (project / "scripts" / "run.toml").write_text("n_trials = 3\nseeds = [5, 6]\n")
    with dask.config.set({"jobqueue.slurm.job-mem": "8GB"}):
        found = shown_options("--config", "run.toml", "--n-trials", "4", "--cluster", "slurm")
    assert found.keys() == names(RunOptions, SlurmOptions) - {"slurm"}
    project_file = ("file", f"{pyproject} [tool.seedwise]")
    wanted = {
        "n_trials": (4, "flag", "--n-trials"),
        "seeds": ([5, 6], "file", "run.toml"),
        "n_seeds": (None, "default", "default"),  # seeds of a file above say the same
        "workers": ([1, 4], *project_file),
        "timeout": (1, "file", str(user)),
        "cluster": ("slurm", "flag", "--cluster"),
        "mode": ("single", "default", "default"),  # as the flag says where it runs
        "partition": ("cpu", "file", f"{pyproject} [tool.seedwise.slurm]"),
        "account": ("me", "file", f"{user} [slurm]"),
        "mem_per_cpu": ("8GB", "site", "jobqueue.slurm.job-mem"),
        "sampler": ("auto", "default", "default"),
        "worker_time_limit": (7200.0, "default", "default"),
    }
    assert {name: tuple(found[name].values()) for name in wanted} == wanted
    assert found["race"]["value"]["first_look"] == 16
    lines = invoke("check", "fit.py", "--show-options").output.splitlines()
    assert lines[0] == "What is searched"
    assert [line.split() for line in lines if line.startswith("  n_trials ")] == [
        ["n_trials", "2", str(pyproject), "[tool.seedwise]"]
    ]


def test_the_nearest_pyproject_with_options_counts(project):
    (project / "pyproject.toml").write_text("[tool.seedwise]\nn_trials = 2\n")
    nearer = project / "scripts" / "pyproject.toml"
    nearer.write_text("[tool.other]\n")
    assert shown_options()["n_trials"]["value"] == 2
    nearer.write_text("[tool.seedwise]\nn_seeds = 3\n")
    assert (shown_options()["n_trials"]["value"], shown_options()["n_seeds"]["value"]) == (10, 3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("n_trials = 'ten'", "n_trials='ten': must be a whole number above 0."),
        ("use_processes = 1", "use_processes=1: must be true or false."),
        ("workers = [5, 1]", "workers=(5, 1): must be a whole number above 0, or (min, max)"),
        ("race = {frist_look = 1}", "race={'frist_look': 1}: must be 'auto', true, false, or"),
        ("race = {level = 2}", "race.level=2: must be a number above 0, and at most 0.5."),
        ("seeds = 'abc'", "seeds='abc': must be a list."),
        ("enqueue = [1]", "enqueue=[1]: case 0 is 1: must be a dict"),
        ("worker_time_limit = 90", "worker_time_limit=90: must be"),
        ("n_trial = 3", "unknown key 'n_trial': did you mean 'n_trials'?"),
        ("n_jobs = 3", "unknown key 'n_jobs': use workers=40 for processes here or jobs on"),
        ("partition = 'cpu'", "unknown key 'partition': use partition='cpu' in [slurm]."),
        ("[slurm]\nn_trials = 3", "[slurm] unknown key 'n_trials': it belongs above the tables."),
        ("[slurm]\npartition = 3", "[slurm] partition=3: must be a non-empty string"),
        ("[submit]\ncpus = 0", "[submit] cpus=0: must be a whole number above 0."),
        ("slurm = 3", "slurm=3: must be a table, [slurm]"),
        ("n_trials = ", "is not TOML: Invalid value"),
    ],
)
def test_what_is_wrong_in_a_file(project, text, problem):
    (project / "scripts" / "run.toml").write_text(text)
    shown = invoke("check", "fit.py", "--config", "run.toml")
    assert shown.exit_code == 1
    assert shown.output.startswith(f"Error: run.toml: {problem}")


def test_what_is_wrong_in_a_pyproject_has_its_table(project):
    (project / "pyproject.toml").write_text("[tool.seedwise.slurm]\npartition = 1\n")
    shown = invoke("run", "fit.py")
    said = f"Error: {project}/pyproject.toml: [tool.seedwise.slurm] partition=1: must be"
    assert shown.output.startswith(said)


def test_a_file_that_is_not_there(project):
    shown = invoke("run", "fit.py", "--config", "no.toml")
    assert (shown.exit_code, shown.output) == (
        1,
        "Error: no.toml: can't be read: No such file or directory\n",
    )


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_pyproject_of_a_stranger_is_refused(project):
    pyproject = project / "pyproject.toml"
    pyproject.write_text("[tool.seedwise]\nn_trials = 2\n")
    os.chown(pyproject, 12345, 12345)
    shown = invoke("check", "fit.py", "--show-options")
    assert shown.exit_code == 1
    assert f"Error: {pyproject}: belongs to user 12345 with mode 644, and may be" in shown.output
    os.chown(project / "scripts" / "fit.py", 12345, 12345)  # whose code is run anyway
    assert shown_options()["n_trials"]["value"] == 2
    pyproject.chmod(0o666)
    assert "with mode 666" in invoke("check", "fit.py", "--show-options").output


def test_the_api_reads_no_file(project, client):
    (project / "pyproject.toml").write_text("[tool.seedwise]\nn_trials = 3\n")
    result = sw.optimize_run(
        bowl,
        n_seeds=2,
        n_trials=1,
        cluster=client,
        run_root=project,
        progress=False,
    )
    assert result.n_trials == 1


# Completion, in a real bash.


def test_completion_in_bash(tmp_path):
    script = """
eval "$(_SEEDWISE_COMPLETE=bash_source seedwise)"
complete -p seedwise
press_tab() {
    COMPREPLY=(); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _seedwise_completion seedwise
    echo "${COMPREPLY[@]}"
}
press_tab seedwise run --samp
press_tab seedwise st
"""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "complete -o nosort -F _seedwise_completion seedwise",
        "--sampler",
        "status stop",
    ]
    assert done.stderr == ""


# Exit codes.


def ended(error, monkeypatch):
    """Return the exit code where the api raises an error."""

    def run_status(run_dir):
        raise error

    monkeypatch.setattr(sw, "run_status", run_status)
    return invoke("status", "runs/a").exit_code


def test_the_exit_codes_are_those_of_the_documents(monkeypatch):
    text = (Path(__file__).parent.parent / "docs/reference/command_line.md").read_text()
    table = text.partition("\n## Exit codes\n")[2].partition("\n## ")[0]
    stopped = [sw.RunStopped(Path("runs/a"), n) for n in (None, *_SIGNALS)]
    codes = {
        invoke("--version").exit_code: 0,
        ended(sw.SeedwiseError("no"), monkeypatch): 1,
        invoke("status").exit_code: 2,
        **{
            ended(one, monkeypatch): code for one, code in zip(stopped, (75, *_CODES), strict=True)
        },
        ended(KeyboardInterrupt(), monkeypatch): 130,
    }
    assert all(code == wanted for code, wanted in codes.items())
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == sorted(
        codes
    )
