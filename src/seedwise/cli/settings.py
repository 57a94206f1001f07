"""The options of a command, from its flags and files, where each came from, and them shown."""

import enum
import itertools
import json
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import click
import platformdirs

from seedwise.errors import OptionError, SeedwiseError, SettingsFileError
from seedwise.model.options.fields import (
    Group,
    Options,
    fields_of,
    from_toml,
    keyword_names,
    to_json,
)
from seedwise.model.options.hints import key_hint
from seedwise.model.options.slurm import SlurmOptions, SubmitOptions
from seedwise.model.options.study import EntriesOptions, RunOptions, SweepOptions
from seedwise.view.status import aligned, cut

#: Of SlurmOptions, what is for workers only, and not for the driver's job.
FOR_WORKERS = ("interface", "local_directory", "python", "scheduler_interface")

#: The tables of a file, the one without a name last, and what their keys are the options of.
TABLES: dict[str, tuple[type[Options], ...]] = {
    "slurm": (SlurmOptions,),
    "submit": (SubmitOptions, SlurmOptions),
    "": (EntriesOptions, RunOptions, SweepOptions),
}

# A flag for one takes the place of either in a file.
_SAY_THE_SAME = ({"cluster", "mode"}, {"n_seeds", "seeds"})


@attrs.frozen
class Setting:
    """An option's value, and where it came from."""

    value: Any
    #: "flag", "file", "site" or "default".
    source: str
    #: The flag, or the file with its table, or the site's setting.
    where: str


Settings: TypeAlias = dict[str, Setting]


def read(
    flags: Mapping[str, Any],
    config: str | None,
    script: str | None = None,
    tables: tuple[str, ...] = ("", "slurm"),
) -> Settings:
    """Return the options that are given, by keyword: those of `flags`, then those of files.

    The files are `config`, the pyproject.toml of the script's project, and the user's own. Fields
    of SlurmOptions are among the options. Raises SettingsFileError.
    """
    found: Settings = {}
    for path, content in _files(config, script):
        known = _checked(path, content)
        given = {key: one for table in tables for key, one in known[table].items()}
        found = _over(given, found)
    of_flag = {one.name: one.opts[0] for one in click.get_current_context().command.params}
    given = {
        name: Setting(value, "flag", of_flag[name])
        for name, value in flags.items()
        if value not in (None, ())
    }
    return _over(found, given)


def fields(found: Settings, kind: type[Options]) -> dict[str, Any]:
    """Return the options of a kind among settings."""
    return {name: found[name].value for name in keyword_names(kind) if name in found}


def keywords(found: Settings, kind: type[Options]) -> dict[str, Any]:
    """Return the options of a kind of run among settings, with those of its Slurm jobs in one."""
    slurm = fields(found, SlurmOptions)
    return fields(found, kind) | ({"slurm": SlurmOptions(**slurm)} if slurm else {})


def _over(below: Settings, above: Settings) -> Settings:
    hidden = {name for names in _SAY_THE_SAME if names & above.keys() for name in names}
    return {name: one for name, one in below.items() if name not in hidden} | above


