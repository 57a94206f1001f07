"""Fixtures of the tests of the user's code."""

from __future__ import annotations

import pytest

from tests.usercode.programs import Programs


@pytest.fixture(scope="session")
def programs():
    """Start programs of users quickly."""
    programs = Programs()
    yield programs
    programs.close()
