"""When each layer and snapshot on this node was last proved to be whole."""

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from csi_driver.errors import NoSpace
from csi_driver.host import files


class Proofs:
    """One empty file a name, whose time of modification is that of the proof; a power cut may make it older."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def note(self, name: str) -> None:
        """It was proved now."""
        path = self._directory / name
        try:
            os.utime(path)
        except FileNotFoundError:
            with suppress(NoSpace):  # then it is proved again sooner
                files.write_for_this_boot(path, b"")

    def last(self, name: str) -> float | None:
        """When it was proved, in seconds since the epoch; None if it never was."""
        try:
            return (self._directory / name).stat().st_mtime
        except FileNotFoundError:
            return None

    def forget(self, *, but: Collection[str]) -> None:
        """Only these are remembered."""
        for path in self._directory.iterdir():
            if path.name not in but:
                path.unlink(missing_ok=True)
