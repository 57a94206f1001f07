from __future__ import annotations

import copy
import pickle
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
        errors.LossFailedError(3, 7, 5, {"x": 0.5}, "ValueError", "Traceback\nValueError: no\n"),
        RuntimeError,
        {
            "trial": 3,
            "seed": 7,
            "params": {"x": 0.5},
            "exception_type": "ValueError",
            "traceback": "Traceback\nValueError: no\n",
        },
        "the loss failed in trial 3, seed 7, with params {'x': 0.5}:\n\nTraceback\nValueError: no",
    ),
    (
        errors.LossFailedError(3, None, 5, {}, "KilledWorker", "it died"),
        RuntimeError,
        {"trial": 3, "seed": None, "params": {}, "exception_type": "KilledWorker"},
        "the loss failed in trial 3, the chunk that begins with seed 5, with params {}:\n\nit",
    ),
    (
        errors.NoCompleteTrialError(Path("runs/a"), 4, "seed 7: ValueError: no"),
        ValueError,
        {"run_dir": Path("runs/a"), "n_failed": 4},
        "no trial was completed: all 4 trials failed, the first with: seed 7: ValueError: no. The",
    ),
    (
        errors.NoCompleteTrialError(Path("runs/a"), 0, None),
        ValueError,
        {"run_dir": Path("runs/a"), "n_failed": 0},
        "no trial was completed: none was asked for before the timeout. The run's folder",
    ),
    (
        errors.RunExistsError(Path("runs/a")),
        FileExistsError,
        {"run_dir": Path("runs/a")},
        "runs/a exists already, and a run is never overwritten. Give another run_name",
    ),
    (
        errors.MissingExtraError("to_dataframe()", extra="pandas"),
        ImportError,
        {"extra": "pandas"},
        "to_dataframe() needs packages that are not installed. Install them with: pip install",
    ),
    (
        errors.LossTransportError("walk", "TypeError: a lock"),
        TypeError,
        {},
        "loss 'walk' can't be sent to workers: TypeError: a lock. What it refers to must be",
    ),
    (errors.ClusterError("it broke"), RuntimeError, {}, "it broke"),
    (
        errors.ClusterStartError("the scheduler", "no port"),
        RuntimeError,
        {},
        "the scheduler did not start: no port",
    ),
    (
        errors.UnknownOptionError("n_trails", ("n_trials", "seeds")),
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
        errors.MainGuardError("fit.py", 12),
        RuntimeError,
        {"script": "fit.py", "line": 12},
        "fit.py, line 12: local workers import this script when they start",
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
        errors.SubmitRefusedError("sbatch: error: no QoS\n", "#!/bin/sh"),
        RuntimeError,
        {"stderr": "sbatch: error: no QoS\n", "script": "#!/bin/sh"},
        "Slurm refuses the job: sbatch: error: no QoS\nThe job script was:\n\n#!/bin/sh\nChange",
    ),
    (
        errors.StudyFileError(Path("runs/a/study.journal"), "can't be written"),
        OSError,
        {"path": Path("runs/a/study.journal")},
        "study file runs/a/study.journal: can't be written. The Dask scheduler writes it",
    ),
]
each_case = pytest.mark.parametrize(("error", "builtin", "data", "sentence"), CASES)


def test_every_error_is_tried_here():
    tried = {type(error).__name__ for error, *_ in CASES}
    assert tried == set(errors.__all__) - {"SeedwiseError"}


def test_all_is_every_class():
    classes = [name for name, value in vars(errors).items() if isinstance(value, type)]
    own = [name for name in classes if issubclass(getattr(errors, name), Exception)]
    assert sorted(own) == errors.__all__


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
    assert vars(again) == vars(error)


def test_a_note_travels_too():
    error = errors.ClusterError("it broke")
    error.add_note("on Tuesday")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["on Tuesday"]
