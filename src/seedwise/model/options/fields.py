"""One definition for an option: keyword, type, default, check and description.

A class of options has a field for each keyword, made by the `Group` that it is in. The
documentation and the signature of the public function are made from these fields; there is no
second list.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    dataclass_transform,
    get_type_hints,
)

import attrs

from seedwise.errors import OptionError
from seedwise.errors.base import without_own_frames
from seedwise.model.space import plain_scalar

if TYPE_CHECKING:
    from seedwise.model.loss import LossDefinition
    from seedwise.model.sources import ParameterSource  # with numpy

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T", bound=type)

Parse: TypeAlias = Callable[[str], Any]

# In docstrings it stands for the entries of all options; editors, which run nothing, show it.
_OPTIONS = "**options : each described by ``help()``"

# How a value is read from a command line, by the first word of its type.
_PARSE: dict[str, Parse] = {"int": int, "float": float, "bool": bool}


@attrs.frozen(kw_only=True)
class Forms:
    """How an option is written outside of Python; None means unchanged."""

    #: Its name on a command line.
    flag: str | None = None
    #: Reads the value from the text of a command line; raises ValueError.
    parse: Parse | None = None
    #: The texts that a command line takes; empty for any that `parse` can read.
    choices: Sequence[str] = ()
    #: Whether it may be given more than once on a command line, each time for one more item.
    several: bool = False
    #: Makes the value from one that TOML can hold.
    from_toml: Callable[[Any], Any] | None = None
    to_json: Callable[[Any], Any] | None = None
    from_json: Callable[[Any], Any] | None = None


class Group(enum.Enum):
    """The groups of options, in the order that a command's help has."""

    SEARCH = "What is searched"
    LENGTH = "How long"
    PLACE = "Where it runs"
    FAILURES = "When something fails"
    FILES = "Files, and resuming"
    JOBS = "Slurm jobs"

    def option(
        self,
        type_: str,
        doc: str,
        check: Callable[[str, Any], None] | None = None,
        convert: Callable[[Any], Any] | None = None,
        *,
        default: Any,
        forms: Forms = Forms(),
    ) -> Any:
        """Define an option: its type, description, check, default and other forms at once."""
        return attrs.field(
            default=default,
            metadata={
                **attrs.asdict(forms, recurse=False),
                "type": type_,
                "doc": doc,
                "check": check,
                "convert": convert,
                "parse": forms.parse or _PARSE.get(type_.split(maxsplit=1)[0], str),
                "group": self,
            },
        )


@dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(Group.option, attrs.field)
)
def options_class(kind: T) -> T:
    """Make a class of options, and fill the line for them in its docstring."""
    made: Any = attrs.frozen(kw_only=True)(kind)
    made.__doc__ = _with_docs(made.__doc__, made)
    return made  # type: ignore[no-any-return]


def settle(options: Any) -> None:
    """Convert and check what was given; a value left at its default needs neither."""
    given = [
        one for one in _fields(type(options)) if getattr(options, one.name) is not one.default
    ]
    for field in given:
        object.__setattr__(options, field.name, _converted(field, getattr(options, field.name)))
    for field in given:
        _check(field, getattr(options, field.name))


def from_toml(options: type, name: str, value: Any) -> Any:
    """Return an option's value as a file has it, checked as that of a call; else OptionError."""
    (field,) = (one for one in _fields(options) if one.name == name)
    if field.metadata["type"].startswith("iterable") and not isinstance(value, list):
        raise OptionError(name, value, "a list")
    if (make := field.metadata["from_toml"]) is not None:
        with contextlib.suppress(TypeError):  # the check says it better
            value = make(value)
    _check(field, _converted(field, value))
    return value


def _converted(field: attrs.Attribute[Any], value: Any) -> Any:
    value, convert = _plain(value), field.metadata["convert"]
    return value if convert is None else convert(value)


def _check(field: attrs.Attribute[Any], value: Any) -> None:
    check = field.metadata["check"]
    if check is not None and not (value is None and field.default is None):
        check(field.name, value)


def _fields(options: type) -> tuple[attrs.Attribute[Any], ...]:
    """Return the fields that are keywords: the usual ones, then those of each class, base last."""
    usual: Sequence[str] = getattr(options, "usual", ())
    named = [name for kind in options.__mro__ for name in inspect.get_annotations(kind)]
    order = {name: place for place, name in reversed(list(enumerate([*usual, *named])))}
    fields = [field for field in attrs.fields(options) if field.init]
    return tuple(sorted(fields, key=lambda field: order[field.name]))


def keyword_names(options: type) -> list[str]:
    """Return the keywords of a class of options."""
    return [field.name for field in _fields(options)]


