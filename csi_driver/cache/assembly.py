"""How the layers of a model become one tree: every file another name of the layer's own."""

import os
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from csi_driver.cache.images import Entry, image_entries, is_image
from csi_driver.cache.layers import Layers
from csi_driver.cache.layout import LayerId
from csi_driver.cache.snapshots import SnapshotSpec
from csi_driver.errors import LayerGone, UnsupportedArtifact
from csi_driver.host.directories import DIRECTORY, Directories, Listing, walk
from csi_driver.host.files import BLOCK
from csi_driver.host.tree import TooManyNames, TreeWriter
from csi_driver.oci.layer import GeneratedFile, Layer, file_mode
from csi_driver.oci.layout import placement
from csi_driver.oci.media import Packing

Grant = Callable[[int, int], None]
"""Told, before they are taken, how many bytes and inodes of the disk a tree takes so far; raises `NoSpace`."""


@dataclass(slots=True)
class Assembled:
    """What a tree came to hold: bytes and number of its files and links, and what of its room no layer shares."""

    size: int = 0
    files: int = 0
    own_bytes: int = 0
    own_inodes: int = 0


def assemble(root: Path, spec: SnapshotSpec, layers: Layers, grant: Grant) -> Assembled:
    """Fill the empty directory `root` with the selected ones of all files, and make it read-only.

    Nothing is copied but a file whose mode must differ from that of the layer it shares, and one that has as many names
    as the filesystem allows; what that takes, and what links and directories take, is asked of `grant` before. What is
    written is on the disk on return; the caller syncs the directories. Raises `UnsupportedArtifact` when nothing is
    selected, or two layers bring different content to one path or a file where the other has a directory; it names
    both. Raises `LayerGone` for a layer that the cache does not hold.
    """
    with TreeWriter(root) as writer:
        assembly = _Assembly(writer, grant)
        for file in spec.files:
            if spec.selection.wants(file.path, file.role):
                assembly.generate(file)
        with closing(_selected(spec, layers)) as selected:
            for layer, entry in selected:
                assembly.add(layer, entry)
        if not assembly.owners:
            raise UnsupportedArtifact(f"{spec.reference} holds no files, or none that are not excluded")
        writer.finish()
    assembly.result.own_inodes += len({parent for path in assembly.owners for parent in _parents(path)})
    return assembly.result


