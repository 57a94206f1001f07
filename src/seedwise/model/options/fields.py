"""One definition for an option: keyword, type, default, check and description.

A class of options has a field for each keyword, made by the `Group` that it is in. The
documentation and the signature of the public function, and the flags of the commands, are made
from these fields; there is no second list.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import inspect
import json
import textwrap
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Protocol, TypeAlias, TypeVar

import attrs

from seedwise.errors import OptionError
from seedwise.errors.base import without_own_frames
from seedwise.model.options.checks import positive, positive_number, text, truth
from seedwise.model.space import plain_scalar

if TYPE_CHECKING:
    from seedwise.model.loss import LossDefinition
    from seedwise.model.sources import ParameterSource  # with numpy

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T", bound=type)

Field: TypeAlias = "attrs.Attribute[Any]"

# In docstrings it stands for the entries of all options; editors, which run nothing, show it.
_OPTIONS = "**options : each described by ``help()``"

# How an option of one plain type is checked unless it says otherwise.
_CHECKS = {bool: truth, int: positive, float: positive_number, str: text}


class Forms(typing.TypedDict, total=False):
    """How an option is said outside of a call; what is left out is as in a call."""

    #: Its type in words; left out if it is a plain one, or None.
    type: str
    #: Its name on a command line.
    flag: str
    #: Reads the value from the text of a command line; raises ValueError.
    parse: Callable[[str], Any]
    #: The texts that a command line takes; left out for any that `parse` can read.
    choices: Sequence[str]
    #: Whether it may be given more than once on a command line, each time for one more item.
    several: bool
    #: Makes the value from one that TOML can hold.
    from_toml: Callable[[Any], Any]
    to_json: Callable[[Any], Any]
    from_json: Callable[[Any], Any]


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
        doc: str,
        check: Callable[[str, Any], None] | None = None,
        convert: Callable[[Any], Any] | None = None,
        *,
        default: Any,
        **forms: typing.Unpack[Forms],
    ) -> Any:
        """Define an option: its description, check, default and other forms at once."""
        metadata = {"doc": doc, "check": check, "convert": convert, "group": self, **forms}
        return attrs.field(default=default, metadata=metadata)


@typing.dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(Group.option, attrs.field)
)
def options_class(kind: T) -> T:
    """Make a class of options, and fill the line for them in its docstring."""
    made: Any = attrs.frozen(kw_only=True, field_transformer=_completed)(kind)
    made.__doc__ = _with_docs(made.__doc__, made)
    return made  # type: ignore[no-any-return]


def _completed(_: type, fields: list[Field]) -> list[Field]:
    """Give the options of one plain type, which say no other, its name, check and reader."""
    for at, field in enumerate(fields):
        if field.init and "type" not in field.metadata:
            (kind,) = {*(typing.get_args(field.type) or (field.type,))} - {type(None)}
            check, convert = _CHECKS.get(kind), _number if kind is float else None
            plain = {"type": kind.__name__, "check": check, "convert": convert, "parse": kind}
            own = {name: one for name, one in field.metadata.items() if one is not None}
            fields[at] = field.evolve(metadata={**plain, **own})
    return fields


def _number(value: Any) -> Any:
    """Return other kinds of numbers, such as a Decimal, as a float."""
    if isinstance(value, int | float | str | bytes) or not hasattr(value, "__float__"):
        return value
    with contextlib.suppress(TypeError, ValueError, OverflowError):  # the check says it better
        return float(value)
    return value


class Options:
    """The base of classes of options, which are converted and checked when they are made."""

    #: The keywords that come first in signatures, documentation and help.
    usual: ClassVar[Sequence[str]] = ()

    def __attrs_post_init__(self) -> None:
        """Convert and check what was given; a value left at its default needs neither."""
        for field in fields_of(type(self)):
            value = getattr(self, field.name)
            if value is not field.default:
                object.__setattr__(self, field.name, _checked(field, value))


def from_toml(options: type[Options], name: str, value: Any) -> Any:
    """Return an option's value as a file has it, checked as that of a call; else OptionError."""
    (field,) = (one for one in fields_of(options) if one.name == name)
    if field.metadata["type"].startswith("iterable") and not isinstance(value, list):
        raise OptionError(name, value, "a list")
    if (make := field.metadata.get("from_toml")) is not None:
        with contextlib.suppress(TypeError):  # the check says it better
            value = make(value)
    _checked(field, value)
    return value


