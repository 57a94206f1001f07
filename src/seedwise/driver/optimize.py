"""The work of `optimize_run`: one study."""

from collections.abc import Callable, Sequence

from seedwise.driver import study_work
from seedwise.driver.carry_out import Work
from seedwise.driver.run import Run
from seedwise.driver.validation import n_chunks_of_parts
from seedwise.driver.workplace import Workplace
from seedwise.model.events import Event
from seedwise.model.validation import in_words
from seedwise.results.study import OptimizeResult


class Optimization(study_work.StudyWork, Work[OptimizeResult]):
    """The one job of a run, and all its work."""

    def __init__(self, study: study_work.Study) -> None:
        super().__init__(study)
        self.is_prepared = study.plan is not None
        self.jobs = [self] if self.is_prepared else []
        self.n_chunks = n_chunks_of_parts(self.run)

    @property
    def seeds_saved(self) -> int:
        """How many seeds the race has saved."""
        return self.run.parts.looks.n_saved(self.trials)

    def outcome(self) -> str | None:
        """Say what the validation found."""
        found = self.so_far().validation
        return None if found is None else in_words(found)

    def remarks(self) -> Sequence[str]:
        """Return what the study and the work on it show."""
        return () if self.best is None else super().remarks()

    def conclude(self, workplace: Workplace) -> None:
        """Raise LossFailedError if the work stopped at a trial whose loss failed."""
        del workplace
        if self.failed is not None:
            study_work.note_stop_seen(self.run.directory)
            self.raise_failure()


def optimization(run: Run, listen: Callable[[Event], None]) -> Optimization:
    """Take up the work of a run."""
    del listen
    study = study_work.finished_study(run)
    if study is not None:
        return Optimization(study)
    note = study_work.unseen_stop(run)
    if note is not None:
        study_work.note_stop_seen(run.directory)
        raise note.error
    study = study_work.recovered_study(run)
    study.run.prepare()
    return Optimization(study)
