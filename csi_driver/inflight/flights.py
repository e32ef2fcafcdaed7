"""Runs that many callers share: one download, however many pods ask for it."""

import contextvars
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from threading import Lock
from typing import Generic, NoReturn, TypeVar

from csi_driver.errors import Stopping
from csi_driver.inflight.pool import Pool
from csi_driver.inflight.threads import settle
from csi_driver.inflight.waiting import Stop, Wait

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Flight(Generic[V]):
    __slots__ = ("landed_at", "outcome", "stop", "waits")

    def __init__(self) -> None:
        self.waits: set[Wait] = set()
        self.stop = Stop()
        self.outcome: Future[V] | None = None
        self.landed_at = float("inf")

    def has_landed(self) -> bool:
        return self.outcome is not None

    def result(self) -> V:
        assert self.outcome is not None, "asked before the flight landed"  # noqa: S101  a caller's mistake, not an input
        return self.outcome.result()


class Flights(Generic[K, V]):
    """Runs that any number of callers share by key, and that belong to none of them.

    With `outlives_callers` a flight goes on when every caller has left; otherwise it is then asked to stop. A failure
    that nobody was there to see is kept for the next caller, for at most `unseen_for` seconds: kubelet asks again
    within 122 s (its exponential back-off), and would otherwise never learn why a long pull fails. With `keeps_answers`
    so is what came of a success, where nothing else would remember it.
    """

    def __init__(
        self, pool: Pool, *, outlives_callers: bool, keeps_answers: bool = False, unseen_for: float = 150.0
    ) -> None:
        self._pool = pool
        self._outlives_callers = outlives_callers
        self._keeps_answers = keeps_answers
        self._unseen_for = unseen_for
        self._lock = Lock()
        self._flights: dict[K, _Flight[V]] = {}
        self._closed = False

    def join(self, key: K, fly: Callable[[Stop], V], wait: Wait) -> V:
        """The outcome of `fly`, which runs once for all callers that join while it does.

        Raises what `fly` raised, `TimeoutError` at the deadline, `Dropped`, or `Stopping` once closed.
        """
        return self.join_all({key: fly}, wait)[key]

    def join_all(self, flies: Mapping[K, Callable[[Stop], V]], wait: Wait, *, owner: Hashable = None) -> dict[K, V]:
        """The outcomes of several flights that run at once; raises as soon as one has failed.

        Those that begin with this call are the pool's tasks of `owner`.
        """
        flights: dict[K, _Flight[V]] = {}
        try:
            for key, fly in flies.items():
                flights[key] = self._board(key, fly, wait, owner)
            wait.until(lambda: _decided(flights.values()))
        finally:
            for key, flight in flights.items():
                self._leave(key, flight, wait)
        for flight in flights.values():
            if flight.outcome and flight.outcome.exception():
                flight.result()
        return {key: flight.result() for key, flight in flights.items()}

    def close(self) -> None:
        """Ask everything under way to stop, and start nothing more."""
        with self._lock:
            self._closed = True
            for flight in self._flights.values():
                flight.stop.set()

    def drain(self, wait: Wait) -> None:
        """Return when nothing is under way any more; raises `TimeoutError` at the deadline. For after `close`."""
        with self._lock:
            flying = [flight for flight in self._flights.values() if not flight.has_landed()]
            for flight in flying:
                flight.waits.add(wait)
        wait.until(lambda: all(flight.has_landed() for flight in flying))

    def keys(self) -> list[K]:
        """What is under way now."""
        with self._lock:
            return [key for key, flight in self._flights.items() if not flight.has_landed()]

    def _board(self, key: K, fly: Callable[[Stop], V], wait: Wait, owner: Hashable) -> _Flight[V]:
        while True:
            with self._lock:
                if self._closed:
                    raise Stopping("the driver is stopping; the next one goes on with this pull")
                self._forget_unseen()
                flight = self._flights.get(key)
                if flight is None:
                    flight = self._flights[key] = _Flight()
                    flight.waits.add(wait)
                    break
                flight.waits.add(wait)
                if not flight.stop.is_set:
                    return flight
            # It was asked to stop before this caller came: let it land, then start anew.
            try:
                wait.until(flight.has_landed)
            finally:
                self._leave(key, flight, wait)
        try:
            self._pool.submit(lambda: self._run(key, flight, fly), owner=owner)
        except (RuntimeError, MemoryError) as error:  # others may have joined meanwhile: they must hear of it, too
            self._run(key, flight, partial(_fail, error))
        return flight

    def _forget_unseen(self) -> None:
        """Drop what nobody has come for: an error keeps alive all that its traceback leads to."""
        latest = time.monotonic() - self._unseen_for
        for key in [key for key, flight in self._flights.items() if flight.landed_at < latest]:
            del self._flights[key]

    def _leave(self, key: K, flight: _Flight[V], wait: Wait) -> None:
        with self._lock:
            flight.waits.discard(wait)
            if flight.has_landed():
                if self._flights.get(key) is flight:
                    del self._flights[key]
            elif not flight.waits and not self._outlives_callers:
                flight.stop.set()

    def _run(self, key: K, flight: _Flight[V], fly: Callable[[Stop], V]) -> None:
        outcome: Future[V] = Future()
        settle(outcome, contextvars.copy_context(), lambda: fly(flight.stop))
        with self._lock:
            flight.outcome = outcome
            flight.landed_at = time.monotonic()
            waits = list(flight.waits)
            is_lost = outcome.exception() is None and not self._keeps_answers
            is_seen = waits or is_lost or flight.stop.is_set
            if is_seen and self._flights.get(key) is flight:
                del self._flights[key]
        for wait in waits:
            wait.wake()


def _fail(error: Exception, _: Stop) -> NoReturn:
    raise error


def _decided(flights: Iterable[_Flight[V]]) -> bool:
    """Whether all have landed, or one of them has failed."""
    landed = [flight.outcome for flight in flights]
    return all(landed) or any(outcome and outcome.exception() for outcome in landed)
