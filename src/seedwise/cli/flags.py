"""Commands: their flags, made from the definitions of options, their help, and their output."""

import contextlib
import functools
import itertools
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import click

from seedwise.model.options.fields import Field, Group, Options, default_of, fields_of
from seedwise.model.options.hints import flag_hint

_LONG = 1000  # no first sentence is cut off

# What is said otherwise on a command line.
_WORDS = {
    "On the command line": "Written as",
    "With False": "With --no-{flag}",
    "True ": "'on' ",
    "False ": "'off' ",
}


class Flag(click.Option):
    """An option of a command, in a group of its help."""

    def __init__(self, *args: Any, group: Group, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.group = group


def option_flags(
    *kinds: type[Options], leave_out: Collection[str] = (), show_defaults: bool = False
) -> Callable[[Any], Any]:
    """Give a command a flag for each option of these kinds."""
    # Kinds of runs share most of them.
    fields = {field.name: (kind, field) for kind in kinds for field in fields_of(kind)}

    def with_flags(command: Any) -> Any:
        for name, (kind, field) in reversed(fields.items()):
            if name not in leave_out:
                command = _flag(kind, field, show_defaults)(command)
        return command

    return with_flags


def _flag(kind: type[Options], field: Field, show_default: bool) -> Callable[[Any], Any]:
    name, said, default = _flag_name(field), field.metadata, default_of(field)
    parse, choices, several = said.get("parse", str), said.get("choices"), "several" in said
    if parse is bool:
        default = "on" if default else "off"
    shown = show_default and default not in (None, ())
    again = "Can be given again. " if several else ""
    text = f"{_help(kind, field)} {again}{f'[default: {default}]' if shown else ''}"
    return click.option(
        f"--{name}/--no-{name}" if parse is bool else f"--{name}",
        field.name,
        cls=Flag,
        group=said["group"],
        default=None,
        type=click.Choice(choices, case_sensitive=False) if choices else saying_why(parse),
        metavar=None if isinstance(parse, type) else parse.__name__.partition("_")[0].upper(),
        help=text.rstrip(),
        multiple=several,
    )


def _flag_name(field: Field) -> str:
    return str(field.metadata.get("flag", field.name.replace("_", "-")))


def _help(kind: type[Options], field: Field) -> str:
    """Return the description of an option in the words of a command line."""
    flags = {one.name: f"--{_flag_name(one)}" for one in fields_of(kind)}
    text = field.metadata["doc"]
    text = re.sub(r"`+([^`]+)`+", lambda found: flags.get(found[1], found[1]), text)
    if field.default is None:
        text = text.replace("None is no limit", "Left out, there is no limit")
        text = re.sub(r"\bNone (?=\w+s )", "Left out, it ", text)
    text = re.sub(r" None [^.]*\.", "", text)  # that can't be written
    for word, instead in _WORDS.items():
        text = text.replace(word, instead.format(flag=_flag_name(field)))
    return text


def saying_why(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a parser that says why it can't read a text: click 8.1 shows the text alone."""
    if isinstance(parse, type):
        return parse

    @functools.wraps(parse)
    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return parsed


def misplaced(command: click.Command, script: str, arguments: Sequence[str]) -> Iterator[str]:
    """Yield a note for each flag of the command that comes after the script, and so is for it."""
    for flag, value in _flags(arguments):
        if flag in _flags_of(command):
            given = shlex.join([flag] if value is None else [flag, value])
            yield f"note: {given} goes to {script}; for the job put it before the script"


def _flags_of(command: click.Command) -> list[str]:
    """Return the flags of a command that have a value, or turn something on."""
    return [flag for one in command.params if isinstance(one, click.Option) for flag in one.opts]


def _flags(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the flags among words, each with what seems to be its value."""
    for word, following in itertools.zip_longest(words, words[1:], fillvalue="-"):
        flag, is_with_value, value = word.partition("=")
        if flag.startswith("-"):
            follows = None if following.startswith("-") else following
            yield flag, value if is_with_value else follows


class _WithExample(click.Command):
    """A command whose help has its epilog as an example, line by line."""

    # click calls it with a context.
    def format_epilog(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example."""
        if self.epilog:
            with formatter.section("Example"):
                for line in self.epilog.splitlines():
                    formatter.write(f"{' ' * formatter.current_indent}{line}\n")


class Command(_WithExample):
    """A command whose help has its options in groups, and which says what to use of wrong ones."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments; raise UsageError if they can't be parsed."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name
            value = next((text for flag, text in _flags(given) if flag == name), None)
            known = [one.removeprefix("--").replace("-", "_") for one in _flags_of(self)]
            hint = flag_hint(name, value, known)
            for one in self.params:
                if name == f"--{str(one.name).replace('_', '-')}":  # it is longer than the flag
                    hint = f"use {one.opts[0]}."
            raise click.UsageError(f"No such option: {name}; {hint}", ctx) from None

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


def command(*examples: str, **settings: Any) -> Callable[[Any], Command]:
    """Return a decorator that makes a command, with examples in its help."""
    return click.command(cls=Command, epilog="\n".join(examples), **settings)


def _write_options(rows: list[tuple[str, str]], formatter: click.HelpFormatter) -> None:
    """Write options, each with its help below it; flags in it are not broken at their hyphens."""
    margin = " " * formatter.current_indent
    wrapper = textwrap.TextWrapper(formatter.width, f"{margin}    ", break_on_hyphens=False)
    wrapper.subsequent_indent = wrapper.initial_indent
    for flag, text in rows:
        formatter.write(f"{margin}{flag}\n{wrapper.fill(text)}\n")


class Sections(_WithExample, click.Group):
    """A group of commands whose help has them in sections."""

    def __init__(
        self, *, sections: Mapping[str, Sequence[click.Command]], **keywords: Any
    ) -> None:
        super().__init__(commands=[*itertools.chain(*sections.values())], **keywords)
        self.sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        """Return the names of the commands, in the order of the sections."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, section by section."""
        width = max(map(len, self.list_commands(ctx)))
        for title, commands in self.sections.items():
            rows = [
                (str(one.name).ljust(width), one.get_short_help_str(_LONG)) for one in commands
            ]
            with formatter.section(title):
                formatter.write_dl(rows)


switch = functools.partial(click.option, is_flag=True)

AS_JSON = switch("--json", "as_json", help="Print a JSON object, for other programs.")


def write(lines: list[str]) -> None:
    """Write lines on stdout."""
    click.echo("\n".join(lines))


def write_result(result: Any, *, as_json: bool) -> None:
    """Write the result of a run on stdout, as JSON just as ``show --json`` does."""
    from seedwise.view.result import result_lines, table_json

    write([table_json(result)] if as_json else result_lines(result))


@contextlib.contextmanager
def stdout_kept() -> Iterator[None]:
    """Keep stdout for the result: what losses print meanwhile, also on workers, goes to stderr."""
    sys.stdout.flush()
    own = os.dup(1)
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(own, 1)
        os.close(own)
