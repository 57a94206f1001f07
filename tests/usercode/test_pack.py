"""The packing of a loss: by name or by value, and with which module."""

from __future__ import annotations

import hashlib
import textwrap

import pytest

from tests.usercode.programs import DECORATED, LOSS, ProgramError, losing, write

FACTORY = f"""
{LOSS}
def make(k):
    {DECORATED}    def loss(params, seed): return k
    return loss
"""
BY_IMPORT = losing("return 1.0")

#: Files and how they are packed; the module, the variable, and whether it goes by value.
PACKED = {
    "the script's": ({"main.py": BY_IMPORT}, "", ("__main__", "loss", False)),
    "a module's": (
        {"main.py": "from losses import loss", "losses.py": BY_IMPORT},
        "",
        ("losses", "loss", False),
    ),
    "one that a module hands on": (
        {
            "main.py": "from pkg import loss",
            "pkg/__init__.py": "from .deep import loss",
            "pkg/deep.py": BY_IMPORT,
        },
        "",
        ("pkg.deep", "loss", False),
    ),
    "under another name": (
        {"main.py": BY_IMPORT.replace("def loss", "def other") + "loss = other"},
        "",
        ("__main__", "other", False),
    ),
    "made by a factory when the script is imported": (
        {"main.py": "from factory import make\nloss = make(1)", "factory.py": FACTORY},
        "",
        ("__main__", "loss", False),
    ),
    "made by a factory under the guard": (
        {
            "main.py": "import factory\nif __name__ == '__main__': loss = factory.make(1)",
            "factory.py": FACTORY,
        },
        "",
        ("factory", None, True),
    ),
    "made under the guard": (
        {"main.py": f"if __name__ == '__main__':\n{textwrap.indent(BY_IMPORT, '    ')}"},
        "",
        (None, None, True),
    ),
    "a text's": ({"start": f"text({BY_IMPORT!r})"}, "", (None, None, True)),
    "of a module that is named": (
        {"main.py": BY_IMPORT, "losses.py": BY_IMPORT},
        "loss_module='losses'",
        ("losses", None, False),
    ),
    "of a file that is named": (
        {"main.py": BY_IMPORT, "losses.py": BY_IMPORT},
        "loss_module='losses.py'",
        ("_seedwise_loss_module", None, False),
    ),
    "of the script that is named": (
        {"main.py": BY_IMPORT},
        "loss_module='__main__'",
        ("__main__", "loss", False),
    ),
}


@pytest.mark.parametrize("name", PACKED)
def test_how_a_loss_goes(name, programs, tmp_path):
    files, options, expected = PACKED[name]
    files = dict(files)
    start = files.pop("start", "script()")
    steps = f"""
sent = packed({start}, {options})
answer = [sent.module, sent.variable, bool(sent.digest)]
assert bool(sent.digest) == (sent.pickled is not None) == (sent.python is not None)
assert sent.module in {{None, *sent.code.modules}}
"""
    assert programs.run(write(tmp_path, files), steps) == list(expected)


def test_what_a_text_imports_when_it_is_called_is_in_the_snapshot(programs, tmp_path):
    body = "def inner():\n    import pkg.low\n    return lambda: 1\nimport a\nreturn 1"
    steps = f"answer = sorted(packed(text({losing(body)!r})).code.modules)"
    write(tmp_path, {"a.py": "import b", "b.py": "", "pkg/__init__.py": "", "pkg/low.py": ""})
    assert programs.run(tmp_path, steps) == ["a", "b", "pkg", "pkg.low"]


def test_a_loss_module_that_is_not_there(programs, tmp_path):
    write(tmp_path, {"main.py": BY_IMPORT})
    for module in ("not_there", "not.there", "not_there.py", ".relative", ""):
        with pytest.raises(ProgramError, match=f"loss_module={module!r}: must be") as caught:
            programs.run(tmp_path, f"packed(script(), loss_module={module!r})")
        assert caught.value.kind == "OptionError"


LARGE = losing("return float(data[3])", "import numpy as np\ndata = np.arange(1.5e6)")


def test_a_large_pickle_is_read_from_the_folder(programs, tmp_path):
    start = f"text({LARGE!r})"
    assert programs.here_and_there(tmp_path, start) == (3.0, 3.0)
    here = "sent = received('sent')\nanswer = [sent.pickled, sent.digest, sent.module]"
    pickled, digest, module = programs.run(tmp_path, here)
    file = (tmp_path / "sent" / "loss.pickle").read_bytes()
    assert (pickled, module) == (None, None)
    assert digest == hashlib.sha256(file).hexdigest()


def test_what_is_very_large_is_told(programs, tmp_path):
    steps = f"""
import warnings
warnings.simplefilter("error")
packed(text({LARGE!r}))
"""
    with pytest.raises(ProgramError, match="takes 12 MB with it to each worker") as caught:
        programs.run(tmp_path, steps)
    assert caught.value.kind == "UserWarning"
    assert programs.run(write(tmp_path, {"main.py": LARGE}), "packed(script())") is None


def test_what_can_not_be_pickled_is_told(programs, tmp_path):
    text = losing("return float(next(numbers))", "numbers = (i + 1 for i in range(3))")
    with pytest.raises(ProgramError, match="cannot pickle 'generator' object") as caught:
        programs.run(tmp_path, f"packed(text({text!r}))")
    assert caught.value.kind == "LossTransportError"
    assert programs.here_and_there(write(tmp_path, {"main.py": text})) == (1.0, 1.0)


def test_the_packing_is_the_same_each_time(programs, tmp_path):
    for named, options, _ in PACKED.values():
        files = dict(named)
        start = files.pop("start", "script()")
        steps = f"answer = packed({start}, {options}).id"
        folder = write(tmp_path, files)
        assert len({programs.run(folder, steps) for _ in range(2)}) == 1
