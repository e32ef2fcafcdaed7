"""How a model gets onto this node: one pull whoever asks, which outlives every caller."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial

from csi_driver import log
from csi_driver.cache.layout import LayerId
from csi_driver.cache.room import Room
from csi_driver.cache.snapshots import Snapshot, SnapshotSpec
from csi_driver.cache.space import Need
from csi_driver.cache.store import Cache
from csi_driver.errors import (
    AccessDenied,
    ContentMismatch,
    DriverError,
    LayerGone,
    NoSpace,
    NotFound,
    StillPulling,
    Unauthenticated,
    UnsupportedArtifact,
)
from csi_driver.inflight import Deadline, Flights, Lock, Pool, Stop, Wait
from csi_driver.metrics import Metrics
from csi_driver.oci.digest import Digest
from csi_driver.oci.layer import Layer
from csi_driver.oci.part import NotInPart
from csi_driver.oci.reference import Reference
from csi_driver.puller.artifact import Artifact, Artifacts, Origin
from csi_driver.puller.growth import Growth
from csi_driver.puller.request import PullRequest, snapshot_key
from csi_driver.puller.resolver import Resolver
from csi_driver.puller.wanted import wanted
from csi_driver.registry.blob import BlobSource
from csi_driver.tracing import Tracing
from csi_driver.transfer.engine import Engine
from csi_driver.transfer.progress import Progress, Totals, describe
from csi_driver.transfer.source import Blob

_LAYER_INODES = 8  # while a layer is on its way: its directory, its content, journals and the like
_PULLS = 64  # pulls under way at once: they only wait for layers, of which the configuration says how many go at once

Told = Callable[[Totals], float]
"""Hears how far a pull is, and answers in how many seconds it wants to hear again."""


class Puller:
    """Snapshots of models, pulled when they are not here.

    A pull is keyed by manifest and selection, a layer by its digest; each is under way at most once on the node. Pulls
    and layers have threads of their own, as a pull waits for layers.
    """

    def __init__(self, *, resolver: Resolver, artifacts: Artifacts, cache: Cache, engine: Engine, metrics: Metrics,
                 tracing: Tracing, concurrency: int) -> None:  # fmt: skip
        self._artifacts = artifacts
        self._resolver = resolver
        self._cache = cache
        self._engine = engine
        self._metrics = metrics
        self._tracing = tracing
        self._pulls: Flights[str, Snapshot] = Flights(Pool("pull", _PULLS), outlives_callers=True)
        self._layers: Flights[LayerId, None] = Flights(Pool("layer", concurrency), outlives_callers=False)
        self._lock = Lock()
        self._progress: dict[str, list[Progress]] = {}
        self._shared: dict[LayerId, Progress] = {}

    @contextmanager
    def snapshot(
        self, request: PullRequest, wait: Wait, *, known: str | None = None, told: Told | None = None
    ) -> Iterator[Snapshot]:
        """The model that `request` means, whole and verified, held safe from the collector for the time of the `with`.

        `known` is the manifest digest that the volume was published with before, which it keeps. `told` hears how far
        the pull is when this caller begins to wait for it, and then as often as it asks to. Raises `StillPulling`
        at the deadline, while the pull goes on, and otherwise what went wrong in resolving or pulling.
        """
        digest = Digest.parse(known) if known else self._resolve(request, wait)
        key = snapshot_key(request.reference.host, digest, request.selection)
        with self._cache.lease(key):
            snapshot = self._cache.snapshot(key)
            if snapshot:
                self._metrics.cache_hits.inc()
            else:
                snapshot = self._join(key, digest, request, wait, told)
            if not known:
                self._check_parents(snapshot, request, wait)
            yield snapshot

    def cached(self, key: str) -> Snapshot | None:
        """The snapshot of that key, where the node holds it."""
        return self._cache.snapshot(key)

    def damage(self, name: str) -> str | None:
        """What is wrong with the snapshot that has this name in the cache, where it was set aside for that."""
        return self._cache.quarantine.reason(name)

    def release(self, key: str) -> None:
        """A volume showed the snapshot until now: what was used longest ago is the first to be given up."""
        self._cache.touch(key)

    def under_way(self) -> int:
        """How many pulls are going on."""
        return len(self._pulls.keys())

    def close(self, deadline: Deadline) -> bool:
        """Ask all pulls to end; what they fetched is kept for the next driver. Whether they did by the deadline."""
        try:
            for flights in (self._pulls, self._layers):
                flights.close()
            for flights in (self._pulls, self._layers):
                flights.drain(Wait(deadline))
        except TimeoutError:
            return False
        return True

    def _resolve(self, request: PullRequest, wait: Wait) -> Digest:
        with self._tracing.span("resolve", reference=request.reference, policy=request.policy):
            return self._resolver.resolve(request, wait)

    def _check_parents(self, snapshot: Snapshot, request: PullRequest, wait: Wait) -> None:
        """Raise unless this caller may read all models that the snapshot holds parts of, whoever had it pulled."""
        for parent in snapshot.parents:
            self._resolver.resolve(request.of_parent(Reference.parse(parent), request.policy), wait)

    def _join(self, key: str, digest: Digest, request: PullRequest, wait: Wait, told: Told | None) -> Snapshot:
        """The snapshot, from a pull that is under way or from one of the caller's own.

        Whoever comes here may read the model. A pull that was refused says so of the credentials of whoever began it,
        so a caller believes only its own.
        """
        begun: list[Stop] = []

        def pull(stop: Stop) -> Snapshot:
            begun.append(stop)
            with self._tracing.span("pull", reference=request.reference, digest=digest):
                return self._pull(key, digest, request, stop)

        while True:
            try:
                with wait.ticking(lambda: told(self._totals(key))) if told else nullcontext():
                    return self._pulls.join(key, pull, wait)
            except (Unauthenticated, AccessDenied):
                if begun:
                    raise
            except TimeoutError:
                raise self._still_pulling(key, digest, request) from None

    def _still_pulling(self, key: str, digest: Digest, request: PullRequest) -> StillPulling:
        total = self._totals(key)
        return StillPulling(
            f"pulling {request.reference}: {describe(total) if total.total else 'about to start'}",
            fetched=total.fetched,
            total=total.total,
            rate=total.rate(),
            manifest_digest=str(digest),
        )

    def _totals(self, key: str) -> Totals:
        """How far the pull is; nothing of nothing before its layers are known."""
        with self._lock:
            layers = self._progress.get(key, [])
        return Progress.sum(layers)

    def _pull(self, key: str, digest: Digest, request: PullRequest, stop: Stop) -> Snapshot:
        started = time.monotonic()
        self._metrics.cache_misses.inc()  # here, as a caller that waits asks again and again
        try:
            artifact = self._artifacts.read(request, digest)
            snapshot, fetched = self._make(key, digest, request, artifact, stop)
        except DriverError as error:
            self._metrics.pulls_failed.labels(type(error).__name__).inc()
            raise
        seconds = time.monotonic() - started
        log.event("pulled", reference=request.reference, digest=digest, fetched_bytes=fetched, seconds=seconds)
        return snapshot

    def _make(
        self, key: str, digest: Digest, request: PullRequest, artifact: Artifact, stop: Stop
    ) -> tuple[Snapshot, int]:
        """The snapshot, and how many bytes had to be fetched for it.

        Where a part of a layer turns out to need the rest of it, all layers are kept whole.
        """
        whole = False
        while True:
            taken = wanted(artifact, request, self._cache, whole=whole)
            spec = SnapshotSpec(
                reference=str(request.reference),
                manifest_digest=digest,
                selection=request.selection,
                layers=taken.layers,
                files=artifact.files,
                parents=artifact.parents,
            )
            try:
                with self._cache.lease(key, [LayerId.of(layer) for layer in taken.layers]):
                    return self._fetch_and_assemble(key, spec, taken.origins, stop)
            except NotInPart as error:
                if not taken.is_selected:
                    raise
                log.warning("a layer cannot be kept in part", reference=request.reference, reason=error)
            whole = True

    def _fetch_and_assemble(
        self, key: str, spec: SnapshotSpec, origins: Mapping[LayerId, Origin], stop: Stop
    ) -> tuple[Snapshot, int]:
        """The snapshot, and how many bytes had to be fetched for it.

        A layer that is found damaged between the two is fetched once more.
        """
        fetched = self._fetch_missing(key, list(spec.layers), origins)
        stop.check()
        try:
            return self._assemble(key, spec), fetched
        except LayerGone as error:
            log.warning("a layer went while a snapshot was made of it, and is fetched again", reason=error)
        fetched += self._fetch_missing(key, list(spec.layers), origins)
        stop.check()
        return self._assemble(key, spec), fetched

    def _assemble(self, key: str, spec: SnapshotSpec) -> Snapshot:
        with self._tracing.span("assemble", layers=len(spec.layers)):
            return self._cache.assemble(key, spec)

    def _fetch_missing(self, key: str, layers: list[Layer], origins: Mapping[LayerId, Origin]) -> int:
        """Bring the layers that are not here, or not from their registry, all at once; how many bytes that took."""
        fetched = 0
        wanted = {LayerId.of(layer): layer for layer in layers}
        # The flight of a layer may have been joined that fetched it from another registry; then this one comes next.
        while missing := {
            each: wanted[each] for each in wanted if not self._cache.is_served(each, origins[each].registry)
        }:
            needs = [Need(each, origins[each].registry, _footprint(layer)) for each, layer in missing.items()]
            with self._cache.reserve(needs), self._tracked(key, missing) as shown:
                flies = {
                    each: partial(self._fetch, layer, origins[each], shown[each]) for each, layer in missing.items()
                }
                self._layers.join_all(flies, Wait(Deadline.never()))
            fetched += sum(layer.descriptor.size for layer in missing.values())
        return fetched

    @contextmanager
    def _tracked(self, key: str, missing: dict[LayerId, Layer]) -> Iterator[dict[LayerId, Progress]]:
        """Show how far the layers of this pull are; a layer that several pulls wait for counts in each of them."""
        with self._lock:
            shown = {
                identity: self._shared.setdefault(identity, Progress(layer.descriptor.size))
                for identity, layer in missing.items()
            }
            self._progress[key] = list(shown.values())
        try:
            yield shown
        finally:
            with self._lock:
                del self._progress[key]
                used = {id(progress) for layers in self._progress.values() for progress in layers}
                self._shared = {identity: each for identity, each in self._shared.items() if id(each) in used}

    def _fetch(self, layer: Layer, origin: Origin, progress: Progress, stop: Stop) -> None:
        """Bring one layer into the cache; a body that does not match its digest is fetched again, from elsewhere where
        there is a host that has not sent any of it."""
        identity = LayerId.of(layer)
        source, described = origin.repository.blob(layer.descriptor), layer.descriptor
        while not self._cache.is_served(identity, origin.registry):
            span = self._tracing.span("fetch", digest=described.digest, size=described.size, packing=layer.packing)
            try:
                with span:
                    return self._fetch_once(identity, layer, origin, source, progress=progress, stop=stop)
            except ContentMismatch as error:
                if not source.distrust(error):
                    raise
                log.warning("a layer did not match and is fetched again", layer=identity.digest, reason=error)
        return None

    def _fetch_once(
        self, identity: LayerId, layer: Layer, origin: Origin, source: BlobSource, *, progress: Progress, stop: Stop
    ) -> None:
        blob = Blob(layer.descriptor.digest, layer.descriptor.size, layer.packing, layer.part)
        try:
            into = self._cache.ingest(identity, origin.registry)
            with Growth(self._cache, identity, origin.registry, _footprint(layer)) as growth:
                fetched = self._engine.fetch(blob, source, into, progress=progress, stop=stop, grant=growth.grant)
        except (ContentMismatch, UnsupportedArtifact, NoSpace, NotFound):
            self._cache.discard(identity)
            raise
        self._cache.served(identity, origin.registry)
        self._cache.commit(identity, mode=layer.mode, mtime_ns=layer.mtime_ns)
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
    return Room(size, _LAYER_INODES + (size >> 20 if layer.packing.is_tree else 0))
