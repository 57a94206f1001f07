"""What a run's results depend on: it must be the same when the run is gone on with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import attrs

from seedwise.model.loss import LossDefinition
from seedwise.model.options import RunOptions
from seedwise.model.seeds import SeedPlan
from seedwise.run.fingerprint import fingerprint

__all__ = ["changed", "decides_losses", "what_decides_results"]

# Of these a change makes the losses of trials that are not told yet worthless.
_LOSSES = ("loss", "seeds", "entry_id")


def what_decides_results(
    loss: LossDefinition, options: RunOptions, plan: SeedPlan
) -> dict[str, str]:
    """Describe all that a run's results depend on, each in a line of text.

    Where the work is done, by how many workers and in which chunks is not among it.

    Parameters
    ----------
    loss : LossDefinition
        The loss.
    options : RunOptions
        The run's options.
    plan : SeedPlan
        The seeds of every trial.

    Returns
    -------
    dict of str to str
        By keyword; ``parameter_space`` has an entry for each parameter.
    """
    seeds = plan.seeds
    digest = hashlib.blake2b(seeds.tobytes(), digest_size=4).hexdigest()
    sampler = options.sampler
    if not isinstance(sampler, str):
        sampler = f"{type(sampler).__name__} ({fingerprint(sampler)})"
    described = {
        "loss": f"{loss.name}, code {fingerprint((loss.function, loss.vectorized))}",
        "seeds": f"{len(seeds)} from {seeds[0]} to {seeds[-1]} ({digest})",
        "sampler": sampler,
        "random_seed": str(options.random_seed),
        "direction": options.direction,
        "max_concurrent_trials": str(options.max_concurrent_trials),
        "trial_retry_attempts": str(options.trial_retry_attempts),
        "entry_id": str(options.entry_id),
    }
    for name, param in loss.parameter_space.items():
        fields = attrs.asdict(param, filter=lambda _, value: value is not None)
        text = ", ".join(f"{key}={value!r}" for key, value in fields.items())
        described[f"parameter_space[{name!r}]"] = text
    described["order of parameters"] = ", ".join(loss.parameter_space)
    return described


def changed(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return what differs, with the old and the new; what only one has is "none" in the other."""
    names = dict.fromkeys([*old, *new])
    pairs = {name: (old.get(name, "none"), new.get(name, "none")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def decides_losses(changes: Mapping[str, tuple[str, str]]) -> bool:
    """Tell whether a change makes the losses of trials that are not told yet worthless."""
    return any(name in changes for name in _LOSSES)
