"""The memory that blobs pass through: a fixed number of buffers for the whole node."""

from collections.abc import Callable

from csi_driver.host.direct import ALIGNMENT, page_aligned
from csi_driver.inflight import Condition

MIB = 1 << 20


class GivenUp(Exception):
    """Whoever waited for a buffer needs none any more."""


class Buffer:
    """A piece of a blob on its way, read by several threads at once; whoever releases it last gives it back.

    The payload starts at a page and has a margin of `ALIGNMENT` bytes before and behind it, so that what was left over
    from the piece before can be put in front and a last write can be rounded up, both without moving the payload.
    """

    __slots__ = ("_memory", "_pool", "holders", "length", "size")

    def __init__(self, pool: "BufferPool", size: int) -> None:
        self._pool = pool
        self._memory = page_aligned(size + 2 * ALIGNMENT)
        self.holders = 0
        self.size = size
        self.length = 0

    @property
    def room(self) -> memoryview:
        """All the memory that a payload can fill."""
        return self._memory[ALIGNMENT : ALIGNMENT + self.size]

    @property
    def payload(self) -> memoryview:
        """The first `length` bytes: what was filled in."""
        return self._memory[ALIGNMENT : ALIGNMENT + self.length]

    def window(self, start: int, stop: int) -> memoryview:
        """Memory by payload offsets, which may reach one margin below zero and one beyond `size`."""
        return self._memory[ALIGNMENT + start : ALIGNMENT + stop]

    def share(self) -> None:
        """One more holder will release this buffer."""
        self._pool.count_share(self)

    def release(self) -> None:
        """This holder is done with the buffer."""
        self._pool.give_back(self)


class BufferPool:
    """`count` buffers of `size` bytes each, in MiB multiples of memory that is taken from the system when first used.

    One pool serves every transfer of the node, so its size bounds the memory of them all. Who holds a buffer must be able
    to release it without taking another from the same pool; then no number of transfers can block one another.
    """

    def __init__(self, *, count: int, size: int = 4 * MIB) -> None:
        self.count = count
        self.size = size
        self._changed = Condition()
        self._made = 0
        self._idle: list[Buffer] = []

    @property
    def free(self) -> int:
        """How many buffers nobody holds."""
        with self._changed:
            return len(self._idle) + self.count - self._made

    def take(self, given_up: Callable[[], bool]) -> Buffer:
        """An empty buffer with one holder, waiting for one; raises `GivenUp` when that comes first (see `wake`)."""
        with self._changed:
            self._changed.wait_for(lambda: given_up() or self._idle or self._made < self.count)
            if given_up():
                raise GivenUp
            if self._idle:
                buffer = self._idle.pop()
            else:
                buffer = Buffer(self, self.size)
                self._made += 1
            buffer.length = 0
            buffer.holders = 1
            return buffer

    def wake(self) -> None:
        """Have those who wait look again whether they have given up."""
        with self._changed:
            self._changed.notify_all()

    def count_share(self, buffer: Buffer) -> None:
        with self._changed:
            buffer.holders += 1

    def give_back(self, buffer: Buffer) -> None:
        with self._changed:
            buffer.holders -= 1
            if buffer.holders == 0:
                self._idle.append(buffer)
                self._changed.notify_all()
