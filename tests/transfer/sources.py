"""Sources of blobs in memory, which fail where a test wants them to."""

from collections.abc import Callable
from threading import Event
from types import TracebackType
from typing import Self

from csi_driver.errors import DriverError, RangeIgnored, Unavailable


class MemoryBody:
    """One answer: the bytes of `data`, with what the source does to answers."""

    def __init__(self, data: bytes, source: "MemorySource") -> None:
        self._data = memoryview(data)
        self._source = source
        self._sent = 0
        self._aborted = False

    def readinto(self, view: memoryview, /) -> int:
        if self._aborted:
            raise Unavailable("aborted")
        limit = self._source.next_read(self._sent)
        count = min(len(view), len(self._data) - self._sent, limit)
        view[:count] = self._data[self._sent : self._sent + count]
        self._sent += count
        return count

    def abort(self) -> None:
        self._aborted = True
        self._source.aborted.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._source.open_bodies -= 1


class MemorySource:
    """A blob in memory. `step` bounds one read; `ranges=False` answers nothing but the whole blob."""

    def __init__(self, data: bytes, *, step: int = 1 << 30, ranges: bool = True) -> None:
        self.data = data
        self.opened: list[tuple[int, int | None]] = []
        self.open_bodies = 0
        self.aborted = Event()
        self._step = step
        self._ranges = ranges
        self._breaks: list[int] = []
        self._refusals: list[DriverError] = []
        self._hook: Callable[[int], None] | None = None

    def breaking_after(self, *counts: int) -> Self:
        """The first answers break off after so many bytes each, one after another."""
        self._breaks = list(counts)
        return self

    def refusing(self, *errors: DriverError) -> Self:
        """The first requests fail."""
        self._refusals = list(errors)
        return self

    def calling(self, hook: Callable[[int], None]) -> Self:
        """Before every read, `hook` is told how many bytes of this answer were read."""
        self._hook = hook
        return self

    def open(self, start: int, stop: int | None, /, *, briefly: bool = False) -> MemoryBody:
        self.opened.append((start, stop))
        if self._refusals:
            raise self._refusals.pop(0)
        if start and not self._ranges:
            raise RangeIgnored("the server sent the whole blob")
        self.open_bodies += 1
        return MemoryBody(self.data[start:stop], self)

    def next_read(self, sent: int) -> int:
        if self._hook is not None:
            self._hook(sent)
        if self._breaks:
            if sent >= self._breaks[0]:
                self._breaks.pop(0)
                raise Unavailable("the connection broke")
            return min(self._step, self._breaks[0] - sent)
        return self._step
