"""How long a caller waits, and how it is told to stop."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock

from csi_driver.errors import Stopping

_LONGEST_SLEEP = 3600.0  # seconds; the platform's own limit is beyond any deadline but that of `Deadline.never`


class Deadline:
    """A moment of the monotonic clock after which nobody waits any more."""

    def __init__(self, at: float) -> None:
        self.at = at

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        return cls(time.monotonic() + seconds)

    @classmethod
    def never(cls) -> "Deadline":
        return cls(math.inf)

    def remaining(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self.at - time.monotonic())


class Stop:
    """A wish that long work ends early; workers look at it between two pieces of work."""

    def __init__(self) -> None:
        self._event = Event()
        self._lock = Lock()
        self._wakes: list[Callable[[], None]] = []

    def set(self) -> None:
        with self._lock:
            self._event.set()
            wakes, self._wakes = self._wakes, []
        for wake in wakes:
            wake()

    @contextmanager
    def calling(self, wake: Callable[[], None]) -> Iterator[None]:
        """While the context is open the wish also calls `wake`, once, in the thread that expresses it.

        At once, in this thread, when the wish was there before. For work that waits for something else than this wish.
        """
        with self._lock:
            late = self._event.is_set()
            if not late:
                self._wakes.append(wake)
        if late:
            wake()
        try:
            yield
        finally:
            with self._lock:
                if wake in self._wakes:
                    self._wakes.remove(wake)

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Stopping` once the wish was expressed."""
        if self._event.is_set():
            raise Stopping("the driver is stopping; the next one goes on with this pull")

    def wait(self, seconds: float) -> bool:
        """Sleep, but wake at once when the wish comes; whether it came."""
        return self._event.wait(seconds)


class Dropped(Exception):
    """The wait was given up by somebody else; what was waited for goes on."""


class Wait:
    """One caller's readiness to wait, until a deadline or until another thread drops it."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self._changed = Event()
        self._dropped = False
        self._tick: Callable[[], float] | None = None
        self._tick_at = math.inf

    @contextmanager
    def ticking(self, tick: Callable[[], float]) -> Iterator[None]:
        """While the context is open, whoever waits calls `tick` now and then, in the thread that waits.

        At once, and each time after as many seconds as the call before answered.
        """
        self._tick, self._tick_at = tick, time.monotonic()
        try:
            yield
        finally:
            self._tick, self._tick_at = None, math.inf

    def drop(self) -> None:
        self._dropped = True
        self._changed.set()

    def wake(self) -> None:
        self._changed.set()

    def check(self) -> None:
        """Raise `Dropped` once dropped."""
        if self._dropped:
            raise Dropped

    def until(self, done: Callable[[], bool]) -> None:
        """Return when `done()` holds; raises `TimeoutError` at the deadline and `Dropped` when dropped."""
        while not done():
            self.check()
            if self._tick and time.monotonic() >= self._tick_at:
                self._tick_at = time.monotonic() + self._tick()
            until_tick = max(0.0, self._tick_at - time.monotonic())
            changed = self._changed.wait(min(self.deadline.remaining(), until_tick, _LONGEST_SLEEP))
            if not changed and self.deadline.remaining() == 0:
                raise TimeoutError
            self._changed.clear()
