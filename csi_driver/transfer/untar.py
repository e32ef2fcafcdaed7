"""From a stream of buffers to a tree of files: an archive is unpacked while it arrives."""

import errno
import os
from collections.abc import Iterable

from csi_driver.host.files import full_disk_named
from csi_driver.host.tree import TreeWriter
from csi_driver.oci.layout import file_mode
from csi_driver.transfer.blocks import Blocks, Span
from csi_driver.transfer.earlier import Adoption
from csi_driver.transfer.filewriter import DIRECT_FROM, FileWriter
from csi_driver.transfer.skeleton import SkeletonWriter
from csi_driver.transfer.sparse import Segments
from csi_driver.transfer.tarentries import Entries, Entry, Kind


def unpack(
    entries: Entries, blocks: Blocks, tree: TreeWriter, skeleton: SkeletonWriter, adoption: Adoption | None = None
) -> None:
    """Every entry of the archive is in the tree, in the place and with the mode and time a volume gives it.

    Files that lie in the archive before where `adoption` ends are not written but adopted. The tree is finished but not
    synced, and the skeleton has its end. Raises `UnsupportedArtifact` for what a volume cannot hold safely, and
    `NoSpace`.
    """
    for entry in entries:
        if entry.kind is not Kind.FILE:
            write_other(entry, tree)
            continue
        if adoption is not None and blocks.position + entry.stored <= adoption.until:
            _adopt_file(entry, blocks, tree, adoption)
        else:
            write_file(entry, blocks, tree)
        if entry.stored:
            skeleton.payload(entry.path, entry.size, entry.segments)
    tree.finish()
    skeleton.finish(blocks.position, blocks.crc)


def write_other(entry: Entry, tree: TreeWriter) -> None:
    """The directory or link of the entry is in the tree."""
    match entry.kind:
        case Kind.DIRECTORY:
            tree.directory(entry.path, mtime_ns=entry.mtime_ns)
        case Kind.SYMLINK:
            tree.symlink(entry.path, entry.target, mtime_ns=entry.mtime_ns)
        case Kind.HARDLINK:
            tree.hardlink(entry.path, entry.target)


def write_file(entry: Entry, blocks: Blocks, tree: TreeWriter) -> None:
    """The file of the entry is in the tree, with the next bytes of the archive in it."""
    if entry.segments is not None:
        _write_cached(entry, blocks, tree, entry.segments)
    elif entry.size < DIRECT_FROM:
        _write_cached(entry, blocks, tree, ((0, entry.size),))
    else:
        _write_large(entry, blocks, tree)


def _adopt_file(entry: Entry, blocks: Blocks, tree: TreeWriter, adoption: Adoption) -> None:
    adoption.adopt(entry.path, tree, size=entry.size, mode=file_mode(entry.mode))
    for _ in blocks.spans(entry.stored):
        pass  # the file has them


def _write_large(entry: Entry, blocks: Blocks, tree: TreeWriter) -> None:
    descriptor, direct = _create(entry, tree)
    with FileWriter(descriptor, entry.path, size=entry.size, direct=direct) as writer:
        for buffer, start, stop in blocks.spans(entry.stored):
            writer.append(buffer, start, stop)
        writer.finish(entry.mtime_ns)


def _write_cached(entry: Entry, blocks: Blocks, tree: TreeWriter, pieces: Segments) -> None:
    """Small files, which are one piece, and sparse ones; both through the page cache."""
    descriptor = tree.file(entry.path, file_mode(entry.mode))
    try:
        with full_disk_named(entry.path):
            if entry.segments is not None:
                os.ftruncate(descriptor, entry.size)
            for offset, length in pieces:
                view = blocks.whole(length)
                if view is not None:
                    _write_at(descriptor, view, offset)
                else:
                    _write_spans(descriptor, blocks.spans(length), offset)
            os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
    finally:
        os.close(descriptor)


def _write_spans(descriptor: int, spans: Iterable[Span], offset: int) -> None:
    for buffer, start, stop in spans:
        _write_at(descriptor, buffer.window(start, stop), offset)
        offset += stop - start


def _write_at(descriptor: int, view: memoryview, offset: int) -> None:
    while (count := os.pwrite(descriptor, view, offset)) < len(view):
        offset += count
        view = view[count:]


def _create(entry: Entry, tree: TreeWriter) -> tuple[int, bool]:
    """A new file, and whether it is written past the page cache."""
    mode = file_mode(entry.mode)
    try:
        return tree.file(entry.path, mode, flags=os.O_DIRECT), True
    except OSError as error:
        if error.errno != errno.EINVAL:  # open(2): a filesystem without O_DIRECT
            raise
    return tree.file(entry.path, mode), False
