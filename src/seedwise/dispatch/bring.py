"""The way of a loss to all workers, late ones included."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Client

from seedwise.model.options.work import WorkOptions
from seedwise.usercode.shipment import Shipment
from seedwise.worker.plugin import LossPlugin


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
