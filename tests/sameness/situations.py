"""The table of all situations, by kind."""

from __future__ import annotations

from tests.sameness import caches, data, identities, layouts, modules, settings, unpicklable

SITUATIONS = (
    *identities.SITUATIONS,
    *settings.SITUATIONS,
    *modules.SITUATIONS,
    *unpicklable.SITUATIONS,
    *caches.SITUATIONS,
    *data.SITUATIONS,
    *layouts.SITUATIONS,
)
