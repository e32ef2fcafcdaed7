"""A blob's bytes as filled buffers, in order."""

from collections.abc import Callable, Iterator
from typing import Protocol

from csi_driver.transfer.buffers import Buffer
from csi_driver.transfer.stream import Stream


class Feed(Protocol):
    """Where the buffers of a transfer come from; each is the taker's to release."""

    def __iter__(self) -> Iterator[Buffer]: ...

    def close(self) -> None:
        """Let go of everything that is held; in the thread that iterates."""


class StreamFeed:
    """All that one stream brings; at the end of the blob it must really end."""

    def __init__(self, stream: Stream, take: Callable[[], Buffer]) -> None:
        self._stream = stream
        self._take = take

    def __iter__(self) -> Iterator[Buffer]:
        while self._stream.position < self._stream.stop:
            buffer = self._take()
            try:
                buffer.length = self._stream.fill(buffer.room)
            except BaseException:
                buffer.release()
                raise
            yield buffer
        self._stream.expect_end()

    def close(self) -> None:
        self._stream.close()
