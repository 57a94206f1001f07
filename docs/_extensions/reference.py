"""Directives that make the reference from the code: names, options, commands, errors."""

import builtins
import inspect
import textwrap
from collections.abc import Iterator

import click
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import seedwise as sw
from seedwise.cli import main
from seedwise.model.options.entries import EntriesOptions
from seedwise.model.options.fields import Field, Group, default_of, fields_of

FUNCTIONS = {
    "Begin and resume a run": ["optimize_run", "optimize_entries", "run_sweep", "resume_run"],
}


class Generated(SphinxDirective):
    """A directive that stands for text which is made when the site is built."""

    def text(self) -> Iterator[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        lines = "\n".join(self.text()).splitlines()
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    return {"parallel_read_safe": True, "parallel_write_safe": True}
