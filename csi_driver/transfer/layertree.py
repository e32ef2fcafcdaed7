"""One tar layer going into its directory: the tree, the skeleton beside it, and the journal while it is unfinished."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from csi_driver.host.direct import sync
from csi_driver.host.directories import Directories, walk
from csi_driver.host.files import full_disk_named, remove_tree, sync_file, sync_filesystem
from csi_driver.host.tree import TooManyNames, TreeWriter
from csi_driver.oci.media import Packing
from csi_driver.oci.part import Choice
from csi_driver.transfer.blocks import Blocks
from csi_driver.transfer.buffers import MIB, Buffer
from csi_driver.transfer.earlier import (
    CONTENT,
    JOURNAL,
    PREVIOUS,
    SKELETON,
    Adoption,
    DamagedPrefix,
    NoPrefix,
    TreePrefix,
    synced_or_gone,
)
from csi_driver.transfer.journal import Checkpoint, Journal
from csi_driver.transfer.limits import Grant, Limits, anything
from csi_driver.transfer.skeleton import SkeletonWriter
from csi_driver.transfer.source import Blob
from csi_driver.transfer.tarentries import Entries
from csi_driver.transfer.unpart import retell, unpack_file, unpack_part
from csi_driver.transfer.untar import unpack

_OPEN_DIRECTORIES = 256
_MOST_SYNCED_ALONE = 64


@dataclass(frozen=True, slots=True)
class LayerTree:
    """Where the tar layer `blob` is unpacked to, and what an earlier attempt left of it.

    The journal gets a line at the first entry that ends `mark_every` bytes or more behind the line before.
    """

    into: Path
    blob: Blob
    prefix: TreePrefix | NoPrefix
    limits: Limits
    grant: Grant = anything
    mark_every: int = 16 * MIB

    def unpack(self, archive: Iterator[Buffer], packing: Packing) -> Entries:
        """All of `archive` is in the tree, and the skeleton beside it; returns what was read.

        Only of an archive that was not compressed, and is kept whole, can the beginning be put together again, so only
        that is journaled. Raises as `untar.unpack` does, `NotInPart` and `DamagedPrefix`.
        """
        if self.blob.part is not None:
            return self._unpack_part(archive, packing, self.blob.part.choice())
        with ExitStack() as stack:
            tree = stack.enter_context(TreeWriter(self.into / CONTENT, open_directories=_OPEN_DIRECTORIES))
            skeleton = stack.enter_context(SkeletonWriter(self.into / SKELETON, packing))
            blocks = stack.enter_context(closing(Blocks(archive, keep=skeleton.literal)))
            adoption = marks = boundary = None
            if packing is Packing.TAR:
                marks = stack.enter_context(_Marks(self, blocks, skeleton))
                boundary = marks.boundary
            entries = Entries(blocks, self.limits, boundary=boundary, grant=self.grant, implied=tree.implied)
            if isinstance(self.prefix, TreePrefix):
                adoption = stack.enter_context(Adoption(self.prefix.content, self.prefix.until))
            try:
                unpack(entries, blocks, tree, skeleton, adoption)
            except TooManyNames as error:
                if adoption is None:
                    raise
                raise DamagedPrefix from error  # the names from before count as well
            if marks is not None:
                marks.end()
        return entries

    def unpack_file(self, pieces: Iterator[Buffer], packing: Packing) -> None:
        """The tree has one file with all of these bytes. Raises as `unpart.unpack_file` does."""
        with TreeWriter(self.into / CONTENT) as tree, SkeletonWriter(self.into / SKELETON, packing) as skeleton:
            unpack_file(pieces, tree, skeleton, self._check_file)

    def _check_file(self, size: int) -> None:
        self.limits.check_size(size)
        self.grant(size, 1)

    def _unpack_part(self, archive: Iterator[Buffer], packing: Packing, choice: Choice) -> Entries:
        with (
            TreeWriter(self.into / CONTENT, open_directories=_OPEN_DIRECTORIES) as tree,
            SkeletonWriter(self.into / SKELETON, packing, whole=False) as skeleton,
            closing(Blocks(archive, keep=_forget)) as blocks,
        ):
            entries = Entries(blocks, self.limits, choice=choice, grant=self.grant, implied=tree.implied)
            if unpack_part(entries, blocks, tree, skeleton, choice):
                retell(self.into / CONTENT, skeleton)
        return entries

    def sync(self, entries: int) -> None:
        """The tree and its skeleton are on the disk. Raises `NoSpace`.

        Few files are synced one by one; for many that takes longer than to sync the whole filesystem, at which others
        write as well.
        """
        with full_disk_named(self.into), synced_or_gone(self.into):
            if entries > _MOST_SYNCED_ALONE:
                sync_filesystem(self.into)
                return
            with Directories(self.into / CONTENT) as directories:
                for listing in walk(directories):
                    for entry in listing.others:
                        if entry.is_file(follow_symlinks=False):
                            _sync_file(entry.name, listing.descriptor)
                    sync(listing.descriptor)
            sync_file(self.into / SKELETON)


def _forget(data: bytes) -> None:
    """Headers and padding are of no use without all that was between them."""


def _sync_file(name: str, directory: int) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


class _Marks:
    """Journals the way through an archive, from where the earlier attempt ended."""

    def __init__(self, layer: LayerTree, blocks: Blocks, skeleton: SkeletonWriter) -> None:
        self._journal = Journal(layer.into / JOURNAL, layer.blob)
        self._previous: Path | None = layer.into / PREVIOUS
        self._blocks = blocks
        self._skeleton = skeleton
        self._last = layer.prefix.until
        self._every = layer.mark_every

    def boundary(self) -> None:
        """The archive could be read again from here."""
        if self._blocks.position - self._last >= self._every:
            self._skeleton.flush()
            self._mark()

    def end(self) -> None:
        """All of the archive is in the tree and in the skeleton."""
        if self._blocks.position:
            self._mark()

    def _mark(self) -> None:
        self._last = self._blocks.position
        self._journal.mark(Checkpoint(self._last, self._blocks.crc))
        if self._previous is not None:  # this attempt has come further than the one before
            remove_tree(self._previous)
            self._previous = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()
