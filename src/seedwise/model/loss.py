"""The loss: the user's function with its name, description and parameter space."""

import enum
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs

from seedwise.errors import LossDefinitionError, LossSignatureError, OptionError
from seedwise.model.options.hints import hinted
from seedwise.model.seeds import checked_seed
from seedwise.model.space import ParameterSpace, checked_space

_registry: "dict[str, LossDefinition]" = {}

_LONGEST_NAME = 100

LossFunction: TypeAlias = Callable[..., Any]

# Names that say which argument a parameter is meant for, by its place.
_PLACES = {"params": 0, "parameters": 0, "seed": 1, "seeds": 1, "context": 2, "ctx": 2}


class CallShape(enum.Enum):
    """The arguments that the user's function takes."""

    PARAMS_SEED = "(params, seed)"
    PARAMS_SEED_CONTEXT = "(params, seed, context)"
    CONTEXT_BY_KEYWORD = "(params, seed, *, context)"


@attrs.frozen(eq=False)
class LossDefinition:
    """A loss, ready for `optimize_run`, as the decorator `loss` makes it.

    Calling it calls the function, so that it can be tested like a function.

    Attributes
    ----------
    name : str
        Its name; run folders and the study are named after it.
    description : str
        What it measures.
    parameter_space : dict of str to SearchParam
        What is searched.
    function : callable
        The function that was decorated.
    call_shape : CallShape
        The arguments that the function takes.
    seed_start : int
        First seed of a run that does not name its seeds.
    vectorized : bool
        Whether it is called for many seeds at once: 100, or `chunk_size` if that is given.
    """

    name: str
    description: str
    parameter_space: ParameterSpace
    function: LossFunction
    call_shape: CallShape
    seed_start: int = 0
    vectorized: bool = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the user's function."""
        return self.function(*args, **kwargs)

    def evaluate(self, params: Mapping[str, Any], seed: Any, context: dict[str, Any]) -> Any:
        """Call the user's function with what it takes: copies of params and context, and a seed.

        A vectorized loss gets the chunk's seeds, an array of int64. The context has ``entry_id``
        and ``trial_number``, and on a worker ``trial_dir``.
        """
        if self.call_shape is CallShape.PARAMS_SEED:
            return self.function(dict(params), seed)
        if self.call_shape is CallShape.PARAMS_SEED_CONTEXT:
            return self.function(dict(params), seed, context.copy())
        return self.function(dict(params), seed, context=context.copy())


