"""How long work that is in nobody's way waits between its pieces."""

import time
from collections.abc import Callable

from csi_driver.inflight.waiting import Stop

_UNEVEN = 0.5  # seconds that work may have lagged behind and may make up for


class Throttle:
    """Lets one thread do so many units a second, on average, until it is told to stop.

    `rate` is asked at every piece, as it may change meanwhile; 0 is no limit. `clock` tells seconds, and `sleep` waits
    as `Stop.wait` does.
    """

    def __init__(
        self,
        rate: Callable[[], float],
        stop: Stop,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._rate = rate
        self._stop = stop
        self._clock = clock
        self._sleep = sleep or stop.wait
        self._due = clock()

    def spend(self, units: int) -> None:
        """So many units were done: return when the next may follow. Raises `Stopping` once stopped."""
        self._stop.check()
        rate = self._rate()
        now = self._clock()
        if rate <= 0:
            self._due = now
            return
        self._due = max(self._due, now - _UNEVEN) + units / rate
        if self._due > now:
            self._sleep(self._due - now)
            self._stop.check()
