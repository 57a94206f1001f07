"""Pytest fixtures that give a test a real Slurm cluster.

``SEEDWISE_SLURM_TESTBED=FOLDER`` makes them use a testbed that runs already
(``python -m tests.testbed.testbed up``) and leave it running;
``SEEDWISE_REQUIRE_SLURM=1`` makes a machine without Slurm a failure, not a skip.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed.daemons import DeadlineError, poll
from tests.testbed.testbed import FOREIGN, REUSE_VARIABLE, SlurmUnavailable, Testbed

REQUIRE_VARIABLE = "SEEDWISE_REQUIRE_SLURM"
GRACE_SECONDS = 30.0


@pytest.fixture(scope="session")
def slurm_testbed() -> Iterator[Testbed]:
    """A running cluster, shared by all tests of the session."""
    folder = os.environ.get(REUSE_VARIABLE)
    if folder:
        testbed = Testbed(Path(folder))
        if not testbed.answers():
            pytest.fail(f"{REUSE_VARIABLE}={folder}: no testbed answers there")
        yield testbed
        return
    testbed = Testbed()
    try:
        testbed.start()
    except SlurmUnavailable as error:
        if os.environ.get(REQUIRE_VARIABLE) == "1":
            pytest.fail(f"{REQUIRE_VARIABLE}=1, but {error}")
        pytest.skip(str(error))
    try:
        yield testbed
    finally:
        testbed.stop()


@pytest.fixture
def slurm(slurm_testbed: Testbed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Testbed]:
    """The cluster, as the one that Slurm's commands in this process use.

    The test fails if it leaves jobs behind; they are cancelled.
    """
    for name in [name for name in os.environ if FOREIGN.fullmatch(name)]:
        monkeypatch.delenv(name)
    for name, value in slurm_testbed.env.items():
        monkeypatch.setenv(name, value)
    others = set(slurm_testbed.jobs())
    yield slurm_testbed

    def left() -> set[str]:
        return set(slurm_testbed.jobs()) - others

    try:
        poll(lambda: not left(), "the test's jobs to end", GRACE_SECONDS)
    except DeadlineError:
        listing = slurm_testbed.run("squeue", "--all", "--format=%i %j %T %r %M")
        slurm_testbed.call("scancel", *sorted(left()))
        poll(lambda: not left(), "cancelled jobs to end")
        pytest.fail(f"the test left jobs behind:\n{listing}")
