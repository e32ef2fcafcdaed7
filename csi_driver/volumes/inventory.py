"""What this node holds: the models in the cache, and who uses them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from csi_driver.cache.layout import LayerId
from csi_driver.cache.store import Cache
from csi_driver.volumes.records import Records


@dataclass(frozen=True, slots=True)
class CachedModel:
    """One snapshot; `size` is in bytes, `last_used` in seconds since the epoch.

    `volumes` counts those that show it; what is `pinned` stays without any.
    """

    reference: str
    manifest_digest: str
    selection: str
    size: int
    files: int
    volumes: int
    last_used: float
    pinned: bool = False


class Inventory:
    """Reads the cache and the volume records side by side."""

    def __init__(self, *, cache: Cache, records: Records) -> None:
        self._cache = cache
        self._records = records

    def volumes_of(self, snapshot: str) -> list[str]:
        """The volumes that show the snapshot of this key, each with its pod where that is known."""
        volumes = [volume for volume in self._records.all() if volume.snapshot == snapshot]
        return [f"{each.volume_id} of pod {each.pod.namespace}/{each.pod.name}" if each.pod else each.volume_id
                for each in volumes]  # fmt: skip

    def holding(self, layers: Iterable[LayerId]) -> Sequence[LayerId]:
        """Those of the layers that are here, whole and verified."""
        return [layer for layer in layers if self._cache.layer(layer) is not None]

    def models(self) -> Sequence[CachedModel]:
        """Every snapshot on this node, in the order of their references."""
        volumes = Counter(volume.snapshot for volume in self._records.all())
        snapshots = self._cache.snapshots()
        pinned = self._cache.pinned(snapshots)
        models = [
            CachedModel(
                reference=each.reference,
                manifest_digest=str(each.manifest_digest),
                selection=each.selection,
                size=each.size,
                files=each.files,
                volumes=volumes[each.key],
                last_used=each.last_used,
                pinned=each.key in pinned,
            )
            for each in snapshots
        ]
        return sorted(models, key=lambda model: (model.reference, model.manifest_digest, model.selection))
