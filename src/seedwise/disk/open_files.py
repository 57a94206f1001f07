"""How many files a driver may have open: connections to workers, ledgers of entries."""

import contextlib
import resource

# Open files of an entry that is worked on: ledger, study file, two checkpoints, and one to spare.
_FILES_AN_ENTRY = 5
_FILES_OF_THE_DRIVER = 200


def allow_many_files() -> None:
    """Raise the limit of open files as far as we may: each worker and each entry has some."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_entries_open() -> int:
    """Return how many entries may be worked on at once, for the files that they have open."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return 2**31
    return max(1, (most - _FILES_OF_THE_DRIVER) // _FILES_AN_ENTRY)
