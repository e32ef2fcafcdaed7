"""Layers put into a cache as a pull would put them."""

import os
from collections.abc import Mapping, Set
from pathlib import Path

from csi_driver.cache.layout import LayerId
from csi_driver.cache.limits import Limits
from csi_driver.cache.snapshots import Snapshot, SnapshotSpec
from csi_driver.cache.store import Cache
from csi_driver.config import Mark
from csi_driver.host.tree import TreeWriter
from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.digest import Digest
from csi_driver.oci.layer import Layer
from csi_driver.oci.media import Packing, Role
from csi_driver.oci.selection import Selection

MANIFEST = Digest.of(b"manifest")


class Link(str):
    """The target of a symbolic link."""

    __slots__ = ()


def new_cache(root: Path, *, in_use: Set[str] = frozenset(), max_bytes: int = 0, keep_free: int = 0) -> Cache:
    limits = Limits(max_bytes=max_bytes, keep_free=Mark(bytes=keep_free))
    return Cache(root, in_use=lambda: in_use, limits=lambda: limits)


def raw_layer(
    path: str, data: bytes, *, role: Role = Role.OTHER, mode: int | None = None, mtime_ns: int | None = None
) -> Layer:
    descriptor = Descriptor("application/octet-stream", Digest.of(data), len(data))
    return Layer(descriptor, Packing.RAW, role, path, mode, mtime_ns)


def receive_raw(cache: Cache, layer: Layer, data: bytes) -> None:
    """What the transfer leaves: a verified file, and a journal that is worth nothing any more."""
    into = cache.ingest(LayerId.of(layer))
    (into / "journal").write_bytes(b"progress")
    (into / "content").write_bytes(data)


def bring_raw(
    cache: Cache,
    path: str,
    data: bytes,
    *,
    role: Role = Role.OTHER,
    mode: int | None = None,
    mtime_ns: int | None = None,
) -> Layer:
    layer = raw_layer(path, data, role=role, mode=mode, mtime_ns=mtime_ns)
    receive_raw(cache, layer, data)
    cache.commit(LayerId.of(layer), mode=layer.mode, mtime_ns=layer.mtime_ns)
    return layer


def tree_layer(entries: Mapping[str, bytes | Link], *, path: str | None = None) -> Layer:
    descriptor = Descriptor("application/x-tar", Digest.of(repr(sorted(entries.items())).encode()), 512)
    return Layer(descriptor, Packing.TAR, Role.OTHER, path)


def receive_tree(cache: Cache, layer: Layer, entries: Mapping[str, bytes | Link]) -> None:
    """What the transfer leaves: an unpacked tree, its skeleton, and a journal that is worth nothing any more."""
    into = cache.ingest(LayerId.of(layer))
    (into / "skeleton").write_bytes(b"headers")
    (into / "journal").write_bytes(b"progress")
    (into / "content").mkdir()
    with TreeWriter(into / "content") as tree:
        for name, data in entries.items():
            if isinstance(data, Link):
                tree.symlink(name, data)
                continue
            descriptor = tree.file(name, 0o555 if name.endswith(".sh") else 0o444)
            os.write(descriptor, data)
            os.close(descriptor)
        tree.finish()


def bring_tree(cache: Cache, entries: Mapping[str, bytes | Link], *, path: str | None = None) -> Layer:
    layer = tree_layer(entries, path=path)
    receive_tree(cache, layer, entries)
    cache.commit(LayerId.of(layer))
    return layer


def spec(*layers: Layer, selection: Selection | None = None) -> SnapshotSpec:
    return SnapshotSpec("registry.local/model:v1", MANIFEST, selection or Selection(), layers)


def assemble(cache: Cache, key: str, *layers: Layer, selection: Selection | None = None) -> Snapshot:
    return cache.assemble(key, spec(*layers, selection=selection))


def shown(tree: Path) -> dict[str, bytes | Link]:
    """All files and links of a tree."""
    found: dict[str, bytes | Link] = {}
    for path in sorted(tree.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(tree))] = Link(os.readlink(path))
        elif path.is_file():
            found[str(path.relative_to(tree))] = path.read_bytes()
    return found


def tree_of(snapshot: Snapshot | None) -> dict[str, bytes | Link]:
    assert snapshot is not None
    return shown(snapshot.tree)


def everything_below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))
