"""What a new driver makes of mounts that no record tells of."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from csi_driver import log
from csi_driver.cache.snapshots import Snapshot
from csi_driver.errors import DriverError
from csi_driver.host.mounts import Mounts, place_of
from csi_driver.host.origins import mounted_below
from csi_driver.volumes.records import Records
from csi_driver.volumes.volume import Volume

_KUBELETS = "kubernetes.io~csi"
_MOUNT, _VOLUME_DATA = "mount", "vol_data.json"
_LARGEST_DATA = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Orphans:
    """How many volumes got a record again, how many mounts were removed, and how many are left as they are."""

    restored: int = 0
    removed: int = 0
    left: int = 0


def settle(records: Records, mounts: Mounts, snapshots: Path, find: Callable[[str], Snapshot | None]) -> Orphans:
    """Give records to the mounts of snapshots that have none, or remove them.

    kubelet keeps `vol_data.json` beside the target of each volume it has (pkg/volume/csi, NewMounter), with the
    volume's id: so it will ask for that volume again, and get it with a record as it is. Where kubelet has none beside
    a target of its own, nobody will ever ask for it: the mount is removed. What lies anywhere else, such as kubelet's
    binds of a subPath or what somebody mounted by hand, is left alone. `find` looks a snapshot up by its key.
    """
    recorded = {place_of(target) for volume in records.all() for target in volume.targets}
    restored = removed = left = 0
    for point, shown in mounted_below(mounts.table(), snapshots).items():
        if point in recorded:
            continue
        if not _is_kubelets(point) or shown.parts[1:2] != ("tree",):
            left += 1
            continue
        try:
            volume_id = _volume_at(point)
            if volume_id is None:
                _remove(mounts, point)
                removed += 1
            elif _restored(records, volume_id, point, _found(shown.parts[0], find)):
                restored += 1
            else:
                left += 1
        except (DriverError, OSError) as error:  # such as a full disk: the driver must come to serve all the same
            log.warning("a mount without a record is left as it is", target=point, error=error)
            left += 1
    return Orphans(restored, removed, left)


def _remove(mounts: Mounts, point: Path) -> None:
    mounts.unmount(point)
    with suppress(OSError):  # kubelet removes it where this is not allowed
        point.rmdir()
    log.warning("a mount that neither kubelet nor a record knows was removed", target=point)


def _found(name: str, find: Callable[[str], Snapshot | None]) -> Snapshot | None:
    """The snapshot of which this is the name, or was before it was set aside."""
    key = name.partition(".")[0]
    return find(key) if key.isalnum() else None


def _restored(records: Records, volume_id: str, target: Path, snapshot: Snapshot | None) -> bool:
    """Record the volume at `target`, as the snapshot that is mounted there tells of it; whether that was done."""
    volume = records.get(volume_id) or (_volume_of(volume_id, snapshot) if snapshot else None)
    if not volume_id or volume is None:
        log.warning("a mounted volume has no record, and cannot be told what it is of", target=target)
        return False
    records.write(volume.at(target))
    log.warning("a mounted volume had no record, and has one again", volume=volume_id, target=target)
    return True


def _volume_of(volume_id: str, snapshot: Snapshot) -> Volume:
    return Volume(
        volume_id=volume_id,
        reference=snapshot.reference,
        selection=snapshot.selection,
        manifest_digest=str(snapshot.manifest_digest),
        snapshot=snapshot.key,
        targets=(),
    )


def _is_kubelets(point: Path) -> bool:
    """Whether it is where kubelet has drivers publish: pods/<uid>/volumes/kubernetes.io~csi/<name>/mount."""
    return point.name == _MOUNT and point.parent.parent.name == _KUBELETS


def _volume_at(point: Path) -> str | None:
    """The id of the volume that kubelet has there; None if it has none, and empty where that cannot be read."""
    try:
        descriptor = os.open(point.parent / _VOLUME_DATA, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        try:
            volume_id = json.loads(file.read(_LARGEST_DATA)).get("volumeHandle")
        except (ValueError, AttributeError):
            return ""
    return volume_id if isinstance(volume_id, str) else ""
