"""A sweep: the learning agent of the quickstart at all points of a grid, 400 seeds each.

    python examples/grid.py --run-name grid

It prints a table of means and standard errors, and the best point. Run the same line again: all
trials are told by then, so it prints the table at once. If the run was stopped, the same line
evaluates what is missing. To evaluate some trials once more, give their numbers:

    python examples/grid.py --run-name grid --again 7 12

Takes a few seconds on a laptop.
"""

import argparse

from quickstart import bandit

import seedwise as sw

LEARNING_RATES = [0.05, 0.1, 0.2, 0.4, 0.8]
TEMPERATURES = [0.02, 0.05, 0.1, 0.2, 0.4]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=400)
    parser.add_argument("--run-name", help="a run of this name is resumed")
    parser.add_argument("--again", type=int, nargs="+", help="evaluate these trials once more")
    given = parser.parse_args()

    source = sw.grid(learning_rate=LEARNING_RATES, temperature=TEMPERATURES)
    result = sw.run_sweep(
        bandit, source, n_seeds=given.seeds, run_name=given.run_name, trial_nums=given.again
    )

    best = result.best
    cells = {}
    for trial in result.trials:
        if trial.value is not None:
            # All trials have the same seeds, so comparing seed by seed shows finer differences.
            worse = result.losses(trial.number) - result.losses(best.number)
            mark = "*" if worse.mean() <= 2 * worse.std(ddof=1) / len(worse) ** 0.5 else " "
            place = trial.params["learning_rate"], trial.params["temperature"]
            cells[place] = f"{trial.value:5.2f} ± {trial.stderr:.2f}{mark}"
    print("missed reward: rows are learning rates, columns are temperatures")
    print("     ", *(f"{temperature:>14}" for temperature in TEMPERATURES))
    for rate in LEARNING_RATES:
        row = [cells.get((rate, temperature), "-") for temperature in TEMPERATURES]
        print(f"{rate:<5}", *(f"{cell:>14}" for cell in row))
    print("* can't be told from the best, which is")
    print(f"trial {best.number} at {best.params}: {best.value:.2f} ± {best.stderr:.2f}")
    for trial in result.failed:
        print(f"trial {trial.number} at {trial.params} failed: {trial.error}")
    print(f"run folder: {result.run_dir}")


if __name__ == "__main__":
    main()
