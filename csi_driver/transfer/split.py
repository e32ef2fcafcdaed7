"""The rest of a blob in ranges over several connections, put in order again."""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass

from csi_driver.errors import Unavailable
from csi_driver.inflight import Condition
from csi_driver.transfer.buffers import Allowance, Buffer, GivenUp
from csi_driver.transfer.splitting import Connections, Growth, Splitting
from csi_driver.transfer.stream import Stream

_SLOWER_THAN_OTHERS = 6.0


@dataclass(slots=True)
class _Running:
    stream: Stream
    since: float


class Split:
    """Fetches a blob from `start` on, a buffer a range, and delivers the buffers in order.

    A worker takes a buffer first and only then the next range: so the range that everybody waits for always has its
    buffer, and transfers that share a pool cannot block one another. `run` starts a worker in a thread of its own, and
    tells whether it could; when one raises, somebody must call `close`. A range that cannot be had does not raise: the
    split ends there, for the server may give no ranges, or not to so many at once, and yet all to one.
    """

    def __init__(
        self,
        start: int,
        stop: int,
        *,
        open_range: Callable[[int, int], Stream],
        allowance: Allowance,
        connections: Connections,
        run: Callable[[Callable[[], None]], bool],
        policy: Splitting,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.position = start
        self._stop = stop
        self._open_range = open_range
        self._allowance = allowance
        self._connections = connections
        self._run = run
        self._policy = policy
        self._clock = clock
        self._growth = Growth(policy, allowance.pool.size, clock)
        self._changed = Condition()
        self._next = start
        self._ready: dict[int, Buffer] = {}
        self._running: dict[int, _Running] = {}
        self._closed = False
        self._refused = False
        self._workers = 0
        self._finished = 0
        self._seconds = 0.0

    def grow(self, count: int) -> int:
        """Work over `count` more connections, or as many as there are to be had; returns how many."""
        taken = 0
        while taken < count and self._connections.take_more():
            if not self._run(self._work):
                self._connections.give_back()
                break
            taken += 1
        self._workers += taken
        return taken

    def works(self) -> bool:
        """Whether the server gives ranges, to more than one connection, as soon as that shows; if it does, in time."""
        until = self._clock() + self._policy.shows_within
        with self._changed:
            while not (self._closed or self._refused or self._shows()):
                left = until - self._clock()
                if left <= 0:
                    return False
                self._changed.wait(min(left, self._policy.look_every))
            return not self._refused

    def _shows(self) -> bool:
        """Whether any of a range has arrived."""
        return self._finished > 0 or any(one.stream.position > start for start, one in self._running.items())

    def buffers(self) -> Generator[Buffer, None, None]:
        """The buffers in order, up to the end, or to where a range could not be had: see `position`."""
        while self.position < self._stop:
            self._look()
            buffer = self._await(self.position)
            if buffer is not None:
                self.position += buffer.length
                yield buffer
            elif self._refused:
                return

    def close(self) -> None:
        """From any thread: nothing more is wanted. Workers end, and nothing that is ready stays."""
        with self._changed:
            self._closed = True
            ready, self._ready = self._ready, {}
            running = list(self._running.values())
            self._changed.notify_all()
        for one in running:
            one.stream.abort()
        for buffer in ready.values():
            buffer.release()

    def _await(self, position: int) -> Buffer | None:
        """The buffer with the range at `position`; None when that takes so long that somebody should look."""
        with self._changed:
            self._changed.wait_for(
                lambda: position in self._ready or self._closed or self._refused, timeout=self._policy.look_every
            )
            if self._closed:
                raise GivenUp
            return self._ready.pop(position, None)

    def _look(self) -> None:
        """Have more connections if that pays, and the range that is waited for once more if it lags behind."""
        self.grow(self._growth.more(self._finished * self._allowance.pool.size, self._workers))
        with self._changed:
            one, now = self._running.get(self.position), self._clock()
            usual = self._seconds / self._finished if self._finished else 0.0
            if one is None:
                return
            taken = now - one.since - one.stream.held_back
            if taken <= max(self._policy.stalled_after, _SLOWER_THAN_OTHERS * usual):
                return
            one.since = now - one.stream.held_back
        one.stream.ask_again()

    def _work(self) -> None:
        try:
            while self._fetch_next():
                pass
        except Unavailable:
            with self._changed:
                self._refused = True
                self._changed.notify_all()
        finally:
            self._connections.give_back()

    def _fetch_next(self) -> bool:
        """Fetch the next range; whether there was one."""
        buffer = self._allowance.take()
        try:
            with self._changed:
                position = self._next
                if self._closed or self._refused or position >= self._stop:
                    return False
                self._next = min(self._stop, position + buffer.size)
                stream, since = self._open_range(position, self._next), self._clock()
                self._running[position] = _Running(stream, since)
            try:
                with closing(stream):
                    buffer.length = stream.fill(buffer.room)
            finally:
                with self._changed:
                    del self._running[position]
            self._finish(position, buffer, since + stream.held_back)
        finally:
            buffer.release()
        return True

    def _finish(self, position: int, buffer: Buffer, since: float) -> None:
        with self._changed:
            self._finished += 1
            self._seconds += self._clock() - since
            if not self._closed:
                buffer.share()
                self._ready[position] = buffer
            self._changed.notify_all()
