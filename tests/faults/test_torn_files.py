"""Ledger and study file, cut at every byte of their last record, and with bytes flipped."""

from __future__ import annotations

import shutil

import pytest

import seedwise as sw
from seedwise.errors import DamagedFileError
from tests.faults.harness import driver
from tests.faults.loss import noted
from tests.tables import table

OPTIONS = {"n_trials": 8, "n_seeds": 12, "chunk_size": 4, "progress": False}
FILES = ["chunks.ledger", "study.journal"]

# Every byte, or a share of them that is quick to go through.
steps = pytest.mark.parametrize("step", [61, pytest.param(1, marks=pytest.mark.full)])


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A run that was killed in the middle; what its last record is does not matter."""
    folder = tmp_path_factory.mktemp("killed")
    keywords = {**OPTIONS, "workers": 1, "max_concurrent_trials": 2}
    with driver(folder, "run", keywords, pace_s=0.01) as run:
        run.start()
        run.wait_until_told(4)
        run.set_pace(0.1)
        assert run.kill()
        return run.directory.path


@pytest.fixture(scope="module")
def expected(client, tmp_path_factory):
    return table(
        sw.optimize_run(
            noted,
            **OPTIONS,
            max_concurrent_trials=2,
            cluster=client,
            run_root=tmp_path_factory.mktemp("undisturbed"),
        )
    )


def resume(path, client):
    return table(
        sw.optimize_run(
            noted,
            **OPTIONS,
            max_concurrent_trials=2,
            cluster=client,
            run_root=path.parent,
            run_name=path.name,
        )
    )


def last_record(path) -> int:
    """Return where the last record begins."""
    data = path.read_bytes()
    if path.suffix == ".journal":
        return data.rstrip(b"\n").rfind(b"\n") + 1
    return data.rfind(b'{"trial"') - 10  # length, checksum, length of the header


@pytest.mark.timeout(1800)
@steps
@pytest.mark.parametrize("name", FILES)
def test_a_last_record_that_is_cut_anywhere_changes_nothing(
    name, step, killed, expected, client, tmp_path
):
    begin, end = last_record(killed / name), (killed / name).stat().st_size
    assert 50 < end - begin < 400
    for length in range(begin, end, step):
        path = tmp_path / f"cut-{length}"
        shutil.copytree(killed, path)
        data = (path / name).read_bytes()[:length]
        (path / name).write_bytes(data)
        assert resume(path, client) == expected, f"cut at {length}"
        aside = [file.read_bytes() for file in path.glob(f"cut/{name}-*")]
        assert length == begin or any(data.endswith(tail) and tail for tail in aside)
        shutil.rmtree(path)
    print(f"{name}: cut at {len(range(begin, end, step))} places of its last record")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("every", [1000, pytest.param(50, marks=pytest.mark.full)])
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_refused_with_its_place_or_changes_nothing(
    name, every, killed, expected, client, tmp_path
):
    size = (killed / name).stat().st_size
    n_refused = n_equal = 0
    for position in range(0, size, every):
        path = tmp_path / f"flipped-{position}"
        shutil.copytree(killed, path)
        data = bytearray((path / name).read_bytes())
        data[position] ^= 0x40 if position % 2 else 0x01
        (path / name).write_bytes(data)
        refused = None
        try:
            got = resume(path, client)
        except DamagedFileError as error:
            refused = error
        if refused is None:
            assert got == expected, f"flipped at {position}"
            n_equal += 1
        else:
            assert refused.path == path / name
            assert 0 <= refused.position <= position < size
            assert str(refused.position) in str(refused)
            n_refused += 1
        shutil.rmtree(path)
    print(f"{name}: {n_refused} refused, {n_equal} equal")
    assert n_refused > 0
