"""What a run's results depend on: it must be the same when the run is resumed."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from seedwise.model.loss import LossDefinition
from seedwise.model.options.study import RunOptions, StudyOptions, SweepOptions
from seedwise.model.points import typed_values, with_overrides
from seedwise.model.racing import Looks, looks
from seedwise.model.seeds import SeedPlan
from seedwise.model.sources import ParameterSource
from seedwise.model.space import ParameterSpace
from seedwise.usercode.code import Code
from seedwise.usercode.fingerprint import fingerprint
from seedwise.usercode.identity import Piece, reached
from seedwise.usercode.shipment import Shipment

#: Of these a change makes the losses of trials that are not told yet worthless.
LOSSES = ("loss", "seeds", "entry_id")


def what_decides_results(
    loss: LossDefinition,
    digest: str,
    options: StudyOptions | SweepOptions,
    plan: SeedPlan,
    source: ParameterSource | None = None,
    sampler: object = None,
) -> dict[str, str]:
    """Describe all that a run's results depend on, a line of text for each keyword.

    Where the work is done, by how many workers and in which chunks is not among it. `digest` is
    that of the loss's code. `sampler`, if given, stands for the one of `options`: it is the same,
    pickled and unpickled.
    """
    seeds, space = plan.seeds, loss.parameter_space
    of_seeds = hashlib.blake2b(seeds.tobytes(), digest_size=4).hexdigest()
    described = {
        "loss": loss_text(loss, digest),
        "seeds": f"{len(seeds)} from {seeds[0]} to {seeds[-1]} ({of_seeds})",
        "trial_retry_attempts": str(options.trial_retry_attempts),
    }
    if isinstance(options, StudyOptions):
        trial_looks = looks(options.race, len(seeds))
        if trial_looks.in_parts:
            described["race"] = f"{trial_looks.sizes[0]} seeds a trial, in turns"
        elif trial_looks.saves:
            sizes = ", ".join(map(str, trial_looks.sizes))
            described["race"] = f"looks at {sizes} seeds, level {trial_looks.level!r}"
        described["max_concurrent_trials"] = str(options.lag_of(trial_looks))
        described |= _of_a_study(
            options,
            with_overrides(space, options.overrides),
            sampler_of(options, trial_looks) if sampler is None else sampler,
        )
    if isinstance(options, RunOptions | SweepOptions):
        described["entry_id"] = str(options.entry_id)
    if source is not None:
        described["source"] = _described(source)
        if options.overrides:
            described["overrides"] = _sorted_values("overrides", options.overrides, space)
    if options.trial_zero:
        described["trial_zero"] = _sorted_values("trial_zero", options.trial_zero, space)
    return described


def loss_text(loss: LossDefinition, digest: str) -> str:
    """Return what is written of a loss, by the digest of its code."""
    return f"{loss.name}, code {digest}{', vectorized' if loss.vectorized else ''}"


def sampler_of(options: StudyOptions, trial_looks: Looks) -> Any:
    """Return what samples: TPE and Optuna's GP see smoothed values where a race saves seeds."""
    if options.sampler == "auto" and not trial_looks.saves:
        return "tpe"
    if options.sampler == "gp" and trial_looks.saves:
        return "smoothed gp"
    return options.sampler


def _of_a_study(options: StudyOptions, space: ParameterSpace, sampler: object) -> dict[str, str]:
    if not isinstance(sampler, str):
        sampler = f"{type(sampler).__name__} ({fingerprint(sampler)[0]})"
    described = {
        "sampler": sampler,
        "random_seed": str(options.random_seed),
        "direction": options.direction,
    }
    if options.enqueue is not None:
        described["enqueue"] = _described(options.enqueue)
    if options.prune_failed_trials:
        described["prune_failed_trials"] = "True"
    for name, param in space.items():
        fields = attrs.asdict(param, filter=lambda _, value: value is not None)
        text = ", ".join(f"{key}={value!r}" for key, value in fields.items())
        described[f"parameter_space[{name!r}]"] = text
    described["order of parameters"] = ", ".join(space)
    return described


def _sorted_values(name: str, values: Mapping[str, Any], space: ParameterSpace) -> str:
    return repr(sorted(typed_values(name, values, space).items()))


def _described(source: ParameterSource) -> str:
    manifest = source.to_manifest_dict()
    # Case i of a random source is the same for any number of cases.
    manifest = {key: value for key, value in manifest.items() if key != "n_trials"}
    text = json.dumps(manifest, sort_keys=True)
    return f"{manifest['type']} ({hashlib.blake2b(text.encode(), digest_size=8).hexdigest()})"


@attrs.frozen
class CodeIdentity:
    """What tells the code of a loss from other code, however it is formatted."""

    #: The module that the loss is in.
    module: str
    #: The loss's name there; of one that goes by value the names in it.
    names: Sequence[str]
    #: What goes by value, which no source tells; empty if nothing does.
    by_value: str = ""

    def digest(self, code: Code) -> str:
        """Return 16 hex digits, for the present version of Python."""
        pieces = [(*key, piece.text) for key, piece in self.pieces(code).items()]
        compiled = [
            code.hashes[module.copy]
            for name, module in code.modules.items()
            if module.copy is not None and name not in code.sources
        ]
        text = json.dumps([sorted(pieces), sorted(compiled), self.by_value])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def pieces(self, code: Code) -> dict[tuple[str, str], Piece]:
        """Return the pieces of the sources that the loss reaches, by file and label.

        The same file may be a script in one call, and a module in another. A script that the loss
        is not in does not count: what it sets for the loss shows in the values that are compared.
        """
        pieces: dict[tuple[str, str], Piece] = {}
        found = reached(code.texts(), self.module, self.names)
        for (module, label), piece in sorted(found.items()):  # the same each time
            n_parts = module.count(".") + code.modules[module].is_package + 1
            parts = str(code.modules[module].copy).split("/")
            file = "/".join(parts[-n_parts:])  # the project may lie elsewhere another time
            pieces[(module if (file, label) in pieces else file, label)] = piece
        return pieces


def code_identity(loss: LossDefinition, shipment: Shipment) -> CodeIdentity:
    """Return the identity of a loss that is packed."""
    code, function = shipment.code, loss.function
    home = shipment.module or str(getattr(function, "__module__", ""))
    if shipment.digest:
        digest, found = fingerprint(function, code.sources.get)
        names = {*found, str(getattr(function, "__qualname__", "")).partition(".")[0]}
        return CodeIdentity(home, sorted(names), digest)
    name = shipment.variable or str(getattr(function, "__name__", ""))
    return CodeIdentity(home, [name])


def decides_losses(changes: Iterable[str]) -> bool:
    """Tell whether a change makes the losses of trials that are not told yet worthless."""
    return not set(LOSSES).isdisjoint(changes)
