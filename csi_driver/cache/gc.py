"""What to give up when the cache needs room: what was used longest ago, and nothing that is in use or pinned."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from csi_driver.cache.layers import Held
from csi_driver.cache.layout import LayerId
from csi_driver.cache.room import Room
from csi_driver.cache.snapshots import Snapshot


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that the cache holds, and what of it must stay: it is mounted or recorded, leased, or pinned."""

    snapshots: Sequence[Snapshot]
    layers: Mapping[LayerId, Held]
    ingests: Mapping[LayerId, Held]
    mounted: AbstractSet[str] = frozenset()
    leased_snapshots: AbstractSet[str] = frozenset()
    leased_layers: AbstractSet[LayerId] = frozenset()
    pinned: AbstractSet[str] = frozenset()
    aside: Room = field(default_factory=Room)  # what damaged snapshots that are still mounted take, and nothing shares

    @property
    def kept_snapshots(self) -> AbstractSet[str]:
        """The keys of those that must stay."""
        return self.mounted | self.leased_snapshots | self.pinned

    @property
    def room(self) -> Room:
        """Room on the disk that all of it takes."""
        shared = Room.sum(held.room for part in (self.layers, self.ingests) for held in part.values())
        return shared + self.aside + Room.sum(snapshot.own_room for snapshot in self.snapshots)

    @property
    def bytes(self) -> int:
        """Bytes of disk that all of it takes."""
        return self.room.bytes

    @property
    def room_in_use(self) -> Room:
        """Room on the disk that could not be had by giving up all that need not stay."""
        return self.room - plan(self, _ALL).room

    def ingest_bytes(self, layer: LayerId) -> int:
        """Bytes of disk that an unfinished layer takes."""
        held = self.ingests.get(layer)
        return held.bytes if held else 0


_ALL = Room(1 << 62, 1 << 62)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to give up, and how much room on the disk that frees."""

    snapshots: tuple[str, ...] = ()
    layers: tuple[LayerId, ...] = ()
    ingests: tuple[LayerId, ...] = ()
    room: Room = field(default_factory=Room)

    def __add__(self, other: "Plan") -> "Plan":
        return Plan(
            self.snapshots + other.snapshots,
            self.layers + other.layers,
            self.ingests + other.ingests,
            self.room + other.room,
        )


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A snapshot, an unfinished layer or (neither) a layer without snapshots: its own room, and claims on layers."""

    since: float
    own: Room
    layers: frozenset[LayerId]
    snapshot: str | None = None
    ingest: LayerId | None = None


def plan(inventory: Inventory, needed: Room, *, idle_since: float = math.inf) -> Plan:
    """The least recently used that frees at least `needed`, or all that can be given up if that is less.

    A layer is given up with the last snapshot that refers to it, and only then counts as freed. What turns out not to
    be needed in the end, as something older was large enough alone or shares all its layers, is kept; so is what was
    used after `idle_since` (seconds since the epoch).
    """
    cut = _Cut(inventory)
    chosen = []
    candidates = [candidate for candidate in _candidates(inventory) if candidate.since <= idle_since]
    for candidate in sorted(candidates, key=lambda candidate: candidate.since):
        if cut.room.covers(needed):
            break
        cut.take(candidate)
        chosen.append(candidate)
    for candidate in reversed(chosen):
        if (cut.room - cut.worth(candidate)).covers(needed):
            cut.put_back(candidate)
    return cut.plan()


def _candidates(inventory: Inventory) -> Iterator[_Candidate]:
    kept = inventory.kept_snapshots
    claimed = {layer for snapshot in inventory.snapshots for layer in snapshot.layers}
    for snapshot in inventory.snapshots:
        if snapshot.key not in kept:
            claims = frozenset(snapshot.layers)
            yield _Candidate(snapshot.last_used, snapshot.own_room, claims, snapshot=snapshot.key)
    for layer, held in inventory.layers.items():
        if layer not in claimed and layer not in inventory.leased_layers:
            yield _Candidate(held.since, Room(), frozenset({layer}))
    for layer, held in inventory.ingests.items():
        if layer not in inventory.leased_layers:
            yield _Candidate(held.since, held.room, frozenset(), ingest=layer)


class _Cut:
    """What has been chosen so far, and how much it frees."""

    def __init__(self, inventory: Inventory) -> None:
        self.room = Room()
        self._taken: dict[_Candidate, None] = {}
        self._sizes = {
            layer: held.room for layer, held in inventory.layers.items() if layer not in inventory.leased_layers
        }
        self._claims = Counter(layer for snapshot in inventory.snapshots for layer in frozenset(snapshot.layers))

    def take(self, candidate: _Candidate) -> None:
        self._taken[candidate] = None
        self._claims.subtract(candidate.layers)
        self.room += self.worth(candidate)

    def put_back(self, candidate: _Candidate) -> None:
        del self._taken[candidate]
        self.room -= self.worth(candidate)
        self._claims.update(candidate.layers)

    def worth(self, candidate: _Candidate) -> Room:
        """Room that is freed by a candidate that was taken, and would not be without it."""
        return candidate.own + Room.sum(self._sizes[layer] for layer in candidate.layers if self._is_free(layer))

    def plan(self) -> Plan:
        freed = {layer: None for taken in self._taken for layer in sorted(taken.layers) if self._is_free(layer)}
        return Plan(
            snapshots=tuple(taken.snapshot for taken in self._taken if taken.snapshot is not None),
            layers=tuple(freed),
            ingests=tuple(taken.ingest for taken in self._taken if taken.ingest is not None),
            room=self.room,
        )

    def _is_free(self, layer: LayerId) -> bool:
        return layer in self._sizes and self._claims[layer] <= 0
