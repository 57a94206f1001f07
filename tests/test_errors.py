"""Every error: its parents, its data, its sentence, and that it travels whole."""

from __future__ import annotations

import copy
import importlib
import math
import pickle
import pkgutil
import platform
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from seedwise import errors
from seedwise.errors import SeedwiseError

CASES = [
    (
        errors.OptionError("n_trials", 0, "a whole number above 0", "Give one."),
        ValueError,
        {"name": "n_trials", "value": 0, "allowed": "a whole number above 0"},
        "n_trials=0: must be a whole number above 0. Give one.",
    ),
    (
        errors.SettingsFileError(Path("a/run.toml"), "unknown key 'x': none is near", "x"),
        ValueError,
        {"path": Path("a/run.toml"), "key": "x", "problem": "unknown key 'x': none is near"},
        "a/run.toml: unknown key 'x': none is near",
    ),
    (
        errors.SpaceError("low must not be above high", "x"),
        ValueError,
        {"parameter": "x", "problem": "low must not be above high"},
        "parameter 'x': low must not be above high",
    ),
    (
        errors.SpaceError("allowed is empty"),
        ValueError,
        {"parameter": None, "problem": "allowed is empty"},
        "search_param: allowed is empty",
    ),
    (
        errors.SourceError("values are empty", "x"),
        ValueError,
        {"parameter": "x", "problem": "values are empty"},
        "parameter 'x': values are empty",
    ),
    (
        errors.SourceError("a grid needs a parameter"),
        ValueError,
        {"parameter": None, "problem": "a grid needs a parameter"},
        "a grid needs a parameter",
    ),
    (
        errors.NoFigureError("noise", "no trial has a standard error"),
        ValueError,
        {"figure": "noise", "problem": "no trial has a standard error"},
        "plot.noise(): no trial has a standard error",
    ),
    (
        errors.CaseIndexError(10, 10),
        IndexError,
        {"index": 10, "n_cases": 10},
        "there is no case 10: the source's cases are 0 to 9",
    ),
    (
        errors.CaseIndexError(-1, 10**5000),
        IndexError,
        {"index": -1, "n_cases": 10**5000},
        "there is no case -1: the source's cases are 0 to ",
    ),
    (
        errors.LossDefinitionError(["name", "description"]),
        ValueError,
        {"missing": ("name", "description")},
        "@loss lacks name, description. Give all three",
    ),
    (
        errors.LossSignatureError("walk", "(x)", vectorized=True),
        TypeError,
        {"signature": "(x)"},
        "loss walk(x) can't be called: it must take (params, seeds), (params, seeds, context) or",
    ),
    (
        errors.LossValueError("a" * 999, "str is not a number"),
        ValueError,
        {"value": "a" * 999},
        f"the loss returned '{'a' * 196}...: str is not a number. Return a finite number",
    ),
    (
        errors.LossFailedError(
            3,
            7,
            5,
            {"x": 0.5},
            "ValueError",
            "Traceback\nValueError: no\n",
            run_dir=Path("runs/a"),
        ),
        RuntimeError,
        {
            "trial": 3,
            "seed": 7,
            "chunk_start": 5,
            "params": {"x": 0.5},
            "exception_type": "ValueError",
            "traceback": "Traceback\nValueError: no\n",
            "run_dir": Path("runs/a"),
        },
        (
            "the loss failed in trial 3, seed 7, with params {'x': 0.5}:\n\n"
            "Traceback\nValueError: no\n\n"
            "To see it happen here: seedwise replay runs/a --trial 3 --seed 7 --pdb\n"
            "To evaluate the trial again with a corrected loss: run the script again with "
            "run_name='a', accept_changes=True, retry_failed=True, or seedwise resume runs/a "
            "--code SCRIPT.py --accept-changes --retry-failed\n"
            "To resume without this trial: seedwise resume runs/a\n"
            "To resume without any that fails: seedwise resume runs/a --no-fail-on-chunk-error"
        ),
    ),
    (
        errors.LossFailedError(3, None, 5, {}, "TrialTimeout", "it died", run_dir=Path("runs/a")),
        RuntimeError,
        {"trial": 3, "seed": None, "params": {}, "exception_type": "TrialTimeout"},
        (
            "the loss failed in trial 3, the chunk that begins with seed 5, with params {}:\n\n"
            "it died\n\nRaise slurm_timeout_minutes if the loss may take that long: seedwise "
            "resume runs/a --retry-failed --slurm-timeout-minutes MINUTES\nTo resume without"
        ),
    ),
    (
        errors.LossFailedError(
            3, 7, 5, {}, "ValueError", "no", run_dir=Path("r/entries/b"), resume_dir=Path("r")
        ),
        RuntimeError,
        {"run_dir": Path("r/entries/b")},
        (
            "the loss failed in trial 3, seed 7, with params {}:\n\nno\n\n"
            "To see it happen here: seedwise replay r/entries/b --trial 3 --seed 7 --pdb\n"
            "To evaluate the trial again with a corrected loss: run the script again with "
            "run_name_prefix='r', accept_changes=True, retry_failed=True, or seedwise resume r "
            "--code SCRIPT.py --accept-changes --retry-failed\n"
            "To resume without this trial: seedwise resume r\n"
        ),
    ),
    (
        errors.TrialDirError(Path("runs/a")),
        FileNotFoundError,
        {"run_dir": Path("runs/a")},
        (
            "there is no context['trial_dir']: the run's folder runs/a is not on the disk of this "
            f"worker, {platform.node()}. run_root must be a folder that all workers share."
        ),
    ),
    (
        errors.CheckFailedError(
            "walk", {"x": 0.5}, 7, "ValueError", "Traceback\nValueError: no\n", "its end"
        ),
        RuntimeError,
        {
            "loss_name": "walk",
            "params": {"x": 0.5},
            "seed": 7,
            "exception_type": "ValueError",
            "traceback": "Traceback\nValueError: no\n",
            "log_tail": "its end",
        },
        (
            "loss 'walk' failed on seed 7, with params {'x': 0.5}:\n\n"
            "Traceback\nValueError: no\n\nThe job's log ends with:\n\nits end\n\n"
            "To see it happen here, call the loss with these params and this seed. Nothing "
        ),
    ),
    (
        errors.CheckFailedError("walk", {}, None, "ImportError", "ImportError: no"),
        RuntimeError,
        {"params": {}, "seed": None, "log_tail": ""},
        (
            "loss 'walk' failed on the worker:\n\nImportError: no\n\n"
            "The Python of the workers must be able to import what the loss imports: see "
        ),
    ),
    (
        errors.LossNotFoundError("fit.py:jump", "there is no jump in it", losses=["walk"]),
        LookupError,
        {"target": "fit.py:jump", "losses": ("walk",), "traceback": None},
        "fit.py:jump: there is no jump in it.",
    ),
    (
        errors.LossNotFoundError("fit.py", "its import fails", traceback="Traceback\nKeyError\n"),
        LookupError,
        {"target": "fit.py", "losses": (), "traceback": "Traceback\nKeyError\n"},
        "fit.py: its import fails:\n\nTraceback\nKeyError",
    ),
    (
        errors.AllEntriesFailedError(
            Path("runs/a"), {"anna": OSError("no disk"), "ben": ValueError("no")}
        ),
        RuntimeError,
        {"run_dir": Path("runs/a")},
        "all 2 entries of runs/a failed, the first, 'anna', with OSError: no disk",
    ),
    (
        errors.EntryOfARunError(Path("runs/a/entries/anna"), Path("runs/a")),
        ValueError,
        {"run_dir": Path("runs/a/entries/anna"), "parent": Path("runs/a")},
        (
            "runs/a/entries/anna is an entry of runs/a, which can only be resumed as a whole: "
            "seedwise resume runs/a"
        ),
    ),
    (
        errors.CleanRefusedError(Path("runs/a"), "the answer was no"),
        RuntimeError,
        {"run_dir": Path("runs/a")},
        (
            "runs/a is not removed: the answer was no. Pass assume_yes=True to remove it without "
            "asking, or leave clean_run_dir out to resume the run."
        ),
    ),
    (
        errors.NoCompleteTrialError(Path("runs/a"), 4, "seed 7: ValueError: no"),
        ValueError,
        {"run_dir": Path("runs/a"), "n_failed": 4},
        (
            "no trial was completed: all 4 trials failed, the first with: seed 7: ValueError: no\n"
            "To see it happen here: seedwise replay runs/a --trial 0 --pdb\n"
            "To evaluate them again with a corrected loss: run the script again with "
            "run_name='a', accept_changes=True, retry_failed=True"
        ),
    ),
    (
        errors.NoCompleteTrialError(Path("runs/a"), 0, None),
        ValueError,
        {"run_dir": Path("runs/a"), "n_failed": 0},
        "no trial was completed: none was finished by now or before the timeout. The run",
    ),
    (
        errors.RunExistsError(Path("runs/a")),
        FileExistsError,
        {"run_dir": Path("runs/a")},
        "runs/a already exists and holds no run that could be resumed, and nothing is ever",
    ),
    (
        errors.NotARunError(Path("runs/a"), "there is no such folder"),
        FileNotFoundError,
        {"run_dir": Path("runs/a")},
        "runs/a: there is no such folder. Give the folder that optimize_run printed",
    ),
    (
        errors.RunLockedError(Path("runs/a"), "process 7 on node3", "Wait for it."),
        RuntimeError,
        {"run_dir": Path("runs/a"), "holder": "process 7 on node3"},
        "runs/a is being worked on by process 7 on node3. Wait for it.",
    ),
    (
        errors.LeaseLostError(Path("runs/a"), "process 7 on node3"),
        RuntimeError,
        {"run_dir": Path("runs/a"), "holder": "process 7 on node3"},
        "runs/a was taken over by process 7 on node3, so this driver stops. It has written",
    ),
    (
        errors.ChangedRunError(
            Path("runs/a"), {"sampler": ("tpe", "random"), "b": (1, "c" * 999)}
        ),
        ValueError,
        {
            "run_dir": Path("runs/a"),
            "changes": {"sampler": ("tpe", "random"), "b": (1, "c" * 999)},
        },
        (
            "runs/a was begun with other options or code; resuming it would mix two runs:\n"
            f"  sampler: was 'tpe', is 'random'\n  b: was 1, is '{'c' * 196}...\n"
            "Put them back, give another run_name for a new run, or pass accept_changes=True"
        ),
    ),
    (
        errors.RunFileError(Path("runs/a/meta.json"), "No space left on device", Path("runs/a")),
        OSError,
        {"path": Path("runs/a/meta.json")},
        (
            "runs/a/meta.json can't be written: No space left on device. No finished trial is "
            "lost. Make room, then resume the run: seedwise resume runs/a"
        ),
    ),
    (
        errors.DamagedFileError(Path("runs/a/study.journal"), 17, "the checksum does not match"),
        ValueError,
        {"path": Path("runs/a/study.journal"), "position": 17},
        "runs/a/study.journal is damaged at byte 17: the checksum does not match. A crash can",
    ),
    (
        errors.LedgerMismatchError(Path("runs/a/chunks.ledger"), 3, {"x": 0.5}),
        ValueError,
        {"path": Path("runs/a/chunks.ledger"), "trial": 3, "params": {"x": 0.5}},
        (
            "runs/a/chunks.ledger holds losses of trial 3 at other params than the study has, "
            "which are {'x': 0.5}. The end of the study was lost"
        ),
    ),
    (
        errors.NoDriverError(Path("runs/a"), "stopped"),
        RuntimeError,
        {"run_dir": Path("runs/a"), "state": "stopped"},
        ("no driver works on runs/a, which is stopped. To resume it: seedwise resume runs/a"),
    ),
    (
        errors.NoDriverError(Path("runs/a"), "finished"),
        RuntimeError,
        {"state": "finished"},
        "no driver works on runs/a, which is finished. Nothing is left to do.",
    ),
    (
        errors.NotAnsweredError(Path("runs/a"), "process 7 on n1", 15.0),
        TimeoutError,
        {"run_dir": Path("runs/a"), "holder": "process 7 on n1", "timeout_s": 15.0},
        "process 7 on n1, which works on runs/a, has not answered within 15 s. The request stays",
    ),
    (
        errors.RequestRefusedError(Path("runs/a"), "scale it yourself"),
        RuntimeError,
        {"run_dir": Path("runs/a"), "why": "scale it yourself"},
        "the driver of runs/a refuses: scale it yourself",
    ),
    (
        errors.MissingExtraError("to_dataframe()", extra="pandas"),
        ImportError,
        {"extra": "pandas"},
        "to_dataframe() needs packages that are not installed. Install them with: pip install",
    ),
    (
        errors.LossTransportError.not_picklable("walk", "TypeError: a lock"),
        TypeError,
        {},
        "loss 'walk' can't be sent to workers: TypeError: a lock. It goes by value, as it is",
    ),
    (
        errors.LossTransportError.unreadable("walk", Path("/r/code/loss.pickle"), "no such file"),
        TypeError,
        {},
        f"loss 'walk' can't be loaded on {platform.node()}: /r/code/loss.pickle: no such file. ",
    ),
    (
        errors.LossTransportError.from_other_python("walk", (3, 9)),
        TypeError,
        {},
        "loss 'walk' was sent by value by Python 3.9, and Python 3.",
    ),
    (
        errors.SnapshotError("200 MB", ["/home/me"]),
        ValueError,
        {"folders": ["/home/me"]},
        "the code to copy for the workers has 200 MB, in /home/me. What is not below Python's own",
    ),
    (
        errors.ForeignCodeError(["model"]),
        ImportError,
        {"modules": ["model"]},
        "this process has imported modules that the run has copies of (model), and one process",
    ),
    (
        errors.SelfCheckError(7, {"x": 0.5}, {"the driver": 2.0, "worker 0": 1.0}),
        RuntimeError,
        {"seed": 7, "params": {"x": 0.5}, "values": {"the driver": 2.0, "worker 0": 1.0}},
        "seed 7 has different losses, so no result could be trusted:\n  2.0 on the driver\n",
    ),
    (errors.ClusterError("it broke"), RuntimeError, {}, "it broke"),
    (
        errors.ClusterStartError("the scheduler", "no port"),
        RuntimeError,
        {},
        "the scheduler did not start: no port",
    ),
    (
        errors.UnknownOptionError("n_trails", ("n_trials", "seeds"), "did you mean 'n_trials'?"),
        TypeError,
        {"name": "n_trails", "known": ("n_trials", "seeds")},
        "unknown keyword 'n_trails': did you mean 'n_trials'?",
    ),
    (
        errors.NotALossError(7),
        TypeError,
        {"value": 7},
        "7 is not a loss. Decorate the function with @seedwise.loss(",
    ),
    (
        errors.KeyFolderError(Path("runs/a/keys"), "others may use it (its mode is 0755)"),
        RuntimeError,
        {"path": Path("runs/a/keys"), "problem": "others may use it (its mode is 0755)"},
        "runs/a/keys: others may use it (its mode is 0755). The keys of a run's connections must",
    ),
    (
        errors.MainGuardError("fit.py", 12),
        RuntimeError,
        {"script": "fit.py", "line": 12},
        "fit.py, line 12: workers import this script",
    ),
    (
        errors.NestedDriverError("this process is daemonic", "Use another."),
        RuntimeError,
        {},
        "a run can't be begun here: this process is daemonic. Use another.",
    ),
    (
        errors.AddressError("tcp://h:1", "refused"),
        ConnectionError,
        {"address": "tcp://h:1"},
        "cluster='tcp://h:1': no Dask scheduler answers there (refused). Give an address such as",
    ),
    (
        errors.SlurmNotFoundError("sbatch"),
        FileNotFoundError,
        {},
        "cluster='slurm': there is no sbatch on this machine's PATH. Run on a login node",
    ),
    (
        errors.ChunkTooLongError(500, 11_520.0, 7200.0, 296),
        ValueError,
        {"n_seeds": 500, "needs_s": 11_520.0, "walltime_s": 7200.0, "fits": 296},
        "a chunk of 500 seeds takes about 3 h 12 min (23 s a seed), and jobs end after",
    ),
    (
        errors.ChunkTooLongError(1, 90.0, 60.0, 0, at_least=True),
        RuntimeError,
        {"n_seeds": 1, "fits": 0},
        "a chunk of 1 seed takes more than 1 min 30 s (1 min 30 s a seed), and jobs end",
    ),
    (
        errors.PreflightError(["workers: 9 jobs asked for, but 4 may run", "so much"]),
        ValueError,
        {"problems": ("workers: 9 jobs asked for, but 4 may run", "so much")},
        (
            "this Slurm cluster can't start such jobs; seedwise slurm shows what it allows. "
            "Change what is named:\n  workers: 9 jobs asked for, but 4 may run\n  so much"
        ),
    ),
    (
        errors.SubmitRefusedError("sbatch: error: no QoS\n", "#!/bin/sh", (), Path("/r/job.sh")),
        RuntimeError,
        {"stderr": "sbatch: error: no QoS\n", "script": "#!/bin/sh", "problems": ()},
        (
            "Slurm refuses the job: sbatch: error: no QoS\n"
            "The job script is /r/job.sh; seedwise slurm shows what the cluster allows.\n"
            "Slurm does not take this QoS here: change slurm_qos, or give slurm_qos=None."
        ),
    ),
    (
        errors.SubmitRefusedError("no", "#!/bin/sh", ["workers: 9 asked for"]),
        RuntimeError,
        {"problems": ("workers: 9 asked for",), "script_path": None},
        (
            "Slurm refuses the job: no\nseedwise slurm shows what the cluster allows.\n"
            "  workers: 9 asked for"
        ),
    ),
    (
        errors.JobNeverStartsError("71", "PartitionTimeLimit", "it asks for too long", "less"),
        RuntimeError,
        {"job_id": "71", "reason": "PartitionTimeLimit"},
        "job 71 can never start: it asks for too long (PartitionTimeLimit). To change it: less.",
    ),
    (
        errors.WorkersFailedError(3, "exited with code 3", "No module"),
        RuntimeError,
        {"n_jobs": 3, "log_tail": "No module"},
        "3 jobs in a row ended before their worker joined; the last one: exited with code 3.\nIts",
    ),
    (
        errors.WorkersFailedError(2, "the last line is 'it\\'s gone \"x\"'", 'it\'s gone "x"\n'),
        RuntimeError,
        {"n_jobs": 2, "log_tail": 'it\'s gone "x"\n'},
        (
            "2 jobs in a row ended before their worker joined; the last one: the last line is "
            "'it\\'s gone \"x\"'.\nCheck that"
        ),
    ),
    (
        errors.WorkersFailedError(4, "exited with code 3", "", ["n1", "n2", "n1"]),
        RuntimeError,
        {"n_jobs": 4, "nodes": ("n1", "n2")},
        "4 jobs in a row on n1, n2 ended before their worker joined; the last one: exited",
    ),
    (
        errors.NotYourRunError(Path("runs/a"), "ada"),
        PermissionError,
        {"run_dir": Path("runs/a"), "owner": "ada"},
        "runs/a belongs to user ada: only ada, or root, can do this with it.",
    ),
    (
        errors.StudyFileError(Path("runs/a/study.journal"), "can't be written"),
        OSError,
        {"path": Path("runs/a/study.journal")},
        "study file runs/a/study.journal: can't be written. The Dask scheduler writes it",
    ),
]
each_case = pytest.mark.parametrize(("error", "builtin", "data", "sentence"), CASES)


