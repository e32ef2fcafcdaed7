"""How far a transfer has come, how fast it goes and how long it will take."""

import time
from collections import deque
from collections.abc import Callable, Iterable

from csi_driver import amounts
from csi_driver.inflight import Lock

_WINDOW_SECONDS = 10.0
_SAMPLE_SECONDS = 0.25


class Progress:
    """Counts the bytes of one transfer; any thread may count and any may look. Rates are over the last ten seconds."""

    def __init__(self, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self._clock = clock
        self._lock = Lock()
        self._found = 0
        self._advanced = 0
        self._samples: deque[tuple[float, int]] = deque([(clock(), 0)])

    @property
    def fetched(self) -> int:
        """Bytes that are here."""
        with self._lock:
            return self._found + self._advanced

    @property
    def here(self) -> int:
        """Bytes of those that were here already."""
        with self._lock:
            return self._found

    def advance(self, count: int) -> None:
        """`count` more bytes have arrived."""
        with self._lock:
            self._advanced += count
            self._sample()

    def found(self, count: int) -> None:
        """`count` bytes were here already; negative when they turned out to be of no use. Never part of the rate."""
        with self._lock:
            self._found += count

    def rate(self) -> float:
        """Bytes per second, of late; 0.0 while nothing has arrived."""
        with self._lock:
            self._sample()
            begin, before = self._samples[0]
            seconds = self._clock() - begin
            return max(0.0, (self._advanced - before) / seconds) if seconds > 0 else 0.0

    def remaining_seconds(self) -> float | None:
        """How long the rest takes if the rate holds; None while nobody can tell."""
        return _remaining(self.total - self.fetched, self.rate())

    @staticmethod
    def sum(parts: "Iterable[Progress]") -> "Totals":
        """All the parts as one, as they are now."""
        snapshot = [(part.fetched, part.total, part.here, part.rate()) for part in parts]
        return Totals(
            fetched=sum(fetched for fetched, *_ in snapshot),
            total=sum(total for _, total, *_ in snapshot),
            here=sum(here for *_, here, _ in snapshot),
            bytes_per_second=sum(rate for *_, rate in snapshot),
        )

    def _sample(self) -> None:
        now = self._clock()
        if now - self._samples[-1][0] >= _SAMPLE_SECONDS:
            self._samples.append((now, self._advanced))
        while len(self._samples) > 1 and now - self._samples[0][0] > _WINDOW_SECONDS:
            self._samples.popleft()


class Totals:
    """The state of several transfers taken together at one moment."""

    def __init__(self, *, fetched: int, total: int, here: int = 0, bytes_per_second: float) -> None:
        """`here` are the bytes of `fetched` that were here already, before the transfers began."""
        self.fetched = fetched
        self.total = total
        self.here = here
        self._rate = bytes_per_second

    def rate(self) -> float:
        """Bytes per second of all parts together."""
        return self._rate

    def remaining_seconds(self) -> float | None:
        """How long the rest takes if the rate holds; None while nobody can tell."""
        return _remaining(self.total - self.fetched, self._rate)


def describe(progress: Progress | Totals) -> str:
    """For people: `47 % (12.3 of 26.1 GiB, 412 MiB/s, 34 s left)`."""
    fetched, total, rate = progress.fetched, progress.total, progress.rate()
    percent = min(100, fetched * 100 // total) if total else 0
    unit = amounts.scale(total)
    parts = [f"{fetched / 1024**unit:.{min(unit, 1)}f} of {total / 1024**unit:.{min(unit, 1)}f} {amounts.UNITS[unit]}"]
    if rate > 0:
        parts.append(amounts.rate(rate))
        left = _remaining(total - fetched, rate)
        if left is not None:
            parts.append(f"{amounts.duration(left)} left")
    return f"{percent} % ({', '.join(parts)})"


def _remaining(count: int, rate: float) -> float | None:
    if count <= 0:
        return 0.0
    return count / rate if rate > 0 else None
