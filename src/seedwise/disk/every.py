"""A reminder: whether some seconds have passed."""

import time


class Every:
    """Tells whether some seconds have passed since it last said so; with 0, always."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last_s = -seconds

    def due(self) -> bool:
        """Tell whether the seconds have passed; if so, they begin anew."""
        now_s = time.monotonic()
        if now_s - self._last_s < self._seconds:
            return False
        self._last_s = now_s
        return True
