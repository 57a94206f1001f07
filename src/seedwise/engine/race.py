"""Which seeds of the plan a trial gets: all, a part, or look by look in a race."""

from collections.abc import Callable, Iterable

import attrs
import numpy as np
from numpy.typing import NDArray

from seedwise.model.racing import Looks, can_be_compared, dropped_estimate, is_worse
from seedwise.model.seeds import SeedPlan
from seedwise.model.statistics import Estimate
from seedwise.model.trials import TrialResult, best_trial

_MOST_AT_HAND = 10  # best trials whose losses are in memory


@attrs.frozen(eq=False)
class TrialSeeds:
    """Which seeds a trial gets, and when it is dropped."""

    #: Which positions of the plan the trial has at each look.
    looks: tuple[NDArray[np.bool_], ...]
    #: The incumbent's losses, by position in the plan; None if nothing can be dropped.
    incumbent: NDArray[np.float64] | None = None
    level: float = 0.0
    sign: float = 1.0

    def drops(self, losses: NDArray[np.float64], look: int) -> bool:
        """Tell whether the trial is dropped at a look, of which it has all losses."""
        if self.incumbent is None or look == len(self.looks) - 1:
            return False
        own, incumbent = losses[self.looks[look]], self.incumbent[self.looks[-1]]
        if not (can_be_compared(own) and can_be_compared(incumbent)):
            return False
        differences = own - self.incumbent[self.looks[look]]
        return is_worse(self.sign * differences, self.level)

    def estimate(self, losses: NDArray[np.float64], look: int) -> Estimate:
        """Estimate the mean loss of a trial that was dropped at a look."""
        assert self.incumbent is not None  # or nothing could be dropped
        whole = self.looks[-1]  # the incumbent has no others
        return dropped_estimate(losses[whole], self.incumbent[whole], self.looks[look][whole])


class Allocation:
    """Which seeds each trial gets: here all of them."""

    def __init__(self, plan: SeedPlan) -> None:
        self.plan = plan
        self._own = TrialSeeds((np.ones(len(plan.seeds), dtype=np.bool_),))

    def seeds_of(self, number: int) -> TrialSeeds:
        """Return the seeds of a trial that is asked for."""
        del number
        return self._own

    def take(self, trial: TrialResult, losses: NDArray[np.float64]) -> None:
        """Take a trial that is told, and its losses by position in the plan."""


class Racing(Allocation):
    """Gives each trial the seeds of its looks.

    The incumbent of a trial is the best with all its seeds among those that were told when it was
    asked for: `known` takes the numbers of one of those and of the trial. `told` are the trials
    that earlier processes told, and `read` returns the losses of one by its number.
    """

    def __init__(
        self,
        plan: SeedPlan,
        looks: Looks,
        direction: str,
        known: Callable[[int, int], bool],
        told: Iterable[TrialResult],
        read: Callable[[int], NDArray[np.float64]],
    ) -> None:
        super().__init__(plan)
        self._looks = looks
        self._direction = direction
        self._known = known
        self._read = read
        self._whole = [trial for trial in told if self._is_whole(trial)]
        self._losses: dict[int, NDArray[np.float64]] = {}

    def seeds_of(self, number: int) -> TrialSeeds:
        """Return the seeds of a trial."""
        n_looks = len(self._looks.sizes)
        wanted = tuple(self._looks.wanted(number, look) for look in range(n_looks))
        earlier = [trial for trial in self._whole if self._known(trial.number, number)]
        best = best_trial(earlier, self._direction)
        if n_looks == 1 or best is None:
            return TrialSeeds(wanted[-1:])
        if best.number not in self._losses:
            self._losses[best.number] = self._read(best.number)
        sign = -1.0 if self._direction == "maximize" else 1.0
        return TrialSeeds(wanted, self._losses[best.number], self._looks.level, sign)

    def take(self, trial: TrialResult, losses: NDArray[np.float64]) -> None:
        """Take a trial that is told; of the best, keep the losses at hand."""
        if not self._is_whole(trial):
            return
        self._whole.append(trial)
        if best_trial(self._whole, self._direction) is trial:
            self._losses[trial.number] = losses
            for number in sorted(self._losses)[:-_MOST_AT_HAND]:  # they are read again
                del self._losses[number]

    def _is_whole(self, trial: TrialResult) -> bool:
        sizes = self._looks.sizes
        return len(sizes) > 1 and trial.value is not None and trial.n_seeds == sizes[-1]
