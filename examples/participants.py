"""A fit for each participant: drift and boundary of a decision process, from response times.

    python examples/participants.py

Six participants made 300 decisions each. A decision is a noisy walk from 0 to a boundary on either
side. The side where it ends is the choice, and the time it takes is the response time. The data
are simulated here with known parameters, so that you can compare the fits with the truth. Yours
would come from a file. Takes about ten seconds on two cores.
"""

import numpy as np

import seedwise as sw

TRUTH = {
    "anna": {"drift": 0.5, "boundary": 0.8},
    "ben": {"drift": 0.8, "boundary": 1.2},
    "cleo": {"drift": 1.2, "boundary": 0.9},
    "dan": {"drift": 1.6, "boundary": 1.4},
    "eva": {"drift": 2.0, "boundary": 1.0},
    "finn": {"drift": 2.5, "boundary": 1.3},
}

STEP_S = 0.02
N_STEPS = 200
NON_DECISION_S = 0.3


def decide(params, n_decisions, rng):
    """Return response times in seconds, shape (n,); those of wrong choices are negative."""
    noise = rng.normal(0.0, STEP_S**0.5, (n_decisions, N_STEPS))
    path = np.cumsum(params["drift"] * STEP_S + noise, axis=1)
    beyond = np.abs(path) > params["boundary"]
    beyond[:, -1] = True  # a walk that reaches no boundary in time ends in a guess
    end = beyond.argmax(axis=1)
    side = np.sign(path[np.arange(n_decisions), end])
    return side * (NON_DECISION_S + STEP_S * (end + 1))


OBSERVED = {
    entry: decide(params, 300, np.random.default_rng(1000 + number))
    for number, (entry, params) in enumerate(TRUTH.items())
}


def distance(a, b):
    return np.abs(a[:, None] - b).mean()


@sw.loss(
    name="decisions",
    description="energy score of simulated response times, in seconds",
    parameter_space={"drift": (0.0, 4.0), "boundary": (0.5, 2.0)},
)
def decisions(params, seed, context):
    rng = np.random.default_rng(seed)
    observed = OBSERVED[context["entry_id"]]
    one, other = decide(params, 60, rng), decide(params, 60, rng)
    # Its mean over the seeds is smallest if both kinds of times have the same distribution.
    # The distance alone would be smallest if the simulated times varied too little.
    return distance(one, observed) - distance(one, other) / 2


if __name__ == "__main__":
    result = sw.optimize_entries(decisions, entry_ids=list(TRUTH), n_trials=60, n_seeds=60)

    print("             drift         boundary")
    print("          true    fit     true    fit")
    for entry, fit in result.validated_params_by_entry.items():
        pairs = [f"{TRUTH[entry][name]:7.2f}{fit[name]:7.2f}" for name in ("drift", "boundary")]
        print(f"{entry:<7}{'  '.join(pairs)}")
    for entry, error in result.failed.items():  # the others go on
        print(f"{entry} failed: {error}")
    try:
        table = result.to_dataframe()
    except sw.MissingExtraError as missing:
        print(missing)
    else:
        columns = ["entry_id", "best_value", "best_stderr", "best_trial", "n_trials"]
        print(table[columns].round(4).to_string(index=False))

    status = sw.run_status(result.run_dir)  # also from another terminal, while it runs
    print(f"{status.done} of {status.n_trials} trials done, {status.failed} failed")
    print(f"run folder: {result.run_dir}")
