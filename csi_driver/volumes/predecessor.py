"""The volumes that modelpack's Go driver left below the data root, until they are given back.

It kept each volume in a directory of its own, `volumes/<volume id>/`: the model in `model/`, or for pods that mount
models by themselves in `models/<mount>/model/`, and a `status.json`, which such pods can write. What it mounted stays
mounted, as it is, for as long as its pod lives.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from csi_driver import log
from csi_driver.errors import DriverError
from csi_driver.host.directories import Directories, walk
from csi_driver.host.files import BLOCK
from csi_driver.host.mounts import Mounts, place_of
from csi_driver.host.origins import mounted_below

_LARGEST_STATUS = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class LeftVolume:
    """A volume of the Go driver: bytes of disk and files it takes, and where it is mounted.

    `reference` is what its status says, which its pod may have written; empty where it says nothing.
    """

    name: str
    reference: str
    bytes: int
    files: int
    targets: tuple[Path, ...]


class Predecessor:
    """What the Go driver left in `directory`. Nothing of it is ever read for a pod, nor removed while it is mounted.

    `take` renames directories to the trash. A volume id is compared with names, never joined into a path.
    """

    def __init__(self, directory: Path, *, mounts: Mounts, take: Callable[[Iterable[Path]], int]) -> None:
        self._directory = directory
        self._mounts = mounts
        self._take = take

    def volumes(self) -> list[LeftVolume]:
        """All that is left, with the room it takes."""
        mounted = self._mounted()
        return [self._described(name, mounted.get(name, ())) for name in sorted(self._names())]

    def total_bytes(self) -> int:
        """Bytes of disk that all of it takes."""
        return sum(volume.bytes for volume in self.volumes())

    def take_over(self) -> None:
        """Tell what is left, and give back what is not mounted."""
        for volume in self.volumes():
            log.event(
                "a volume of the Go driver is here",
                volume=volume.name,
                reference=volume.reference or None,
                bytes=volume.bytes,
                targets=", ".join(map(str, volume.targets)) or None,
            )
        self.give_back_unused()

    def shows(self, volume_id: str, target: Path) -> bool:
        """Whether the Go driver's volume of this id is what is mounted at `target` now."""
        if not self._mounts.is_mount_point(target):
            return False
        return place_of(target) in self._mounted().get(volume_id, ())

    def volume_at(self, target: Path) -> str | None:
        """The id of the Go driver's volume that is mounted at `target`, if one is."""
        place = place_of(target)
        return next((name for name, targets in self._mounted().items() if place in targets), None)

    def describe(self, volume_id: str, path: Path | None) -> LeftVolume | None:
        """The volume, if it is mounted at `path`, or for None anywhere."""
        targets = self._mounted().get(volume_id, ())
        shown = targets if path is None else [place for place in targets if place == place_of(path)]
        return self._described(volume_id, targets) if shown else None

    def give_back(self, volume_id: str) -> bool:
        """The volume's directory is on its way to be removed, if it is there and nothing of it is mounted any more."""
        if volume_id not in self._names() or volume_id in self._mounted():
            return False
        place = self._directory / volume_id
        try:
            for point in self._points_below(place):  # the shared socket of an old Go driver was mounted in every volume
                self._mounts.unmount(point)
            if not self._take([place]):
                return False
        except (DriverError, OSError) as error:  # its pod must be able to go all the same
            log.warning(
                "a volume of the Go driver cannot be given back; it is tried again", volume=volume_id, error=error
            )
            return False
        log.event("a volume of the Go driver was given back", volume=volume_id)
        return True

    def give_back_unused(self) -> None:
        """Give back whatever is not mounted: kubelet may have asked for that while no driver ran."""
        for name in sorted(self._names() - self._mounted().keys()):
            self.give_back(name)

    def _names(self) -> set[str]:
        """The directories here; this driver's own records are files."""
        with os.scandir(self._directory) as entries:
            return {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}

    def _mounted(self) -> Mapping[str, tuple[Path, ...]]:
        """Where each volume is mounted, by its name; what the Go driver removed under a mount is among them."""
        found: dict[str, tuple[Path, ...]] = {}
        for place, shown in mounted_below(self._mounts.table(), self._directory).items():
            if not place.is_relative_to(self._directory):
                found[shown.parts[0]] = (*found.get(shown.parts[0], ()), place)
        return found

    def _points_below(self, place: Path) -> list[Path]:
        """Mount points below a directory, the deepest first."""
        points = {Path(mount.point) for mount in self._mounts.table()}
        return sorted((point for point in points if point.is_relative_to(place)), reverse=True)

    def _described(self, name: str, targets: tuple[Path, ...]) -> LeftVolume:
        size = files = 0
        try:
            with Directories(self._directory / name) as directories:
                for listing in walk(directories):
                    for entry in listing.others:
                        size += entry.stat(follow_symlinks=False).st_blocks * BLOCK
                        files += 1
        except OSError:
            pass  # its pod, or whoever removes it, is at work there: these numbers are for people
        return LeftVolume(name, self._reference(name), size, files, targets)

    def _reference(self, name: str) -> str:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with open(os.open(self._directory / name / "status.json", flags), "rb") as file:
                status = json.loads(file.read(_LARGEST_STATUS))
        except (OSError, ValueError):
            return ""
        reference = status.get("reference") if isinstance(status, dict) else None
        return reference if isinstance(reference, str) else ""
