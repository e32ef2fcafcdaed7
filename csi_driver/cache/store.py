"""The cache as a whole: what the puller, the volumes and the command line ask of it."""

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path

from csi_driver.cache import gc
from csi_driver.cache.assembler import STAGED, Assembler
from csi_driver.cache.assembly import Grant
from csi_driver.cache.gc import Inventory, Plan
from csi_driver.cache.layers import Held, Layers
from csi_driver.cache.layout import LayerId, Places
from csi_driver.cache.leases import Leased, Leases
from csi_driver.cache.limits import Limits
from csi_driver.cache.manifests import Manifests
from csi_driver.cache.origins import Origins
from csi_driver.cache.preparing import prepare
from csi_driver.cache.quarantine import Quarantine
from csi_driver.cache.room import Room
from csi_driver.cache.snapshots import Snapshot, Snapshots, SnapshotSpec
from csi_driver.cache.space import Need, Space
from csi_driver.cache.trash import Trash
from csi_driver.errors import DriverError
from csi_driver.host import faults, files
from csi_driver.inflight import Stop
from csi_driver.oci.digest import Digest


class Cache:
    """Layers, snapshots and manifests below a data root, which one process uses at a time.

    `in_use` names the keys of the snapshots that volumes or mounts need, and `pinned` those that somebody pinned; what
    they name, and what is leased, is never given up. They are asked while no lease can be taken, so they must take
    none. `evicted` is told of all that was given up. Making a `Cache` makes the directories; it raises `DriverError`
    for a data root that a newer driver wrote.
    """

    def __init__(
        self,
        root: Path,
        *,
        in_use: Callable[[], AbstractSet[str]],
        pinned: Callable[[Collection[Snapshot]], AbstractSet[str]] = lambda _: frozenset(),
        limits: Callable[[], Limits] = Limits,
        evicted: Callable[[Plan], None] = lambda _: None,
    ) -> None:
        self.places = Places(root)
        prepare(self.places)
        self._in_use = in_use
        self._pinned = pinned
        self._limits = limits
        self._evicted = evicted
        self._trash = Trash(self.places.trash)
        self._layers = Layers(self.places)
        self._snapshots = Snapshots(self.places)
        self._manifests = Manifests(self.places)
        self._origins = Origins(self.places.origins)
        self._leases = Leases()
        self.quarantine = Quarantine(
            places=self.places,
            layers=self._layers,
            snapshots=self._snapshots,
            leases=self._leases,
            take=self._trash.take,
        )
        self._assembler = Assembler(
            places=self.places, layers=self._layers, snapshots=self._snapshots, quarantine=self.quarantine
        )
        self._space = Space(
            usage=self._usage,
            inventory=self.inventory,
            is_served=self.is_served,
            reclaim=self._trash.empty,
            make_room=self._make_room,
            limits=limits,
        )

    # Layers

    def layer(self, layer: LayerId) -> Path | None:
        """The layer's file, or the directory it was unpacked to; None if it is not here, whole and verified."""
        return self._layers.get(layer)

    def is_served(self, layer: LayerId, registry: str) -> bool:
        """Whether the layer is here and may be shown to readers of this registry, as that has served it before."""
        return self._layers.get(layer) is not None and self._origins.has(layer, registry)

    def served(self, layer: LayerId, registry: str) -> None:
        """The registry has served the whole layer just now, whether it is here yet or not."""
        self._origins.add(layer, registry)

    def layers(self) -> list[tuple[LayerId, Held]]:
        """All layers that are here whole."""
        return self._layers.all()

    def skeleton(self, layer: LayerId) -> Path | None:
        """What an unpacked layer's blob can be put together from again, along with its files."""
        return self._layers.skeleton(layer)

    def ingest(self, layer: LayerId, registry: str = "") -> Path:
        """A private directory to receive the layer in from this registry, with what an earlier attempt left there."""
        return self._layers.ingest(layer, registry)

    def commit(self, layer: LayerId, *, mode: int | None = None, mtime_ns: int | None = None) -> Path:
        """Give what was received and verified its final name; see `Layers.commit`.

        What has that name, and yet is not here as the disk does not give it back, makes room for it; raises
        `DriverError` where the disk does not let go of it.
        """
        try:
            if self._layers.get(layer) is None:
                self._trash.take([self.places.layer(layer)])
            return self._layers.commit(layer, mode=mode, mtime_ns=mtime_ns)
        except OSError as error:
            if error.errno not in faults.DISK_FAULTS:
                raise
            raise DriverError(
                f"layer {layer.digest} cannot be kept on this node, as its disk is damaged ({error.strerror}): "
                f"repair the filesystem of {self.places.root}"
            ) from error

    def discard(self, layer: LayerId) -> None:
        """Nothing of an unfinished layer is left."""
        self._layers.discard(layer)

    def abandon(self, layer: LayerId) -> None:
        """Of an unfinished layer is left only what another attempt can go on from."""
        self._layers.abandon(layer)

    # Snapshots

    def assemble(self, key: str, spec: SnapshotSpec, *, grant: Grant = lambda *_: None) -> Snapshot:
        """The snapshot, complete and on the disk; made from its layers unless it is here already.

        See `Assembler.assemble`. The caller leases the layers; what no layer shares is asked of `grant`.
        """
        return self._assembler.assemble(key, spec, grant)

    def snapshot(self, key: str) -> Snapshot | None:
        """The snapshot, if it is here; only a lease keeps it from being given up."""
        return self._snapshots.get(key)

    def snapshots(self) -> list[Snapshot]:
        """All snapshots."""
        return self._snapshots.all()

    def pinned(self, snapshots: Collection[Snapshot]) -> AbstractSet[str]:
        """The keys of those of the snapshots that are pinned."""
        return self._pinned(snapshots)

    @contextmanager
    def lease(self, key: str, layers: Iterable[LayerId] = ()) -> Iterator[None]:
        """Neither the snapshot nor these layers, here already or not yet, are given up before the block ends.

        The snapshot counts as used now.
        """
        with self._leases.hold([key], layers, begun=lambda: self._snapshots.touch(key)):
            yield

    @contextmanager
    def hold(self, *, snapshots: Iterable[str] = (), layers: Iterable[LayerId] = ()) -> Iterator[None]:
        """None of these is given up for want of room before the block ends; they do not count as used."""
        with self._leases.hold(snapshots, layers, begun=lambda: None):
            yield

    def touch(self, key: str) -> None:
        """The snapshot was used until now: what is given up first is what was used longest ago."""
        self._snapshots.touch(key)

    # Manifests

    def put_manifest(self, digest: Digest, body: bytes) -> None:
        """Keep a manifest; raises `ContentMismatch` if `digest` is not its digest."""
        self._manifests.put(digest, body)

    def manifest(self, digest: Digest) -> bytes | None:
        """A manifest's body, if it is here."""
        return self._manifests.get(digest)

    # Room

    @contextmanager
    def reserve(self, needs: Sequence[Need], *, urgent: bool = True) -> Iterator[None]:
        """Room for these layers until the block ends, made by giving up others where it must.

        Layers that are here need none, and of unfinished ones only the rest. What was used within the minimum age is
        given up only if it is `urgent`. Raises `NoSpace` with the numbers.
        """
        with self._space.reserve(needs, urgent=urgent):
            yield

    def relieve(self) -> None:
        """Make room for the small files that every publish writes, on a disk that somebody else has filled.

        Raises `NoSpace` with the numbers where there is none to be had.
        """
        self._space.relieve()

    def inventory(self) -> Inventory:
        """All that the cache holds, and what of it must stay at this moment."""
        with self._leases.frozen() as leased:
            return self._look(leased)

    def promised(self) -> int:
        """Bytes that pulls under way still have to write."""
        return self._space.promised()

    def collect(self) -> Plan:
        """Bring the cache within its limits, as far as it can be without what must stay; what was given up as `give_up`
        does, and manifests without a snapshot beside that."""
        inventory, plan = self.give_up()
        now = time.time()
        for snapshot in inventory.snapshots:
            if snapshot.last_used > now:  # as the clock was wrong then: it would be the last to go for years
                self._snapshots.touch(snapshot.key)
        self._manifests.trim(keep={held.manifest_digest for held in inventory.snapshots})
        return plan

    def propose(self, free: int | None = None) -> tuple[Inventory, Plan]:
        """What is here, and what `give_up` would give up of it now."""
        inventory = self.inventory()
        return inventory, self._plan(inventory, free)

    def give_up(self, free: int | None = None) -> tuple[Inventory, Plan]:
        """Give up what frees so many bytes, or as much as can be; for None, what is beyond the limits.

        What was here before, and what was given up of it. The room is free when the trash has been swept.
        """
        return self._give_up(lambda inventory: self._plan(inventory, free))

    def expire_ingests(self, older_than_seconds: float) -> int:
        """Give up unfinished layers that nobody wrote to for so long, and no lease holds; returns how many."""
        before = time.time() - older_than_seconds
        with self._leases.frozen() as leased:
            idle = [layer for layer, held in self._layers.ingests() if held.since < before]
            return self._trash.take(self.places.ingest(layer) for layer in idle if layer not in leased.layers)

    def expire_manifests(self, older_than_seconds: float) -> int:
        """Give up manifests that no snapshot was made of and that were put so long ago; returns how many."""
        return self._manifests.expire(older_than_seconds, keep={held.manifest_digest for held in self.snapshots()})

    def expire_origins(self, older_than_seconds: float) -> int:
        """Forget which registries served layers that are not here any more, so long ago; returns how many."""
        return self._origins.expire(older_than_seconds, keep=dict(self._layers.all()))

    def recover(self) -> None:
        """Remove what a process that was killed left half done.

        Unfinished layers with a journal stay, to be gone on with. For the start, before anything else uses the cache.
        """
        staged = self.places.ingests.glob(f"{STAGED}*")
        self._trash.take((*staged, *self._layers.hopeless(), *self._layers.superseded(self.is_served)))
        for directory in self.places.written_into:
            files.remove_temporaries(directory)
        self.quarantine.give_up_incomplete()

    def take_away(self, paths: Iterable[Path]) -> int:
        """What is at these paths, below the data root and nobody's any more, is on its way to be removed; how many."""
        return self._trash.take(paths)

    def sweep(self, stop: Stop) -> None:
        """Remove what was given up, slowly and at low priority, until `stop` is set; for a thread of its own."""
        self._trash.sweep(stop)

    def empty_trash(self) -> None:
        """Nothing is left of what was given up until now."""
        self._trash.empty()

    def _look(self, leased: Leased) -> Inventory:
        layers, ingests = self._layers.look()
        snapshots = self._snapshots.all()
        return Inventory(
            snapshots=snapshots,
            layers=layers,
            ingests=ingests,
            mounted=self._in_use(),
            leased_snapshots=leased.snapshots,
            leased_layers=leased.layers,
            pinned=self._pinned(snapshots),
            aside=self._snapshots.room_aside(),
        )

    def _make_room(self, needed: Room, urgent: bool) -> None:
        """Give up what frees so much, or nothing where that is not to be had, and remove it at once."""

        def decide(inventory: Inventory) -> Plan:
            plan = gc.plan(inventory, needed, idle_since=math.inf if urgent else self._idle_since())
            return plan if plan.room.covers(needed) else Plan()

        self._give_up(decide)
        self._trash.empty()

    def _plan(self, inventory: Inventory, free: int | None) -> Plan:
        if free is not None:
            return gc.plan(inventory, Room(free))
        usage, limits = self._usage(), self._limits()
        over = limits.shortage(Room(), inventory.room, usage).lacking
        wanted = over | limits.above_high_water(inventory.room, usage)
        plan = gc.plan(inventory, wanted, idle_since=self._idle_since())
        return plan if plan.room.covers(over) else gc.plan(inventory, over)

    def _usage(self) -> files.Usage:
        return files.usage(self.places.root)

    def _idle_since(self) -> float:
        return time.time() - self._limits().minimum_age

    def _give_up(self, decide: Callable[[Inventory], Plan]) -> tuple[Inventory, Plan]:
        """Decide and rename while no lease can be taken."""
        with self._leases.frozen() as leased:
            inventory = self._look(leased)
            plan = decide(inventory)
            self._trash.take(self._doomed(plan, inventory.mounted | inventory.leased_snapshots))
        if plan != Plan():
            self._evicted(plan)
        return inventory, plan

    def _doomed(self, plan: Plan, used: AbstractSet[str]) -> Iterator[Path]:
        damaged = [name for name in self._snapshots.damaged() if name not in used]
        yield from (self.places.snapshot(name) for name in (*plan.snapshots, *damaged))
        yield from (self.places.layer(layer) for layer in plan.layers)
        yield from (self.places.ingest(layer) for layer in plan.ingests)
