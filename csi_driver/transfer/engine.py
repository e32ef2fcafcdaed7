"""The transfer engine: a source of ranges becomes verified files on the disk."""

from functools import partial
from pathlib import Path

from csi_driver.errors import Stopping
from csi_driver.host.files import full_disk_named, remove_tree
from csi_driver.inflight import Stop
from csi_driver.oci.media import Packing
from csi_driver.transfer.buffers import MIB, BufferPool
from csi_driver.transfer.delivery import Delivery
from csi_driver.transfer.feed import StreamFeed
from csi_driver.transfer.limits import Limits
from csi_driver.transfer.pipeline import Pipeline
from csi_driver.transfer.progress import Progress
from csi_driver.transfer.rawsink import RawSink
from csi_driver.transfer.source import Blob, Fetched, Source
from csi_driver.transfer.stream import Patience, Stream
from csi_driver.transfer.treesink import TreeSink

CONTENT, SKELETON = "content", "skeleton"


class Engine:
    """Fetches any number of blobs at once, within the memory of two buffer pools.

    `arriving` buffers hold bytes as they come from the registry; `unpacked` buffers hold what decompressors made of them:
    two pools, because a decompressor holds one of each, and with a single pool transfers could wait for one another.
    """

    def __init__(
        self,
        *,
        arriving: BufferPool | None = None,
        unpacked: BufferPool | None = None,
        limits: Limits | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._arriving = arriving or BufferPool(count=14, size=4 * MIB)
        self._unpacked = unpacked or BufferPool(count=6, size=2 * MIB)
        self._limits = limits or Limits()
        self._patience = patience or Patience()

    def fetch(self, blob: Blob, source: Source, into: Path, *, progress: Progress, stop: Stop) -> Fetched:
        """`into/content` is the blob, verified and durable: a file, or for a tar layer the tree it unpacks to.

        `into` is an existing directory that nobody else uses, on the filesystem where the layer is to stay. Files get mode
        0444 plus the execute bits they had, directories 0555; times are restored. Beside a tree lies its `skeleton`.

        Raises `ContentMismatch` for bytes that differ from digest or size, `UnsupportedArtifact` for content that no
        volume can hold safely, `NoSpace` for a full disk or more than `Limits` allow, `Unavailable` when the source's and
        the engine's patience has ended, `Stopping`, and what `source` raises otherwise.
        """
        stop.check()
        self._clear(into)
        sink = self._sink(blob, into)
        pipeline = Pipeline(f"fetch-{blob.digest.hex[:8]}")
        pipeline.on_failure(self._arriving.wake)
        stream = Stream(blob, source, 0, blob.size, patience=self._patience, arrived=progress.advance)
        pipeline.on_failure(stream.abort)
        feed = StreamFeed(stream, partial(pipeline.take, self._arriving))
        try:
            with stop.calling(
                lambda: pipeline.fail(Stopping("the driver is stopping; the next one goes on with this pull"))
            ):
                Delivery(blob, feed, sink, pipeline).run()
            sink.settle()
        except BaseException:
            self._clear(into)
            raise
        return Fetched(entries=sink.entries, notes=tuple(sink.notes))

    def _sink(self, blob: Blob, into: Path) -> RawSink | TreeSink:
        if blob.packing is Packing.RAW:
            return RawSink(into / CONTENT, blob.size)
        with full_disk_named(into):
            (into / CONTENT).mkdir()
        return TreeSink(into, blob.packing, limits=self._limits, unpacked=self._unpacked)

    @staticmethod
    def _clear(into: Path) -> None:
        for name in (CONTENT, SKELETON):
            remove_tree(into / name)