def _checked(field: Field, value: Any) -> Any:
    """Return a value as the option has it; the check raises OptionError."""
    value, convert, check = _plain(value), field.metadata["convert"], field.metadata["check"]
    value = value if convert is None else convert(value)
    if check is not None and not (value is None and field.default is None):
        check(field.name, value)
    return value


def fields_of(options: type[Options]) -> tuple[Field, ...]:
    """Return the fields that are keywords: the usual ones, then those of each class, base last."""
    named = [name for kind in options.__mro__ for name in inspect.get_annotations(kind)]
    order = {name: at for at, name in reversed([*enumerate([*options.usual, *named])])}
    made: Any = options
    fields = [field for field in attrs.fields(made) if field.init]
    return tuple(sorted(fields, key=lambda field: order[field.name]))


def keyword_names(options: type[Options]) -> list[str]:
    """Return the keywords of a class of options."""
    return [field.name for field in fields_of(options)]


def to_json(options: type[Options], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return keywords and their values as JSON has them, or raise OptionError."""
    saved = _passed(options, keywords, "to_json")
    for name, value in saved.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            hint = f"It is saved in the run's folder, so that the run can be resumed ({error})."
            raise OptionError(name, keywords[name], "a value that JSON can hold", hint) from error
    return saved


def from_json(options: type[Options], saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords that `to_json` wrote."""
    return _passed(options, saved, "from_json")


def _passed(options: type[Options], values: Mapping[str, Any], way: str) -> dict[str, Any]:
    ways: dict[str, Any] = {field.name: field.metadata.get(way) for field in fields_of(options)}
    return {
        name: value if value is None or ways[name] is None else ways[name](value)
        for name, value in values.items()
    }


def keyword_docs(options: type[Options]) -> str:
    """Return the numpydoc entries of a class of options."""
    entries = []
    for field in fields_of(options):
        default = default_of(field)
        shown = "optional" if default is None else f"default {default!r}"
        lines = textwrap.fill(field.metadata["doc"], 88)  # it is indented twice
        entries.append(f"{field.name} : {field.metadata['type']}, {shown}")
        entries.append(textwrap.indent(lines, "    "))
    return "\n".join(entries)


def default_of(field: Field) -> Any:
    """Return an option's default as it is written."""
    return field.default.value if isinstance(field.default, enum.Enum) else field.default


def _with_docs(doc: str | None, options: type[Options]) -> str:
    doc = inspect.cleandoc(doc or "")
    return doc.replace(_OPTIONS, keyword_docs(options)) if _OPTIONS in doc else doc


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

    types = typing.get_type_hints(kind)
    parameters = [parameter.replace(annotation=hints[parameter.name]) for parameter in own]
    for field in fields_of(kind):
        one = inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default)
        parameters.append(one.replace(annotation=types[field.name]))
    signature = inspect.Signature(parameters, return_annotation=hints["return"])
    call.__signature__ = signature  # type: ignore[attr-defined]
    call.__doc__ = _with_docs(function.__doc__, kind)
    return call


def _plain(value: Any) -> Any:
    # A numpy scalar, such as one from an array of settings, becomes a Python number, and a member
    # of an enum of text becomes text: a run's folder holds them as JSON.
    if isinstance(value, tuple):
        return tuple(_plain(part) for part in value)
    if isinstance(value, Mapping):
        return {name: plain_scalar(one) for name, one in value.items()}
    value = plain_scalar(value)
    return str.__str__(value) if isinstance(value, str) else value
