"""A loss on its way to all workers, those that join late included."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Client

from seedwise.model.options.work import WorkOptions
from seedwise.usercode.shipment import Shipment
from seedwise.worker.plugin import LossPlugin


@contextmanager
def bring(client: Client, shipment: Shipment, options: WorkOptions) -> Iterator[str]:
    """Bring a loss to all workers, those that join later included.

    Parameters
    ----------
    client : distributed.Client
        Client of the cluster.
    shipment : Shipment
        The packed loss.
    options : WorkOptions
        The run's options.

    Yields
    ------
    str
        The loss's id: a content hash, and what tells this run from others on the same cluster.
        The plugin is taken back in the end.
    """
    content = hashlib.sha256(repr(shipment).encode()).hexdigest()
    loss_id = f"seedwise-{content[:16]}-{uuid.uuid4().hex[:8]}"
    plugin = LossPlugin(loss_id, shipment, options.worker_parallelism, options.use_processes)
    client.register_plugin(plugin)
    try:
        yield loss_id
    finally:
        if client.status == "running":
            client.unregister_worker_plugin(loss_id)
