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
"""To ask for more takes a look at the whole cache, so it is asked for in large pieces."""


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

    def grant(self, size: int, inodes: int) -> None:
        """The layer may take so many bytes and inodes in all; raises `NoSpace` where they cannot be had."""
        if size > self._room.bytes or inodes > self._room.inodes:
            self._grow(Room(size, inodes))

    def _grow(self, needed: Room) -> None:
        """Reserve half as much again as is needed, or at least what is needed."""
        ahead = needed + (Room(needed.bytes // 2, needed.inodes // 2) | _LEAST)
        with ExitStack() as held:
            try:
                held.enter_context(self._reserve(ahead))
            except NoSpace:
                ahead = needed
                held.enter_context(self._reserve(ahead))
            self._reserved.close()
            self._reserved = held.pop_all()
        self._room = ahead

    def _reserve(self, room: Room) -> AbstractContextManager[None]:
        return self._cache.reserve([Need(self._layer, self._registry, room)], urgent=self._urgent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reserved.close()
        self._room = self._given
