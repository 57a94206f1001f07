"""A driver to be disturbed: ``python -m tests.faults.driver OPTIONS``, with OPTIONS as JSON.

``loss`` names the loss, ``table`` the file to which the trial table goes in the end; all else are
keywords of optimize_run.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import seedwise as sw
from tests.faults import loss
from tests.tables import table


def main() -> None:
    keywords = json.loads(sys.argv[1])
    which = getattr(loss, keywords.pop("loss", "noted"))
    path = Path(keywords.pop("table"))
    if "worker_time_limit_s" in keywords:
        keywords["worker_time_limit"] = timedelta(seconds=keywords.pop("worker_time_limit_s"))
    if isinstance(keywords.get("workers"), list):
        keywords["workers"] = tuple(keywords["workers"])
    result = sw.optimize_run(which, **keywords)
    path.write_text(repr(table(result)))


if __name__ == "__main__":
    main()
