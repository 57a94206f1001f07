"""A run of one seed, on one worker, of which nothing is left."""

import contextlib
import logging
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from seedwise import errors
from seedwise.driver.carry_out import carry_out
from seedwise.driver.parts import OF_THE_CALL, make_parts
from seedwise.driver.run import Run
from seedwise.driver.study_work import StudyWork, recovered_study
from seedwise.driver.workplace import Workplace
from seedwise.engine.engine import Engine
from seedwise.errors.base import masked
from seedwise.errors.durations import exact_duration
from seedwise.folder.directory import RunDirectory
from seedwise.folder.find import open_run_directory
from seedwise.folder.ledger import Ledger
from seedwise.model.events import Event, PoolChanged, TrialFinished
from seedwise.model.loss import LossDefinition
from seedwise.model.options.study import RunOptions
from seedwise.model.trials import Proposal, TrialResult, TrialState
from seedwise.slurm.ends import log_tail
from seedwise.worker.plugin import about_worker

_logger = logging.getLogger("seedwise")

# What is of the plan, and not of the one seed; and what is about a run that is there.
_NOT_OF_ONE_SEED = {
    *(OF_THE_CALL - {"insecure", "run_root"}),
    *("array_parallelism_limit", "chunk_size", "fail_on_chunk_error", "n_seeds", "num_chunks"),
    *("n_validation_candidates", "n_validation_seeds", "prune_failed_trials"),
    *("timeout", "workers"),
}

# A job that was cancelled just now may still write its log.
_REMOVALS = 20
_REMOVE_EVERY_S = 0.25


def check_seed(
    loss: LossDefinition, options: RunOptions, seed: int, listen: Callable[[Event], None]
) -> dict[str, Any]:
    """Return what one seed shows, by the fields of `CheckReport`; CheckFailedError if it fails."""
    one = RunOptions.from_keywords(_keywords(options, seed))
    parts = make_parts(loss, one)
    with _passing_folder(Path(one.run_root)) as directory:
        works: list[_OneSeed] = []

        def work(run: Run, _: Callable[[Event], None]) -> _OneSeed:
            works.append(_OneSeed(*recovered_study(run)))
            works[0].has_witness = options.self_check
            works[0].run.prepare()
            return works[0]

        folder = f"{directory.log_dir}/"

        def tell(event: Event) -> None:
            if isinstance(event, PoolChanged):
                news = attrs.evolve(event.news, text=event.news.text.replace(folder, ""))
                event = attrs.evolve(event, news=news)
            listen(event)

        try:
            return carry_out(work, parts, one, directory, [tell])  # type: ignore[return-value]
        except (errors.LossFailedError, errors.NoCompleteTrialError):
            assert works[0].finished is not None  # or the trial could not have failed
            failure = works[0].finished.failure
            assert failure is not None
            raise errors.CheckFailedError(
                loss.name,
                works[0].finished.trial.params,
                seed if loss.vectorized else failure.seed,
                failure.exception_type,
                failure.traceback,
                works[0].log_tail,
            ) from None
        except errors.ChunkTooLongError as error:
            text = f"one seed takes longer than a job lasts ({exact_duration(error.walltime_s)})"
            kind = type(error).__name__
            raise errors.CheckFailedError(loss.name, {}, seed, kind, text) from None
        except errors.RunStopped as stopped:  # the folder, with which to go on, is about to go
            by = "" if stopped.signal is None else f" by {stopped.signal.name}"
            stopped.args = (f"the check was stopped{by}; nothing is left of it",)
            raise
        except errors.SeedwiseError as error:
            # Its logs are gone when this is read; it has their end.
            error.args = (str(error).replace(folder, ""),)
            raise


def _keywords(options: RunOptions, seed: int) -> dict[str, Any]:
    kept = {name: getattr(options, name) for name in options.given - _NOT_OF_ONE_SEED}
    if options.place in ("local", "slurm"):  # of no other the number is ours to say
        kept["workers"] = 1
    return {
        **kept,
        "seeds": [seed],
        "n_trials": 1,
        "max_concurrent_trials": 1,
        "trial_retry_attempts": 0,
        "n_validation_seeds": 0,
        "self_check": True,  # so that it is evaluated twice, and loaded before the second time
    }


