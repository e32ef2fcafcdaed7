"""What a reference meant when the registry was last asked on somebody's behalf."""

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from csi_driver.host import files
from csi_driver.oci.digest import Digest

_FORMAT = 1


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
            record = json.loads(self._path(reference, fingerprint).read_bytes())
            if record["format"] != _FORMAT or record["reference"] != reference:
                return None
            return Remembered(Digest.parse(record["digest"]), float(record["seen_at"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def forget(self, reference: str, fingerprint: str) -> None:
        """Remember nothing any more, for good: a permission that was withdrawn does not come back with a power cut."""
        try:
            self._path(reference, fingerprint).unlink()
        except FileNotFoundError:
            return
        files.sync_directory(self._directory)

    def expire(self, older_than_seconds: float) -> int:
        """Forget what nobody asked about for so long, as credentials change and models go; returns how many."""
        now = self._clock()
        count = 0
        for path in self._directory.glob("*.json"):
            with suppress(FileNotFoundError):  # forgotten meanwhile
                if now - path.stat().st_mtime > older_than_seconds:
                    path.unlink()
                    count += 1
        return count

    def _path(self, reference: str, fingerprint: str) -> Path:
        name = hashlib.sha256(f"{reference}\0{fingerprint}".encode()).hexdigest()
        return self._directory / f"{name}.json"
