"""Manifests as the registry served them, by digest."""

import os
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from csi_driver.cache.layout import Places
from csi_driver.errors import ContentMismatch
from csi_driver.host import faults, files
from csi_driver.oci.digest import Digest

_MOST_IDLE = 256 << 20  # bytes of manifests that no snapshot was made of


class Manifests:
    """Manifest bodies that hash to their names, when they are put and when they are got."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def put(self, digest: Digest, body: bytes) -> None:
        """Keep the body, from now on; raises `ContentMismatch` if `digest` is not its digest."""
        if Digest.of(body, digest.algorithm) != digest:
            raise ContentMismatch(f"the manifest does not match its digest {digest}; the registry is at fault")
        path = self._places.manifest(digest)
        with suppress(FileNotFoundError):
            os.utime(path)  # before the look: what is here and was just used does not expire any more
        if self.get(digest) is not None:
            return
        files.make_directories(path.parent, below=self._places.manifests)
        files.write_atomically(path, body)

    def get(self, digest: Digest) -> bytes | None:
        """The body; None if it is not here, or is damaged, in which case it is removed."""
        path = self._places.manifest(digest)
        try:
            body = faults.read(path)
        except FileNotFoundError:
            return None
        except faults.Unreadable:
            body = b""  # which no manifest is
        if Digest.of(body, digest.algorithm) != digest:
            path.unlink(missing_ok=True)
            return None
        return body

    def expire(self, older_than_seconds: float, *, keep: Collection[Digest]) -> int:
        """Give up manifests that were put so long ago and are not among those to keep; returns how many."""
        kept = {self._places.manifest(digest) for digest in keep}
        old = [
            path
            for path in self._places.manifests.glob("*/*/*")
            if path not in kept and _age(path) > older_than_seconds
        ]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    def trim(self, *, keep: Collection[Digest]) -> int:
        """Give up those put longest ago until what is not to be kept has at most 256 MiB; returns how many.

        A registry can have a new one for each time that it is asked, and each is kept before it shows what it is worth.
        """
        kept = {self._places.manifest(digest) for digest in keep}
        found = []
        for path in self._places.manifests.glob("*/*/*"):
            with suppress(FileNotFoundError):
                status = os.stat(path)
                found.append((status.st_mtime, status.st_size, path))
        count, total = 0, 0
        for _, size, path in sorted(found, reverse=True):
            total += 0 if path in kept else size
            if path not in kept and total > _MOST_IDLE:
                path.unlink(missing_ok=True)
                count += 1
        return count


def _age(path: Path) -> float:
    try:
        return time.time() - os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0
