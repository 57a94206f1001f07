from __future__ import annotations

import functools
import uuid

import cloudpickle
import numpy as np
import pytest

from seedwise.errors import LossDefinitionError, LossSignatureError, OptionError, SpaceError
from seedwise.model.loss import CallShape, LossDefinition, loss, registered_losses
from seedwise.model.space import SearchParam

FIELDS = {"name": "bowl", "description": "a bowl", "parameter_space": {"x": (-1, 1)}}
define = loss(**FIELDS)


class Method:
    def two(self, params, seed):
        return "two"

    def __call__(self, params, seed, context):
        return context


SHAPES = {
    CallShape.PARAMS_SEED: [
        lambda params, seed: 0,
        lambda p, s: 0,
        lambda params, seed, scale=1.0: 0,
        lambda params, seed, *, scale=1.0: 0,
        lambda *args: 0,
        lambda params, *args: 0,
        lambda params, seed, **kwargs: 0,
        lambda *args, **kwargs: 0,
        functools.partial(lambda scale, params, seed: 0, 1.0),
        Method().two,
    ],
    CallShape.PARAMS_SEED_CONTEXT: [
        lambda params, seed, context, /: 0,
        lambda params, seed, ctx: 0,
        lambda params, seed, ctx=None: 0,
        lambda params, seed, context, /, scale=1.0: 0,
    ],
    CallShape.CONTEXT_BY_KEYWORD: [
        lambda params, seed, *, context: 0,
        lambda params, seed, *, context=None: 0,
        lambda params, seed, *, context, scale=1.0: 0,
        lambda params, seed, *args, context: 0,
        lambda params, seed, context: 0,
        lambda params, seed, context=None, scale=1.0: 0,
        lambda params, seed, context=(): 0,
        lambda params, seed, scale=1.0, context=None: 0,
        Method(),
    ],
}


@pytest.mark.parametrize(
    ("shape", "function"), [(shape, f) for shape, fs in SHAPES.items() for f in fs]
)
def test_the_signature_tells_the_call_shape(shape, function):
    definition = define(function)
    assert definition.call_shape is shape
    definition.evaluate({"x": 0.0}, 1, {"entry_id": None, "trial_number": 0})


@pytest.mark.parametrize(
    "function",
    [
        lambda: 0,
        lambda params: 0,
        lambda params, seed, context, extra: 0,
        lambda params, *, seed: 0,
        lambda params, seed, *, scale: 0,
        lambda params, *, context: 0,
        lambda params, seed, *, context, scale: 0,
    ],
)
@pytest.mark.parametrize("vectorized", [False, True])
def test_a_function_that_cant_be_called_is_refused(function, vectorized):
    seed = "seeds" if vectorized else "seed"
    with pytest.raises(LossSignatureError, match=rf"it must take \(params, {seed}\)") as caught:
        loss(**FIELDS, vectorized=vectorized)(function)
    assert caught.value.signature in str(caught.value)
    assert "<lambda>" in str(caught.value)


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda seed, params: 0, "would get params as its seed"),
        (lambda seed, x: 0, "would get params as its seed"),
        (lambda x, params: 0, "would get seed as its params"),
        (lambda params, context: 0, "would get seed as its context"),
        (lambda context, params, seed: 0, "would get params as its context"),
        (lambda params, ctx, seed: 0, "would get seed as its ctx"),
        (lambda seed, params, *, context: 0, "would get params as its seed"),
        (lambda seed, params, context=None: 0, "would get params as its seed"),
    ],
)
def test_arguments_in_another_order_are_refused(function, problem):
    with pytest.raises(LossSignatureError, match=rf"{problem}: it must take \(params, seed\)"):
        define(function)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda params, seed, rng: 0, "rng"),
        (lambda params, seed, rng, /: 0, "rng"),
        (lambda p, s, model, scale=1.0: 0, "model"),
        (functools.partial(lambda scale, params, seed, data: 0, 1.0), "data"),
    ],
)
@pytest.mark.parametrize("vectorized", [False, True])
def test_a_third_parameter_of_another_name_is_refused(function, name, vectorized):
    with pytest.raises(LossSignatureError) as caught:
        loss(**FIELDS, vectorized=vectorized)(function)
    assert f"would get the context, a dict, as its {name}: it must take" in str(caught.value)
    rng = f"rng = np.random.default_rng({'seeds' if vectorized else 'seed'}) in the loss. Give a"
    assert rng in str(caught.value)


