"""The nodes on which jobs end before their worker joins: the next jobs go elsewhere."""

from collections.abc import Callable, Collection

from seedwise.model.status import PoolNews
from seedwise.slurm.commands import CommandError

# One early end may be chance.
_MOST_EARLY_ENDS = 2
_FORGOTTEN_AFTER_S = 3600.0


class BadNodes:
    """Counts early ends of jobs by node, and excludes nodes for an hour.

    `try_without` asks why Slurm does not take a job that may not run on some nodes.
    """

    def __init__(self, try_without: Callable[[Collection[str]], CommandError | None]) -> None:
        #: Whether Slurm has only bad nodes for a job, as far as it was asked.
        self.no_others = False
        self._try_without = try_without
        self._ends_s: dict[str, list[float]] = {}
        #: Why each is excluded, and until when.
        self._exclusions: dict[str, tuple[str, float]] = {}

    def excluded(self, now_s: float) -> dict[str, str]:
        """Return why nodes are excluded, by their names."""
        exclusions = self._exclusions.copy()  # another thread may ask
        return {node: why for node, (why, until_s) in exclusions.items() if now_s < until_s}

    def note_early_end(self, node: str, job_id: str, words: str, now_s: float) -> PoolNews | None:
        """Note that a job ended before its worker joined; return the news if that is too many."""
        excluded = self.excluded(now_s)
        if node in excluded:  # it was submitted before
            return None
        since_s = now_s - _FORGOTTEN_AFTER_S
        ends_s = [*(end_s for end_s in self._ends_s.get(node, []) if end_s > since_s), now_s]
        self._ends_s[node] = ends_s
        if len(ends_s) < _MOST_EARLY_ENDS:
            return None
        refusal = self._try_without([*excluded, node])
        self.no_others = refusal is not None and not refusal.unheard
        if refusal is not None:
            return None
        self._ends_s.pop(node, None)  # it may be forgotten meanwhile
        why = f"{len(ends_s)} jobs ended there before their worker joined"
        until_s = now_s + _FORGOTTEN_AFTER_S
        self._exclusions[node] = f"{why}; the last one: {words}", until_s
        text = f"excluded node {node}: {why}"
        return PoolNews(kind="excluded", text=text, job_id=job_id, warns=True)

    def forget(self) -> None:
        """Forget all, because other jobs are asked for now."""
        self.no_others = False
        self._ends_s.clear()
        self._exclusions.clear()
