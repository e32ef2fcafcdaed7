"""A blob that becomes a tree of files: it is decompressed and unpacked while it arrives."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from csi_driver.errors import DriverError, UnsupportedArtifact
from csi_driver.host.files import sync_filesystem
from csi_driver.host.tree import TreeWriter
from csi_driver.inflight import Channel, ChannelClosed
from csi_driver.oci.media import Packing
from csi_driver.transfer.blocks import Blocks
from csi_driver.transfer.buffers import Buffer, BufferPool
from csi_driver.transfer.decompress import Compressed, Decompressor, actual_packing, decompressor
from csi_driver.transfer.delivery import AHEAD
from csi_driver.transfer.limits import LimitExceeded, Limits
from csi_driver.transfer.pipeline import Pipeline, close, offer
from csi_driver.transfer.skeleton import SkeletonWriter
from csi_driver.transfer.tarentries import Entries
from csi_driver.transfer.untar import unpack

_VERDICTS = (UnsupportedArtifact, LimitExceeded)
_VERDICT_BYTES = 1 << 30
"""How much is read after the content was found wrong, only to learn whether it is the right content."""


class TreeSink:
    """Unpacks an archive to `content` below `into`, and writes its skeleton beside it.

    What is wrong with the content becomes the verdict, and the rest of the blob is let through, so that it can be hashed.
    """

    def __init__(self, into: Path, packing: Packing, *, limits: Limits, unpacked: BufferPool) -> None:
        self.verdict: DriverError | None = None
        self.notes: list[str] = []
        self.entries = 0
        self._into = into
        self._content = into / "content"
        self._packing = packing
        self._limits = limits
        self._unpacked = unpacked

    def begin(self, pipeline: Pipeline, start: bytes) -> Channel[Buffer]:
        arriving = pipeline.channel(AHEAD)
        packing = actual_packing(start, self._packing)
        if packing is not self._packing:
            self.notes.append(f"the layer is {packing}, not {self._packing} as its media type says")
        if packing is Packing.TAR:
            pipeline.start("unpack", lambda: self._unpack(arriving, lambda: self._discard(arriving, pipeline)))
        else:
            archive = pipeline.channel(AHEAD)
            pipeline.on_failure(self._unpacked.wake)
            pipeline.start("decompress", lambda: self._decompress(packing, arriving, archive, pipeline))
            pipeline.start("unpack", lambda: self._unpack(archive, lambda: close(archive)))
        return arriving

    def settle(self) -> None:
        """The tree and its skeleton are on the disk."""
        sync_filesystem(self._into)

    def _decompress(
        self, packing: Packing, arriving: Channel[Buffer], archive: Channel[Buffer], pipeline: Pipeline
    ) -> None:
        try:
            with closing(Compressed(iter(arriving))) as compressed:
                self._inflate(decompressor(packing, compressed, self._limits.window_bytes), archive, pipeline)
        except _VERDICTS as verdict:
            self._judge(verdict)
        except ChannelClosed:
            pass  # the reader of the archive has seen enough
        archive.end()
        self._discard(arriving, pipeline)

    def _inflate(self, source: Decompressor, archive: Channel[Buffer], pipeline: Pipeline) -> None:
        more = True
        while more:
            buffer = pipeline.take(self._unpacked)
            try:
                buffer.length = source.readinto(buffer.room)
                more = buffer.length > 0
                if more:
                    offer(buffer, archive)
            finally:
                buffer.release()

    def _unpack(self, archive: Channel[Buffer], otherwise: Callable[[], None]) -> None:
        try:
            with (
                TreeWriter(self._content) as tree,
                SkeletonWriter(self._into / "skeleton") as skeleton,
                closing(Blocks(iter(archive), keep=skeleton.literal)) as blocks,
            ):
                entries = Entries(blocks, self._limits)
                unpack(entries, blocks, tree, skeleton)
                self.entries = entries.count
                self.notes += entries.notes
        except _VERDICTS as verdict:
            self._judge(verdict)
            otherwise()

    def _judge(self, verdict: DriverError) -> None:
        if self.verdict is None:
            self.verdict = verdict

    def _discard(self, channel: Channel[Buffer], pipeline: Pipeline) -> None:
        """Let the rest of the blob through; when that is too much, the verdict stands as it is."""
        passed = 0
        for buffer in channel:
            passed += buffer.length
            buffer.release()
            if passed > _VERDICT_BYTES and self.verdict is not None:
                pipeline.fail(self.verdict)
