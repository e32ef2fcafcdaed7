"""What an operator has given up, or would have: the room of it, and why the rest stays."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from csi_driver import amounts, log
from csi_driver.cache.gc import Inventory, Plan
from csi_driver.cache.holders import holders
from csi_driver.cache.store import Cache
from csi_driver.volumes.predecessor import Predecessor


@dataclass(frozen=True, slots=True)
class Item:
    """A model or a part of one: what it is, why it goes or stays, and bytes of disk that are its own or fell to it."""

    name: str
    reason: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Collected:
    """What was given up, or would be; `freed` is in bytes of disk."""

    freed: int
    given_up: tuple[Item, ...]
    kept: tuple[Item, ...]


class Collector:
    """Has the cache give up what nobody needs, as an operator wishes it and not only when room is short."""

    def __init__(self, *, cache: Cache, predecessor: Predecessor) -> None:
        self._cache = cache
        self._predecessor = predecessor

    def collect(self, free: int | None, *, dry_run: bool) -> Collected:
        """Give up what was used longest ago, until `free` bytes are freed; for None, until the limits are kept.

        What is mounted, leased or pinned stays, so less may come of it. The room is free on return. In a dry run
        nothing is given up.
        """
        inventory, plan = self._cache.propose(free) if dry_run else self._cache.give_up(free)
        if not dry_run:
            self._cache.empty_trash()
            log.event("collected on request", freed_bytes=plan.room.bytes)
        return Collected(plan.room.bytes, tuple(_given_up(plan, inventory)), tuple(self._kept(plan, inventory)))

    def _kept(self, plan: Plan, inventory: Inventory) -> Iterator[Item]:
        for holder in holders(inventory):
            yield Item(holder.reference or "models to come", holder.reason, holder.bytes)
        gone = {*plan.snapshots, *inventory.kept_snapshots}
        for snapshot in inventory.snapshots:
            if snapshot.key not in gone:
                used = _ago(snapshot.last_used)
                yield Item(snapshot.reference, f"its room is not needed; last used {used}", snapshot.own_bytes)
        if inventory.aside.bytes:
            yield Item("damaged models", "mounted; their pods should be deleted", inventory.aside.bytes)
        for volume in self._predecessor.volumes():
            why = "mounted" if volume.targets else "about to be given back"
            yield Item(f"volume {volume.name} of the Go driver", why, volume.bytes)


def _given_up(plan: Plan, inventory: Inventory) -> Iterator[Item]:
    """What goes; a layer that several models share counts for the first of them."""
    sizes = {layer: inventory.layers[layer].bytes for layer in plan.layers if layer in inventory.layers}
    doomed = [snapshot for snapshot in inventory.snapshots if snapshot.key in set(plan.snapshots)]
    for snapshot in sorted(doomed, key=lambda each: each.last_used):
        size = snapshot.own_bytes + sum(sizes.pop(layer, 0) for layer in snapshot.layers)
        yield Item(snapshot.reference, f"last used {_ago(snapshot.last_used)}", size)
    for layer, size in sizes.items():
        yield Item(f"layer {layer.digest}", "no model shows it", size)
    for layer in plan.ingests:
        yield Item(f"unfinished layer {layer.digest}", "no pull is at work on it", inventory.ingest_bytes(layer))


def _ago(at: float) -> str:
    return f"{amounts.duration(max(0.0, time.time() - at))} ago"
