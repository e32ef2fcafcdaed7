"""A stream of buffers as an archive reader sees it: blocks and payloads, each byte once and in order."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from isal.isal_zlib import crc32

from csi_driver.transfer.buffers import Buffer
from csi_driver.transfer.tarheader import BLOCK, BadArchive

Span: TypeAlias = tuple[Buffer, int, int]
"""Bytes where they lie: a buffer, and the offsets of the first and of the one behind the last."""


class Blocks:
    """Takes the buffers of a channel one after another and releases each when it has been read.

    What is read as blocks, and not as payload, is also given to `keep`, in order. `crc` is the CRC-32 of all that was
    read so far, at a tenth of the cost of a digest. For one thread.
    """

    def __init__(self, buffers: Iterator[Buffer], *, keep: Callable[[bytes], None]) -> None:
        self.position = 0
        self.crc = 0
        self._buffers = buffers
        self._keep = keep
        self._buffer: Buffer | None = None
        self._start = 0

    def block(self) -> bytes | None:
        """The next 512 bytes, or None at the end of the stream. Raises `BadArchive` if it ends in between."""
        if self._current() is None:
            return None
        return self.read(BLOCK)

    def read(self, count: int) -> bytes:
        """The next `count` bytes, in memory. Raises `BadArchive` if there are fewer."""
        data = b"".join([bytes(buffer.window(start, stop)) for buffer, start, stop in self.spans(count)])
        self._keep(data)
        return data

    def spans(self, count: int) -> Iterable[Span]:
        """The next `count` bytes where they lie; each span is good until the next, or anything else, is asked for."""
        if self._buffer is not None and self._start + count <= self._buffer.length:  # nearly always, and often
            return (self._take(self._buffer, count),)
        return self._spans(count)

    def _spans(self, count: int) -> Iterator[Span]:
        while count:
            buffer = self._current()
            if buffer is None:
                raise BadArchive(f"the archive ends at byte {self.position}, in the middle of an entry")
            span = self._take(buffer, min(count, buffer.length - self._start))
            count -= span[2] - span[1]
            yield span

    def _take(self, buffer: Buffer, count: int) -> Span:
        start, stop = self._start, self._start + count
        self.crc = crc32(buffer.window(start, stop), self.crc)
        self._start = stop
        self.position += count
        return buffer, start, stop

    def rest(self) -> Iterator[bytes]:
        """All that is left, piece by piece."""
        while (buffer := self._current()) is not None:
            yield self.read(buffer.length - self._start)

    def close(self) -> None:
        """Release the buffer at hand; what comes after it is no longer read."""
        if self._buffer is not None:
            self._buffer.release()
            self._buffer = None

    def _current(self) -> Buffer | None:
        """The buffer with the next byte; None at the end."""
        while self._buffer is None or self._start == self._buffer.length:
            self.close()
            self._buffer = next(self._buffers, None)
            self._start = 0
            if self._buffer is None:
                return None
        return self._buffer
