"""The memory that blobs pass through: a fixed number of buffers for the whole node."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from csi_driver.host.direct import ALIGNMENT, page_aligned
from csi_driver.inflight import Condition

MIB = 1 << 20


class GivenUp(Exception):
    """Whoever waited needs nothing any more."""


class Buffer:
    """A piece of a blob on its way, read by several threads at once; whoever releases it last gives it back.

    The payload starts at a page and has a margin of `ALIGNMENT` bytes before and behind it, so that what was left over
    from the piece before can be put in front and a last write can be rounded up, both without moving the payload.
    `found` tells that the payload does not come from the network: an earlier attempt left it on the disk.
    """

    __slots__ = ("_memory", "allowance", "found", "holders", "length", "size")

    def __init__(self, size: int) -> None:
        self._memory = page_aligned(size + 2 * ALIGNMENT)
        self.size = size
        self.length = 0
        self.found = False
        self.holders = 0
        self.allowance: Allowance | None = None

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
        if self.allowance is not None:
            self.allowance.pool.share(self)

    def release(self) -> None:
        """This holder is done with the buffer."""
        if self.allowance is not None:
            self.allowance.pool.release(self)


class Allowance:
    """One transfer's right to the buffers of a pool: to one at any time, and to more while nobody lacks his one."""

    __slots__ = ("_given_up", "held", "pool")

    def __init__(self, pool: "BufferPool", given_up: Callable[[], bool]) -> None:
        self.pool = pool
        self.held = 0
        self._given_up = given_up

    def take(self) -> Buffer:
        """An empty buffer with one holder, as soon as there is one.

        Raises `GivenUp` when `given_up()` holds before; somebody must then call `BufferPool.wake`.
        """
        return self.pool.take(self, self._given_up)

    def filled(self, fill: Callable[[Buffer], int]) -> Buffer:
        """A buffer with as much payload as `fill` says it has put in; given back if `fill` raises."""
        buffer = self.take()
        try:
            buffer.length = fill(buffer)
        except BaseException:
            buffer.release()
            raise
        return buffer


class BufferPool:
    """`count` buffers of `size` bytes, made when they are first needed. One pool serves every transfer of the node.

    Every allowance is good for one buffer at any time, so a transfer that is waited for goes on, however many others
    hold buffers until it does. More allowances than buffers are not given out at once.
    """

    def __init__(self, *, count: int, size: int) -> None:
        self.count = count
        self.size = size
        self._changed = Condition()
        self._idle: list[Buffer] = []
        self._made = 0
        self._allowances: set[Allowance] = set()

    @property
    def free(self) -> int:
        """How many buffers nobody holds."""
        with self._changed:
            return self._free

    @contextmanager
    def allowance(self, given_up: Callable[[], bool]) -> Iterator[Allowance]:
        """A right to buffers, as soon as there is one more to be had; `given_up` ends every wait for them.

        The buffers taken may be released after the context has ended.
        """
        allowance = Allowance(self, given_up)
        with self._changed:
            self._wait(lambda: self._free > self._promised, given_up)
            self._allowances.add(allowance)
        try:
            yield allowance
        finally:
            with self._changed:
                self._allowances.discard(allowance)
                self._changed.notify_all()

    def take(self, allowance: Allowance, given_up: Callable[[], bool]) -> Buffer:
        """See `Allowance.take`."""
        with self._changed:
            self._wait(lambda: self._free > (self._promised if allowance.held else 0), given_up)
            buffer = self._idle.pop() if self._idle else self._new()
            buffer.length, buffer.found, buffer.holders, buffer.allowance = 0, False, 1, allowance
            allowance.held += 1
            return buffer

    def wake(self) -> None:
        """Have those who wait look again whether they have given up."""
        with self._changed:
            self._changed.notify_all()

    def share(self, buffer: Buffer) -> None:
        """See `Buffer.share`."""
        with self._changed:
            buffer.holders += 1

    def release(self, buffer: Buffer) -> None:
        """See `Buffer.release`."""
        with self._changed:
            buffer.holders -= 1
            if buffer.holders == 0 and buffer.allowance is not None:
                buffer.allowance.held -= 1
                buffer.allowance = None
                self._idle.append(buffer)
                self._changed.notify_all()

    @property
    def _free(self) -> int:
        return len(self._idle) + self.count - self._made

    @property
    def _promised(self) -> int:
        """Buffers that must stay free for those who have none."""
        return sum(not allowance.held for allowance in self._allowances)

    def _wait(self, ready: Callable[[], bool], given_up: Callable[[], bool]) -> None:
        self._changed.wait_for(lambda: given_up() or ready())
        if given_up():
            raise GivenUp

    def _new(self) -> Buffer:
        self._made += 1
        return Buffer(self.size)
