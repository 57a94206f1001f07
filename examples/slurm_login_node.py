"""The fit of the quickstart as Slurm jobs, run from a login node.

    python examples/slurm_login_node.py --partition cpu --account lab --jobs 20

Start it in tmux, or as a small job of its own. Each job holds a worker, and the chunks of every
trial are spread over all workers. Options that are left out come from your site's Dask
configuration, and then from Slurm's defaults.
"""

import argparse
from datetime import timedelta

from quickstart import bandit

import seedwise as sw


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--partition")
    parser.add_argument("--account")
    parser.add_argument("--interface", help="network that jobs and login node share, e.g. ib0")
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--run-name", help="a run of this name is resumed")
    given = parser.parse_args()

    result = sw.optimize_run(
        bandit,
        n_trials=given.trials,
        n_seeds=given.seeds,
        max_concurrent_trials=4,
        cluster="slurm",
        run_name=given.run_name,
        workers=given.jobs,
        worker_time_limit=timedelta(hours=1),
        mem_per_cpu="1G",
        slurm=sw.SlurmOptions(
            partition=given.partition, account=given.account, interface=given.interface
        ),
    )
    print(f"best parameters: {result.validated_params}")
    print(f"run folder:      {result.run_dir}")


if __name__ == "__main__":
    main()
