"""Each option of a run with its value, and where that comes from."""

import enum
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from seedwise.api.script import options_of_site
from seedwise.cli.settings import Setting, keywords
from seedwise.model.options.fields import Group, command_options, to_json
from seedwise.model.options.slurm import SlurmOptions
from seedwise.model.options.study import RunOptions
from seedwise.view.words import aligned

_WIDEST = 30


def options_lines(given: Mapping[str, Setting]) -> list[str]:
    """Return a line for each option of a run, in groups; raises OptionError."""
    shown = sorted(_options(given), key=lambda one: list(Group).index(one[1]))
    cells = [[f"  {name}", _cut(_text(one.value)), one.where] for name, _, one in shown]
    lines = iter(aligned(list(zip(*cells, strict=True)), str.ljust))
    found: list[str] = []
    for group, members in itertools.groupby(shown, key=lambda one: one[1]):
        found += ["", group.value, *itertools.islice(lines, len(list(members)))]
    return found[1:]


def options_json(given: Mapping[str, Setting]) -> str:
    """Return the same as a JSON object: for each option its value, and where it comes from."""
    found = {
        name: {"value": one.value, "source": one.source, "where": one.where}
        for name, _, one in _options(given, as_json=True)
    }
    return json.dumps(found, default=str)


def _options(
    given: Mapping[str, Setting], *, as_json: bool = False
) -> Iterator[tuple[str, Group, Setting]]:
    options = RunOptions.from_keywords(keywords(given, RunOptions))
    site = {} if options.place == "local" else options_of_site()
    for kind, values in ((RunOptions, options), (SlurmOptions, options.slurm_settings)):
        for one in command_options(kind, leave_out=["slurm"]):
            name, value = one.name, getattr(values, one.name)
            value = to_json(kind, {name: value})[name] if as_json and name != "run_root" else value
            if name in given:
                found = Setting(value, given[name].source, given[name].where)
            elif name in site:
                found = Setting(site[name][1], "site", site[name][0])
            else:
                found = Setting(value, "default", "default")
            yield name, one.group, found


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(_text, value))
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, bool):
        return str(value).lower()  # as in TOML
    return "-" if value is None else str(value)
