"""The layers on this node: how one is received, proved complete by its final name, and given up."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from csi_driver.cache.layout import LayerId, Places
from csi_driver.cache.room import Room
from csi_driver.host import faults, files
from csi_driver.host.directories import Directories, walk
from csi_driver.inflight import Lock
from csi_driver.oci.layer import file_mode
from csi_driver.oci.part import FILE

_JOURNALS = ("journal", "previous/journal")
_REGISTRY = "registry"


@dataclass(frozen=True, slots=True)
class Held:
    """Something on the disk: what it takes, and when it was last written or linked (seconds since the epoch)."""

    bytes: int
    since: float
    inodes: int = 1

    @property
    def room(self) -> Room:
        return Room(self.bytes, self.inodes)


class Layers:
    """Layers by digest and packing. Only `commit` gives a layer its final name, and only for content that was verified.

    Calls about one layer must not overlap; those about different layers may.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._lock = Lock()
        self._sizes: dict[LayerId, Room] = {}  # of trees: they never change, and walking them takes time

    def get(self, layer: LayerId) -> Path | None:
        """The layer's file, or the directory it was unpacked to; None if it is not here, whole and verified."""
        place = self._places.layer(layer)
        path = place / "content" if layer.is_tree else place
        return path if faults.exists(path) else None

    def skeleton(self, layer: LayerId) -> Path | None:
        """The file from which, together with its content, an unpacked layer's blob can be put together again."""
        path = self._places.layer(layer) / "skeleton"
        return path if layer.is_tree and faults.exists(path) else None

    def ingest(self, layer: LayerId, registry: str = "") -> Path:
        """A private directory to receive the layer in, with what an earlier attempt left there.

        What came from another registry is removed: it must not complete what this one has to prove that it holds.
        """
        path = self._places.ingest(layer)
        source = path / _REGISTRY
        if faults.exists(path) and _registry_of(path) != registry:
            files.remove_tree(path)
        files.make_directory_anywhere(path, 0o700)
        if not faults.exists(source):
            files.write_for_this_boot(source, registry.encode())
        return path

    def commit(self, layer: LayerId, *, mode: int | None = None, mtime_ns: int | None = None) -> Path:
        """The layer has its final name for good, whatever happens next; doing it twice is doing it once.

        The ingest directory must hold `content`, verified and on the disk: a file, or for a tree a directory with
        `skeleton` beside it. A file gets the mode and time of the first model that brings it: models that share a layer
        share the inode.
        """
        ready = self.get(layer)
        if ready is None:
            if layer.part == FILE:
                _finish_file(self._places.ingest(layer) / "content" / FILE, mode, mtime_ns)
            ready = self._publish_tree(layer) if layer.is_tree else self._publish_file(layer, mode, mtime_ns)
        self.discard(layer)
        return ready

    def discard(self, layer: LayerId) -> None:
        """Nothing of an unfinished layer is left."""
        files.remove_tree(self._places.ingest(layer))

    def abandon(self, layer: LayerId) -> None:
        """Of an unfinished layer is left only what another attempt can go on from."""
        if _is_hopeless(self._places.ingest(layer)):
            self.discard(layer)

    def ingests(self) -> list[tuple[LayerId, Held]]:
        """All unfinished layers."""
        return [(layer, _usage(path)) for layer, path in _named(self._places.ingests)]

    def hopeless(self) -> list[Path]:
        """The directories of unfinished layers whose journals are missing: no attempt can go on from what is there."""
        return [path for _, path in _named(self._places.ingests) if _is_hopeless(path)]

    def superseded(self, is_served: Callable[[LayerId, str], bool]) -> list[Path]:
        """The directories of unfinished layers that need no other attempt: their registry's copy is here whole."""
        found = ((layer, path, _registry_of(path)) for layer, path in _named(self._places.ingests))
        return [path for layer, path, registry in found if registry is not None and is_served(layer, registry)]

    def look(self) -> tuple[dict[LayerId, Held], dict[LayerId, Held]]:
        """All layers that are here whole, and all unfinished ones; what is committed meanwhile is among the former.

        A layer is among both while another registry serves it again.
        """
        unfinished = dict(self.ingests())
        whole = dict(self.all())
        gone = [layer for layer in unfinished if layer in whole and not faults.exists(self._places.ingest(layer))]
        return whole, {layer: held for layer, held in unfinished.items() if layer not in gone}

    def all(self) -> list[tuple[LayerId, Held]]:
        """All layers that are here whole."""
        found: list[tuple[LayerId, Held]] = []
        for path in self._places.layers.glob("*/*/*"):
            try:
                layer = LayerId.from_name(f"{path.parent.parent.name}-{path.name}")
                found.append((layer, self._held(layer, path)))
            except ValueError:
                continue  # nothing of ours
            except OSError as error:
                if not faults.is_lost(error):  # as what was given up meanwhile is
                    raise
        here = {layer for layer, _ in found}
        with self._lock:
            self._sizes = {layer: size for layer, size in self._sizes.items() if layer in here}
        return found

    def _held(self, layer: LayerId, path: Path) -> Held:
        status = path.stat()
        if not layer.is_tree:
            return Held(status.st_blocks * files.BLOCK, status.st_ctime)
        with self._lock:
            size = self._sizes.get(layer)
        if size is None:
            size = _usage(path).room
            if path.stat().st_ino != status.st_ino:
                raise FileNotFoundError(errno.ENOENT, "given up while it was measured", str(path))
            with self._lock:
                self._sizes[layer] = size
        return Held(size.bytes, status.st_ctime, size.inodes)

    def _publish_file(self, layer: LayerId, mode: int | None, mtime_ns: int | None) -> Path:
        content = self._places.ingest(layer) / "content"
        _finish_file(content, mode, mtime_ns)
        return self._publish(layer, content)

    def _publish_tree(self, layer: LayerId) -> Path:
        staged = self._places.ingest(layer)
        files.sync_directory(staged)
        final = self._publish(layer, staged)
        for path in final.iterdir():
            if path.name not in ("content", "skeleton"):
                files.remove_tree(path)
        return final / "content"

    def _publish(self, layer: LayerId, staged: Path) -> Path:
        final = self._places.layer(layer)
        files.make_directories(final.parent, below=self._places.layers)
        files.publish(staged, final)
        return final


