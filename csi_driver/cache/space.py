"""Room on the disk, promised to one pull at a time before its first byte is fetched."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from csi_driver.cache.gc import Inventory
from csi_driver.cache.holders import holders, told
from csi_driver.cache.layout import LayerId
from csi_driver.cache.limits import Limits
from csi_driver.cache.room import Room, shown
from csi_driver.errors import NoSpace
from csi_driver.host.files import Usage
from csi_driver.inflight import Lock
from csi_driver.oci.digest import EMPTY_DIGEST


@dataclass(frozen=True, slots=True)
class Need:
    """A layer that a registry is to serve, and the room that all of it takes."""

    layer: LayerId
    registry: str
    room: Room


_NOTES = Need(LayerId(EMPTY_DIGEST, is_tree=False), "", Room(1 << 20, 64))
"""What references mean, manifests, intents and records: small files, that no registry has served."""


class Space:
    """What the disk, and the cap on the cache, still have room for.

    A layer that two pulls wait for counts once, and of every layer only what is not on the disk yet. A layer that is
    here and that another registry served (`is_served` tells) takes its room a second time until it has arrived again.
    `reclaim` waits until what was given up before is gone; `make_room` gives up at least so much, or nothing: what was
    used lately only when it is told to be `urgent`.
    """

    def __init__(
        self,
        *,
        usage: Callable[[], Usage],
        inventory: Callable[[], Inventory],
        is_served: Callable[[LayerId, str], bool],
        reclaim: Callable[[], object],
        make_room: Callable[[Room, bool], object],
        limits: Callable[[], Limits],
    ) -> None:
        self._usage = usage
        self._inventory = inventory
        self._is_served = is_served
        self._reclaim = reclaim
        self._make_room = make_room
        self._limits = limits
        self._deciding = Lock()  # one decision at a time: two pulls must not count on the same room
        self._lock = Lock()
        self._promised: dict[object, Sequence[Need]] = {}

    @contextmanager
    def reserve(self, needs: Sequence[Need], *, urgent: bool = True) -> Iterator[None]:
        """Room for these layers until the block ends; those that their registry has served need none.

        Raises `NoSpace` with all the numbers when there is too little even after giving up what need not stay.
        """
        token = object()
        with self._deciding:
            if self._shortage(needs, self._look()) != Room():
                self._make_up(needs, urgent=urgent)
            with self._lock:
                self._promised[token] = tuple(needs)
        try:
            yield
        finally:
            with self._lock:
                del self._promised[token]

    def relieve(self) -> None:
        """Make room for what every publish writes besides; raises `NoSpace` with all the numbers."""
        with self.reserve([_NOTES]):
            return

    def promised(self) -> int:
        """Bytes that pulls under way still have to write."""
        sight = self._look()
        return self._missing(sight.promises, sight.inventory).bytes

    def _look(self) -> "_Sight":
        """A pull that ends meanwhile counts by its promise or by what it has brought, in any case once at least."""
        with self._lock:
            promises = [need for needs in self._promised.values() for need in needs]
        return _Sight(promises, self._inventory(), self._usage())

    def _make_up(self, needs: Sequence[Need], *, urgent: bool) -> None:
        self._reclaim()
        short = self._shortage(needs, self._look())
        if short != Room():
            self._make_room(short, urgent)
            self._refuse_shortage(needs)

    def _shortage(self, needs: Sequence[Need], sight: "_Sight") -> Room:
        wanted = self._missing((*sight.promises, *needs), sight.inventory)
        if wanted == self._missing(sight.promises, sight.inventory):
            return Room()  # all of it is on the disk or promised already: whatever is short, this pull does not need it
        return self._limits().shortage(wanted, sight.inventory.room, sight.usage)

    def _refuse_shortage(self, needs: Sequence[Need]) -> None:
        sight, limits = self._look(), self._limits()
        short = self._shortage(needs, sight)
        if short == Room():
            return
        inventory, usage = sight.inventory, sight.usage
        promised = self._missing(sight.promises, inventory)
        wanted = self._missing((*sight.promises, *needs), inventory) - promised
        kept = limits.kept_free(usage)
        if short.bytes:
            cap = f", of at most {shown(limits.max_bytes)}" if limits.max_bytes else ""
            lack = (
                f"the model needs {shown(wanted.bytes)} more, {shown(short.bytes)} too much: the disk has "
                f"{shown(usage.available)} free and keeps {shown(kept.bytes)} of it, {shown(promised.bytes)} are "
                f"promised to other pulls, the cache holds {shown(inventory.bytes)}{cap}"
            )
        else:
            lack = (
                f"the model needs about {wanted.inodes} more inodes, {short.inodes} too many: the disk has "
                f"{usage.inodes_free} free and keeps {kept.inodes} of them, {promised.inodes} are promised to other "
                f"pulls, the cache holds {inventory.room.inodes} and {shown(inventory.bytes)}"
            )
        in_use = inventory.room_in_use
        by = f": {told(holders(inventory))}" if in_use.bytes else ""
        raise NoSpace(
            f"{lack}, {shown(in_use.bytes)} of it in use{by}; stop pods that use other models, unpin models, or give "
            "the cache more room"
        )

    def _missing(self, needs: Iterable[Need], inventory: Inventory) -> Room:
        """Room still to be taken until all needed layers are here."""
        rooms: dict[LayerId, Room] = {}
        for need in needs:
            if need.layer not in inventory.layers or not self._is_served(need.layer, need.registry):
                rooms[need.layer] = rooms.get(need.layer, Room()) | need.room
        return Room.sum((room - _present(layer, inventory)).lacking for layer, room in rooms.items())


@dataclass(frozen=True, slots=True)
class _Sight:
    """What was promised, then what is there, then what the disk has left: looked at in this order."""

    promises: Sequence[Need]
    inventory: Inventory
    usage: Usage


def _present(layer: LayerId, inventory: Inventory) -> Room:
    held = inventory.ingests.get(layer)
    return held.room if held else Room()
