"""What Optuna says of the importance of parameters, for trials of any result."""

import warnings
from collections.abc import Iterable, Sequence

import optuna
from optuna.trial import FrozenTrial, create_trial

from seedwise.model.space import ParameterSpace
from seedwise.model.trials import TrialResult
from seedwise.study.samplers import distributions
from seedwise.study.storage import quiet_optuna


def optuna_trials(trials: Iterable[TrialResult], space: ParameterSpace) -> list[FrozenTrial]:
    """Return the complete ones among some trials as Optuna has them; `space` has their params."""
    of_all, made = distributions(space), []
    for trial in (one for one in trials if one.value is not None):
        there = [name for name in of_all if name in trial.params]
        one = create_trial(
            value=trial.value,
            params={name: trial.params[name] for name in there},
            distributions={name: of_all[name] for name in there},
            user_attrs={"n_seeds": trial.n_seeds, "stderr": trial.stderr},
        )
        one.number = trial.number
        made.append(one)
    return made


def importances(
    trials: Sequence[FrozenTrial], names: Sequence[str], direction: str
) -> dict[str, float]:
    """Return how important each parameter is, by PED-ANOVA; the sum is 1."""
    with quiet_optuna(), warnings.catch_warnings():
        # Of a parameter that few trials have, it warns.
        warnings.simplefilter("ignore", UserWarning)
        study = optuna.create_study(direction=optuna.study.StudyDirection[direction.upper()])
        study.add_trials(trials)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return optuna.importance.get_param_importances(study, evaluator=evaluator, params=[*names])
