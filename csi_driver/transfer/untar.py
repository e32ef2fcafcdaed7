"""From a stream of buffers to a tree of files: an archive is unpacked while it arrives."""

import errno
import os

from csi_driver.host.files import full_disk_named
from csi_driver.host.tree import TreeWriter
from csi_driver.oci.layout import file_mode
from csi_driver.transfer.blocks import Blocks
from csi_driver.transfer.filewriter import DIRECT_FROM, FileWriter
from csi_driver.transfer.skeleton import SkeletonWriter
from csi_driver.transfer.sparse import Segments
from csi_driver.transfer.tarentries import Entries, Entry, Kind


def unpack(entries: Entries, blocks: Blocks, tree: TreeWriter, skeleton: SkeletonWriter) -> None:
    """Every entry of the archive is in the tree, in the place and with the mode and time a volume gives it.

    The tree is finished but not synced, and the skeleton has its end. Raises `UnsupportedArtifact` for what a volume
    cannot hold safely, and `NoSpace`.
    """
    for entry in entries:
        match entry.kind:
            case Kind.FILE:
                _write_file(entry, blocks, tree, skeleton)
            case Kind.DIRECTORY:
                tree.directory(entry.path, mtime_ns=entry.mtime_ns)
            case Kind.SYMLINK:
                tree.symlink(entry.path, entry.target, mtime_ns=entry.mtime_ns)
            case Kind.HARDLINK:
                tree.hardlink(entry.path, entry.target)
    tree.finish()
    skeleton.finish(blocks.position, blocks.crc)


def _write_file(entry: Entry, blocks: Blocks, tree: TreeWriter, skeleton: SkeletonWriter) -> None:
    if entry.segments is None:
        _write_plain(entry, blocks, tree)
    else:
        _write_sparse(entry, entry.segments, blocks, tree)
    if entry.stored:
        skeleton.payload(entry.path, entry.size, entry.segments)


def _write_plain(entry: Entry, blocks: Blocks, tree: TreeWriter) -> None:
    descriptor, direct = _create(entry, tree)
    with FileWriter(descriptor, entry.path, size=entry.size, direct=direct) as writer:
        for buffer, start, stop in blocks.spans(entry.stored):
            writer.append(buffer, start, stop)
        writer.finish(entry.mtime_ns)


def _write_sparse(entry: Entry, segments: Segments, blocks: Blocks, tree: TreeWriter) -> None:
    descriptor = tree.file(entry.path, file_mode(entry.mode))
    try:
        with full_disk_named(entry.path):
            os.ftruncate(descriptor, entry.size)
            for offset, length in segments:
                at = offset
                for buffer, start, stop in blocks.spans(length):
                    at = _write_at(descriptor, buffer.window(start, stop), at)
        os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
    finally:
        os.close(descriptor)


def _write_at(descriptor: int, view: memoryview, offset: int) -> int:
    while view:
        count = os.pwrite(descriptor, view, offset)
        offset += count
        view = view[count:]
    return offset


def _create(entry: Entry, tree: TreeWriter) -> tuple[int, bool]:
    """A new file, and whether it is written past the page cache."""
    mode = file_mode(entry.mode)
    if entry.size >= DIRECT_FROM:
        try:
            return tree.file(entry.path, mode, flags=os.O_DIRECT), True
        except OSError as error:
            if error.errno != errno.EINVAL:  # open(2): a filesystem without O_DIRECT
                raise
    return tree.file(entry.path, mode), False