def _registry_of(ingest: Path) -> str | None:
    """Which registry an unfinished layer comes from; None where that is lost, as by a power cut: nothing is synced."""
    try:
        return faults.read(ingest / _REGISTRY).decode()
    except (FileNotFoundError, ValueError):
        return None


def _finish_file(path: Path, mode: int | None, mtime_ns: int | None) -> None:
    path.chmod(file_mode(mode))
    if mtime_ns is not None:
        os.utime(path, ns=(mtime_ns, mtime_ns))
    files.sync_file(path)


def _named(directory: Path) -> Iterator[tuple[LayerId, Path]]:
    for path in directory.iterdir():
        try:
            yield LayerId.from_name(path.name), path
        except ValueError:
            continue


def _is_hopeless(path: Path) -> bool:
    return not any(faults.exists(path / journal) for journal in _JOURNALS)


def _usage(path: Path) -> Held:
    """What a directory with all below it takes, as far as the disk tells; nothing if it is missing."""
    total, inodes, since = 0, 0, 0.0
    seen: set[int] = set()
    try:
        with Directories(path) as directories:
            for listing in walk(directories):
                inodes += 1
                since = max(since, os.fstat(listing.descriptor).st_mtime)
                for entry in listing.others:
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except OSError as error:
                        if not faults.is_lost(error):  # as the journal of a layer is that has just got its name
                            raise
                        continue
                    if status.st_ino not in seen:
                        total += status.st_blocks * files.BLOCK
                        inodes += 1
                    if status.st_nlink > 1:
                        seen.add(status.st_ino)
                    if not listing.path and stat.S_ISREG(status.st_mode):
                        since = max(since, status.st_mtime)
    except OSError as error:
        if not faults.is_lost(error):  # as it is if published, discarded or written to while it was looked at
            raise
    return Held(total, since, inodes)
