"""The help of commands: options in groups, commands in sections, each with an example."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import click

from seedwise.cli.flags import HintingCommand
from seedwise.model.options.fields import Group

_LONG = 1000  # no first sentence is cut off


class _WithExample(click.Command):
    """A command whose help has its epilog as an example, line by line."""

    # click calls it with a context.
    def format_epilog(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example."""
        if self.epilog:
            with formatter.section("Example"):
                for line in self.epilog.splitlines():
                    formatter.write(f"{' ' * formatter.current_indent}{line}\n")


class Command(_WithExample, HintingCommand):
    """A command whose help has its options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those of each group together."""
        rows: dict[Group | None, list[tuple[str, str]]] = {}
        for one in self.get_params(ctx):
            record = one.get_help_record(ctx)
            if record is not None and isinstance(one, click.Option):
                rows.setdefault(getattr(one, "group", None), []).append(record)
        for group in (*Group, None):
            if group in rows:
                title = group.value if group else "Other options" if len(rows) > 1 else "Options"
                with formatter.section(title):
                    _write_options(rows[group], formatter)


class Sections(_WithExample, click.Group):
    """A group of commands whose help has them in sections."""

    def __init__(
        self, *args: Any, sections: Mapping[str, Sequence[click.Command]], **keywords: Any
    ) -> None:
        super().__init__(*args, **keywords)
        self.sections = sections
        for command in self._in_order():
            self.add_command(command)

    def _in_order(self) -> list[click.Command]:
        return [command for commands in self.sections.values() for command in commands]

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        """Return the names of the commands, in the order of the sections."""
        return [str(command.name) for command in self._in_order()]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, section by section."""
        width = max(map(len, self.list_commands(ctx)))
        for title, commands in self.sections.items():
            rows = [
                (str(one.name).ljust(width), one.get_short_help_str(_LONG)) for one in commands
            ]
            with formatter.section(title):
                formatter.write_dl(rows)


def _write_options(rows: list[tuple[str, str]], formatter: click.HelpFormatter) -> None:
    """Write options, each with its help below it; flags in it are not broken at their hyphens."""
    margin = " " * formatter.current_indent
    for flag, text in rows:
        indent = f"{margin}    "
        filled = textwrap.fill(
            text,
            formatter.width,
            initial_indent=indent,
            subsequent_indent=indent,
            break_on_hyphens=False,
        )
        formatter.write(f"{margin}{flag}\n{filled}\n")
