"""What holds the space of a cache that has none left: the models that cannot be given up, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

from csi_driver.cache.gc import Inventory
from csi_driver.cache.room import shown
from csi_driver.cache.snapshots import Snapshot

_NAMED = 4  # models named one by one; kubelet cuts the text of an event at 1 KiB


@dataclass(frozen=True, slots=True)
class Holder:
    """A model that stays, why, and what it takes in bytes; of layers that several share, each counts for one of them.

    Without a reference it is what pulls have fetched of models that are not here yet.
    """

    reference: str
    bytes: int
    reason: str


def holders(inventory: Inventory) -> list[Holder]:
    """All that cannot be given up, the largest first."""
    sizes = {layer: held.bytes for layer, held in inventory.layers.items()}
    found: dict[tuple[str, str], int] = {}
    keys = inventory.kept_snapshots
    kept = [snapshot for snapshot in inventory.snapshots if snapshot.key in keys]
    for snapshot in sorted(kept, key=lambda each: -sum(sizes.get(layer, 0) for layer in each.layers)):
        own = snapshot.own_bytes + sum(sizes.pop(layer, 0) for layer in snapshot.layers)
        name = (snapshot.reference, _reason(snapshot, inventory))
        found[name] = found.get(name, 0) + own
    leased = inventory.leased_layers
    coming = sum(sizes.get(layer, 0) + inventory.ingest_bytes(layer) for layer in leased)
    if coming:
        found["", "being pulled"] = coming
    every = [Holder(reference, size, reason) for (reference, reason), size in found.items()]
    return sorted(every, key=lambda holder: (-holder.bytes, holder.reference, holder.reason))


def told(every: Sequence[Holder]) -> str:
    """The largest holders for people, such as `team/a:v1 (5 GiB, mounted) and 3 more (2 GiB)`."""
    texts = [f"{holder.reference or 'models to come'} ({shown(holder.bytes)}, {holder.reason})" for holder in every]
    if len(texts) <= _NAMED + 1:
        return ", ".join(texts)
    rest = sum(holder.bytes for holder in every[_NAMED:])
    return f"{', '.join(texts[:_NAMED])} and {len(texts) - _NAMED} more ({shown(rest)})"


def _reason(snapshot: Snapshot, inventory: Inventory) -> str:
    if snapshot.key in inventory.mounted:
        return "mounted"
    return "pinned" if snapshot.key in inventory.pinned else "being published"
