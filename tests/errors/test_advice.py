"""What to change after a failure that is not the loss's fault, or a refusal by sbatch."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedwise.errors import CheckFailedError, LossFailedError, NoCompleteTrialError
from seedwise.errors.advice import remedy, what_to_change

RUN = Path("runs/a")
TOOK = "MemoryExceeded: its worker's processes took {} MB of the {} MB that the worker may have"
OF_JOB = f"{TOOK.format(904, 314)}; its job has 600 MB for 1 CPU (seeds 0 to 0)"
AGAIN = "seedwise resume runs/a --retry-failed"

CAUSES = {
    OF_JOB: (
        "The job has 600 MB: give more, such as mem_per_cpu='2G'",
        f"{AGAIN} --mem-per-cpu 2G",
    ),
    f"{TOOK.format(9000, 7000)}; its job has 8192 MB for 4 CPUs": (
        "The job has 8192 MB: give more, such as mem_per_cpu='5G'",
        f"{AGAIN} --mem-per-cpu 5G",
    ),
    TOOK.format(904, 314): (
        "The worker may have 314 MB: of fewer workers each may have more",
        f"{AGAIN} --workers 1",
    ),
    "WorkerDied: job 7 ended because Slurm killed it because it took more (OUT_OF_MEMORY)": (
        "Give more memory: a larger mem_per_cpu on Slurm, or fewer workers",
        AGAIN,
    ),
    "ProcessDied: its process was killed by signal 9 (SIGKILL), for lack of memory or by hand": (
        "Give more memory: a larger mem_per_cpu on Slurm, or fewer workers",
        AGAIN,
    ),
    "ChunkTimeout: took longer than chunk_timeout_seconds=2": (
        "Raise chunk_timeout_seconds if a seed may take that long",
        f"{AGAIN} --chunk-timeout-seconds SECONDS",
    ),
    "TrialTimeout: the trial ran for more than slurm_timeout_minutes=2": (
        "Raise slurm_timeout_minutes if the loss may take that long",
        f"{AGAIN} --slurm-timeout-minutes MINUTES",
    ),
}


@pytest.mark.parametrize("failure", CAUSES)
def test_each_error_says_what_to_change_instead_of_the_loss(failure):
    what, command = CAUSES[failure]
    kind, _, text = failure.partition(": ")
    loss_failed = LossFailedError(3, 7, 5, {}, kind, text, run_dir=RUN, message=text)
    for error in (loss_failed, NoCompleteTrialError(RUN, 4, f"seed 7: {failure}")):
        assert f"\n{what}: {command}" in str(error)
        assert "corrected loss" not in str(error)
        assert "replay" not in str(error)
    assert f"{what}. Nothing was begun" in str(CheckFailedError("walk", {}, 7, kind, text))


def test_of_an_entry_the_whole_run_is_resumed():
    error = NoCompleteTrialError(Path("r/entries/b"), 4, f"seed 7: {OF_JOB}", Path("r"))
    assert str(error).endswith(": seedwise resume r --retry-failed --mem-per-cpu 2G")


@pytest.mark.parametrize(
    "failure",
    ["ValueError: lack of memory", "ProcessDied: killed by signal 11", "KeyError: MemoryExceeded"],
)
def test_what_the_loss_is_to_blame_for(failure):
    assert remedy(failure) is None
    assert "corrected loss" in str(NoCompleteTrialError(RUN, 4, f"seed 7: {failure}"))


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
