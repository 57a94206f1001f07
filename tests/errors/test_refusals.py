"""Which option to change, by the words of sbatch and of sites."""

from __future__ import annotations

import pytest

from seedwise.errors.refusals import what_to_change

FAILED = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize(
    ("said", "option"),
    [
        (f"{FAILED}Invalid account or account/partition combination specified", "account=..."),
        ("sbatch: error: You must give your project (-A)", "account=..."),
        (f"{FAILED}Invalid qos specification", "change slurm_qos"),
        (f"{FAILED}Job's QOS not permitted to use this partition", "change slurm_qos"),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit", "array_parallelism_limit"),
        (
            (
                f"{FAILED}Job violates accounting/QOS policy (job submit limit, user's size "
                "and/or time limits)"
            ),
            "array_parallelism_limit",
        ),
        ("sbatch: error: invalid partition specified: nosuch", "SlurmOptions(partition=...)"),
        (f"{FAILED}User's group not permitted to use this partition", "(partition=...)"),
        ("sbatch: error: Memory specification can not be satisfied", "mem_per_cpu"),
        ("sbatch: error: --mem is not allowed here", "job-directives-skip: ['--mem=']"),
        ("sbatch: fatal: --mem and --mem-per-cpu are mutually exclusive.", "mem_per_cpu"),
        ("sbatch: error: Invalid generic resource (gres) specification", "extra_directives"),
        ("sbatch: error: please ask for a GPU in this partition", "extra_directives"),
        (f"{FAILED}Requested time limit is invalid (missing or exceeds)", "worker_time_limit"),
        ("sbatch: error: Invalid --time specification", "worker_time_limit"),
        (f"{FAILED}More processors requested than permitted", "cpus_per_task"),
        (f"{FAILED}Invalid feature specification", "extra_directives"),
        (f"{FAILED}Requested reservation is invalid", "extra_directives"),
        (f"{FAILED}Invalid license specification", "extra_directives"),
        (f"{FAILED}Invalid node name specified", "extra_directives"),
        ("sbatch: unrecognized option '--foo'", "extra_directives"),
        (f"{FAILED}Requested node configuration is not available", "cpus_per_task, mem_per_cpu"),
        (f"{FAILED}Unspecified error", "slurm_qos, worker_time_limit, cpus_per_task or"),
    ],
)
def test_the_option_to_change(said, option):
    assert option in what_to_change(said)
