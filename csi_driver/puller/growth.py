"""Room on the disk for a layer that unpacks to more than could be known before."""

from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Self

from csi_driver.cache.layout import LayerId
from csi_driver.cache.room import Room
from csi_driver.cache.space import Need
from csi_driver.cache.store import Cache
from csi_driver.errors import NoSpace

_LEAST = Room(256 << 20, 10_000)
"""To ask for more takes a look at the whole cache, so it is asked for in large pieces, as long as they can be had."""

_SMALLEST = 16 << 10  # bytes: less ahead of what is needed spares no look


class Growth:
    """Reserves more room for one layer when it needs more; a context, also more than once, that gives it all
    back. For one thread at a time.

    `room` is what the caller has reserved; only where it is `urgent` does it take the room of what was used lately.
    """

    def __init__(self, cache: Cache, layer: LayerId, registry: str, room: Room, *, urgent: bool) -> None:
        self._cache = cache
        self._layer = layer
        self._registry = registry
        self._given = self._room = room
        self._urgent = urgent
        self._reserved = ExitStack()
        self._divisor = 1

    def grant(self, size: int, inodes: int) -> None:
        """The layer may take so many bytes and inodes in all; raises `NoSpace` where they cannot be had."""
        if size > self._room.bytes or inodes > self._room.inodes:
            self._grow(Room(size, inodes))

    def _grow(self, needed: Room) -> None:
        """Reserve half as much again as is needed, or of that as much as can be had; raises `NoSpace` where what is
        needed cannot.

        The pieces are a quarter where one is refused, and double where one is not: so they follow what room is left,
        and it takes few of them until there is none, however small the files are that it is for.
        """
        while True:
            ahead = self._ahead(needed)
            try:
                self._take(needed + ahead)
            except NoSpace:
                if ahead == Room():
                    raise
                self._divisor *= 4
            else:
                self._divisor = max(1, self._divisor // 2)
                return

    def _ahead(self, needed: Room) -> Room:
        most = Room(needed.bytes // 2, needed.inodes // 2) | _LEAST
        ahead = Room(most.bytes // self._divisor, most.inodes // self._divisor)
        return ahead if ahead.bytes >= _SMALLEST else Room()

    def _take(self, room: Room) -> None:
        with ExitStack() as held:
            held.enter_context(self._reserve(room))
            self._reserved.close()
            self._reserved = held.pop_all()
        self._room = room

    def _reserve(self, room: Room) -> AbstractContextManager[None]:
        return self._cache.reserve([Need(self._layer, self._registry, room)], urgent=self._urgent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reserved.close()
        self._room = self._given
        self._divisor = 1
