"""What to give up when the cache needs room: what was used longest ago, and nothing that is in use."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from csi_driver.cache.layers import Held
from csi_driver.cache.layout import LayerId
from csi_driver.cache.snapshots import Snapshot


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that the cache holds, and what of it is in use: mounted, recorded or leased."""

    snapshots: Sequence[Snapshot]
    layers: Mapping[LayerId, Held]
    ingests: Mapping[LayerId, Held]
    used_snapshots: AbstractSet[str]
    used_layers: AbstractSet[LayerId]

    @property
    def bytes(self) -> int:
        """Bytes of disk that all of it takes."""
        shared = sum(held.bytes for part in (self.layers, self.ingests) for held in part.values())
        return shared + sum(snapshot.own_bytes for snapshot in self.snapshots)

    @property
    def bytes_in_use(self) -> int:
        """Bytes of disk that could not be had by giving up all that is not in use."""
        return self.bytes - plan(self, self.bytes + 1).bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """What to give up, and how many bytes of disk that frees."""

    snapshots: tuple[str, ...] = ()
    layers: tuple[LayerId, ...] = ()
    ingests: tuple[LayerId, ...] = ()
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A snapshot, an unfinished layer or (neither) a layer without snapshots: own bytes, and claims on layers."""

    since: float
    own_bytes: int
    layers: frozenset[LayerId]
    snapshot: str | None = None
    ingest: LayerId | None = None


def plan(inventory: Inventory, needed: int) -> Plan:
    """The least recently used that frees at least `needed` bytes, or all that can be given up if that is less.

    A layer is given up with the last snapshot that refers to it, and only then counts as freed. What turns out not to
    be needed in the end, as something older was large enough alone or shares all its layers, is kept.
    """
    cut = _Cut(inventory)
    chosen = []
    for candidate in sorted(_candidates(inventory), key=lambda candidate: candidate.since):
        if cut.bytes >= needed:
            break
        cut.take(candidate)
        chosen.append(candidate)
    for candidate in reversed(chosen):
        if cut.bytes - cut.worth(candidate) >= needed:
            cut.put_back(candidate)
    return cut.plan()


def _candidates(inventory: Inventory) -> Iterator[_Candidate]:
    claimed = {layer for snapshot in inventory.snapshots for layer in snapshot.layers}
    for snapshot in inventory.snapshots:
        if snapshot.key not in inventory.used_snapshots:
            claims = frozenset(snapshot.layers)
            yield _Candidate(snapshot.last_used, snapshot.own_bytes, claims, snapshot=snapshot.key)
    for layer, held in inventory.layers.items():
        if layer not in claimed and layer not in inventory.used_layers:
            yield _Candidate(held.since, 0, frozenset({layer}))
    for layer, held in inventory.ingests.items():
        if layer not in inventory.used_layers:
            yield _Candidate(held.since, held.bytes, frozenset(), ingest=layer)


class _Cut:
    """What has been chosen so far, and how much it frees."""

    def __init__(self, inventory: Inventory) -> None:
        self.bytes = 0
        self._taken: dict[_Candidate, None] = {}
        self._sizes = {
            layer: held.bytes for layer, held in inventory.layers.items() if layer not in inventory.used_layers
        }
        self._claims = Counter(layer for snapshot in inventory.snapshots for layer in frozenset(snapshot.layers))

    def take(self, candidate: _Candidate) -> None:
        self._taken[candidate] = None
        self._claims.subtract(candidate.layers)
        self.bytes += self.worth(candidate)

    def put_back(self, candidate: _Candidate) -> None:
        del self._taken[candidate]
        self.bytes -= self.worth(candidate)
        self._claims.update(candidate.layers)

    def worth(self, candidate: _Candidate) -> int:
        """Bytes that are freed by a candidate that was taken, and would not be without it."""
        return candidate.own_bytes + sum(self._sizes[layer] for layer in candidate.layers if self._is_free(layer))

    def plan(self) -> Plan:
        freed = {layer: None for taken in self._taken for layer in sorted(taken.layers) if self._is_free(layer)}
        return Plan(
            snapshots=tuple(taken.snapshot for taken in self._taken if taken.snapshot is not None),
            layers=tuple(freed),
            ingests=tuple(taken.ingest for taken in self._taken if taken.ingest is not None),
            bytes=self.bytes,
        )

    def _is_free(self, layer: LayerId) -> bool:
        return layer in self._sizes and self._claims[layer] <= 0
