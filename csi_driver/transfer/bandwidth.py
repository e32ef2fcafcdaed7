"""How fast all transfers of the node may be together."""

import time
from collections.abc import Callable

from csi_driver.inflight import Lock

_STEP_SECONDS = 0.25
_LONGEST_WAIT = 1.0  # seconds after which a limit that has changed shows


class Bandwidth:
    """Spreads what arrives so that it is no more than `limit()` bytes a second on the node; 0 means as fast as it goes.

    Who has received something receives nothing until that is paid for, at so many bytes a second: first come, first
    served, so the connections share it evenly. The limit may change at any time, also for those who wait already.
    """

    def __init__(self, limit: Callable[[], int], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = Lock()
        self._spent = 0
        self._paid = 0.0
        self._paid_at = clock()

    def most(self, wanted: int) -> int:
        """How many of `wanted` bytes to ask for at once: what takes no more than a quarter of a second, if limited."""
        limit = self._limit()
        return min(wanted, max(1, int(limit * _STEP_SECONDS))) if limit else wanted

    def spend(self, count: int) -> int:
        """`count` bytes have arrived; returns whose turn it is to `wait`."""
        with self._lock:
            self._pay()
            self._spent += count
            return self._spent

    def wait(self, turn: int) -> float:
        """How many seconds to receive nothing before asking again; 0.0 when it is paid for."""
        with self._lock:
            limit = self._pay()
            return min(max(0.0, turn - self._paid) / limit, _LONGEST_WAIT) if limit else 0.0

    def _pay(self) -> int:
        """Count the time since the last look at the present limit, which is returned."""
        limit, now = self._limit(), self._clock()
        paid = self._paid + (now - self._paid_at) * limit if limit else self._spent
        self._paid, self._paid_at = min(self._spent, paid), now
        return limit
