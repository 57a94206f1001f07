"""What jobs used, from the lines of Slurm's accounting."""

from __future__ import annotations

import pytest

from seedwise.slurm.usage import Usage, parse_usage

# Two jobs of two CPUs that ended, one of which was cancelled; one that goes on; and a job of
# another cluster, whose id is the same.
SACCT = """\
11|fit|COMPLETED|100|2|02:30||4G
11.batch|batch|COMPLETED|100|2|02:30|614400K|
12|fit|CANCELLED by 0|60|2|00:30.500||4G
12.batch|batch|CANCELLED|60|2|00:30.500|1024M|
13|fit|RUNNING|50|2|00:00:00||4G
14|other|COMPLETED|5000|64|2-00:00:00||64G
14.batch|batch|COMPLETED|5000|64|2-00:00:00|32G|
"""


def test_the_jobs_of_the_run_that_have_ended_are_added_up():
    found = parse_usage(SACCT, "fit")
    assert found == Usage(
        n_jobs=2, core_s=320.0, busy_s=180.5, n_cpus=2, peak_memory_mb=1024.0, memory_mb=4096.0
    )
    assert found.efficiency == pytest.approx(180.5 / 320)
    assert found.fitting_mb == 700  # a quarter above 512 a CPU, in whole hundreds


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "fit"),
        (SACCT, "none"),
        ("13|fit|RUNNING|50|2|00:00:00||4G\n", "fit"),
        ("15|fit|CANCELLED by 0|0|0|00:00:00||4G\n", "fit"),  # while it was pending
    ],
)
def test_nothing_is_said_where_nothing_is_known(text, name):
    assert parse_usage(text, name) is None


@pytest.mark.parametrize(
    ("peak_mb", "memory_mb", "fitting_mb"),
    [(None, 4096.0, None), (1024.0, None, None), (2500.0, 4096.0, None), (10.0, 4096.0, 100)],
)
def test_less_memory_is_advised_only_if_it_is_clearly_less(peak_mb, memory_mb, fitting_mb):
    used = Usage(1, 10.0, 5.0, 2, peak_mb, memory_mb)
    assert used.fitting_mb == fitting_mb


def test_memory_by_cpu_of_older_versions():
    found = parse_usage("11|fit|COMPLETED|100|4|02:30||2Gc\n", "fit")
    assert found.memory_mb == 8192.0
    assert found.peak_memory_mb is None
