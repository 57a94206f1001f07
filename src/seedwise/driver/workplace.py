"""The place where a run's chunks are evaluated: an open cluster that has the loss."""

import gc
import math
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import attrs
from distributed import Client

from seedwise.cluster.open import open_place
from seedwise.cluster.place import Demand, Place, RunTag
from seedwise.disk.every import Every
from seedwise.dispatch.channel import Traffic, TrialKey
from seedwise.dispatch.dispatcher import DaskDispatcher
from seedwise.dispatch.self_check import ForkedWitness, Record, SelfCheck
from seedwise.driver.report import Report, Reporter
from seedwise.driver.run import Run
from seedwise.driver.signals import StopSignals
from seedwise.errors import LeaseLostError, SeedwiseError
from seedwise.folder.requests import Control, Request
from seedwise.model.events import PoolChanged
from seedwise.model.options.work import WorkOptions
from seedwise.usercode.shipment import Shipment
from seedwise.worker.chunk import Reference
from seedwise.worker.departure import depart
from seedwise.worker.plugin import LossPlugin

# To ask a pool of hundreds of jobs how it is costs more than a short trial.
_ASK_EVERY_S = 1.0


@attrs.frozen
class Workplace:
    """An open cluster that has the loss; all studies of a run share it."""

    place: Place
    loss_id: str
    dispatcher: DaskDispatcher
    report: Report
    stop: StopSignals
    demand: Demand


@contextmanager
def open_workplace(
    reporter: Reporter, stop: StopSignals, witness: ForkedWitness | None
) -> Iterator[Workplace]:
    """Open the cluster that a run's options name, and bring the loss there; close what is ours."""
    work, run = reporter.work, reporter.work.run
    loss, options = run.parts.loss, run.options
    # A vectorized loss takes a chunk at a time, so that its seeds run at once chunk by chunk.
    demand = Demand(work.n_chunks, options.worker_parallelism if loss.vectorized else 1)
    folder = run.directory
    tag = RunTag(
        name=folder.name,
        run_id=run.history.run_id,
        log_dir=folder.log_dir,
        key_dir=folder.key_dir,
        jobs_file=folder.jobs_file,
        note=reporter.note,
        pages=reporter.pages,
    )
    with (
        Control(run.directory) as control,
        ExitStack() as when_closed,
        open_place(options, demand, tag) as place,
    ):
        stop.at_once = place.cancel_at_once
        report = Report(reporter, place, demand, lambda: dispatcher.evaluated)
        keeper = Housekeeper(run, place, report, stop, control)
        when_closed.push(keeper.tell_last_news)
        if not gc.get_freeze_count():  # garbage collections of imports stop the event loop
            gc.freeze()
            when_closed.callback(gc.unfreeze)
        on_slurm = options.place == "slurm"
        limits_s = options.chunk_timeout_seconds or math.inf, place.walltime_s or math.inf
        traffic = Traffic(
            tick_s=options.slurm_poll_seconds,
            running_limit_s=options.slurm_timeout_minutes * 60 if on_slurm else None,
            ends_late_trials=options.trial_limit_s is not None,
            on_late=_tells_of_late(options, reporter.note),
            packs=work.packs,
            slots=_slots(place, demand),
            walltime_s=place.walltime_s,
            chunk_limit_s=min(limits_s),
            fault=place.fault,
        )
        self_check = None
        if options.self_check:
            self_check = SelfCheck(
                witness,
                reporter.note,
                lambda record: run.write(folder.home.reference, attrs.asdict(record)),
                record_of(run),
            )

        def look() -> None:
            if dispatcher.evaluated.n_seeds:
                place.proved()  # the loss works on workers
            keeper.look()

        with (
            bring(place.client, run.shipment, options) as loss_id,
            DaskDispatcher(place.client, look, traffic, self_check) as dispatcher,
        ):
            given = options.workers is not None
            place.follow(lambda: dispatcher.n_outstanding if given else demand.now, depart)
            yield Workplace(place, loss_id, dispatcher, report, stop, demand)


def record_of(run: Run) -> Record | None:
    """Return what a run has on record of its first seed; None if there is nothing."""
    content = run.directory.home.reference.read()
    if "reference" not in content:
        return None
    return Record(Reference(**content["reference"]), content["loss"])


@contextmanager
def bring(client: Client, shipment: Shipment, options: WorkOptions) -> Iterator[str]:
    """Bring a loss to all workers, late ones too, under the id that this yields; take it back."""
    loss_id = f"seedwise-{shipment.id}-{uuid.uuid4().hex[:8]}"
    plugin = LossPlugin(loss_id, shipment, options.worker_parallelism, options.use_processes)
    client.register_plugin(plugin)
    try:
        yield loss_id
    finally:
        if client.status == "running":
            client.unregister_worker_plugin(loss_id)


@attrs.frozen
class Housekeeper:
    """Looks after a run whose place is open."""

    _run: Run
    _place: Place
    _report: Report
    _stop: StopSignals
    _control: Control

    def look(self) -> None:
        """Look once; raises what is to end the run."""
        self._stop.check()
        for request in self._control.poll():
            self._control.answer(request, self._carried_out(request))
        self._stop.check()
        self._place.check()
        self._tell_news()
        self._report.refresh()

    def tell_last_news(self, _: object, error: BaseException | None, __: object) -> None:
        """Tell what happened as the place was closed, unless the run is another driver's now."""
        if not isinstance(error, LeaseLostError):
            with suppress(Exception):  # the error that ended the run says more
                self._tell_news()

    def _carried_out(self, request: Request) -> str | None:
        """Do what is asked for; return why it can't be done, if it can't."""
        self._run.log.write("asked", str(request))
        if request.scale is None:
            self._stop.request()
            return None
        try:
            self._place.scale(*request.scale)
        except SeedwiseError as error:
            return str(error)
        except Exception as error:  # it is no reason to lose the run
            return f"{type(error).__name__}: {error}"
        return None

    def _tell_news(self) -> None:
        news = self._place.news()
        self._run.log.write_news(news)
        for one in news:
            if one.warns or one.kind == "scaled":
                self._report.take(PoolChanged(one, self._place.pool()))


def _tells_of_late(
    options: WorkOptions, note: Callable[[str], None]
) -> Callable[[TrialKey], None]:
    """Return what tells of each trial that is ended; of the first only, if none is."""
    minutes, told = options.slurm_timeout_minutes, set[TrialKey]()

    def tell(trial: TrialKey) -> None:
        entry_id, number, part = trial
        who = f"trial {number}" if entry_id is None else f"trial {number} of entry {entry_id!r}"
        who += ", on fresh seeds," if part else ""
        if options.trial_limit_s is not None:
            note(
                f"{who} has run for more than slurm_timeout_minutes={minutes:g}: its chunks "
                "that are not finished have failed"
            )
        elif not told:
            told.add(trial)
            note(
                f"{who} has run for more than {minutes:g} minutes, and goes on; to have such "
                "trials fail, give slurm_timeout_minutes"
            )

    return tell


def _slots(place: Place, demand: Demand) -> Callable[[], int]:
    """Return what tells how many chunks a place may evaluate at once, by its present bounds."""
    known, due = place.slots, Every(_ASK_EVERY_S)

    def slots() -> int:
        nonlocal known
        if due.due():
            pool = place.pool()
            if pool is not None:
                known = max(1, min(pool.most * demand.chunks_per_worker, demand.now))
            else:  # what was passed may grow
                with suppress(OSError):  # `look` tells of a connection that broke
                    known = max(place.slots, sum(place.client.nthreads().values()))
        return known

    return slots
