"""How the layers of a model come into the cache: each is fetched once, whichever pulls wait for it."""

import time
from collections.abc import Mapping, Sequence
from functools import partial

from csi_driver import log
from csi_driver.cache.layout import LayerId
from csi_driver.cache.room import Room
from csi_driver.cache.space import Need
from csi_driver.cache.store import Cache
from csi_driver.errors import AccessDenied, ContentMismatch, NoSpace, NotFound, Unauthenticated, UnsupportedArtifact
from csi_driver.inflight import Deadline, Flights, Pool, Stop, Wait
from csi_driver.metrics import Metrics
from csi_driver.oci.layer import Layer
from csi_driver.puller.artifact import Origin
from csi_driver.puller.board import Board
from csi_driver.puller.growth import Growth
from csi_driver.registry.blob import BlobSource
from csi_driver.tracing import Tracing
from csi_driver.transfer.engine import Engine
from csi_driver.transfer.progress import Progress
from csi_driver.transfer.source import Blob

HIDDEN = (Unauthenticated, AccessDenied, NotFound)
"""What registries answer where some credentials may not read, and others may."""

_SLOW = 1 << 20  # bytes a second: far less than what would be missed elsewhere
_INODES = 8  # while a layer is on its way: its directory, its content, journals and the like


def most_at_once(concurrency: int) -> int:
    """How many layers a `LayerFetcher` ever has under way: what its engine has to have memory for."""
    return 2 * concurrency


class LayerFetcher:
    """Brings layers, `concurrency` at a time; one that nobody waits for any more stops where it can be gone on with.

    Pulls take turns. Layers that come slowly after `slow_after` seconds hold up no other pull: each may have one under
    way nonetheless, up to `most_at_once` in all.
    """

    def __init__(self, *, cache: Cache, engine: Engine, metrics: Metrics, tracing: Tracing, board: Board,
                 concurrency: int, slow_after: float = 10.0) -> None:  # fmt: skip
        self._cache = cache
        self._engine = engine
        self._metrics = metrics
        self._tracing = tracing
        self._board = board
        self._slow_after = slow_after
        self._pool = Pool("layer", concurrency, most=most_at_once(concurrency))
        self._flights: Flights[LayerId, None] = Flights(self._pool, outlives_callers=False)

    def bring(
        self, key: str, reference: str, layers: Sequence[Layer], origins: Mapping[LayerId, Origin], wait: Wait,
        *, urgent: bool,
    ) -> int:  # fmt: skip
        """Bring what is not here, or not from its registry, all at once; how many bytes that took.

        For the pull `key` of a model; only an `urgent` one takes the room of what was used lately. Raises `Dropped`
        when the wait is dropped, and what went wrong otherwise.
        """
        fetched = 0
        wanted = {LayerId.of(layer): layer for layer in layers}
        # The flight of a layer may have been joined that fetched it from another registry; then this one comes next.
        while missing := {
            each: wanted[each] for each in wanted if not self._cache.is_served(each, origins[each].registry)
        }:
            wait.check()
            needs = [Need(each, origins[each].registry, _footprint(layer)) for each, layer in missing.items()]
            sizes = {each: layer.descriptor.size for each, layer in missing.items()}
            with (
                self._cache.reserve(needs, urgent=urgent),
                self._board.showing(key, reference, sizes) as shown,
            ):
                self._fetch_all(key, missing, origins, shown, wait, urgent=urgent)
            fetched += sum(sizes.values())
        self._metrics.saved_bytes.inc(max(0, sum(layer.descriptor.size for layer in wanted.values()) - fetched))
        return fetched

    def _fetch_all(
        self,
        key: str,
        layers: Mapping[LayerId, Layer],
        origins: Mapping[LayerId, Origin],
        shown: Mapping[LayerId, Progress],
        wait: Wait,
        *,
        urgent: bool,
    ) -> None:
        """Fetch them, or wait for whoever does; a refusal counts only if this pull's own credentials met it."""
        own: set[LayerId] = set()

        def fetch(layer: LayerId, stop: Stop) -> None:
            stop.check()  # it may have waited for its turn for long
            own.add(layer)
            with self._pool.letting_pass(partial(self._is_slow, shown[layer], time.monotonic())):
                self._fetch(layers[layer], origins[layer], shown[layer], stop, urgent=urgent)

        try:
            self._flights.join_all({each: partial(fetch, each) for each in layers}, wait, owner=key)
        except HIDDEN:
            if own >= layers.keys():
                raise

    def _is_slow(self, progress: Progress, since: float) -> bool:
        return time.monotonic() - since >= self._slow_after and progress.rate() < _SLOW

    def close(self) -> None:
        """Ask all transfers to end, and begin no more."""
        self._flights.close()

    def drain(self, deadline: Deadline) -> None:
        """Return when all have ended; raises `TimeoutError` at the deadline. For after `close`."""
        self._flights.drain(Wait(deadline))

    def _fetch(self, layer: Layer, origin: Origin, progress: Progress, stop: Stop, *, urgent: bool) -> None:
        """Bring one layer into the cache; a body that does not match its digest is fetched again, from elsewhere where
        there is a host that has not sent any of it."""
        identity = LayerId.of(layer)
        source, described = origin.repository.blob(layer.descriptor), layer.descriptor
        growth = Growth(self._cache, identity, origin.registry, _footprint(layer), urgent=urgent)
        while not self._cache.is_served(identity, origin.registry):
            span = self._tracing.span("fetch", digest=described.digest, size=described.size, packing=layer.packing)
            try:
                with span:
                    return self._fetch_once(layer, origin, source, growth, progress=progress, stop=stop)
            except ContentMismatch as error:
                if not source.distrust(error):
                    raise
                log.warning("a layer did not match and is fetched again", layer=identity.digest, reason=error)
        return None

    def _fetch_once(
        self, layer: Layer, origin: Origin, source: BlobSource, growth: Growth, *, progress: Progress, stop: Stop
    ) -> None:
        identity, began = LayerId.of(layer), time.monotonic()
        blob = Blob(layer.descriptor.digest, layer.descriptor.size, layer.packing, layer.part)
        try:
            into = self._cache.ingest(identity, origin.registry)
            with growth:
                fetched = self._engine.fetch(blob, source, into, progress=progress, stop=stop, grant=growth.grant)
        except (ContentMismatch, UnsupportedArtifact, NoSpace, NotFound):
            self._cache.discard(identity)
            raise
        except BaseException:
            self._cache.abandon(identity)
            raise
        self._cache.served(identity, origin.registry)
        self._cache.commit(identity, mode=layer.mode, mtime_ns=layer.mtime_ns)
        self._metrics.observe_layer(layer.descriptor.size, time.monotonic() - began)
        self._metrics.fetched_bytes.inc(layer.descriptor.size - fetched.resumed)
        for note in fetched.notes:
            log.warning(note, layer=identity.digest)


def _footprint(layer: Layer) -> Room:
    """What to reserve: what is known, or for a compressed layer half as much again (weights shrink by a fifth).

    No archive says how many files it holds: one for each MiB is what models have.
    """
    size = layer.descriptor.size
    if layer.packing.is_compressed:
        size += size // 2
    return Room(size, _INODES + (size >> 20 if layer.packing.is_tree else 0))
