"""Where commands write: results on stdout, and all else on stderr."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

AS_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON object, for other programs."
)


def write(lines: list[str]) -> None:
    """Write lines on stdout."""
    click.echo("\n".join(lines))


def write_result(result: Any, *, as_json: bool) -> None:
    """Write the result of a run on stdout, as JSON just as ``show --json`` does."""
    from seedwise.view.result import result_lines, table_json

    write([table_json(result)] if as_json else result_lines(result))


@contextlib.contextmanager
def stdout_kept() -> Iterator[None]:
    """Keep stdout for the result: what losses print meanwhile, also on workers, goes to stderr."""
    sys.stdout.flush()
    own = os.dup(1)
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(own, 1)
        os.close(own)
