"""A blob that is unpacked to a tree of files, or a tree with one file: it is decompressed while it arrives."""

from collections.abc import Callable
from contextlib import closing

from csi_driver.errors import DriverError, UnsupportedArtifact
from csi_driver.inflight import Channel, ChannelClosed
from csi_driver.oci.media import Packing
from csi_driver.transfer.buffers import Buffer, BufferPool
from csi_driver.transfer.decompress import Compressed, Decompressor, actual_packing, decompressor
from csi_driver.transfer.delivery import AHEAD
from csi_driver.transfer.layertree import LayerTree
from csi_driver.transfer.limits import LimitExceeded
from csi_driver.transfer.pipeline import Pipeline, close, offer

_VERDICTS = (UnsupportedArtifact, LimitExceeded)
_VERDICT_BYTES = 1 << 30
"""How much is read after the content was found wrong, only to learn whether it is the right content."""


class TreeSink:
    """Unpacks a layer.

    What is wrong with the content becomes the verdict, and the rest of the blob is let through, for it must be hashed.
    """

    def __init__(self, layer: LayerTree, *, unpacked: BufferPool) -> None:
        self.verdict: DriverError | None = None
        self.notes: list[str] = []
        self.entries = 0
        self._layer = layer
        self._unpacked = unpacked

    def begin(self, pipeline: Pipeline, start: bytes) -> Channel[Buffer]:
        arriving = pipeline.channel(AHEAD)
        said = self._layer.blob.packing
        packing = actual_packing(start, said)
        if packing is not said:
            self.notes.append(f"the layer is {packing}, not {said} as its media type says")
        if not packing.is_compressed:
            pipeline.start("unpack", lambda: self._unpack(packing, arriving, lambda: self._discard(arriving, pipeline)))
        else:
            archive = pipeline.channel(AHEAD)
            pipeline.on_failure(self._unpacked.wake)
            pipeline.start("decompress", lambda: self._decompress(packing, arriving, archive, pipeline))
            pipeline.start("unpack", lambda: self._unpack(packing, archive, lambda: close(archive)))
        return arriving

    def settle(self) -> None:
        """The tree and its skeleton are on the disk."""
        self._layer.sync(self.entries)

    def _decompress(
        self, packing: Packing, arriving: Channel[Buffer], archive: Channel[Buffer], pipeline: Pipeline
    ) -> None:
        try:
            with closing(Compressed(iter(arriving))) as compressed:
                self._inflate(decompressor(packing, compressed, self._layer.limits.window_bytes), archive, pipeline)
        except _VERDICTS as verdict:
            self._judge(verdict)
        except ChannelClosed:
            pass  # the reader of the archive has seen enough
        archive.end()
        self._discard(arriving, pipeline)

    def _inflate(self, source: Decompressor, archive: Channel[Buffer], pipeline: Pipeline) -> None:
        size, limits, compressed = 0, self._layer.limits, self._layer.blob.size
        with self._unpacked.allowance(lambda: pipeline.failed) as allowance:
            more = True
            while more:
                buffer = allowance.filled(lambda buffer: source.readinto(buffer.room))
                try:
                    more = buffer.length > 0
                    size += buffer.length
                    limits.check_ratio(size, compressed)
                    if more:
                        offer(buffer, archive)
                finally:
                    buffer.release()

    def _unpack(self, packing: Packing, archive: Channel[Buffer], otherwise: Callable[[], None]) -> None:
        try:
            if self._layer.blob.packing.is_tree:
                entries = self._layer.unpack(iter(archive), packing)
                self.entries = entries.count
                self.notes += entries.notes
            else:
                self._layer.unpack_file(iter(archive), packing)
                self.entries = 1
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
