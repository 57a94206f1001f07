"""Code as it is saved: its id, its texts and its manifest."""

from __future__ import annotations

import json

import attrs
import pytest

from seedwise.usercode.code import Code, Module
from tests.builders import code

PACKAGE = Module("/home/me/pkg", None, is_package=True)
COMPILED = Module("/home/me/fast.so", "me/fast.so")


def test_a_manifest_holds_all_but_the_sources():
    made = code({"a": "K = 1"}, argv=("fit.py", "1"), path=("/home/me",), script_name="a.b")
    made = attrs.evolve(made, modules={**made.modules, "pkg": PACKAGE, "fast": COMPILED})
    manifest = json.loads(json.dumps(made.to_manifest()))
    assert "K = 1" not in json.dumps(manifest)
    again = Code.from_manifest(manifest, made.sources)
    assert again == made
    assert again.id == made.id


def test_what_can_be_read():
    made = code({"a": "K = 1"})
    made = attrs.evolve(made, modules={**made.modules, "pkg": PACKAGE, "fast": COMPILED})
    assert made.texts() == {"a": "K = 1"}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (b"\xef\xbb\xbfK = 1\r\n", "K = 1\n"),
        ("# coding: latin-1\nK = 'é'".encode("latin-1"), "# coding: latin-1\nK = 'é'"),
        (b"# coding: what\nK = 1", "# coding: what\nK = 1"),
        (b"K = '\xff'", "K = '\\xff'"),
    ],
)
def test_a_text_is_what_python_reads(source, text):
    made = code({"a": ""})
    assert attrs.evolve(made, sources={"a": source}).texts() == {"a": text}


def test_the_id_tells_files_and_names_and_nothing_else():
    made = code({"a": "K = 1", "b": ""})
    same = code({"b": "", "a": "K = 1"}, cwd="/", path=("/",), argv=("x",), folder="/elsewhere")
    assert same.id == made.id
    assert len(bytes.fromhex(made.id)) == 8
    others = [
        code({"a": "K = 2", "b": ""}),
        code({"a": "K = 1", "c": ""}),
        code({"a": "K = 1"}),
        code(),
        attrs.evolve(made, hashes={**made.hashes, "data.csv": "1"}),
        attrs.evolve(made, modules={**made.modules, "pkg": PACKAGE}),
    ]
    assert len({made.id, *(other.id for other in others)}) == len(others) + 1