@hinted
def loss(
    *,
    name: str | None = None,
    description: str | None = None,
    parameter_space: Mapping[str, object] | None = None,
    seed_start: int = 0,
    vectorized: bool = False,
) -> Callable[[LossFunction], LossDefinition]:
    """Turn a function into a loss.

    The function takes ``(params, seed)``, ``(params, seed, context)`` or
    ``(params, seed, *, context)``. `params` is a dict of the parameters, `seed` an int that
    names the replicate, and `context` a dict with ``entry_id`` and ``trial_number``.
    ``context["trial_dir"]`` is the path of a folder for files that the function writes. It is made
    when it is asked for. The seeds of a chunk share it, some of them at the same time, and in the
    end the files of all seeds lie in one folder of the trial, so name the files after the seed.

    The function returns a finite number, or a dict of numbers, which are averaged, or
    ``{"total_loss": x, "components": {...}}``, of which ``x`` counts, or a list of one of these
    forms, which is averaged. Scalars of NumPy, JAX and PyTorch are numbers. Components are
    numbers, finite or not. The mean of each, and of each entry of a dict of numbers, is kept with
    the trial. The trial fails if anything else is returned, such as a tuple.

    Parameters
    ----------
    name : str
        Name of the loss; run folders and the study are named after it.
    description : str
        What it measures.
    parameter_space : dict of str to (low, high), search_param(...) or distribution
        The parameters to search, by name; a tuple is a float range.
    seed_start : int, default 0
        First seed of a run that does not name its seeds.
    vectorized : bool, default False
        Call the function for 100 seeds at a time, or `chunk_size` if that is given, with
        ``seeds``, an int64 array of shape (n,); the last call may have fewer. It returns an array
        or a list of n numbers, or ``{"total_loss": x, "components": {...}}`` with such arrays.

    Returns
    -------
    callable
        The decorator; it returns a `LossDefinition`, which stays callable like the function.

    Raises
    ------
    LossDefinitionError
        If name, description or space are missing or empty; it names all of them.
    LossSignatureError
        If the function does not take these arguments.
    SpaceError
        If a parameter's description is wrong.
    OptionError
        If `name` or `description` is not text in one line, `name` is too long, or `seed_start` is
        not a whole number of 64 bits.

    Examples
    --------
    >>> import random
    >>> import seedwise as sw
    >>> @sw.loss(name="walk", description="where it ends", parameter_space={"drift": (-1, 1)})
    ... def walk(params, seed):
    ...     return abs(params["drift"] - 0.3) + random.Random(seed).gauss(0, 0.1)
    >>> round(walk({"drift": 0.3}, seed=1), 3)
    0.129
    """
    fields = {"name": name, "description": description, "parameter_space": parameter_space}
    if not (name and description and parameter_space):
        raise LossDefinitionError([field for field, value in fields.items() if not value])
    for field in ("name", "description"):
        value: object = fields[field]
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise OptionError(field, value, "text in one line")
    if len(name) > _LONGEST_NAME:
        allowed = f"at most {_LONGEST_NAME} letters, because it names folders"
        raise OptionError("name", name, allowed)
    space = checked_space(parameter_space)
    first_seed = checked_seed("seed_start", seed_start)

    def define(function: LossFunction) -> LossDefinition:
        call = (function, _call_shape(function, vectorized), first_seed, bool(vectorized))
        _registry[name] = definition = LossDefinition(name, description, space, *call)
        return definition

    return define


def registered_losses() -> dict[str, LossDefinition]:
    """Return the losses that were defined in this process, by name."""
    return dict(_registry)


def _call_shape(function: LossFunction, vectorized: bool) -> CallShape:
    if not callable(function):
        raise LossSignatureError(repr(function), " is not a function and", vectorized)
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise LossSignatureError(repr(function), " is async or a generator and", vectorized)
    try:
        signature = inspect.signature(function)
    except ValueError:  # a function written in C, without a signature
        raise LossSignatureError(repr(function), " has no signature and", vectorized) from None
    name = getattr(function, "__qualname__", repr(function))
    for shape, args, kwargs in (
        (CallShape.CONTEXT_BY_KEYWORD, ({}, 0), {"context": {}}),
        (CallShape.PARAMS_SEED_CONTEXT, ({}, 0, {}), {}),
        (CallShape.PARAMS_SEED, ({}, 0), {}),
    ):
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            continue
        if shape is CallShape.PARAMS_SEED or _takes_context(signature, bound):
            _check_names(name, signature, list(bound.arguments)[: len(args)], vectorized)
            return shape
    raise LossSignatureError(name, str(signature), vectorized)


def _check_names(
    function: str, signature: inspect.Signature, by_place: list[str], vectorized: bool
) -> None:
    """Refuse arguments that, by their names, are in another order or not what the loss gets."""
    seed, hint = "seeds" if vectorized else "seed", ""
    for place, name in enumerate(by_place):
        given = ("params", seed, "the context, a dict,")[place]
        if place == 2 and name not in _PLACES:
            hint = (
                f"For random numbers write rng = np.random.default_rng({seed}) in the loss. Give "
                "a parameter of your own a default, and call the context by its name."
            )
        if hint or _PLACES.get(name, place) != place:
            problem = f"would get {given} as its {name}"
            raise LossSignatureError(function, str(signature), vectorized, problem, hint)


def _takes_context(signature: inspect.Signature, bound: inspect.BoundArguments) -> bool:
    """Tell whether the third argument is meant for the context."""
    third = signature.parameters[list(bound.arguments)[-1]]
    # One with a default, such as scale=1.0, is the user's own, and so are *args and **kwargs.
    if third.kind in (third.VAR_POSITIONAL, third.VAR_KEYWORD):
        return False
    return third.name in ("context", "ctx") or third.default is third.empty