def _files(config: str | None, script: str | None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the files of options, with their content; the later ones give way."""
    if config is not None:
        yield Path(config), _content(Path(config))
    if script is not None:
        where = Path(script.rpartition(":")[0] or script).expanduser().resolve()
        folder = where.parent if where.is_file() else Path.cwd()
        for path in (one / "pyproject.toml" for one in (folder, *folder.parents)):
            found = _content(path).get("tool", {}).get("seedwise") if path.is_file() else None
            if isinstance(found, dict):
                _require_trusted(path, where)
                yield path, found
                break
    users = platformdirs.user_config_path("seedwise") / "config.toml"
    if users.is_file():
        yield users, _content(users)


def _content(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsFileError(path, f"can't be read: {error.strerror}") from None
    except ValueError as error:
        raise SettingsFileError(path, f"is not TOML: {error}") from None


def _require_trusted(path: Path, script: Path) -> None:
    """Refuse a file that others could have put there: options name commands that jobs run."""
    found = path.stat()
    trusted = {os.getuid(), 0, *([script.stat().st_uid] if script.is_file() else [])}
    if found.st_uid not in trusted or found.st_mode & stat.S_IWOTH:
        problem = (
            f"belongs to user {found.st_uid} with mode {found.st_mode & 0o777:o}, and may be "
            "neither yours nor that of the script's owner. Move the script to a folder of your own"
        )
        raise SettingsFileError(path, problem)


def _checked(path: Path, content: dict[str, Any]) -> dict[str, Settings]:
    """Return the options of each table of a file."""
    of_pyproject = "tool.seedwise" if path.name == "pyproject.toml" else ""
    rest, found = dict(content), {}
    for table in TABLES:
        shown = ".".join(filter(None, (of_pyproject, table)))
        values = rest.pop(table, {}) if table else rest
        if not isinstance(values, dict):
            raise SettingsFileError(path, f"{table}={values!r}: must be a table, [{shown}]", table)
        found[table] = {
            key: _setting(path, table, shown, key, value) for key, value in values.items()
        }
    return found


def _setting(path: Path, table: str, shown: str, key: str, value: Any) -> Setting:
    kinds = {name: kind for kind in reversed(TABLES[table]) for name in keyword_names(kind)}
    for name in FOR_WORKERS if table == "submit" else ():
        del kinds[name]
    where = f"[{shown}] " if shown else ""
    if key not in kinds:
        hint = key_hint(key, list(kinds), keyword_names(SlurmOptions))
        if table and any(key in keyword_names(kind) for kind in TABLES[""]):
            hint = "it belongs above the tables."
        raise SettingsFileError(path, f"{where}unknown key {key!r}: {hint}", key)
    try:
        made = from_toml(kinds[key], key, value)
    except SeedwiseError as error:
        said = str(error) if isinstance(error, OptionError) else f"{key}={value!r}: {error}"
        said = re.sub(r"\b(True|False)\b", lambda word: word[0].lower(), said)
        raise SettingsFileError(path, f"{where}{said}", key) from None
    return Setting(made, "file", f"{path}{f' [{shown}]' if shown else ''}")


def options_lines(given: Settings) -> list[str]:
    """Return a line for each option of a run, in groups; raises OptionError."""
    shown = sorted(_options(given), key=lambda one: list(Group).index(one[1]))
    cells = [[f"  {name}", cut(_text(one.value), 30), one.where] for name, _, one in shown]
    lines = iter(aligned(list(zip(*cells, strict=True))))
    found: list[str] = []
    for group, members in itertools.groupby(shown, key=lambda one: one[1]):
        found += ["", group.value, *itertools.islice(lines, len(list(members)))]
    return found[1:]


def options_json(given: Settings) -> str:
    """Return the same as a JSON object: for each option its value, and where it comes from."""
    found = {name: attrs.asdict(one) for name, _, one in _options(given, as_json=True)}
    return json.dumps(found, default=str)


def _options(given: Settings, *, as_json: bool = False) -> Iterator[tuple[str, Group, Setting]]:
    from seedwise.api.script import site_options

    options = RunOptions.from_keywords(keywords(given, RunOptions))
    site = {} if options.place == "local" else site_options()
    kinds: dict[type[Options], Any] = {RunOptions: options, SlurmOptions: options.slurm_settings}
    for kind, values in kinds.items():
        for name, group in ((one.name, one.metadata["group"]) for one in fields_of(kind)):
            value = getattr(values, name)
            value = to_json(kind, {name: value})[name] if as_json and name != "run_root" else value
            found = Setting(value, "default", "default")
            if name in given:
                found = attrs.evolve(given[name], value=value)
            elif name in site:
                found = Setting(site[name][1], "site", site[name][0])
            if name != "slurm":
                yield name, group, found


def _text(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(_text, value))
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, bool):
        return str(value).lower()  # as in TOML
    return "-" if value is None else str(value)
