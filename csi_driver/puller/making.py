"""How one pull makes the snapshot of its model: what it consists of, its layers, and the tree of them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from csi_driver import log
from csi_driver.cache.layout import LayerId
from csi_driver.cache.room import Room
from csi_driver.cache.snapshots import Snapshot, SnapshotSpec
from csi_driver.cache.store import Cache
from csi_driver.errors import LayerGone, NoSpace
from csi_driver.inflight import Deadline, Stop, Wait
from csi_driver.oci.digest import Digest
from csi_driver.oci.part import NotInPart
from csi_driver.puller.artifact import Artifact, Artifacts, Origin
from csi_driver.puller.growth import Growth
from csi_driver.puller.layers import LayerFetcher
from csi_driver.puller.request import PullRequest
from csi_driver.puller.wanted import wanted
from csi_driver.tracing import Tracing

_FEW = Room(0, 1000)
"""What a snapshot may take of its own, as directories and links, without a look at the whole cache."""


@dataclass(frozen=True, slots=True)
class Run:
    """One pull under way; whoever drops its wait has it end where it can be gone on with.

    `is_urgent` tells whether a pod has waited for it, which may change at any time.
    """

    key: str
    digest: Digest
    request: PullRequest
    stop: Stop
    is_urgent: Callable[[], bool]
    wait: Wait = field(default_factory=lambda: Wait(Deadline.never()))


class Maker:
    """Makes snapshots of models, leasing what it works on."""

    def __init__(self, *, artifacts: Artifacts, cache: Cache, layers: LayerFetcher, tracing: Tracing) -> None:
        self._artifacts = artifacts
        self._cache = cache
        self._layers = layers
        self._tracing = tracing

    def make(self, run: Run) -> Snapshot:
        """The snapshot of the model, whole and on the disk.

        Raises `Dropped` when the run's wait is dropped, `Stopping`, and what goes wrong in reading, fetching or
        assembling the model.
        """
        started = time.monotonic()
        reference = run.request.reference
        artifact = self._artifacts.read(run.request, run.digest)
        snapshot, fetched = self._make(run, artifact)
        seconds = time.monotonic() - started
        log.event("pulled", reference=reference, digest=run.digest, fetched_bytes=fetched, seconds=seconds)
        return snapshot

    def close(self) -> None:
        """Ask all transfers to end, and begin no more."""
        self._layers.close()

    def drain(self, deadline: Deadline) -> None:
        """Return when all have ended; raises `TimeoutError` at the deadline. For after `close`."""
        self._layers.drain(deadline)

    def _make(self, run: Run, artifact: Artifact) -> tuple[Snapshot, int]:
        """The snapshot, and how many bytes had to be fetched for it.

        Where a part of a layer turns out to need the rest of it, all layers are kept whole.
        """
        whole = False
        while True:
            taken = wanted(artifact, run.request, self._cache, whole=whole)
            spec = SnapshotSpec(
                reference=str(run.request.reference),
                manifest_digest=run.digest,
                selection=run.request.selection,
                layers=taken.layers,
                files=artifact.files,
                parents=artifact.parents,
            )
            try:
                with self._cache.lease(run.key, [LayerId.of(layer) for layer in taken.layers]):
                    return self._fetch_and_assemble(run, spec, taken.origins)
            except NotInPart as error:
                if not taken.is_selected:
                    raise
                log.warning("a layer cannot be kept in part", reference=run.request.reference, reason=error)
            whole = True

    def _fetch_and_assemble(
        self, run: Run, spec: SnapshotSpec, origins: Mapping[LayerId, Origin]
    ) -> tuple[Snapshot, int]:
        """The snapshot, and how many bytes had to be fetched for it.

        A layer that is found damaged between the two is fetched once more.
        """
        fetched = self._fetched(run, spec, origins)
        try:
            return self._assemble(run, spec), fetched
        except LayerGone as error:
            log.warning("a layer went while a snapshot was made of it, and is fetched again", reason=error)
        fetched += self._fetched(run, spec, origins)
        return self._assemble(run, spec), fetched

    def _assemble(self, run: Run, spec: SnapshotSpec) -> Snapshot:
        snapshot = LayerId(Digest.of(run.key.encode()), is_tree=False)  # nothing else has this name
        own = Growth(self._cache, snapshot, "", _FEW, urgent=run.is_urgent())
        with self._tracing.span("assemble", layers=len(spec.layers)), own:
            return self._cache.assemble(run.key, spec, grant=own.grant)

    def _fetched(self, run: Run, spec: SnapshotSpec, origins: Mapping[LayerId, Origin]) -> int:
        """Bring the layers; how many bytes that took. What is not urgent finds less room, but may become urgent."""
        while True:
            urgent = run.is_urgent()
            try:
                fetched = self._layers.bring(run.key, spec.reference, spec.layers, origins, run.wait, urgent=urgent)
            except NoSpace:
                if urgent or not run.is_urgent():
                    raise
            else:
                run.stop.check()
                return fetched
