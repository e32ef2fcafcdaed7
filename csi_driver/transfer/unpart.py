"""From a stream of buffers to a tree that holds less than all of an archive, or one file that was compressed."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from isal.isal_zlib import crc32

from csi_driver.host.copying import extents
from csi_driver.host.directories import Directories, walk
from csi_driver.host.tree import PathTaken, TreeWriter
from csi_driver.oci.part import FILE, Choice
from csi_driver.transfer.blocks import Blocks
from csi_driver.transfer.buffers import Buffer
from csi_driver.transfer.filewriter import FileWriter
from csi_driver.transfer.skeleton import SkeletonWriter
from csi_driver.transfer.sparse import Segments
from csi_driver.transfer.tarentries import Entries, Entry, Kind
from csi_driver.transfer.untar import write_file, write_other

_PIECE = 1 << 20


def unpack_part(entries: Entries, blocks: Blocks, tree: TreeWriter, skeleton: SkeletonWriter, choice: Choice) -> bool:
    """What `choice` keeps of the archive is in the tree, and the skeleton tells what is in its files.

    Returns whether a later entry has taken the place of an earlier one: then the skeleton tells of both, and must be
    written anew with `retell`. The tree is finished but not synced. Raises as `unpack` does, and `NotInPart`.
    """
    kept, crc, replaced = 0, 0, False
    for entry in entries:
        if entry.kind is Kind.SKIPPED:
            for _ in blocks.spans(entry.stored):
                pass
            continue
        blocks.crc = crc  # so that it is the checksum of what is kept alone
        replaced |= _place(entry, blocks, tree, choice)
        if entry.kind is Kind.FILE and entry.stored:
            skeleton.payload(entry.path, entry.size, entry.segments)
            kept, crc = kept + entry.stored, blocks.crc
    for directory in choice.finish():
        tree.directory(directory)
    tree.finish()
    skeleton.finish(kept, crc)
    return replaced


def _place(entry: Entry, blocks: Blocks, tree: TreeWriter, choice: Choice) -> bool:
    """The entry is in the tree; whether something had to go for it."""
    write = partial(write_file, entry, blocks, tree) if entry.kind is Kind.FILE else partial(write_other, entry, tree)
    try:
        write()
    except PathTaken:
        if not choice.replaces:
            raise
        tree.clear(entry.path)
        write()
        return True
    return False


def retell(content: Path, skeleton: SkeletonWriter) -> None:
    """The skeleton tells what is in the files of the tree, whatever it told before."""
    length, crc = 0, 0
    skeleton.restart()
    with Directories(content) as directories:
        for listing in walk(directories):
            for entry in listing.others:
                if not entry.is_file(follow_symlinks=False) or not (size := entry.stat(follow_symlinks=False).st_size):
                    continue
                pieces, crc = _checksum(entry.name, listing.descriptor, crc)
                held = sum(count for _, count in pieces)
                skeleton.payload(listing.child(entry.name), size, None if held == size else pieces)
                length += held
    skeleton.finish(length, crc)


def unpack_file(
    pieces: Iterator[Buffer], tree: TreeWriter, skeleton: SkeletonWriter, check: Callable[[int], None]
) -> None:
    """The tree has one file, `FILE`, with all of these bytes; it is finished but not synced.

    Raises `NoSpace`, and what `check` raises: before anything is written it learns how long the file has become.
    """
    size, crc = 0, 0
    with FileWriter(tree.file(FILE), FILE, size=None, direct=False) as writer:
        for buffer in pieces:
            try:
                crc, size = crc32(buffer.payload, crc), size + buffer.length
                check(size)
                writer.append(buffer, 0, buffer.length)
            finally:
                buffer.release()
        writer.finish(0)
    if size:
        skeleton.payload(FILE, size, None)
    tree.finish()
    skeleton.finish(size, crc)


def _checksum(name: str, directory: int, crc: int) -> tuple[Segments, int]:
    """Where a file has content that is no hole, and the CRC-32 of that, going on from `crc`."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        pieces = tuple(extents(descriptor))
        for start, length in pieces:
            at, end = start, start + length
            while at < end and (piece := os.pread(descriptor, min(end - at, _PIECE), at)):
                crc, at = crc32(piece, crc), at + len(piece)
    finally:
        os.close(descriptor)
    return pieces, crc
