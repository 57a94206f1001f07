"""What is said of wrong flags: of their names, their places and their values."""

from __future__ import annotations

import functools
import itertools
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from seedwise.model.options.hints import flag_hint


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
            hint = flag_hint(name, value, known)
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
