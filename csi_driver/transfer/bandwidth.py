"""How fast all transfers of the node may be together."""

import time
from collections.abc import Callable

from csi_driver.inflight import Lock

_STEP_SECONDS = 0.25


class Bandwidth:
    """Spreads what arrives so that it is no more than `limit()` bytes a second on the node; 0 means as fast as it goes.

    Each who has received something is told how long to receive nothing: first come, first served, so the connections
    share it evenly. The limit may change at any time.
    """

    def __init__(self, limit: Callable[[], int], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = Lock()
        self._due = clock()

    def most(self, wanted: int) -> int:
        """How many of `wanted` bytes to ask for at once: what takes no more than a quarter of a second, if limited."""
        limit = self._limit()
        return min(wanted, max(1, int(limit * _STEP_SECONDS))) if limit else wanted

    def spend(self, count: int) -> float:
        """`count` bytes have arrived; how many seconds to wait before the next."""
        limit = self._limit()
        if not limit:
            return 0.0
        with self._lock:
            now = self._clock()
            self._due = max(self._due, now) + count / limit
            return self._due - now
