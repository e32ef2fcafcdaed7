"""What a reference meant when the registry was last asked on somebody's behalf."""

import hashlib
import json
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from csi_driver.host import faults, files
from csi_driver.oci.digest import Digest

_FORMAT = 1
_NO_MEMORY = (FileNotFoundError, ValueError, KeyError, TypeError)  # of a file that is gone or damaged


@dataclass(frozen=True, slots=True)
class Remembered:
    """The registry named this digest, for these credentials, at this time (seconds since the epoch)."""

    digest: Digest
    seen_at: float


class References:
    """One small file for every reference and fingerprint of credentials; a damaged one is no memory at all.

    `clock` tells seconds since the epoch.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock

    def remember(self, reference: str, fingerprint: str, digest: Digest) -> None:
        """The registry has just named `digest` to whoever has these credentials.

        A power cut may bring back what was remembered before: older, and so sooner asked again.
        """
        record = {"format": _FORMAT, "reference": reference, "digest": str(digest), "seen_at": self._clock()}
        files.write_atomically(self._path(reference, fingerprint), json.dumps(record).encode(), durable_name=False)

    def recall(self, reference: str, fingerprint: str) -> Remembered | None:
        """What was remembered last, if anything."""
        try:
            record = json.loads(faults.read(self._path(reference, fingerprint)))
            if record["format"] != _FORMAT or record["reference"] != reference:
                return None
            return Remembered(Digest.parse(record["digest"]), float(record["seen_at"]))
        except _NO_MEMORY:
            return None

    def forget(self, reference: str, fingerprint: str) -> None:
        """Remember nothing any more, for good: a permission that was withdrawn does not come back with a power cut."""
        try:
            self._path(reference, fingerprint).unlink()
        except FileNotFoundError:
            return
        files.sync_directory(self._directory)

    def meanings(self) -> dict[str, set[Digest]]:
        """What every reference is remembered to have meant, whoever it was told."""
        found: dict[str, set[Digest]] = {}
        for path in self._directory.glob("*.json"):
            with suppress(*_NO_MEMORY):
                record = json.loads(faults.read(path))
                found.setdefault(str(record["reference"]), set()).add(Digest.parse(record["digest"]))
        return found

    def expire(self, older_than_seconds: float, *, keep: Collection[str] = ()) -> int:
        """Forget what nobody asked about for so long, as credentials change and models go; returns how many.

        What the references to `keep` have meant is not forgotten.
        """
        now = self._clock()
        count = 0
        for path in self._directory.glob("*.json"):
            with suppress(FileNotFoundError):  # forgotten meanwhile
                if now - path.stat().st_mtime > older_than_seconds and not (keep and self._name(path) in keep):
                    path.unlink()
                    count += 1
        return count

    def _name(self, path: Path) -> str:
        with suppress(*_NO_MEMORY):
            return str(json.loads(faults.read(path))["reference"])
        return ""

    def _path(self, reference: str, fingerprint: str) -> Path:
        name = hashlib.sha256(f"{reference}\0{fingerprint}".encode()).hexdigest()
        return self._directory / f"{name}.json"
