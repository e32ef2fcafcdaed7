"""A stream of buffers as an archive reader sees it: blocks and payloads, each byte once and in order."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from isal.isal_zlib import crc32

from csi_driver.transfer.buffers import Buffer
from csi_driver.transfer.tarheader import BLOCK, BadArchive

Span: TypeAlias = tuple[Buffer, int, int]
"""Bytes where they lie: a buffer, and the offsets of the first and of the one behind the last."""


class Blocks:
    """Takes the buffers of a channel one after another and releases each when it has been read.

    What is read as blocks, and not as payload, is also given to `keep`, in order. For one thread.
    """

    def __init__(self, buffers: Iterator[Buffer], *, keep: Callable[[bytes], None]) -> None:
        self.position = 0
        self._crc = 0
        self._summed = 0
        self._buffers = buffers
        self._keep = keep
        self._buffer: Buffer | None = None
        self._start = 0

    @property
    def crc(self) -> int:
        """The CRC-32 of all that was read so far, at a tenth of the cost of a digest."""
        if self._buffer is not None and self._summed < self._start:
            self._crc = crc32(self._buffer.window(self._summed, self._start), self._crc)
            self._summed = self._start
        return self._crc

    @crc.setter
    def crc(self, value: int) -> None:
        """Go on from this as the CRC-32 of all that counts, whatever was read before."""
        self._crc = value
        self._summed = self._start

    def block(self) -> bytes | None:
        """The next 512 bytes, or None at the end of the stream. Raises `BadArchive` if it ends in between."""
        if self._current() is None:
            return None
        return self.read(BLOCK)

    def padding(self, count: int) -> None:
        """Pass over what fills up the last block of a payload; umoci leaves it out where the archive ends with it."""
        if self._current() is not None:
            self.read(count)

    def read(self, count: int) -> bytes:
        """The next `count` bytes, in memory. Raises `BadArchive` if there are fewer."""
        whole = self.whole(count)
        data = bytes(whole) if whole is not None else self._joined(count)
        self._keep(data)
        return data

    def whole(self, count: int) -> memoryview | None:
        """The next `count` bytes if they lie in one piece, good until anything else is asked for; else nothing is read.

        That is the way of nearly all that an archive of small files holds, and costs a quarter of `spans`.
        """
        buffer, start = self._buffer, self._start
        if buffer is None or start + count > buffer.length:
            return None
        self._start = start + count
        self.position += count
        return buffer.window(start, start + count)

    def spans(self, count: int) -> Iterator[Span]:
        """The next `count` bytes where they lie; each span is good until the next, or anything else, is asked for."""
        while count:
            buffer = self._current()
            if buffer is None:
                raise BadArchive(f"the archive ends at byte {self.position}, in the middle of an entry")
            start = self._start
            self._start = stop = min(start + count, buffer.length)
            self.position += stop - start
            count -= stop - start
            yield buffer, start, stop

    def _joined(self, count: int) -> bytes:
        return b"".join([bytes(buffer.window(start, stop)) for buffer, start, stop in self.spans(count)])

    def rest(self) -> Iterator[bytes]:
        """All that is left, piece by piece."""
        while (buffer := self._current()) is not None:
            yield self.read(buffer.length - self._start)

    def close(self) -> None:
        """Release the buffer at hand; what comes after it is no longer read."""
        if self._buffer is not None:
            self._crc, self._summed = self.crc, 0
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
