"""The command that shows a small run."""

import shlex
from typing import Any

import click

import seedwise
from seedwise.cli.flags import command, option_flags
from seedwise.cli.output import stdout_kept
from seedwise.cli.settings import keywords, read
from seedwise.model.options.fields import keyword_names
from seedwise.model.options.slurm import SlurmOptions
from seedwise.model.options.study import RunOptions

_TEXT = """
The demo searched for the speed and the angle of a throw that lands 30 m away in
gusty wind, with little effort: {result.n_trials} trials, and then the best of them on {n_seeds}
fresh seeds.

  found            speed={speed:.1f} m/s, angle={angle:.1f} degrees
  in the search    {result.best_value:.2f}: the lowest of many noisy values is too good to be true
  on fresh seeds   {found.value:.2f} ± {found.stderr:.2f}: the value to report
  the exact mean   {exact:.2f}: this loss, unlike most, has a formula for it

To look at next:
  seedwise show {run_dir}
  seedwise replay {run_dir} --trial 0 --seed 0
  seedwise resume {run_dir} --n-trials 80
To begin your own, copy the loss from
  {file}
and run it with
  seedwise run my_loss.py --n-trials 40
"""

_SIZE: dict[str, Any] = {"n_trials": 40, "n_seeds": 400}

# Where it runs, and what a site's jobs need.
_FLAGS = {
    *("cluster", "mode", "workers", "run_root", "worker_time_limit", "mem_per_cpu", "slurm_qos"),
}


@command("seedwise demo", "seedwise demo --cluster slurm --partition cpu")
@option_flags(RunOptions, leave_out=set(keyword_names(RunOptions)) - _FLAGS, show_defaults=True)
@option_flags(SlurmOptions)
def demo(**flags: Any) -> None:
    """Carry out a small run, of a few seconds, and show what it did and what to do next.

    The loss is how far a throw in gusty wind lands from its target. Without --cluster it runs on
    this machine, and without --workers on two.
    """
    from seedwise.api.demo import __file__ as file
    from seedwise.api.demo import exact_mean, throw

    found = {name: one for name, one in read(flags, None).items() if name in flags}
    given = {"workers": 2, **_SIZE, **keywords(found, RunOptions)}
    with stdout_kept():
        result = seedwise.optimize_run(throw, **given)
    params = result.validated_params or result.best_params
    speed, angle = float(params["speed"]), float(params["angle"])
    said = {"run_dir": shlex.quote(result.run_dir), "exact": exact_mean(speed, angle), **_SIZE}
    said |= {"result": result, "found": result.validation, "speed": speed, "angle": angle}
    click.echo(_TEXT.format(file=file, **said), nl=False)
