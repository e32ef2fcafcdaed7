"""A part of a blob in order, through as many requests as it takes."""

from collections.abc import Callable
from dataclasses import dataclass

from csi_driver.errors import ContentMismatch, RangeIgnored, Unavailable
from csi_driver.inflight import Condition
from csi_driver.transfer.buffers import GivenUp
from csi_driver.transfer.source import Blob, Body, Source

_WORTH_A_RETRY = 256 << 10
"""Bytes that must arrive before failures are forgiven; else a server could feed a byte at a time for ever."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a broken request is made again while nothing arrives, and how many seconds lie between two of them.

    The pause doubles from one to the next, up to `longest_pause`; a server's own wish (Retry-After) may lengthen it up
    to the same bound.
    """

    attempts: int = 5
    pause: float = 0.2
    longest_pause: float = 30.0


class Stream:
    """The bytes of `blob` from `start` to `stop`, asked for again where a request breaks off.

    One thread reads; `abort` and `ask_again` may come from any other. A server that answers a range with the whole blob
    is listened to from the beginning again, without keeping what is here already, unless `ranges_only`.
    """

    def __init__(
        self,
        blob: Blob,
        source: Source,
        start: int,
        stop: int,
        *,
        patience: Patience,
        arrived: Callable[[int], None],
        ranges_only: bool = False,
    ) -> None:
        self.position = start
        self.stop = stop
        self._blob = blob
        self._source = source
        self._patience = patience
        self._arrived = arrived
        self._changed = Condition()
        self._aborted = False
        self._body: Body | None = None
        self._failures = 0
        self._forgiven_at = start
        self._ranges_only = ranges_only
        self._whole_only = False

    def fill(self, view: memoryview) -> int:
        """Fill `view` unless the part ends before; returns how many bytes.

        Raises `Unavailable` when patience ends, `GivenUp` after `abort`, and what `Source.open` raises otherwise.
        """
        filled = 0
        while filled < len(view) and self.position < self.stop:
            count = self._receive(view[filled : filled + self.stop - self.position])
            filled += count
        return filled

    def expect_end(self) -> None:
        """Raise `ContentMismatch` if the blob goes on beyond its size."""
        surplus = bytearray(1)
        try:
            more = self._body.readinto(memoryview(surplus)) if self._body is not None else 0
        except Unavailable:
            return  # the connection ended without a proper end, but all bytes are here
        if more:
            blob = self._blob
            raise ContentMismatch(f"blob {blob.digest} is longer than the {blob.size} bytes that its manifest says")

    def abort(self) -> None:
        """From any thread: nothing more is wanted, and `fill` raises at once."""
        with self._changed:
            self._aborted = True
            self._changed.notify_all()
            body = self._body
        if body is not None:
            body.abort()

    def ask_again(self) -> None:
        """From any thread: the request under way takes too long; break it off and make it again for what is missing."""
        with self._changed:
            body = self._body
        if body is not None:
            body.abort()

    def close(self) -> None:
        """Let the connection go."""
        with self._changed:
            body, self._body = self._body, None
        if body is not None:
            body.__exit__(None, None, None)

    def _receive(self, view: memoryview) -> int:
        while True:
            try:
                count = self._some(self._opened(view), view)
            except Unavailable as error:
                self.close()
                self._recover(error)
            else:
                self.position += count
                self._arrived(count)
                if self.position - self._forgiven_at >= _WORTH_A_RETRY:
                    self._failures, self._forgiven_at = 0, self.position
                return count

    def _opened(self, scratch: memoryview) -> Body:
        """The body under way, or a new one that is at `position`."""
        if self._body is not None:
            return self._body
        whole = self._whole_only or (self.position == 0 and self.stop == self._blob.size and not self._ranges_only)
        body = self._source.open(0, None) if whole else self._source.open(self.position, self.stop)
        with self._changed:
            self._body = body
            aborted = self._aborted
        if aborted:
            body.abort()
        if whole:
            self._skip(body, self.position, scratch)
        return body

    def _skip(self, body: Body, count: int, scratch: memoryview) -> None:
        while count:
            count -= self._some(body, scratch[:count])

    def _some(self, body: Body, view: memoryview) -> int:
        count = body.readinto(view)
        if count == 0:
            raise Unavailable(f"blob {self._blob.digest} broke off near byte {self.position} of {self._blob.size}")
        return count

    def _recover(self, error: Unavailable) -> None:
        """Return when it is time to ask again."""
        if isinstance(error, RangeIgnored) and self._ranges_only:
            raise error
        if isinstance(error, RangeIgnored) and not self._whole_only:
            self._whole_only = True
            return
        self._failures += 1
        if self._failures > self._patience.attempts:
            raise error
        pause = self._patience.pause * 2 ** (self._failures - 2) if self._failures > 1 else 0.0
        with self._changed:
            pause = min(max(pause, error.retry_after or 0.0), self._patience.longest_pause)
            if self._changed.wait_for(lambda: self._aborted, timeout=pause):
                raise GivenUp
