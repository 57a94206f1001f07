"""Where a run's chunks are evaluated: an open cluster that has the loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

from seedwise.cluster.open import open_place
from seedwise.cluster.place import Demand, Place, RunTag
from seedwise.dispatch.bring import bring
from seedwise.dispatch.dispatcher import DaskDispatcher, Traffic
from seedwise.driver.parts import Parts
from seedwise.model.options.work import WorkOptions
from seedwise.worker.departure import depart

# To ask a pool of hundreds of jobs how it is costs more than a short trial.
_ASK_EVERY_S = 1.0


@attrs.frozen
class Workplace:
    """An open cluster that has the loss; all studies of a run share it."""

    #: The cluster.
    place: Place
    #: The loss's id there.
    loss_id: str
    #: The way to its workers.
    dispatcher: DaskDispatcher


@contextmanager
def open_workplace(
    parts: Parts,
    options: WorkOptions,
    tag: RunTag,
    n_trials_at_once: int,
    attend: Callable[[Place], Callable[[], None]],
    *,
    packs: bool = False,
) -> Iterator[Workplace]:
    """Open the cluster that a run's options name, and bring the loss there.

    Parameters
    ----------
    parts : Parts
        What the run is made of.
    options : WorkOptions
        Its options.
    tag : RunTag
        Its name and id.
    n_trials_at_once : int
        Trials that may be in flight.
    attend : callable
        Takes the cluster as soon as it is open; returns what is called now and then.
    packs : bool
        Whether chunks of several trials may share a Dask task.

    Yields
    ------
    Workplace
        The workplace; what is ours of it is closed in the end.
    """
    # A vectorized loss takes a chunk at a time, so that its seeds run at once chunk by chunk.
    at_once = options.worker_parallelism if parts.loss.vectorized else 1
    demand = Demand(parts.plan.n_chunks * n_trials_at_once, at_once)
    with open_place(options, demand, tag) as place:
        attend_to_place = attend(place)
        on_slurm = options.place == "slurm"
        traffic = Traffic(
            tick_s=options.slurm_poll_seconds,
            running_limit_s=options.slurm_timeout_minutes * 60 if on_slurm else None,
            packs=packs,
            slots=_slots(place, at_once),
            walltime_s=place.walltime_s,
            fault=place.fault,
        )

        def look() -> None:
            if dispatcher.has_evaluated:
                place.proved()
            attend_to_place()

        with (
            bring(place.client, parts.shipment, options) as loss_id,
            DaskDispatcher(place.client, look, traffic) as dispatcher,
        ):
            place.follow(lambda: dispatcher.n_outstanding, depart)
            yield Workplace(place, loss_id, dispatcher)


def _slots(place: Place, chunks_per_worker: int) -> Callable[[], int]:
    """Return what tells how many chunks a place may evaluate at once, by its present bounds."""
    known, until_s = place.slots, -1.0

    def slots() -> int:
        nonlocal known, until_s
        now_s = time.monotonic()
        if now_s >= until_s:
            until_s = now_s + _ASK_EVERY_S
            if (pool := place.pool()) is not None:
                known = max(1, pool.most) * chunks_per_worker
        return known

    return slots
