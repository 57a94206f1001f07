"""Shipments: a loss is loaded by its name, out of the registry, or from its pickle."""

from __future__ import annotations

import decimal

import attrs
import pytest

import seedwise as sw
from seedwise.errors import LossTransportError
from seedwise.model.options.study import RunOptions
from seedwise.usercode.pack import pack
from seedwise.usercode.shipment import PICKLE
from tests.builders import shipment
from tests.usercode.programs import ProgramError, losing, write
from tests.usercode.test_importing import ELSEWHERE, sent


@sw.loss(name="made", description="m", parameter_space={"x": (0, 1)})
def made(params, seed):
    return params["x"] + seed


def value(sent):
    loss = sent.load()
    sent.release()
    return loss({"x": 0.5}, 2)


def test_a_pickle_that_came_with_it():
    assert value(shipment(made)) == 2.5


def test_a_pickle_in_the_folder(tmp_path):
    whole = shipment(made)
    (tmp_path / PICKLE).write_bytes(whole.pickled)
    sent = attrs.evolve(whole, pickled=None, code=attrs.evolve(whole.code, folder=str(tmp_path)))
    assert sent.id == whole.id
    assert value(sent) == 2.5
    (tmp_path / PICKLE).write_bytes(whole.pickled + b"more")
    with pytest.raises(LossTransportError, match="it has changed since the run began"):
        sent.load()
    (tmp_path / PICKLE).unlink()
    with pytest.raises(LossTransportError, match="No such file or directory"):
        sent.load()


def test_each_call_has_its_context():
    """Two threads may begin runs at once, each with settings of its own."""
    shipments = []
    for precision in (6, 9):
        with decimal.localcontext(prec=precision):
            shipments.append(pack(made, RunOptions.from_keywords({})).shipment)
    found = [one.context().run(lambda: decimal.getcontext().prec) for one in shipments]
    assert found == [6, 9]


def test_a_loss_that_cannot_be_loaded_leaves_the_process_as_it_was(programs, tmp_path):
    steps = sent(programs, tmp_path)
    steps += """
def state():
    return [sys.path, sys.argv, os.getcwd(), "helper" in sys.modules]
before = json.dumps(state())
try:
    attrs.evolve(shipment, variable="other").load()
except ImportError as error:
    answer = [str(error)[:40], json.dumps(state()) == before]
"""
    assert programs.run(ELSEWHERE, steps) == ["the import of __main__ defines no loss '", True]


@pytest.mark.parametrize("version", [(3, 10), (4, 0)])
def test_a_pickle_of_another_python_is_refused_before_it_is_read(version):
    sent = shipment(made, python=version, pickled=b"not a pickle")
    theirs = ".".join(map(str, version))
    with pytest.raises(LossTransportError, match=f"sent by value by Python {theirs}, and Python"):
        sent.load()


def test_what_goes_by_its_name_is_loaded_by_any_python(programs, tmp_path):
    steps = sent(programs, tmp_path)
    steps += "assert shipment.python is None\nsys.version_info = (3, 99, 0)\n"
    assert programs.run(ELSEWHERE, f"{steps}\nanswer = shipment.load()({{}}, 3)") == 1.0


def test_the_id_tells_losses():
    one = shipment(made)
    others = [
        attrs.evolve(one, **{field: "other"}) for field in ("name", "module", "variable", "digest")
    ]
    assert len({one.id, *(other.id for other in others)}) == 5
    assert attrs.evolve(one, sender="other", pickled=None, python=None).id == one.id


@pytest.mark.parametrize(
    ("top", "options", "error"),
    [
        ("", "loss_module='empty'", "importing 'empty' defined no loss 'made', but none at all"),
        ("", "loss_module='other'", r"'other' defined no loss 'made', but \['another'\]"),
        (
            "import sys\nif len(sys.argv) < 2: raise SystemExit('no arguments')",
            "forward_sys_argv_to_workers=False",
            "no arguments",
        ),
    ],
)
def test_an_import_that_does_not_define_it(top, options, error, programs, tmp_path):
    files = {
        "main.py": f"{top}\nif __name__ == '__main__':\n    from losses import loss",
        "losses.py": losing("return 1.0"),
        "empty.py": "",
        "other.py": losing("return 1.0").replace("'made'", "'another'"),
    }
    steps = sent(programs, tmp_path, files, "script('main.py', 'a')", options)
    with pytest.raises(ProgramError, match=error):
        programs.run(ELSEWHERE, f"{steps}\nshipment.load()")


def test_a_loss_module_gives_the_loss(programs, tmp_path):
    files = {
        "main.py": "if __name__ == '__main__':\n    from losses import loss",
        "losses.py": losing("return 1.0"),
    }
    for module in ("losses", "losses.py"):
        steps = sent(programs, tmp_path, files, options=f"loss_module={module!r}")
        assert programs.run(ELSEWHERE, f"{steps}\nanswer = shipment.load()({{}}, 3)") == 1.0


def test_the_modules_around_a_loss_by_value_are_imported(programs, tmp_path):
    """Its import may set what the loss depends on."""
    files = {
        "factory.py": "import settings\n"
        + losing("return 0.0").replace("def loss", "def other")
        + "def make():\n    @sw.loss(name='b', description='m', parameter_space={'x': (0, 1)})\n"
        "    def loss(params, seed):\n        import decimal\n"
        "        return float(decimal.getcontext().prec)\n    return loss\n",
        "settings.py": "import decimal\ndecimal.getcontext().prec = 6",
        "main.py": "import factory\nif __name__ == '__main__': loss = factory.make()",
    }
    assert programs.here_and_there(write(tmp_path, files)) == (6.0, 6.0)
