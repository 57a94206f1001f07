"""The function that resumes a run from its folder alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from seedwise.api.begin import carry_out_as_asked
from seedwise.cluster.open import check_place
from seedwise.driver.parts import make_parts, read_saved, require_cluster
from seedwise.errors import EntryOfARunError, LossNotFoundError, OptionError
from seedwise.errors.base import without_own_frames
from seedwise.folder.find import existing_run
from seedwise.model.options.slurm import SlurmOptions
from seedwise.results.entries import MultiOptimizeResult
from seedwise.results.study import OptimizeResult
from seedwise.results.sweep import SweepResult
from seedwise.usercode.find import load_loss


@without_own_frames
def resume_run(
    run_dir: str | Path, *, code: str | None = None, **options: Any
) -> OptimizeResult | MultiOptimizeResult | SweepResult:
    """Resume a run from its folder alone.

    The loss and the options are those saved in the folder: the loss is imported from the copy of
    your code there. To resume with the loss as it is now, give `code`, or repeat the call that
    began the run, with its `run_name`. However the run ended, the trials are
    those of a run that was never stopped, bit for bit.

    Parameters
    ----------
    run_dir : str or pathlib.Path
        The run's folder. For entries it is the folder that holds theirs.
    code : str, optional
        Where the loss is now, as in ``load_loss``: ``path/to/script.py:name`` or
        ``package.module:name``. None takes the copy of the code in the folder. If the loss has
        changed, `accept_changes` must be True.
    **options
        Keywords of the function that began the run; they replace the saved ones. `slurm` replaces
        all of its fields; the flags of ``seedwise resume`` replace one each.

    Returns
    -------
    OptimizeResult, MultiOptimizeResult or SweepResult
        The same as from the function that began the run.

    Raises
    ------
    NotARunError
        If the folder holds no run, or if other users could have written to it.
    RunLockedError
        If another driver works on the run.
    ChangedRunError
        If an option or the new code would change the results, unless `accept_changes` is True.
    LossNotFoundError
        If `code` does not name the loss.
    DamagedFileError
        If a file of the run is damaged.

    Examples
    --------
    >>> import random
    >>> import tempfile
    >>> import seedwise as sw
    >>> @sw.loss(name="walk", description="where it ends", parameter_space={"drift": (-1, 1)})
    ... def walk(params, seed):
    ...     return (params["drift"] - 0.3) ** 2 + random.Random(seed).gauss(0, 0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first = sw.optimize_run(walk, n_trials=3, n_seeds=50, run_root=folder, progress=False)
    ...     result = sw.resume_run(first.run_dir, n_trials=5)
    >>> result.trials[:3] == first.trials, result.n_trials
    (True, 5)
    """
    directory = existing_run(run_dir)
    if directory.parent is not None:
        raise EntryOfARunError(directory.path, directory.parent.path)
    if options.get("clean_run_dir"):
        raise OptionError("clean_run_dir", True, "False when a run is resumed")
    saved = read_saved(directory)
    before = dict(saved.keywords)
    if options.keys() & {"cluster", "mode"}:  # one of the two says it all
        before = {name: before[name] for name in before.keys() - {"cluster", "mode"}}
    name = {saved.kind.name_keyword: directory.name}
    keywords = {**before, **options, "run_root": directory.path.parent, **name}
    require_cluster(keywords)
    checked = saved.kind.from_keywords(keywords)
    if code is None:
        parts = make_parts(saved.loss, checked, saved.source, saved)
    else:
        loss = load_loss(code)
        if loss.name != saved.loss.name:
            problem = f"it is loss {loss.name!r}, and the run is of {saved.loss.name!r}"
            raise LossNotFoundError(code, problem)
        parts = make_parts(loss, checked, saved.source)
    check_place(checked)
    return carry_out_as_asked(parts, checked, directory)  # type: ignore[no-any-return]


def changed_slurm(run_dir: str | Path, fields: Mapping[str, Any]) -> SlurmOptions:
    """Return what a run's Slurm jobs need, with these fields instead of the saved ones."""
    saved = read_saved(existing_run(run_dir).home).keywords.get("slurm")
    return SlurmOptions(**{**(attrs.asdict(saved) if saved else {}), **fields})
