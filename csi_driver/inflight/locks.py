"""Who may go on and who must wait or leave."""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from threading import Condition, Lock
from typing import Generic, TypeVar

from csi_driver.errors import Busy

K = TypeVar("K", bound=Hashable)


class KeyedLocks(Generic[K]):
    """One lock a key, held by one caller at a time and never waited for longer than said."""

    def __init__(self) -> None:
        self._condition = Condition()
        self._held: set[K] = set()

    @contextmanager
    def hold(self, key: K, *, patience: float = 0.0) -> Iterator[None]:
        """Hold the lock of `key`; raises `Busy` when another caller still holds it after `patience` seconds."""
        with self._condition:
            if not self._condition.wait_for(lambda: key not in self._held, timeout=patience):
                raise Busy(f"another call is at work on {key}; try again")
            self._held.add(key)
        try:
            yield
        finally:
            with self._condition:
                self._held.discard(key)
                self._condition.notify_all()


class Slots:
    """A fixed number of places; who finds none goes away at once."""

    def __init__(self, count: int, *, full: str) -> None:
        self._full = full
        self._lock = Lock()
        self._free = count

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold one place; raises `Busy` with the text given as `full` when there is none."""
        with self._lock:
            if self._free == 0:
                raise Busy(self._full)
            self._free -= 1
        try:
            yield
        finally:
            with self._lock:
                self._free += 1