ERRORS = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}


def test_every_error_is_tried_here():
    tried = {type(error).__name__ for error, *_ in CASES}
    assert tried == ERRORS.keys() - {"SeedwiseError", "RunStopped"}


def test_the_package_has_every_error():
    names = [f"{errors.__name__}.{one.name}" for one in pkgutil.iter_modules(errors.__path__)]
    made = [
        value
        for name in names
        for value in vars(importlib.import_module(name)).values()
        if isinstance(value, type) and value.__module__ == name
    ]
    assert {value.__name__: value for value in made} == ERRORS


@each_case
def test_an_error_is_of_seedwise_and_of_the_fitting_builtin(error, builtin, data, sentence):
    assert isinstance(error, SeedwiseError)
    assert isinstance(error, builtin)
    assert type(error).__mro__.index(SeedwiseError) < type(error).__mro__.index(builtin)


@each_case
def test_an_error_has_its_data_and_its_sentence(error, builtin, data, sentence):
    assert {name: getattr(error, name) for name in data} == data
    assert str(error).startswith(sentence)


# These can be made, raised and caught, but not rebuilt.


@pytest.mark.parametrize("error", [e for e, *_ in CASES])
@pytest.mark.parametrize("copied", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_an_error_travels_whole(error, copied):
    again = copied(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.args == error.args
    assert data_of(again) == data_of(error)


def data_of(error) -> dict:
    """Return an error's data; errors in it, which equal no other, as what they were made of."""
    data = dict(vars(error))
    if "failed" in data:
        data["failed"] = {name: (type(e), e.args) for name, e in data["failed"].items()}
    return data


def test_a_note_travels_too():
    error = errors.ClusterError("it broke")
    error.add_note("on Tuesday")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["on Tuesday"]


def test_a_note_of_an_os_error_travels_too():
    error = errors.RunFileError(Path("a/b"), "full", Path("a"))
    error.add_note("on Tuesday")
    again = pickle.loads(pickle.dumps(error))
    assert (again.__notes__, str(again)) == (["on Tuesday"], str(error))


# RunStopped is not a failure, so it is not a SeedwiseError: what catches those must let it pass.

STOPPED = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (None, 75)]


@pytest.mark.parametrize(("number", "code"), STOPPED)
def test_a_stop_is_what_ctrl_c_and_sys_exit_raise(number, code):
    error = errors.RunStopped(Path("runs/a"), number)
    assert isinstance(error, KeyboardInterrupt)
    assert isinstance(error, SystemExit)
    assert not isinstance(error, Exception)
    assert (error.run_dir, error.signal, error.code) == (Path("runs/a"), number, code)
    by = "seedwise stop" if number is None else number.name
    assert str(error) == f"stopped by {by}; to resume: seedwise resume runs/a"


@pytest.mark.parametrize(("number", "code"), STOPPED)
@pytest.mark.parametrize("copied", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))])
def test_a_stop_travels_whole(copied, number, code):
    error = errors.RunStopped(Path("runs/a"), number)
    again = copied(error)
    assert type(again) is errors.RunStopped
    assert (str(again), again.args, again.code) == (str(error), error.args, code)
    assert vars(again) == vars(error)


