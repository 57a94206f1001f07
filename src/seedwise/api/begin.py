"""The functions that begin a run, or resume the one of that name."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from seedwise.cluster.open import check_place
from seedwise.cluster.place import Pages
from seedwise.driver.carry_out import carry_out
from seedwise.driver.cleaning import clean_run_directory
from seedwise.driver.entries import EntriesWork
from seedwise.driver.parts import Parts, make_parts
from seedwise.driver.run import Work
from seedwise.driver.study_work import optimization
from seedwise.driver.sweep import sweep
from seedwise.errors import NotALossError, OptionError
from seedwise.folder.directory import RunDirectory
from seedwise.folder.find import Call, open_run_directory, unfinished_run
from seedwise.folder.lease import lease_holder
from seedwise.model.events import Noted
from seedwise.model.loss import LossDefinition
from seedwise.model.options import checks
from seedwise.model.options.fields import takes, takes_source
from seedwise.model.options.study import EntriesOptions, RunOptions, SweepOptions
from seedwise.model.options.work import WorkOptions
from seedwise.model.sources import ParameterSource
from seedwise.results.entries import MultiOptimizeResult
from seedwise.results.study import OptimizeResult
from seedwise.results.sweep import SweepResult
from seedwise.view.commands import confirm_removal
from seedwise.view.progress import ProgressLines

# The options that a run can have.
OfRun: TypeAlias = RunOptions | EntriesOptions | SweepOptions

_KINDS: dict[type[WorkOptions], Callable[..., Work[Any]]] = {
    RunOptions: optimization,
    EntriesOptions: EntriesWork,
    SweepOptions: sweep,
}


@takes(RunOptions)
def optimize_run(loss: LossDefinition, keywords: dict[str, Any]) -> OptimizeResult:
    """Find the parameters that minimise a noisy loss, averaged over many seeds.

    Every trial is evaluated on seeds of one plan, in chunks, on a Dask cluster: a LocalCluster on
    this machine, or Slurm jobs. Poor trials get few of the seeds: see `race`. For given options,
    the trials and the result are the same bit for bit on any number of workers, on either cluster
    and for any `chunk_size`.

    Parameters
    ----------
    loss : LossDefinition
        The loss, made with the decorator `loss`.
    **options : each described by ``help()``

    Returns
    -------
    OptimizeResult
        The best trial and all others. The run's folder holds them, too.

    Raises
    ------
    OptionError
        If a keyword has a value that is not allowed. Raised before anything starts.
    ClusterError
        If the cluster can't start: no ``sbatch``, a refused job, a script without a main guard.
    LossFailedError
        If the loss failed on a seed, unless ``fail_on_chunk_error=False``.
    NoCompleteTrialError
        If no trial completed.
    ChangedRunError
        If a run of this `run_name` exists and began with a loss or options that give other
        results.
    RunLockedError
        If another driver works on that run.
    RunStopped
        If a signal stopped the run. It is both a KeyboardInterrupt and a SystemExit, with the exit
        code that shells expect. To resume, call the same function with the same `run_name`, or use
        `resume_run` or ``seedwise resume``.

    Examples
    --------
    >>> import random
    >>> import tempfile
    >>> import seedwise as sw
    >>> @sw.loss(name="walk", description="where it ends", parameter_space={"drift": (-1, 1)})
    ... def walk(params, seed):
    ...     return (params["drift"] - 0.3) ** 2 + random.Random(seed).gauss(0, 0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = sw.optimize_run(walk, n_trials=5, n_seeds=50, run_root=folder, progress=False)
    >>> result.n_trials, result.best_n_seeds
    (5, 16)
    """
    return _begin(RunOptions, loss, keywords)  # type: ignore[no-any-return]


@takes(EntriesOptions)
def optimize_entries(loss: LossDefinition, keywords: dict[str, Any]) -> MultiOptimizeResult:
    """Find the parameters that minimise a noisy loss for each of several entries.

    Each participant, condition or data set has its own study. Its trials are those it would have
    if it were optimised alone, bit for bit. All entries share one cluster. If one fails, the
    others go on.

    Parameters
    ----------
    loss : LossDefinition
        The loss, made with the decorator `loss`. ``context["entry_id"]`` tells it the entry.
    **options : each described by ``help()``

    Returns
    -------
    MultiOptimizeResult
        The result of each entry, and the errors of those that failed.

    Raises
    ------
    AllEntriesFailedError
        If every entry failed.
    OptionError, ClusterError, ChangedRunError, RunLockedError, RunStopped
        As in `optimize_run`. OptionError, too, if there are no entries, or if two entries are
        equal but for case.

    Examples
    --------
    >>> import random
    >>> import tempfile
    >>> import seedwise as sw
    >>> REACTION_S = {"anna": 0.4, "ben": 0.6}
    >>> @sw.loss(name="reaction", description="misfit", parameter_space={"mean": (0, 1)})
    ... def reaction(params, seed, context):
    ...     simulated = params["mean"] + random.Random(seed).gauss(0, 0.1)
    ...     return (simulated - REACTION_S[context["entry_id"]]) ** 2
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = sw.optimize_entries(
    ...         reaction, entry_ids=["anna", "ben"], n_trials=3, run_root=folder, progress=False
    ...     )
    >>> list(result.best_params_by_entry), result.failed
    (['anna', 'ben'], {})
    """
    return _begin(EntriesOptions, loss, keywords)  # type: ignore[no-any-return]


@takes_source(SweepOptions)
def run_sweep(
    loss: LossDefinition, source: ParameterSource, keywords: dict[str, Any]
) -> SweepResult:
    """Evaluate a noisy loss at the points of a source, each averaged over many seeds.

    The source is a grid, random points or a list of cases. One case with many seeds is a Monte
    Carlo run. No sampler is used. If a case fails, the others go on. Cases are made as they are
    needed, so there may be millions.

    Parameters
    ----------
    loss : LossDefinition
        The loss, made with the decorator `loss`.
    source : GridSource, RandomSource or ManualSource
        The points, made with `grid`, `random` or `manual`. They must have the names of the loss's
        `parameter_space`, but may lie outside of it.
    **options : each described by ``help()``

    Returns
    -------
    SweepResult
        The trials by number, the best of them, and those that failed.

    Raises
    ------
    OptionError, ClusterError, ChangedRunError, RunLockedError, RunStopped
        As in `optimize_run`. OptionError, too, if the source's names are not those of the loss's
        parameters.

    Examples
    --------
    >>> import random
    >>> import tempfile
    >>> import seedwise as sw
    >>> @sw.loss(name="walk", description="where it ends", parameter_space={"drift": (-1, 1)})
    ... def walk(params, seed):
    ...     return params["drift"] + random.Random(seed).gauss(0, 0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     source = sw.grid(drift=[-1.0, 0.0, 1.0])
    ...     result = sw.run_sweep(walk, source, n_seeds=50, run_root=folder, progress=False)
    >>> result.n_trials, result.best.params
    (3, {'drift': -1.0})
    """
    checks.source("source", source)
    return _begin(SweepOptions, loss, keywords, source)  # type: ignore[no-any-return]


def _begin(
    kind: type[OfRun],
    loss: LossDefinition,
    keywords: dict[str, Any],
    source: ParameterSource | None = None,
) -> Any:
    """Begin a run, or resume the one of that name."""
    if not isinstance(loss, LossDefinition):
        raise NotALossError(loss)
    options = kind.from_keywords(keywords)
    check_place(options)
    parts = make_parts(loss, options, source=source)
    stem = f"{loss.name}{kind.name_suffix}"
    root = Path(options.run_root).expanduser().absolute()
    decides = {name: value for name, value in parts.depends_on.items() if name != "loss"}
    call = Call(str(root), options.run_name, stem, json.dumps(decides, sort_keys=True))
    name, note = call.run_before(options.name_keyword), None
    if name is None:
        name, note = _name_and_note(options, root, loss.name)
        if options.clean_run_dir:
            _clean(options, root)
    directory = open_run_directory(root, name, stem)
    call.note(directory.path)
    return carry_out_as_asked(parts, options, directory, note)


def _name_and_note(options: OfRun, root: Path, loss_name: str) -> tuple[str | None, str | None]:
    """Return the name of the run's folder, and what to say of a run that might be resumed."""
    if options.run_name is not None:
        return options.run_name, None
    unfinished = unfinished_run(root, loss_name, options.kind, options.name_suffix)
    if unfinished is not None and options.resume == "auto":
        return unfinished.name, None
    if unfinished is None or lease_holder(unfinished.lease) is not None:
        return None, None
    note = (
        f"{unfinished.name}, the run of this loss before this one, is not finished. To resume "
        f"it in place of a new run, give {options.name_keyword}={unfinished.name!r}, or "
        "resume='auto' for whichever is the newest."
    )
    return None, note


def _clean(options: OfRun, root: Path) -> None:
    if options.run_name is None:
        hint = "Without it every run has a new folder."
        raise OptionError("clean_run_dir", True, f"given with {options.name_keyword}", hint)
    path = root / options.run_name
    if path.exists() and not options.assume_yes:
        confirm_removal(path)
    clean_run_directory(path)


def carry_out_as_asked(
    parts: Parts, options: OfRun, directory: RunDirectory, note: str | None = None
) -> Any:
    """Carry a run out, and show its progress; first a note."""
    with contextlib.closing(ProgressLines(options.progress)) as progress:
        if note is not None:
            progress(Noted(note))

        def pages() -> Pages:
            from seedwise.view.page.pages import StudyPages  # imports Bokeh

            return StudyPages(directory)

        return carry_out(_KINDS[type(options)], parts, options, directory, [progress], pages)
