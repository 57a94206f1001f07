"""The options of a command, from its flags and from files, and where each came from."""

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
from seedwise.model.options.entries import EntriesOptions
from seedwise.model.options.fields import from_toml, keyword_names
from seedwise.model.options.hints import key_hint
from seedwise.model.options.slurm import SlurmOptions
from seedwise.model.options.study import RunOptions
from seedwise.model.options.submit import SubmitOptions
from seedwise.model.options.sweep import SweepOptions

#: Of SlurmOptions, what is for workers only, and not for the driver's job.
FOR_WORKERS = ("interface", "local_directory", "python", "scheduler_interface")

#: The tables of a file, and what their keys are the options of.
TABLES: dict[str, tuple[type, ...]] = {
    "": (EntriesOptions, RunOptions, SweepOptions),
    "slurm": (SlurmOptions,),
    "submit": (SubmitOptions, SlurmOptions),
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


def settings(
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


def fields(found: Mapping[str, Setting], kind: type) -> dict[str, Any]:
    """Return the options of a kind among settings."""
    return {name: found[name].value for name in keyword_names(kind) if name in found}


def keywords(found: Mapping[str, Setting], kind: type) -> dict[str, Any]:
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
    names = {table: ".".join(filter(None, (of_pyproject, table))) for table in TABLES}
    rest, values = dict(content), {}
    for table in TABLES:
        values[table] = rest.pop(table, {}) if table else rest
        if not isinstance(values[table], dict):
            problem = f"{table}={values[table]!r}: must be a table, [{names[table]}]"
            raise SettingsFileError(path, problem, table)
    return {
        table: {
            key: _setting(path, table, names[table], key, value)
            for key, value in values[table].items()
        }
        for table in TABLES
    }


def _setting(path: Path, table: str, shown: str, key: str, value: Any) -> Setting:
    kinds = {
        name: kind
        for kind in reversed(TABLES[table])
        for name in keyword_names(kind)
        if not (table == "submit" and name in FOR_WORKERS)
    }
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