@pytest.mark.parametrize("run", ["file", "-c", "-m"])
@pytest.mark.parametrize(("number", "code"), STOPPED)
def test_a_script_that_does_not_catch_a_stop_ends_with_its_code_and_no_traceback(
    number, code, run, tmp_path
):
    script = (
        "from pathlib import Path\nfrom seedwise.errors import RunStopped\n"
        f"raise RunStopped(Path('runs/a'), {number and int(number)})\n"
    )
    (tmp_path / "fit.py").write_text(script)
    command = {"file": ["fit.py"], "-c": ["-c", script], "-m": ["-m", "fit"]}[run]
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


# The commands that errors and progress name.


@pytest.mark.parametrize("name", ["runs/walk_v0001", "runs/my run, 2nd $try", '/a\'b/"c"'])
def test_the_commands_are_to_be_pasted(name):
    folder = Path(name)
    assert shlex.split(errors.resume_command(folder)) == ["seedwise", "resume", name]
    replay = ["seedwise", "replay", name, "--trial", "3"]
    assert shlex.split(errors.replay_command(folder, 3, None)) == replay
    assert shlex.split(errors.replay_command(folder, 3, -5)) == [*replay, "--seed", "-5"]
    assert shlex.split(errors.replay_command(folder, 3, 0)) == [*replay, "--seed", "0"]


@pytest.mark.parametrize(
    ("returned", "problem", "helps"),
    [
        (None, "a return is missing", False),
        ((1, 2), "of a tuple it is not known what counts", False),
        ("not finite", "str is not a number", False),
        (math.nan, "not finite", True),
    ],
)
def test_to_resume_without_a_trial_is_advised_where_it_may_help(returned, problem, helps):
    message = str(errors.LossValueError(returned, problem))
    error = errors.LossFailedError(
        3, 7, 5, {}, "LossValueError", "", run_dir=Path("a"), message=message
    )
    assert ("To resume without" in str(error)) is helps
    assert "To evaluate the trial again with a corrected loss" in str(error)
