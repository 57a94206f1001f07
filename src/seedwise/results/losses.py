"""The losses that the values of trials are made of."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from seedwise.folder.ledger import TrialLosses, read_trials
from seedwise.model.trials import TrialResult


def read_losses(
    ledger: Path, trials: Iterable[TrialResult], n_seeds: int
) -> dict[int, TrialLosses]:
    """Read the losses of told trials, by number; `n_seeds` is the number of the run's seeds.

    Of a trial that the race dropped, the ledger may have losses of a look that began early: they
    are left out, as they are in no value, and timing decides which there are.
    """
    by_number = {trial.number: trial for trial in trials}
    found = read_trials(ledger, by_number, n_seeds)
    for number, trial in by_number.items():
        if trial.raw_value is not None:
            for part in (found[number].losses, *found[number].components.values()):
                part[trial.n_seeds :] = np.nan
    return found
