"""Run benchmarks, each in a process of its own, one after another.

    python -m tests.benchmarks [NAME ...] [--quick] [--json FILE] [--write docs/benchmarks.md]

Without names all are run. Their rows, with the machine and the versions, go to FILE; with --write
their tables go between the two marker comments of the page, each to a section of its own, where
the sections of other benchmarks stay.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.table import Row, markdown

FOLDER = Path(__file__).parent
#: It counts seeds, and docs/understand/racing.md has its tables.
ELSEWHERE = {"racing"}
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
PACKAGES = ("seedwise", "numpy", "optuna", "dask", "distributed")


def names() -> list[str]:
    found = {path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py")}
    return sorted(found - ELSEWHERE)


def measured(name: str, quick: bool) -> dict[str, Any]:
    """Run a benchmark; raises CalledProcessError if it fails."""
    command = ["-m", f"tests.benchmarks.bench_{name}", *(["--quick"] if quick else [])]
    began_s = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=FOLDER.parent.parent,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "took_s": round(time.perf_counter() - began_s, 1),
        "quick": quick,
        "machine": machine(),
        "versions": versions(),
        "rows": json.loads(done.stdout.splitlines()[-1]),
    }


def machine() -> dict[str, Any]:
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory_b = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory_b / 1e9, 1),
    }


def versions() -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **found}


def section(name: str, result: dict[str, Any]) -> str:
    on = result["machine"]
    packages = ", ".join(f"{each} {version}" for each, version in result["versions"].items())
    quick = ", the quick version" if result["quick"] else ""
    return (
        f"### {name}\n\n{result['date']}{quick}, in {result['took_s'] / 60:.1f} minutes, on "
        f"{on['cores']} cores ({on['cpu']}, {on['memory_gb']} GB); {packages}.\n\n"
        + markdown(Row(**row) for row in result["rows"])
    )


def with_sections(page: str, results: dict[str, dict[str, Any]]) -> str:
    """Return a page with the sections of these results, and those of others as they are."""
    before, begin, rest = page.partition(BEGIN)
    body, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"the page needs {BEGIN} and {END}")
    sections = dict(_sections(body))
    sections |= {name: section(name, result) for name, result in results.items()}
    text = "\n".join(sections[name].rstrip("\n") + "\n" for name in sorted(sections))
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


def _sections(body: str) -> Iterator[tuple[str, str]]:
    for text in re.split(r"^(?=### )", body, flags=re.MULTILINE)[1:]:
        yield text.partition("\n")[0].removeprefix("### "), text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", metavar="NAME", nargs="*", help=", ".join(names()))
    parser.add_argument("--quick", action="store_true", help="as short as can be, to try them")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--write", type=Path, metavar="PAGE")
    given = parser.parse_args()
    if unknown := set(given.names) - set(names()):
        parser.error(f"no benchmarks: {', '.join(unknown)}; there are {', '.join(names())}")
    results: dict[str, dict[str, Any]] = {}
    failed = []
    for name in given.names or names():
        print(f"== {name}", file=sys.stderr, flush=True)
        try:
            results[name] = measured(name, given.quick)
        except subprocess.CalledProcessError:
            failed.append(name)
            continue
        # After each, so that what stops a later one costs nothing.
        if given.json is not None:
            given.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
        if given.write is not None:
            page = given.write.read_text(encoding="utf-8")
            given.write.write_text(with_sections(page, results), encoding="utf-8")
    for name, result in results.items():
        print(section(name, result))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
