"""When a slow stream is split over more connections, and over how many."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from csi_driver.inflight import Lock


@dataclass(frozen=True, slots=True)
class Splitting:
    """A stream that after `after` seconds brings less than `slow` bytes a second is split, if enough of it is left.

    It is split over `first` connections, and over twice as many again and again while that brings a `gain`, up to what
    the node has to spare. Every `look_every` seconds is looked at how it goes. The stream waits for `shows_within`
    seconds until the first byte of a range is there, and else goes on by itself. A range that everybody waits for is
    asked for again when it takes six times as long as others did, though not before `stalled_after` seconds.
    """

    slow: float = 100e6
    after: float = 0.5
    first: int = 4
    gain: float = 1.15
    look_every: float = 0.25
    shows_within: float = 10.0
    stalled_after: float = 5.0
    least_buffers: int = 8


class Connections:
    """The connections that transfers may have on the whole node: one each in any case, and more while there are few."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._used = 0

    @property
    def used(self) -> int:
        with self._lock:
            return self._used

    @contextmanager
    def own(self) -> Iterator[None]:
        """The one that every transfer has."""
        with self._lock:
            self._used += 1
        try:
            yield
        finally:
            self.give_back()

    def take_more(self) -> bool:
        """One more, if there is one; to be given back."""
        with self._lock:
            if self._used >= self._most:
                return False
            self._used += 1
            return True

    def give_back(self) -> None:
        with self._lock:
            self._used -= 1


class Pace:
    """How fast a stream brings bytes while it is read; what is done with them in between does not count."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._bytes = 0
        self._seconds = 0.0

    def measure(self, read: Callable[[], int]) -> int:
        """The result of `read`, which says how many bytes it has read."""
        begin = self._clock()
        count = read()
        self._seconds += self._clock() - begin
        self._bytes += count
        return count

    def is_slow(self, policy: Splitting) -> bool:
        return self._seconds >= policy.after and self._bytes < policy.slow * self._seconds

    def falls_below(self, rate: float, seconds: float) -> bool:
        """Whether fewer than `rate` bytes a second came, each time that it was measured for `seconds`."""
        if self._seconds < seconds:
            return False
        is_below = self._bytes < rate * self._seconds
        self._bytes, self._seconds = 0, 0.0
        return is_below


class Growth:
    """How many more connections are worth having, going by what the last ones have brought: a `piece` each at least."""

    def __init__(self, policy: Splitting, piece: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._piece = piece
        self._clock = clock
        self._at = clock()
        self._arrived = 0
        self._rate = 0.0
        self._is_settled = False

    def more(self, arrived: int, workers: int) -> int:
        """How many to add to those that work now, given how many bytes they have brought in all."""
        now = self._clock()
        seconds = now - self._at
        enough = seconds >= self._policy.look_every and arrived - self._arrived >= workers * self._piece
        if self._is_settled or not enough or seconds == 0:
            return 0
        rate = (arrived - self._arrived) / seconds
        self._at, self._arrived = now, arrived
        if rate < self._rate * self._policy.gain:
            self._is_settled = True
            return 0
        self._rate = rate
        return workers
