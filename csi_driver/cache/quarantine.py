"""How what was found damaged leaves the cache, so that nobody gets it any more and the next pull fetches it anew."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from csi_driver import log
from csi_driver.cache import seal
from csi_driver.cache.layers import Layers
from csi_driver.cache.layout import LayerId, Places
from csi_driver.cache.leases import Leases
from csi_driver.cache.proofs import Proofs
from csi_driver.cache.snapshots import Snapshot, Snapshots
from csi_driver.errors import ContentMismatch

Identity = tuple[int, int]
"""Device and inode: which copy of a layer this is."""


class Quarantine:
    """Gives up damaged layers and snapshots, and remembers what was proved when.

    What is mounted stays mounted, as it is: a snapshot that was set aside keeps its files until nothing shows it any
    more, and the collector removes it then. `take` renames paths to the trash.
    """

    def __init__(
        self,
        *,
        places: Places,
        layers: Layers,
        snapshots: Snapshots,
        leases: Leases,
        take: Callable[[Iterable[Path]], int],
    ) -> None:
        self._places = places
        self._layers = layers
        self._snapshots = snapshots
        self._leases = leases
        self._take = take
        self._proofs = Proofs(places.proofs)
        self._given_up: list[LayerId] = []

    def identity(self, layer: LayerId) -> Identity | None:
        """Which copy of the layer is here, if any."""
        try:
            status = self._places.layer(layer).lstat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def give_up_layer(self, layer: LayerId, identity: Identity, reason: str) -> list[Snapshot] | None:
        """Nobody gets this copy of the layer, nor a snapshot that shows it; the snapshots that did.

        None if it is not here any more: another copy is none of this one's business.
        """
        with self._leases.frozen():
            if self.identity(layer) != identity:
                return None
            self._given_up.append(layer)  # first, for whoever assembles a snapshot of it at this moment
            self._take([self._places.layer(layer)])
            shown = [snapshot for snapshot in self._snapshots.all() if layer in snapshot.layers]
            for snapshot in shown:
                self._snapshots.set_aside(snapshot.key, reason)
        return shown

    def give_up_snapshot(self, snapshot: Snapshot, reason: str) -> bool:
        """Nobody gets the snapshot any more; whether it was here, and not another of its key. Its layers stay."""
        with self._leases.frozen():
            current = self._snapshots.get(snapshot.key)
            if current is None or current.created != snapshot.created:
                return False
            return self._snapshots.set_aside(snapshot.key, reason)

    def give_up_incomplete(self) -> None:
        """Nobody gets a snapshot of which a layer is missing: what it shows cannot be proved any more."""
        for snapshot in self._snapshots.all():
            missing = next((layer for layer in snapshot.layers if self._layers.get(layer) is None), None)
            if missing is not None and self.give_up_snapshot(snapshot, f"layer {missing} is missing"):
                log.warning("a snapshot without its layer was set aside", models=snapshot.reference, layer=missing)

    def mark(self) -> int:
        """A moment in the life of this process at which no layer is being given up, for `since`."""
        with self._leases.frozen():
            return len(self._given_up)

    def since(self, mark: int) -> frozenset[LayerId]:
        """The layers that were given up after that moment."""
        return frozenset(self._given_up[mark:])

    def reason(self, name: str) -> str | None:
        """Why the snapshot that now has this name was set aside; None if it was not."""
        return self._snapshots.reason(name)

    def check(self, snapshot: Snapshot) -> None:
        """Return if the tree of the snapshot is as it was made of its layers, whose content is proved elsewhere.

        Raises `ContentMismatch` with what is wrong.
        """
        places = {layer: self._layers.get(layer) for layer in snapshot.layers}
        missing = [str(layer) for layer, place in places.items() if place is None]
        if missing:
            raise ContentMismatch(f"layer {missing[0]} is missing")
        held = [place for place in places.values() if place is not None]
        seal.check(snapshot.tree, seal=snapshot.seal, size=snapshot.size, files=snapshot.files, layers=held)

    def note(self, name: str) -> None:
        """The layer or snapshot of this name was proved now."""
        self._proofs.note(name)

    def last(self, name: str) -> float | None:
        """When the layer or snapshot of this name was last proved, in seconds since the epoch; None if never."""
        return self._proofs.last(name)

    def forget_proofs(self, *, but: Collection[str]) -> None:
        """Only the proofs of these are remembered."""
        self._proofs.forget(but=but)
