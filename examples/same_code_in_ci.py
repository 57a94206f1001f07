"""One function for the cluster and for CI, and a test that both give the same bits.

    CI=true python examples/same_code_in_ci.py

`fit` runs on Slurm, and on local workers in CI. For given options, all trials are the same bit for
bit, whatever the workers and the chunks. So CI can compare a small run with one that used other
workers and chunks.
"""

import os

from quickstart import bandit

import seedwise as sw


def fit(cluster, **options):
    return sw.optimize_run(
        bandit, n_trials=12, n_seeds=50, max_concurrent_trials=2, cluster=cluster, **options
    )


def bits(result):
    return [(trial.number, trial.params, trial.value.hex()) for trial in result.trials]


if __name__ == "__main__":
    cluster = "local" if os.environ.get("CI") else "slurm"
    result = fit(cluster, workers=2, chunk_size=10)
    other = fit("local", workers=1, chunk_size=50, progress=False)
    assert bits(result) == bits(other)
    print(f"{len(result.trials)} trials, the same bits twice: {result.validated_params}")
