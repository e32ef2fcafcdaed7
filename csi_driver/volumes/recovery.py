"""What a new driver makes of the records that the one before left behind."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from csi_driver.errors import NoSpace
from csi_driver.host.mounts import Mounts, place_of
from csi_driver.host.origins import mounted_below
from csi_driver.volumes.records import Records
from csi_driver.volumes.volume import Volume

_DEPTH_OF_TREES = 2  # <snapshot>/tree; what shows less of it, such as a bind of a subPath, is kubelet's


@dataclass(frozen=True, slots=True)
class Recovered:
    """How many volumes were found mounted, and how many records had nothing mounted any more."""

    kept: int
    dropped: int


def recover(records: Records, mounts: Mounts, snapshots: Path) -> Recovered:
    """Bring the records in line with the mount table; live mounts are never touched.

    A target that is not mounted, after a reboot or a crash between record and mount, is dropped: kubelet publishes it
    again if its pod still exists. So is a mount of ours that is not read-only: a kernel before 5.12 takes two steps to
    make one, the driver was killed between them, and no pod has started on it.
    """
    table = mounts.table()
    ours = {point for point, shown in mounted_below(table, snapshots).items() if len(shown.parts) == _DEPTH_OF_TREES}
    half_made = {Path(mount.point) for mount in table if not mount.is_read_only} & ours
    for point in half_made:
        mounts.unmount(point)
    points = {Path(mount.point) for mount in table} - half_made
    kept = dropped = 0
    for volume in records.all():
        alive = replace(volume, targets=tuple(path for path in volume.targets if place_of(path) in points))
        if alive == volume:
            kept += 1
        elif alive.targets:
            with suppress(NoSpace):  # then it says more than is there, which costs nothing but room
                records.write(alive)
            kept += 1
        else:
            records.drop(volume.volume_id)
            dropped += 1
    return Recovered(kept, dropped)


def mounted_snapshots(records: list[Volume], mounts: Mounts, snapshots: Path) -> set[str]:
    """The keys of all snapshots that a record or a mount still needs: what the collector must not touch."""
    recorded = {volume.snapshot for volume in records}
    return recorded | {shown.parts[0] for shown in mounted_below(mounts.table(), snapshots).values()}
