"""Flags: made from the definitions of options, and what is said of wrong ones."""

import functools
import itertools
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import click

from seedwise.model.options import checks
from seedwise.model.options.fields import CommandOption, Group, command_options
from seedwise.model.options.hints import flag_hint
from seedwise.model.options.work import WorkOptions


class Flag(click.Option):
    """An option of a command, in a group of its help."""

    def __init__(self, *args: Any, group: Group, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.group = group


def option_flags(
    *kinds: type, leave_out: Collection[str] = (), show_defaults: bool = False
) -> Callable[[Any], Any]:
    """Give a command a flag for each option of these kinds."""
    options = [one for kind in kinds for one in command_options(kind, leave_out)]
    by_name = {option.name: option for option in options}  # kinds of runs share most of them

    def with_flags(command: Any) -> Any:
        for option in reversed(by_name.values()):
            command = _flag(option, show_defaults)(command)
        return command

    return with_flags


def _flag(option: CommandOption, show_default: bool) -> Callable[[Any], Any]:
    parse = workers if option.flag == _WORKERS.flag else saying_why(option.parse)
    choice = click.Choice(option.choices, case_sensitive=False)
    again = "Can be given again. " if option.several else ""
    default = f"[default: {option.default}]" if show_default and option.default else ""
    return click.option(
        option.flag,
        option.name,
        cls=Flag,
        group=option.group,
        default=None,
        type=choice if option.choices else parse,
        metavar=option.metavar,
        help=f"{option.help} {again}{default}".rstrip(),
        multiple=option.several,
    )


_WORKERS = next(one for one in command_options(WorkOptions) if one.name == "workers")


def workers(text: str) -> int | tuple[int, int]:
    """Read a number of workers, or bounds."""
    value: Any = None
    try:
        value = _WORKERS.parse(text)
        checks.workers("workers", value)
    except ValueError:  # its message speaks of Python values
        problem = f"{text!r} is not a number of workers"
        if isinstance(value, tuple) and len(value) == 2 and value[0] > value[1]:
            problem = f"in {text!r} the first bound is above the second"
        wanted = "give a whole number above 0, such as 40, or bounds, such as 10:200"
        raise click.BadParameter(f"{problem}; {wanted}") from None
    return value  # type: ignore[no-any-return]


class HintingCommand(click.Command):
    """A command that says what to use instead of a flag that it does not have."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments; raise UsageError if they can't be parsed."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name
            value = next((text for flag, text in _flags(given) if flag == name), None)
            known = [one.removeprefix("--").replace("-", "_") for one in _flags_of(self)]
            of_keyword = {
                f"--{str(one.name).replace('_', '-')}": one.opts[0] for one in self.params
            }
            hint = flag_hint(name, value, known)
            if name in of_keyword:  # the flag is shorter than the keyword
                hint = f"use {of_keyword[name]}."
            raise click.UsageError(f"No such option: {name}; {hint}", ctx) from None


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


def _flags_of(command: click.Command) -> list[str]:
    """Return the flags of a command that have a value, or turn something on."""
    return [flag for one in command.params if isinstance(one, click.Option) for flag in one.opts]


def misplaced(command: click.Command, script: str, arguments: Sequence[str]) -> Iterator[str]:
    """Yield a note for each flag of the command that comes after the script, and so is for it."""
    for flag, value in _flags(arguments):
        if flag in _flags_of(command):
            given = shlex.join([flag] if value is None else [flag, value])
            yield f"note: {given} goes to {script}; for the job put it before the script"


def _flags(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the flags among words, each with what seems to be its value."""
    for word, following in itertools.zip_longest(words, words[1:], fillvalue="-"):
        flag, is_with_value, value = word.partition("=")
        if flag.startswith("-"):
            follows = None if following.startswith("-") else following
            yield flag, value if is_with_value else follows
