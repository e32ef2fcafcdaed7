"""The volumes that this node was asked for, one file each."""

import hashlib
import os
import time
from pathlib import Path

from csi_driver import log
from csi_driver.host import faults, files
from csi_driver.volumes.volume import Volume

_DAMAGED = ".damaged"
_MOST_KEPT = 100
_KEPT_SECONDS = 30 * 86400.0


class Records:
    """Volume records in `directory`, each replaced whole; a volume id is hashed, never joined into a path.

    A record that cannot be read is set aside under another name and treated as absent: what is mounted keeps its
    snapshot through the mount table, so nothing is lost but the reference that the volume was asked for by.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, volume_id: str) -> Volume | None:
        """The record of `volume_id`, where there is one."""
        volume = self._read(self._path(volume_id))
        return volume if volume is not None and volume.volume_id == volume_id else None

    def write(self, volume: Volume) -> None:
        """Keep `volume`: after a crash of the driver the record is there, whole.

        A power cut may lose or damage it, and then it has also unmounted what the record was about.
        """
        files.write_for_this_boot(self._path(volume.volume_id), volume.encode())

    def drop(self, volume_id: str) -> None:
        """Forget `volume_id`; doing it twice is doing it once."""
        self._path(volume_id).unlink(missing_ok=True)

    def all(self) -> list[Volume]:
        """Every readable record."""
        found = (self._read(path) for path in sorted(self._directory.glob("*.json")))
        return [volume for volume in found if volume is not None]

    def expire_damaged(self) -> None:
        """Of the records that were set aside only the latest are kept, and none for longer than a month."""
        found = sorted(self._directory.glob(f"*{_DAMAGED}"), key=lambda path: path.stat().st_mtime, reverse=True)
        oldest = time.time() - _KEPT_SECONDS
        for count, path in enumerate(found):
            if count >= _MOST_KEPT or path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)

    def owner_of(self, target: Path) -> Volume | None:
        """The volume that is recorded at `target`."""
        return next((volume for volume in self.all() if target in volume.targets), None)

    def _path(self, volume_id: str) -> Path:
        return self._directory / f"{hashlib.sha256(volume_id.encode()).hexdigest()}.json"

    def _read(self, path: Path) -> Volume | None:
        try:
            return Volume.decode(faults.read(path))
        except (FileNotFoundError, IsADirectoryError):  # the Go driver kept its volumes in directories here
            return None
        except ValueError as error:
            aside = path.with_suffix(_DAMAGED)
            files.move_aside(path, aside)
            os.utime(aside)  # the time at which it was set aside
            log.warning("a volume record could not be read and was set aside", record=aside, reason=error)
            return None
