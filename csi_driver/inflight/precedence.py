"""Which of many runs go first."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

from csi_driver.inflight.waiting import Wait

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class _Run:
    step_aside: Callable[[], None]
    is_urgent: bool


class Precedence(Generic[K]):
    """Urgent runs go at once; all others only while no urgent one of another key is wanted or under way.

    A run is urgent once somebody in a hurry has waited for its key, and stays so until it ends. One that is not is told
    to step aside when another becomes urgent: what that means is its own business.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._wanted: Counter[K] = Counter()
        self._runs: dict[K, _Run] = {}
        self._waits: set[Wait] = set()

    @contextmanager
    def wanting(self, key: K) -> Iterator[None]:
        """Until the block ends somebody in a hurry waits for the run of `key`, be it there already or not."""
        with self._lock:
            self._wanted[key] += 1
            if key in self._runs:
                self._runs[key].is_urgent = True
        self._announce()
        try:
            yield
        finally:
            with self._lock:
                self._wanted[key] -= 1
                self._wanted = +self._wanted
            self._announce()

    @contextmanager
    def running(self, key: K, *, step_aside: Callable[[], None]) -> Iterator[None]:
        """The run of `key` is under way, of which there is one at a time; `step_aside` may be called at once."""
        with self._lock:
            self._runs[key] = _Run(step_aside, is_urgent=key in self._wanted)
        self._announce()
        try:
            yield
        finally:
            with self._lock:
                del self._runs[key]
            self._announce()

    def is_urgent(self, key: K) -> bool:
        """Whether the run of `key`, if there is one, may go on whatever else is wanted."""
        with self._lock:
            return key in self._wanted or (key in self._runs and self._runs[key].is_urgent)

    def wait_for_turn(self, key: K, wait: Wait) -> None:
        """Return when `key` may go; raises `TimeoutError` at the deadline and `Dropped` when dropped."""
        with self._lock:
            self._waits.add(wait)
        try:
            wait.until(lambda: self._may_go(key))
        finally:
            with self._lock:
                self._waits.discard(wait)

    def _may_go(self, key: K) -> bool:
        with self._lock:
            return self._is_free(key)

    def _is_free(self, key: K) -> bool:
        others = any(other != key for other in self._wanted)
        return not others and not any(run.is_urgent for other, run in self._runs.items() if other != key)

    def _announce(self) -> None:
        with self._lock:
            waits = list(self._waits)
            runs = [run for key, run in self._runs.items() if not run.is_urgent and not self._is_free(key)]
        for wait in waits:
            wait.wake()
        for run in runs:
            run.step_aside()