def to_json(options: type, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return keywords and their values as JSON has them, or raise OptionError."""
    saved = _passed(options, keywords, "to_json")
    for name, value in saved.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            hint = f"It is saved in the run's folder, so that the run can be resumed ({error})."
            raise OptionError(name, keywords[name], "a value that JSON can hold", hint) from error
    return saved


def from_json(options: type, saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords that `to_json` wrote."""
    return _passed(options, saved, "from_json")


def _passed(options: type, values: Mapping[str, Any], way: str) -> dict[str, Any]:
    ways = {field.name: field.metadata[way] for field in _fields(options)}
    return {
        name: value if value is None or ways[name] is None else ways[name](value)
        for name, value in values.items()
    }


def keyword_docs(options: type) -> str:
    """Return the numpydoc entries of a class of options."""
    entries = []
    for field in _fields(options):
        default = _default(field)
        shown = "optional" if default is None else f"default {default!r}"
        text = textwrap.fill(field.metadata["doc"], 88)  # it is indented twice
        text = textwrap.indent(text, "    ")
        entries.append(f"{field.name} : {field.metadata['type']}, {shown}\n{text}")
    return "\n".join(entries)


def _default(field: attrs.Attribute[Any]) -> Any:
    return field.default.value if isinstance(field.default, enum.Enum) else field.default


def _with_docs(text: str | None, options: type) -> str:
    text = inspect.cleandoc(text or "")
    return text.replace(_OPTIONS, keyword_docs(options)) if _OPTIONS in text else text


@attrs.frozen(kw_only=True)
class CommandOption:
    """An option on a command line."""

    #: The keyword.
    name: str
    group: Group
    #: The flag, such as ``--n-trials``, or ``--progress/--no-progress``.
    flag: str
    #: Reads the value from text; raises ValueError.
    parse: Parse
    #: The texts that it takes; empty for any that `parse` can read.
    choices: Sequence[str]
    #: What stands for the value in the help; None for a plain type.
    metavar: str | None
    help: str
    #: The default of a new run; None if the help says it in words.
    default: str | None
    #: Whether it may be given more than once, each time for one more line.
    several: bool


def command_options(options: type, leave_out: Collection[str] = ()) -> list[CommandOption]:
    """Return the command-line flags of a class of options, without those in `leave_out`."""
    return [
        _command_option(options, field)
        for field in _fields(options)
        if field.name not in leave_out
    ]


def _command_option(options: type, field: attrs.Attribute[Any]) -> CommandOption:
    name = field.metadata["flag"] or field.name.replace("_", "-")
    parse, default = field.metadata["parse"], _default(field)
    if parse is bool:
        default = "on" if default else "off"
    return CommandOption(
        name=field.name,
        group=field.metadata["group"],
        flag=f"--{name}/--no-{name}" if parse is bool else f"--{name}",
        parse=parse,
        choices=field.metadata["choices"],
        metavar=None if isinstance(parse, type) else parse.__name__.partition("_")[0].upper(),
        help=_help(field, name, options),
        default=None if default in (None, ()) else str(default),
        several=field.metadata["several"],
    )


def _help(field: attrs.Attribute[Any], flag: str, options: type) -> str:
    """Return the description of an option in the words of a command line."""
    flags = {one.name: one.metadata["flag"] or one.name for one in _fields(options)}

    def in_shell(found: re.Match[str]) -> str:
        name = found[1]
        return f"--{flags[name].replace('_', '-')}" if name in flags else name

    text = re.sub(r"`+([^`]+)`+", in_shell, field.metadata["doc"])
    if field.default is None:
        text = text.replace("None is no limit", "Left out, there is no limit")
        text = re.sub(r"\bNone (?=\w+s )", "Left out, it ", text)
    text = re.sub(r" None [^.]*\.", "", text)  # that can't be written
    words = {
        "On the command line": "Written as",
        "With False": f"With --no-{flag}",
        "True ": "'on' ",
        "False ": "'off' ",
    }
    for word, instead in words.items():
        text = text.replace(word, instead)
    return text


class TakesLoss(Protocol[P, R_co]):
    """A function of a loss and of options, whose types are those of their class."""

    __name__: str

    # Without a docstring, so that editors show that of the function.
    def __call__(self, loss: LossDefinition, *args: P.args, **options: P.kwargs) -> R_co: ...  # noqa: D102


class TakesLossAndSource(Protocol[P, R_co]):
    """The same with the points of a sweep."""

    __name__: str

    def __call__(  # noqa: D102
        self, loss: LossDefinition, source: ParameterSource, *args: P.args, **options: P.kwargs
    ) -> R_co: ...


def takes(
    options: Callable[P, Any],
) -> Callable[[Callable[[LossDefinition, dict[str, Any]], R_co]], TakesLoss[P, R_co]]:
    """Give a function the keywords of a class of options, and their documentation.

    The function's last argument is a dict of the keywords that it is called with. The line for
    options in its docstring is filled.
    """
    return functools.partial(_with_keywords, options)


def takes_source(
    options: Callable[P, Any],
) -> Callable[
    [Callable[[LossDefinition, ParameterSource, dict[str, Any]], R_co]],
    TakesLossAndSource[P, R_co],
]:
    """Do what `takes` does, for a function that has a source, too."""
    return functools.partial(_with_keywords, options)


def _with_keywords(kind: Any, function: Callable[..., Any]) -> Any:
    *own, _ = inspect.signature(function).parameters.values()
    hints = inspect.get_annotations(function, eval_str=True)
    names = [parameter.name for parameter in own]

    @without_own_frames
    @functools.wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        given = [*args, *(keywords.pop(name) for name in names[len(args) :] if name in keywords)]
        if len(given) != len(names):
            wanted = f"{function.__name__}() takes {' and '.join(names)} and options as keywords"
            raise TypeError(wanted)
        return function(*given, keywords)

    types = get_type_hints(kind)
    parameters = [parameter.replace(annotation=hints[parameter.name]) for parameter in own]
    parameters += [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=types[field.name],
        )
        for field in _fields(kind)
    ]
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        parameters, return_annotation=hints["return"]
    )
    call.__doc__ = _with_docs(function.__doc__, kind)
    return call


def _plain(value: Any) -> Any:
    # A numpy scalar, such as one from an array of settings, becomes a Python number, and a member
    # of an enum of text becomes text: a run's folder holds them as JSON.
    if isinstance(value, tuple):
        return tuple(_plain(part) for part in value)
    value = plain_scalar(value)
    return str.__str__(value) if isinstance(value, str) else value
