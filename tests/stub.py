"""The end of ``seedwise/__init__.pyi``, made from the options: what editors and checkers see.

``python -m tests.stub`` writes it. An option that several functions share has its description
in `optimize_run` only, which also has the example; ``help()`` shows both in each.
"""

from __future__ import annotations

import enum
import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import seedwise as sw

STUB = Path(sw.__file__).with_suffix(".pyi")
MARK = "# Made by python -m tests.stub, from here on.\n"

_TRIPLE = '"""'

#: Where the options are described that others share.
_FIRST = sw.optimize_run
_ENTRY = re.compile(r"^(\w+) : .*\n(?: {4}.*\n)+", re.MULTILINE)
_SHARED = "**options\n    The others are described in `optimize_run`.\n"


def stub_text() -> str:
    """Return the whole stub: what is written by hand, and what is made."""
    by_hand = STUB.read_text(encoding="utf-8").partition(MARK)[0]
    made = [_class(sw.SlurmOptions)]
    made += [_function(getattr(sw, name)) for name in sorted(functions_with_options())]
    text = by_hand + MARK + "\n" + "\n\n".join(made)
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", STUB, "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def functions_with_options() -> list[str]:
    """Return the names of the public functions whose signature is made from options."""
    return [name for name in sw.__all__ if hasattr(getattr(sw, name), "__signature__")]


def _class(options: type) -> str:
    parameters = inspect.signature(options, eval_str=True).parameters.values()
    lines = "\n".join(f"    {_parameter(parameter)}" for parameter in parameters)
    doc = _indented(_doc(options))
    return f"@attrs.frozen(kw_only=True)\nclass {options.__name__}:\n{doc}\n\n{lines}\n"


def _function(function: Any) -> str:
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    n_own = sum(one.kind is not one.KEYWORD_ONLY for one in parameters)
    lines = [f"    {_parameter(parameter)},\n" for parameter in parameters]
    lines.insert(n_own, "    *,\n")
    returns = _type(signature.return_annotation)
    doc = _doc(function) if function is _FIRST else _doc_without_shared(function, parameters)
    return f"def {function.__name__}(\n{''.join(lines)}) -> {returns}:\n{_indented(doc)}\n"


def _parameter(parameter: inspect.Parameter) -> str:
    text = f"{parameter.name}: {_type(parameter.annotation)}"
    default = parameter.default
    if default is parameter.empty:
        return text
    return f"{text} = {default if isinstance(default, enum.Enum) else repr(default)}"


def _type(annotation: Any) -> str:
    if annotation is Any:
        return "typing.Any"
    text = inspect.formatannotation(annotation).replace("pathlib._local", "pathlib")
    return re.sub(r"\bseedwise(?:\.\w+)*\.(\w+)", r"\1", text)


def _doc(documented: Any) -> str:
    doc = inspect.getdoc(documented) or ""
    assert _TRIPLE not in doc
    assert "\\" not in doc
    return doc.strip()


def _doc_without_shared(function: Any, parameters: list[inspect.Parameter]) -> str:
    options = {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}
    first = {found.group() for found in _ENTRY.finditer(_doc(_FIRST))}
    entries = [found for found in _ENTRY.finditer(_doc(function)) if found[1] in options]
    kept = "".join(found.group() for found in entries if found.group() not in first)
    start, end = entries[0].start(), entries[-1].end()
    rest = _doc(function)[end:].partition("\n\nExamples\n")[0]
    return _doc(function)[:start] + kept + _SHARED + rest


def _indented(doc: str) -> str:
    return textwrap.indent(f"{_TRIPLE}{doc}\n{_TRIPLE}", "    ")


if __name__ == "__main__":
    STUB.write_text(stub_text(), encoding="utf-8")
