"""The transfer engine: a source of ranges becomes verified files on the disk."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from csi_driver.errors import ContentMismatch, Stopping, UnsupportedArtifact
from csi_driver.host.files import full_disk_named
from csi_driver.inflight import Stop
from csi_driver.oci.media import Packing
from csi_driver.transfer.bandwidth import Bandwidth
from csi_driver.transfer.buffers import MIB, BufferPool
from csi_driver.transfer.delivery import Delivery
from csi_driver.transfer.earlier import (
    CONTENT,
    DamagedPrefix,
    Prefix,
    clear,
    clear_useless,
    earlier_file,
    earlier_tree,
)
from csi_driver.transfer.feed import blob_feed
from csi_driver.transfer.fetching import Fetching
from csi_driver.transfer.layertree import LayerTree
from csi_driver.transfer.limits import Grant, LimitExceeded, Limits, anything
from csi_driver.transfer.pipeline import Pipeline
from csi_driver.transfer.progress import Progress
from csi_driver.transfer.rawsink import RawSink
from csi_driver.transfer.source import Blob, Fetched, Source
from csi_driver.transfer.splitting import Connections, Splitting
from csi_driver.transfer.stream import Patience
from csi_driver.transfer.treesink import TreeSink

_STOPPING = "the driver is stopping; the next one goes on with this pull"
_BUFFERS_IN_ORDER = 4  # beside one for each connection: those that are hashed, written, and waited for
_FINAL = (ContentMismatch, UnsupportedArtifact, LimitExceeded)


class Engine:
    """Fetches up to `blobs` blobs at once, within the memory of two buffer pools; more wait for their turn.

    `arriving` buffers hold bytes as they come from the registry, `unpacked` buffers what decompressors made of them:
    two pools, because what comes out of a decompressor must never wait for buffers that wait to go into one. A plain
    tar layer that breaks off can be resumed about every `mark_every` bytes, between two of its entries. A slow
    stream is split over more connections, as `splitting` says, while the node has fewer than `connections` of them.
    `bandwidth` says how many bytes a second the node may receive at present; 0 is as many as come.
    """

    def __init__(
        self,
        *,
        arriving: BufferPool | None = None,
        unpacked: BufferPool | None = None,
        limits: Callable[[], Limits] = Limits,
        patience: Patience | None = None,
        splitting: Splitting | None = None,
        blobs: int = 10,
        connections: int = 16,
        bandwidth: Callable[[], int] = lambda: 0,
        mark_every: int = 16 * MIB,
    ) -> None:
        self._arriving = arriving or BufferPool(count=max(blobs, connections) + _BUFFERS_IN_ORDER, size=3 * MIB)
        self._unpacked = unpacked or BufferPool(count=max(blobs, _BUFFERS_IN_ORDER), size=2 * MIB)
        self._limits = limits
        self._patience = patience or Patience()
        self._splitting = splitting or Splitting()
        self._connections = Connections(connections)
        self._bandwidth = Bandwidth(bandwidth)
        self._mark_every = mark_every

    def fetch(
        self,
        blob: Blob,
        source: Source,
        into: Path,
        *,
        progress: Progress,
        stop: Stop,
        grant: Grant = anything,
    ) -> Fetched:
        """`into/content` is the blob, verified and durable: a file, or for a tar layer the tree it unpacks to.

        `into` is an existing directory that nobody else uses, on the filesystem where the layer is to stay. Files get
        mode 0444 plus the execute bits they had, directories 0555; times are restored. Beside a tree lies its
        `skeleton`, and beside either a journal, with which nothing is fetched again if the caller does not live to take
        what is here. After a failure the directory holds what another `fetch` of the same blob goes on from: for a raw
        blob all that had arrived, for a plain tar layer all entries but the last; nothing when the content is at fault.

        Raises `ContentMismatch` for bytes that differ from digest or size, `UnsupportedArtifact` for content that no
        volume can hold safely, `NoSpace` for a full disk or more than `limits` or `grant` allow, `Unavailable` when the
        patience of the source and of the engine has ended, `Stopping`, and what `source` raises otherwise.
        """
        stop.check()
        try:
            try:
                return self._attempt(blob, source, self._destination(blob, into, grant), progress, stop)
            except DamagedPrefix:
                clear(into)
                return self._attempt(blob, source, self._destination(blob, into, grant), progress, stop)
        except _FINAL:
            clear(into)
            raise
        except BaseException:
            clear_useless(into, blob)
            raise

    def _attempt(
        self,
        blob: Blob,
        source: Source,
        destination: tuple[Prefix, RawSink | TreeSink],
        progress: Progress,
        stop: Stop,
    ) -> Fetched:
        prefix, sink = destination
        progress.found(-progress.fetched)
        pipeline = Pipeline(f"fetch-{blob.digest.hex[:8]}")
        pipeline.on_cut(self._arriving.wake)
        allow = partial(self._arriving.allowance, lambda: pipeline.is_cut)

        fetching = Fetching(
            blob=blob,
            source=source,
            patience=self._patience,
            arrived=progress.advance,
            allow=allow,
            connections=self._connections,
            bandwidth=self._bandwidth,
            policy=self._splitting,
            pipeline=pipeline,
        )
        feed = blob_feed(prefix, fetching.buffers, allow=allow)
        delivery = Delivery(blob, feed, sink, pipeline, found=progress.found)
        with stop.calling(lambda: pipeline.cut(Stopping(_STOPPING))):
            delivery.run()
        sink.settle()
        return Fetched(resumed=delivery.found, entries=sink.entries, notes=tuple(sink.notes))

    def _destination(self, blob: Blob, into: Path, grant: Grant) -> tuple[Prefix, RawSink | TreeSink]:
        """What of the blob is here already, and where the rest goes."""
        if blob.packing is Packing.RAW:
            return earlier_file(into, blob), RawSink(into, blob)
        prefix = earlier_tree(into, blob)
        with full_disk_named(into):
            (into / CONTENT).mkdir()
        layer = LayerTree(into, blob, prefix, self._limits(), grant, self._mark_every)
        return prefix, TreeSink(layer, unpacked=self._unpacked)