class _OneSeed(StudyWork):
    """A run that looks at its worker before that goes."""

    finished: TrialFinished | None = None
    #: The end of the job's log, if the loss did not raise and failed all the same.
    log_tail = ""
    _checked: dict[str, Any] | None = None
    _began_s = _waited_s = 0.0

    def open(self, workplace: Workplace) -> Engine | None:
        if self._parts is None:
            self._began_s = time.monotonic()
        return super().open(workplace)

    def tell(self, workplace: Workplace, event: Event) -> None:
        if isinstance(event, TrialFinished):
            self.finished, self._waited_s = event, time.monotonic() - self._began_s
        super().tell(workplace, event)

    def conclude(self, workplace: Workplace) -> None:
        super().conclude(workplace)
        if self.trials[0].state is TrialState.COMPLETE:
            self._checked = self._look(workplace, self.trials[0])
        else:  # now, before the worker's own end
            log_dir = self.run.directory.log_dir
            logs = sorted(log_dir.glob("*.err"), key=lambda path: path.stat().st_mtime)
            self.log_tail = log_tail(log_dir, logs[-1].stem) if logs else ""

    def remarks(self) -> Sequence[str]:
        return ()

    def result(self) -> dict[str, Any]:  # type: ignore[override]
        if self._checked is None:
            super().result()  # raises
        assert self._checked is not None
        return self._checked

    def _look(self, workplace: Workplace, trial: TrialResult) -> dict[str, Any]:
        directory, place = self.run.directory, workplace.place
        with Ledger(directory.ledger) as ledger:
            result = ledger.recorded(Proposal(trial.number, trial.params))[-1]
        host, reference_s, versions = _describe(workplace, result.worker)
        script = directory.log_dir / "job.sh"
        waited_s = max(0.0, self._waited_s - reference_s - result.duration_s)
        return {
            "params": dict(trial.params),
            "value": trial.value,
            "first_s": max(reference_s, result.duration_s),
            "seed_s": result.duration_s,
            "host": host,
            "worker": result.worker,
            "job_id": result.job_id,
            "waited_s": waited_s if self.run.options.place == "slurm" else None,
            "versions": versions,
            "walltime_s": place.walltime_s,
            "job_script": masked(script.read_text("utf-8")) if script.exists() else None,
        }


def _describe(workplace: Workplace, name: str) -> tuple[str | None, float, dict[str, str]]:
    """Return what `about_worker` says of a worker; nothing if it has gone in this moment."""
    client = workplace.place.client
    with contextlib.suppress(OSError, TimeoutError, LookupError):
        workers = client.scheduler_info(n_workers=-1)["workers"]
        # The ledger cuts long names.
        found = [address for address, one in workers.items() if str(one["name"]).startswith(name)]
        told = client.run(about_worker, workplace.loss_id, workers=found[:1], on_error="ignore")
        return told[found[0]]  # type: ignore[no-any-return]
    return None, 0.0, {}


@contextlib.contextmanager
def _passing_folder(root: Path) -> Iterator[RunDirectory]:
    """Make a run's folder, and remove it in the end, with what had to be made around it."""
    root = root.expanduser().absolute()
    made = [path for path in (root, *root.parents) if not path.exists()]
    name = f"check-{secrets.token_hex(4)}"
    try:
        yield open_run_directory(root, name, name)
    finally:
        for _ in range(_REMOVALS):
            shutil.rmtree(root / name, ignore_errors=True)
            if not (root / name).exists():
                break
            time.sleep(_REMOVE_EVERY_S)
        else:
            _logger.warning("%s could not be removed", root / name)
        for path in made:
            with contextlib.suppress(OSError):  # others use it by now
                path.rmdir()
