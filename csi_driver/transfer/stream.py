"""A part of a blob in order, through as many requests as it takes."""

from collections.abc import Callable
from dataclasses import dataclass

from csi_driver.errors import ContentMismatch, RangeIgnored, Unavailable
from csi_driver.inflight import Condition
from csi_driver.transfer.bandwidth import Bandwidth
from csi_driver.transfer.buffers import GivenUp
from csi_driver.transfer.source import Blob, Body, Source
from csi_driver.transfer.splitting import Pace

_WORTH_A_RETRY = 256 << 10
"""Bytes that must arrive before failures are forgiven; else a server could feed a byte at a time for ever."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a body that broke off is asked for again while nothing arrives, and how many seconds lie between.

    The pause doubles from one to the next, up to `longest_pause`. How often a request is made that is not even answered
    is the source's business. A body is broken, too, when for `window` seconds it brings less than `slowest` bytes a
    second: what drips would never meet a timeout.
    """

    attempts: int = 5
    pause: float = 0.2
    longest_pause: float = 30.0
    slowest: float = 4096.0
    window: float = 30.0


class Stream:
    """The bytes of `blob` from `start` to `stop`, asked for again where a request breaks off.

    One thread reads; `abort` and `ask_again` may come from any other. A server that answers a range with the whole blob
    is listened to from the beginning again, without keeping what is here already, unless `ranges_only`.
    Then somebody else has the patience for a server that does not answer.

    `pace` is that of the network alone; `held_back` are the seconds that the node's `bandwidth` made it wait.
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
        bandwidth: Bandwidth,
        ranges_only: bool = False,
    ) -> None:
        self.position = start
        self.stop = stop
        self.pace = Pace()
        self.held_back = 0.0
        self._bandwidth = bandwidth
        self._recent = Pace()
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
        self._to_skip = 0

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
            self._break_off()

    def ask_again(self) -> None:
        """From any thread: the request under way takes too long; break it off and make it again for what is missing."""
        with self._changed:
            self._break_off()

    def _break_off(self) -> None:
        """While `close` waits: when that has let the connection go, it may serve another request by now."""
        if self._body is not None:
            self._body.abort()

    def close(self) -> None:
        """Let the connection go."""
        with self._changed:
            body, self._body = self._body, None
        if body is not None:
            body.__exit__(None, None, None)

    def _receive(self, view: memoryview) -> int:
        while True:
            body = self._opened()
            try:
                if self._to_skip:
                    self._skip(body, view)
                count = self._some(body, view)
            except Unavailable as error:
                self.close()
                self._recover(error)
            else:
                self._took(count)
                return count

    def _took(self, count: int) -> None:
        self.position += count
        self._arrived(count)
        if self.position - self._forgiven_at >= _WORTH_A_RETRY:
            self._failures, self._forgiven_at = 0, self.position
        if self.position < self.stop and self._drips():
            self.close()
            self._recover(self._dripping())
        self._pay(count)

    def _pay(self, count: int) -> None:
        """Receive nothing for as long as so many bytes cost."""
        turn = self._bandwidth.spend(count)
        while (pause := self._bandwidth.wait(turn)) > 0:
            self.held_back += pause
            self._pause(pause)

    def _opened(self) -> Body:
        """The body under way, or a new one; of that, `_to_skip` bytes come before `position`."""
        if self._body is not None:
            return self._body
        whole = self._whole_only or (self.position == 0 and self.stop == self._blob.size and not self._ranges_only)
        try:
            start, stop = (0, None) if whole else (self.position, self.stop)
            body = self._source.open(start, stop, briefly=self._ranges_only)
        except RangeIgnored:
            if self._ranges_only or whole:
                raise
            self._whole_only = True
            return self._opened()
        with self._changed:
            self._body, self._recent = body, Pace()
            self._to_skip = self.position if whole else 0
            aborted = self._aborted
        if aborted:
            body.abort()
        return body

    def _skip(self, body: Body, scratch: memoryview) -> None:
        while self._to_skip:
            passed = self._some(body, scratch[: self._to_skip])
            self._to_skip -= passed
            if self._drips():
                raise self._dripping()
            self._pay(passed)

    def _drips(self) -> bool:
        return self._recent.falls_below(self._patience.slowest, self._patience.window)

    def _dripping(self) -> Unavailable:
        told = f"less than {self._patience.slowest:g} bytes a second came for {self._patience.window:g} s"
        return Unavailable(f"blob {self._blob.digest} stalls near byte {self.position} of {self._blob.size}: {told}")

    def _some(self, body: Body, view: memoryview) -> int:
        view = view[: self._bandwidth.most(len(view))]
        count = self.pace.measure(lambda: self._recent.measure(lambda: body.readinto(view)))
        if count == 0:
            raise Unavailable(f"blob {self._blob.digest} broke off near byte {self.position} of {self._blob.size}")
        return count

    def _recover(self, error: Unavailable) -> None:
        """Return when it is time to ask again."""
        self._failures += 1
        if self._failures > self._patience.attempts:
            raise error
        pause = self._patience.pause * 2 ** (self._failures - 2) if self._failures > 1 else 0.0
        self._pause(min(pause, self._patience.longest_pause))

    def _pause(self, seconds: float) -> None:
        with self._changed:
            if self._changed.wait_for(lambda: self._aborted, timeout=seconds):
                raise GivenUp
