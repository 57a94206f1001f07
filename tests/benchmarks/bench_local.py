"""Time a run on two local workers against two bare processes, in turns in one run.

    python -m tests.benchmarks.bench_local

Both sides do the same evaluations: 10 trials x 4,000 seeds at about 0.1 ms a seed. Their start-up
is not counted; everything after it is: for seedwise the whole call of `optimize_run`, for the bare
processes one message to each of them and one back for each trial. The target is a ratio of 1.25.
Chunks of 2,000 seeds are the halves that the bare processes have; chunks of 100 are the default.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection

from distributed import Client, LocalCluster

import seedwise as sw
from tests.benchmarks.loss import walk

N_TRIALS = 10
N_SEEDS = 4000
N_TURNS = 7


def bare_worker(link: Connection) -> None:
    while (task := link.recv()) is not None:
        params, first, last = task
        link.send([walk(params, seed) for seed in range(first, last)])


def time_bare(links: list[Connection], points: list[dict[str, float]]) -> float:
    began_s = time.perf_counter()
    for params in points:
        links[0].send((params, 0, N_SEEDS // 2))
        links[1].send((params, N_SEEDS // 2, N_SEEDS))
        losses = links[0].recv() + links[1].recv()
        statistics.fmean(losses)
    return time.perf_counter() - began_s


def time_seedwise(
    client: Client, root: str, chunk_size: int, concurrent: int
) -> tuple[float, sw.OptimizeResult]:
    began_s = time.perf_counter()
    result = sw.optimize_run(
        walk,
        n_trials=N_TRIALS,
        n_seeds=N_SEEDS,
        chunk_size=chunk_size,
        max_concurrent_trials=concurrent,
        cluster=client,
        run_root=root,
        progress=False,
    )
    return time.perf_counter() - began_s, result


def main() -> None:
    variants = [(2000, 1), (1000, 1), (100, 1), (1000, 2)]
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in range(2)]
    workers = [context.Process(target=bare_worker, args=(theirs,)) for _, theirs in pairs]
    for worker in workers:
        worker.start()
    links = [ours for ours, _ in pairs]
    bare_s: list[float] = []
    ratios: dict[tuple[int, int], list[float]] = {variant: [] for variant in variants}
    with (
        tempfile.TemporaryDirectory() as root,
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        _, warm = time_seedwise(client, root, *variants[0])
        points = [trial.params for trial in warm.trials]
        for _ in range(N_TURNS):
            bare_s.append(time_bare(links, points))
            for variant in variants:
                took_s, _ = time_seedwise(client, root, *variant)
                ratios[variant].append(took_s / bare_s[-1])
    for link in links:
        link.send(None)
    for worker in workers:
        worker.join()
    print(f"two bare processes: median {statistics.median(bare_s) / N_TRIALS:.4f} s a trial")
    for (chunk_size, concurrent), values in ratios.items():
        print(
            f"seedwise, chunk_size={chunk_size}, max_concurrent_trials={concurrent}: ratio "
            f"median {statistics.median(values):.3f}, min {min(values):.3f}, max {max(values):.3f}"
        )


if __name__ == "__main__":
    sys.exit(main())