def test_what_is_no_function_is_refused():
    with pytest.raises(LossSignatureError, match="loss 3 is not a function and can't be called"):
        define(3)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda params, seed: (params, seed), ({"x": 1.0}, 7)),
        (lambda params, seed, ctx, /: (params, seed, ctx), ({"x": 1.0}, 7, {"entry_id": "p1"})),
        (lambda params, seed, *, context: (params, context), ({"x": 1.0}, {"entry_id": "p1"})),
    ],
)
def test_evaluate_gives_each_shape_its_arguments(function, expected):
    assert define(function).evaluate({"x": 1.0}, 7, {"entry_id": "p1"}) == expected


@pytest.mark.parametrize(
    "function",
    [
        lambda params, seed, ctx, /: (params.clear(), ctx.clear()),
        lambda params, seed, *, context: (params.clear(), context.clear()),
    ],
)
def test_the_function_gets_copies(function):
    params, context = {"x": 1.0}, {"entry_id": "p1"}
    define(function).evaluate(params, 7, context)
    assert params == {"x": 1.0}
    assert context == {"entry_id": "p1"}


def test_a_loss_stays_callable_like_the_function():
    @define
    def shifted(params, seed, scale=2.0):
        return params["x"] * scale + seed

    assert isinstance(shifted, LossDefinition)
    assert shifted({"x": 1.0}, 3) == 5.0
    assert shifted({"x": 1.0}, seed=3, scale=1.0) == 4.0


def test_a_definition_holds_what_was_given():
    @loss(**FIELDS, seed_start=np.int64(5), vectorized=True)
    def many(params, seeds):
        return seeds * params["x"]

    assert (many.name, many.description) == ("bowl", "a bowl")
    assert many.parameter_space == {"x": SearchParam("float", (-1.0, 1.0))}
    assert many.vectorized is True
    assert many.seed_start == 5
    assert type(many.seed_start) is int


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({}, ("name", "description", "parameter_space")),
        ({**FIELDS, "name": ""}, ("name",)),
        ({**FIELDS, "description": None}, ("description",)),
        ({**FIELDS, "parameter_space": {}}, ("parameter_space",)),
    ],
)
def test_all_missing_fields_are_named(fields, missing):
    with pytest.raises(LossDefinitionError, match=f"@loss lacks {', '.join(missing)}") as caught:
        loss(**fields)
    assert caught.value.missing == missing


def test_a_wrong_space_is_refused_where_it_is_written():
    with pytest.raises(SpaceError, match=r"parameter 'x': .*low must not be above high"):
        loss(**{**FIELDS, "parameter_space": {"x": (1, 0)}})


@pytest.mark.parametrize("seed_start", [1.5, "1", None])
def test_seed_start_is_a_whole_number(seed_start):
    with pytest.raises(OptionError, match=f"seed_start={seed_start!r}: must be a whole number"):
        loss(**FIELDS, seed_start=seed_start)


def test_losses_are_registered_by_name_and_the_last_one_counts():
    name = f"loss-{uuid.uuid4()}"
    assert name not in registered_losses()
    first = loss(**{**FIELDS, "name": name})(lambda params, seed: 1)
    assert registered_losses()[name] is first
    second = loss(**{**FIELDS, "name": name})(lambda params, seed: 2)
    assert registered_losses()[name] is second
    registered_losses().clear()
    assert registered_losses()[name] is second


def test_a_loss_of_a_closure_travels():
    shift = 3.0
    definition = define(lambda params, seed: params["x"] + seed + shift)
    again = cloudpickle.loads(cloudpickle.dumps(definition))
    assert again.evaluate({"x": 0.5}, 1, {}) == 4.5
    assert again.call_shape is CallShape.PARAMS_SEED
    assert again.parameter_space == definition.parameter_space


def made(function):
    return loss(name="made", description="d", parameter_space={"x": (0, 1)})(function)


def test_a_third_parameter_with_a_default_of_its_own_is_not_the_context():
    """An array's default can't be compared with None by ==."""

    def loss_function(params, seed, data=np.zeros(3)):  # noqa: B008
        return float(data.sum())

    assert made(loss_function).call_shape is CallShape.PARAMS_SEED


@pytest.mark.parametrize("name", [5, "two\nlines", " ", "x" * 101])
def test_a_name_that_is_none(name):
    with pytest.raises(OptionError, match="name="):
        loss(name=name, description="d", parameter_space={"x": (0, 1)})


def test_a_space_that_is_no_dict():
    with pytest.raises(SpaceError, match="must be a dict"):
        loss(name="n", description="d", parameter_space=[("x", (0, 1))])


def test_a_function_without_signature():
    with pytest.raises(LossSignatureError, match="has no signature"):
        made(max)


def test_async_functions_are_refused():
    async def later(params, seed):
        return 0.0

    with pytest.raises(LossSignatureError, match="is async"):
        made(later)
