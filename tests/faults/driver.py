"""A driver to be disturbed: ``python -m tests.faults.driver OPTIONS``, with OPTIONS as JSON.

``loss`` names the loss, ``table`` the file to which the trial table goes in the end, ``source`` is
a source's manifest; all else are keywords of optimize_run, of optimize_entries if ``entry_ids`` is
among them, or of run_sweep if ``source`` is.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import seedwise as sw
from tests.faults import loss
from tests.tables import summary, table


def main() -> None:
    keywords = json.loads(sys.argv[1])
    which = getattr(loss, keywords.pop("loss", "noted"))
    path = Path(keywords.pop("table"))
    if "worker_time_limit_s" in keywords:
        keywords["worker_time_limit"] = timedelta(seconds=keywords.pop("worker_time_limit_s"))
    if isinstance(keywords.get("workers"), list):
        keywords["workers"] = tuple(keywords["workers"])
    path.write_text(carry_out(which, keywords))


def carry_out(which, keywords) -> str:
    if "entry_ids" in keywords:
        keywords["run_name_prefix"] = keywords.pop("run_name")
        result = sw.optimize_entries(which, **keywords)
        failed = {entry: str(error) for entry, error in result.failed.items()}
        tables = {entry: bits_of(found) for entry, found in result.results_by_entry.items()}
        return repr((tables, without_folder(failed, result.run_dir)))
    if "source" in keywords:
        source = sw.source_from_manifest(keywords.pop("source"))
        return repr(table(sw.run_sweep(which, source, **keywords)))
    return repr(bits_of(sw.optimize_run(which, **keywords)))


def bits_of(result) -> tuple[list, dict]:
    return table(result), summary(result)


def without_folder(failed: dict[str, str], run_dir: str) -> dict[str, str]:
    name = f"={Path(run_dir).name!r}"
    return {
        entry: text.replace(run_dir, "RUN_DIR").replace(name, "=RUN")
        for entry, text in failed.items()
    }


if __name__ == "__main__":
    main()
