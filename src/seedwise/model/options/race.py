"""The option that says how many seeds trials get; `seedwise.model.racing` has what follows."""

import json
from typing import Any

import attrs

from seedwise.errors import OptionError
from seedwise.model.space import is_finite

# At a higher one, a trial could be dropped that is better than the incumbent.
_HIGHEST_LEVEL = 0.5


@attrs.frozen(kw_only=True)
class Race:
    """How many seeds a trial gets before it is dropped, and how that is decided.

    A trial is evaluated on the seed plan in looks. At each look but the last it is compared with
    the incumbent (the best trial with all its seeds among those that were told when the trial was
    asked for), seed by seed on the seeds that both have. It is dropped if a one-sided paired t
    test at `level` says that it is worse. A dropped trial is told as complete, with the
    incumbent's mean plus the mean paired difference: a control variate. It is above the
    incumbent's mean, so the study's best trial always has all its seeds.

    Parameters
    ----------
    first_look : int
        Number of seeds at the first look. A trial is not dropped with fewer. At least 2.
    growth : float
        How many times as many seeds the next look has. Above 1.
    level : float
        Level of the test at each look. Above 0, and at most 0.5, at which any trial is dropped
        that is worse on the seeds so far. At a high level a trial is dropped sooner. A trial that
        is dropped by mistake costs little, since the sampler returns to its neighbourhood.
    contender_seeds : int, optional
        Number of seeds of a trial that is not dropped. None is the whole seed plan. With as many
        as `first_look` nothing is dropped: each trial gets so many seeds, and the next trial the
        seeds that follow in the plan.

    Raises
    ------
    OptionError
        If a value is not allowed.

    Notes
    -----
    Races on common seeds: Lopez-Ibanez et al., The irace package (Operations Research
    Perspectives 3, 2016). Control variates: Glasserman, Monte Carlo methods in financial
    engineering (2003), section 4.1.

    Examples
    --------
    >>> import seedwise as sw
    >>> sw.Race(first_look=16, level=0.2).growth
    2.0
    """

    first_look: int = 8
    growth: float = 2.0
    level: float = 0.3
    contender_seeds: int | None = None

    def __attrs_post_init__(self) -> None:
        """Check the values."""
        contender = self.contender_seeds
        checks = (
            ("first_look", is_whole(self.first_look, 2), "a whole number, 2 or above"),
            ("growth", is_number(self.growth) and self.growth > 1, "a finite number above 1"),
            (
                "level",
                is_number(self.level) and 0 < self.level <= _HIGHEST_LEVEL,
                f"a number above 0, and at most {_HIGHEST_LEVEL}",
            ),
            (
                "contender_seeds",
                contender is None or is_whole(contender, self.first_look),
                f"None, or a whole number from first_look={self.first_look} on",
            ),
        )
        for name, fine, allowed in checks:
            if not fine:
                raise OptionError(f"race.{name}", getattr(self, name), allowed)


def race_from_text(text: str) -> Any:
    """Read the option from a command line; raises ValueError."""
    words = {"auto": "auto", "on": True, "off": False}
    if text in words:
        return words[text]
    try:
        fields = dict(part.split("=") for part in text.split(","))
        return Race(**{name: json.loads(value) for name, value in fields.items()})
    except OptionError:
        raise
    except (TypeError, ValueError):
        names = ", ".join(field.name for field in attrs.fields(Race))
        allowed = f"auto, on, off, or such as first_look=16,level=0.2 ({names})"
        raise ValueError(f"{text!r} is not a race: {allowed}") from None


def race_to_json(race: Any) -> Any:
    """Return the option as JSON has it."""
    return attrs.asdict(race) if isinstance(race, Race) else race


def race_from_json(saved: Any) -> Any:
    """Return the option that `race_to_json` wrote."""
    return Race(**saved) if isinstance(saved, dict) else saved


def is_whole(value: object, least: int) -> bool:
    """Tell whether a value is a whole number, and not below the least."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_number(value: object) -> bool:
    """Tell whether a value is an int or a float, and finite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and is_finite(value)
