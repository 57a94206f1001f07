"""Directives that make reference pages from the code: ``options``, ``commands``, ``errors``.

What they write is MyST, as on the pages themselves.
"""

import builtins
import importlib
import re
import textwrap
from collections.abc import Iterator

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import seedwise as sw
from seedwise.cli import main
from seedwise.model.options.fields import Field, Group, Options, default_of, fields_of
from seedwise.model.options.slurm import SubmitOptions
from seedwise.model.options.study import EntriesOptions, RunOptions, SweepOptions

KINDS = {
    "optimize_run": RunOptions,
    "optimize_entries": EntriesOptions,
    "run_sweep": SweepOptions,
}
WIDTH = 88


class Generated(SphinxDirective):
    """A directive that stands for text which is made when the site is built."""

    def lines(self) -> Iterator[str]:
        """Yield the lines of the text."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Return the nodes of the text."""
        return self.parse_text_to_nodes("\n".join(self.lines()), allow_section_headings=True)


class OptionsDirective(Generated):
    """All options, in the groups of the commands' help."""

    def lines(self) -> Iterator[str]:
        """Yield a definition list for each group, and for each class of its own."""
        fields = {field.name: field for kind in KINDS.values() for field in fields_of(kind)}
        flags = _flags("run", "sweep")
        for group in Group:
            if shared := [one for one in fields.values() if one.metadata["group"] is group]:
                yield f"## {group.value}\n"
                for field in shared:
                    having = [name for name, kind in KINDS.items() if field in fields_of(kind)]
                    only = having if len(having) < len(KINDS) else []
                    yield from _option(field, flags, only)
        yield "## SlurmOptions\n\nOf `slurm=sw.SlurmOptions(...)`.\n"
        yield from _options(sw.SlurmOptions, flags)
        yield "## Submitted drivers\n\nOf `seedwise submit`.\n"
        yield from _options(SubmitOptions, _flags("submit"))


def _flags(*commands: str) -> dict[str, str]:
    """Return the flag of each option that one of the commands has."""
    params = [param for name in commands for param in main.commands[name].params]
    flags = [param for param in params if isinstance(param, click.Option)]
    return {str(flag.name): "/".join(flag.opts + flag.secondary_opts) for flag in flags}


def _options(kind: type[Options], flags: dict[str, str]) -> Iterator[str]:
    for field in fields_of(kind):
        yield from _option(field, flags, [])


def _option(field: Field, flags: dict[str, str], only: list[str]) -> Iterator[str]:
    default = default_of(field)
    parts = [f"`{field.name}`", field.metadata["type"], f"default `{default!r}`"]
    parts += [f"`{flags[field.name]}`"] if field.name in flags else []
    parts += [f"only {' and '.join(f'`{name}`' for name in only)}"] if only else []
    yield " · ".join(parts)
    yield textwrap.indent(f": {field.metadata['doc']}", "  ").removeprefix("  ") + "\n"


class CommandsDirective(Generated):
    """The help of each command, in the sections of the group's help."""

    def lines(self) -> Iterator[str]:
        """Yield a block of text for each command."""
        for title, commands in main.sections.items():
            yield f"## {title}\n"
            for command in commands:
                context = click.Context(
                    command,
                    info_name=f"seedwise {command.name}",
                    terminal_width=WIDTH,
                    max_content_width=WIDTH,
                )
                yield f"### seedwise {command.name}\n"
                yield f"```text\n{command.get_help(context)}\n```\n"


class ErrorsDirective(Generated):
    """Every error, by the module that defines it; the content says of each what to do.

    There, a line ``Name:`` begins what is said of an error.
    """

    has_content = True

    def lines(self) -> Iterator[str]:
        """Yield each error with its docstring, its built-in parents, and what to do."""
        _, *parts = re.split(r"^(\w+):$", "\n".join(self.content), flags=re.MULTILINE)
        to_do = dict(zip(parts[::2], parts[1::2], strict=True))
        public = [getattr(sw, name) for name in sw.__all__]
        classes = [one for one in public if isinstance(one, type)]
        errors = [one for one in classes if issubclass(one, BaseException)]
        for module in dict.fromkeys(error.__module__ for error in errors):
            yield f"## {importlib.import_module(module).__doc__.partition('.')[0]}\n"
            for error in errors:
                if error.__module__ == module:
                    parents = [one for one in error.__mro__ if hasattr(builtins, one.__name__)]
                    nearest = [
                        f"``{one.__name__}``"
                        for one in parents
                        if not any(one in other.__mro__[1:] for other in parents)
                    ]
                    yield "```{eval-rst}"
                    yield f".. autoexception:: seedwise.{error.__name__}\n"
                    yield f"   Built-in parent: {', '.join(nearest)}.\n```\n"
                    yield f"*What to do.* {to_do.pop(error.__name__).strip()}\n"
        if to_do:
            raise self.error(f"no such errors: {', '.join(to_do)}")


#: The classes that users make themselves; the others are what calls return.
MADE_BY_USERS = {"seedwise.Race", "seedwise.SlurmOptions"}


def signature(
    _app: Sphinx, what: str, name: str, _obj: object, _options: object, args: str | None, _: object
) -> tuple[str, None] | None:
    """Have no signature shown of classes that users don't make; None leaves it as it is."""
    is_hidden = what in {"class", "exception"} and name not in MADE_BY_USERS
    return ("", None) if is_hidden and args is not None else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of the directives."""
    app.connect("autodoc-process-signature", signature)
    app.add_directive("options", OptionsDirective)
    app.add_directive("commands", CommandsDirective)
    app.add_directive("errors", ErrorsDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