def _parents(path: str) -> Iterator[str]:
    """The directories that a file lies in, the root last."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def _selected(spec: SnapshotSpec, layers: Layers) -> Generator[tuple[Layer, Entry], None, None]:
    """What the volume wants of each layer; an entry is valid until the next is asked for."""
    places: list[tuple[Layer, Path]] = []
    for layer in spec.layers:
        path = layers.get(LayerId.of(layer))
        if path is None:
            raise LayerGone(f"layer {layer.descriptor.digest} of {spec.reference} is not in the cache")
        places.append((layer, path))
    if is_image(spec.layers):
        with closing(image_entries(places, spec.reference)) as shown:
            yield from ((layer, entry) for layer, entry in shown if spec.selection.wants(entry.path, layer.role))
        return
    for layer, path in places:
        raw = layer.packing is Packing.RAW
        with closing(_file_entry(layer, path) if raw else _tree_entries(layer, path)) as entries:
            yield from ((layer, entry) for entry in entries if spec.selection.wants(entry.path, layer.role))


def _file_entry(layer: Layer, path: Path) -> Generator[Entry, None, None]:
    if layer.path is None:
        raise UnsupportedArtifact(f"layer {layer.descriptor.digest} is one file, and nothing says where it belongs")
    directory = os.open(path.parent, DIRECTORY)
    try:
        yield Entry(directory, path.name, layer.path, file_mode(layer.mode))
    finally:
        os.close(directory)


def _tree_entries(layer: Layer, root: Path) -> Generator[Entry, None, None]:
    mode = None if layer.packing.is_tree else file_mode(layer.mode)
    with Directories(root) as directories:
        found = {listing.path: _paths(listing) for listing in walk(directories)}
        places = placement(layer, [path for paths in found.values() for path in paths])
        for parent, paths in found.items():
            directory = directories.open(parent)
            for path, name in paths.items():
                place = places.get(path)
                if place is not None:
                    yield Entry(directory, name, place, mode)


def _paths(listing: Listing) -> dict[str, str]:
    """What is in a directory and is none itself: paths below the root of the walk, and names."""
    prefix = f"{listing.path}/" if listing.path else ""
    return {prefix + entry.name: entry.name for entry in listing.others}


class _Assembly:
    """The tree while it is being put together, and which layer every path came from."""

    def __init__(self, writer: TreeWriter, grant: Grant) -> None:
        self.writer = writer
        self._grant = grant
        self.owners: dict[str, Layer | GeneratedFile] = {}
        self.result = Assembled()
        self._directories = {""}  # where no file can be any more

    def generate(self, file: GeneratedFile) -> None:
        """Write a file that no layer holds; it comes before all layers, and has no time of its own."""
        self.writer.write(file.path, file.content, mtime_ns=0)
        self.owners[file.path] = file
        self.result.files += 1
        self.result.size += len(file.content)
        self.result.own_bytes += len(file.content)
        self.result.own_inodes += 1

    def add(self, layer: Layer, entry: Entry) -> None:
        self._refuse_file_as_parent(layer, entry.path)
        if entry.path in self.owners:
            if not self.writer.holds(entry.path, entry.name, source_directory=entry.directory):
                raise _collision(entry.path, self.owners[entry.path], layer)
            return
        try:
            self._write(entry)
        except UnsupportedArtifact as error:
            below = next((path for path in self.owners if path.startswith(f"{entry.path}/")), None)
            if below is None:
                raise
            raise _collision(entry.path, self.owners[below], layer) from error
        self.owners[entry.path] = layer
        self.result.files += 1

    def _refuse_file_as_parent(self, layer: Layer, path: str) -> None:
        parent = path.rpartition("/")[0]
        while parent not in self._directories:
            if parent in self.owners:
                raise _collision(parent, self.owners[parent], layer)
            self._directories.add(parent)
            parent = parent.rpartition("/")[0]

    def _write(self, entry: Entry) -> None:
        self._ask(0, 0)
        status = os.stat(entry.name, dir_fd=entry.directory, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(entry.name, dir_fd=entry.directory)
            self.writer.symlink(entry.path, target, mtime_ns=status.st_mtime_ns)
            self.result.own_inodes += 1
            return
        mode = stat.S_IMODE(status.st_mode)
        if entry.mode not in (None, mode) or not self._link(entry):
            self._ask(status.st_blocks * BLOCK, 1)
            self.result.own_bytes += self._copy(entry, entry.mode or mode, status.st_mtime_ns)
            self.result.own_inodes += 1
        self.result.size += status.st_size

    def _ask(self, size: int, inodes: int) -> None:
        """Ask for so much more than there is."""
        self._grant(self.result.own_bytes + size, self.result.own_inodes + self.writer.implied() + inodes)

    def _link(self, entry: Entry) -> bool:
        """Whether the file could be given one more name."""
        try:
            self.writer.adopt(entry.path, entry.name, source_directory=entry.directory)
        except TooManyNames:
            return False
        return True

    def _copy(self, entry: Entry, mode: int, mtime_ns: int) -> int:
        source = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.directory)
        try:
            return self.writer.copy(entry.path, source, mode, mtime_ns)
        finally:
            os.close(source)


def _collision(path: str, first: Layer | GeneratedFile, second: Layer) -> UnsupportedArtifact:
    one = f"layer {first.descriptor.digest}" if isinstance(first, Layer) else "the model's configuration"
    return UnsupportedArtifact(
        f"{one} and layer {second.descriptor.digest} both bring {path!r}, and not the same; the model must "
        "be packed again"
    )
