"""Models that are never given up, by name: those that the configuration lists, and those that were pinned by hand."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from csi_driver import log
from csi_driver.cache.snapshots import Snapshot
from csi_driver.errors import InvalidRequest
from csi_driver.host import faults, files
from csi_driver.oci.digest import Digest
from csi_driver.oci.reference import Reference

_FORMAT = 1

Meanings = Mapping[str, Collection[Digest]]
"""Which manifests a reference has meant on this node, to anybody."""


@dataclass(frozen=True, slots=True, order=True)
class Pin:
    """A reference in canonical form or a manifest's digest, and the selection it is for (its key); None for all."""

    name: str
    selection: str | None = None

    @classmethod
    def parse(cls, name: str, selection: str | None = None) -> "Pin":
        """The pin of a reference or digest as people write it; raises `InvalidRequest`."""
        try:
            return cls(str(Digest.parse(name)), selection)
        except ValueError as error:
            if name.startswith(("sha256:", "sha512:")):
                raise InvalidRequest(f"{name!r} is not a digest: {error}") from error
        return cls(str(Reference.parse(name)), selection)


class Pins:
    """Pins that were put by hand, one small file each, and those of `configured`, which may change at any time."""

    def __init__(
        self, directory: Path, *, configured: Callable[[], Iterable[Pin]], meanings: Callable[[], Meanings]
    ) -> None:
        self._directory = directory
        self._configured = configured
        self._meanings = meanings

    def put(self, pin: Pin) -> None:
        """From now on, and for good; doing it twice is doing it once."""
        record = {"format": _FORMAT, "name": pin.name, "selection": pin.selection}
        files.write_atomically(self._path(pin), json.dumps(record).encode())

    def remove(self, name: str) -> int:
        """No pin of this reference or digest was put by hand any more; how many there were.

        Raises `InvalidRequest` where the configuration pins it.
        """
        pinned = Pin.parse(name).name
        found = [path for path, pin in self._files() if pin.name == pinned]
        for path in found:
            path.unlink(missing_ok=True)
        if found:
            files.sync_directory(self._directory)
        if any(pin.name == pinned for pin in self._configured()):
            raise InvalidRequest(f"{pinned} is pinned by the driver's configuration: take it out of there")
        return len(found)

    def names(self) -> set[str]:
        """The references and digests that are pinned."""
        return {pin.name for pin in self._all()}

    def keys(self, snapshots: Collection[Snapshot]) -> frozenset[str]:
        """The keys of those of the snapshots that are pinned."""
        pins = self._all()
        return pinned(pins, snapshots, self._meanings()) if pins else frozenset()

    def _all(self) -> set[Pin]:
        return {pin for _, pin in self._files()} | set(self._configured())

    def _files(self) -> Iterator[tuple[Path, Pin]]:
        for path in sorted(self._directory.glob("*.json")):
            try:
                yield path, _decoded(faults.read(path))
            except FileNotFoundError:
                continue
            except (ValueError, KeyError, TypeError) as error:
                aside = path.with_suffix(".damaged")
                files.move_aside(path, aside)
                log.warning("a pin could not be read and was set aside", pin=aside, reason=error)

    def _path(self, pin: Pin) -> Path:
        name = hashlib.sha256(f"{pin.name}\0{pin.selection}".encode()).hexdigest()
        return self._directory / f"{name}.json"


def _decoded(data: bytes) -> Pin:
    record = json.loads(data)
    if record["format"] != _FORMAT:
        raise ValueError(f"format {record['format']!r}; this driver reads format {_FORMAT}")
    return Pin(str(record["name"]), record["selection"])


def pinned(pins: Collection[Pin], snapshots: Collection[Snapshot], meanings: Meanings) -> frozenset[str]:
    """The keys of the snapshots that `pins` keep.

    A digest keeps all snapshots of its manifest. A reference keeps, for each selection, the one of those that it was
    pulled by or has ever meant that was in use last: where a tag has moved, not all it has meant before as well.
    """
    by_digest = {pin.name for pin in pins}
    keys = {snapshot.key for snapshot in snapshots if str(snapshot.manifest_digest) in by_digest}
    for pin in pins:
        latest: dict[str, Snapshot] = {}
        for snapshot in snapshots:
            if pin.selection in (None, snapshot.selection) and _is_of(snapshot, pin.name, meanings):
                known = latest.setdefault(snapshot.selection, snapshot)
                if snapshot.last_used > known.last_used:
                    latest[snapshot.selection] = snapshot
        keys |= {snapshot.key for snapshot in latest.values()}
    return frozenset(keys)


def _is_of(snapshot: Snapshot, reference: str, meanings: Meanings) -> bool:
    if snapshot.reference == reference:
        return True
    host = reference.partition("/")[0]
    return snapshot.manifest_digest in meanings.get(reference, ()) and snapshot.reference.partition("/")[0] == host
