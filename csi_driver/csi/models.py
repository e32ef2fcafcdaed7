"""The administration service: pull a model ahead of its pods; list, prove and give up what the node holds."""

# ruff: noqa: N802, ARG002  method names and signatures are those of proto/model_csi.proto

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import grpc

from csi_driver.cache.layout import LayerId
from csi_driver.cache.pins import Pin
from csi_driver.csi import requests
from csi_driver.csi.pb import model_csi_pb2, model_csi_pb2_grpc
from csi_driver.csi.waiting import WaitingRoom
from csi_driver.errors import StillPulling
from csi_driver.inflight import Deadline, Dropped, Future, Stop, Wait, spawn
from csi_driver.puller.request import PullRequest
from csi_driver.verifier.report import Finding, Progress, Report, Scope
from csi_driver.volumes.collector import Collected, Item
from csi_driver.volumes.inventory import CachedModel

# Seconds between two reports of a pull: as often as a person can read them.
REPORT_EVERY = 0.5

_EVERYTHING = 1 << 62  # bytes, and more than any disk has


class Snapshot(Protocol):
    """A model in the cache, as far as it is reported here."""

    @property
    def manifest_digest(self) -> object: ...

    @property
    def size(self) -> int: ...

    @property
    def files(self) -> int: ...


class Puller(Protocol):
    """Who brings models here; raises the driver's errors, and `StillPulling` when the wait ends before the pull."""

    def snapshot(
        self, request: PullRequest, wait: Wait, *, known: str | None = None
    ) -> AbstractContextManager[Snapshot]: ...


class Pins(Protocol):
    """Who keeps models that no volume shows."""

    def put(self, pin: Pin) -> None: ...

    def remove(self, name: str) -> int: ...


class Inventory(Protocol):
    """Who knows what the node holds."""

    def models(self) -> Sequence[CachedModel]: ...

    def holding(self, layers: Iterable[LayerId]) -> Sequence[LayerId]: ...


class Verifier(Protocol):
    """Who proves what the cache holds; raises the driver's errors, and `Stopping` when told to stop."""

    def verify(self, scope: Scope, *, rate: Callable[[], float] | None, progress: Progress, stop: Stop) -> Report: ...


class Collector(Protocol):
    """Who gives up what nobody needs."""

    def collect(self, free: int | None, *, dry_run: bool) -> Collected: ...


class Models(model_csi_pb2_grpc.ModelsServicer):
    """Serves `model-csi pull`, `unpin`, `list`, `inspect`, `verify` and `gc`."""

    def __init__(
        self,
        *,
        puller: Puller,
        inventory: Inventory,
        pins: Pins,
        verifier: Verifier,
        collector: Collector,
        waiting: WaitingRoom,
        report_every: float = REPORT_EVERY,
    ) -> None:
        self._puller = puller
        self._inventory = inventory
        self._pins = pins
        self._verifier = verifier
        self._collector = collector
        self._waiting = waiting
        self._report_every = report_every

    def Pull(
        self, request: model_csi_pb2.PullRequest, context: grpc.ServicerContext
    ) -> Iterator[model_csi_pb2.PullProgress]:
        asked = requests.pull_request(request)
        with self._waiting.enter(context):
            yield from self._reports(asked, context, pin=request.pin)

    def Unpin(self, request: model_csi_pb2.UnpinRequest, context: grpc.ServicerContext) -> model_csi_pb2.UnpinResponse:
        return model_csi_pb2.UnpinResponse(pins=self._pins.remove(request.name.strip()))

    def List(self, request: model_csi_pb2.ListRequest, context: grpc.ServicerContext) -> model_csi_pb2.ListResponse:
        return model_csi_pb2.ListResponse(models=[_listed(model) for model in self._inventory.models()])

    def Held(self, request: model_csi_pb2.HeldRequest, context: grpc.ServicerContext) -> model_csi_pb2.HeldResponse:
        held = self._inventory.holding(requests.layers(request))
        return model_csi_pb2.HeldResponse(layers=[layer.name for layer in held])

    def Verify(
        self, request: model_csi_pb2.VerifyRequest, context: grpc.ServicerContext
    ) -> Iterator[model_csi_pb2.VerifyProgress]:
        scope, rate = requests.scope(request), float(request.max_bytes_per_second)
        with self._waiting.enter(context):
            yield from self._verification(scope, (lambda: rate) if rate else None, context)

    def Collect(
        self, request: model_csi_pb2.CollectRequest, context: grpc.ServicerContext
    ) -> model_csi_pb2.CollectResponse:
        asked = request.free_bytes
        collected = self._collector.collect(
            None if asked == 0 else asked if asked > 0 else _EVERYTHING, dry_run=request.dry_run
        )
        return model_csi_pb2.CollectResponse(
            freed_bytes=collected.freed, given_up=map(_item, collected.given_up), kept=map(_item, collected.kept)
        )

    def _verification(
        self, scope: Scope, rate: Callable[[], float] | None, context: grpc.ServicerContext
    ) -> Iterator[model_csi_pb2.VerifyProgress]:
        """How far the verification is, until it is over or the client has left; it ends with this call."""
        progress, stop = Progress(), Stop()
        work = spawn("verify", lambda: self._verifier.verify(scope, rate=rate, progress=progress, stop=stop))
        try:
            while not _is_over(work, self._report_every):
                self._waiting.check()
                if not context.is_active():
                    raise Dropped
                yield _verifying(progress)
        finally:
            stop.set()
        yield _verified(work.result())

    def _reports(
        self, asked: PullRequest, context: grpc.ServicerContext, *, pin: bool
    ) -> Iterator[model_csi_pb2.PullProgress]:
        """How far the pull is, until it is over; the pull itself goes on whoever listens.

        A model that is to be pinned is when it is here. Raises `Dropped` when the client left.
        """
        known: str | None = None
        while context.is_active():
            self._waiting.check()
            try:
                with self._puller.snapshot(asked, Wait(Deadline.after(self._report_every)), known=known) as snapshot:
                    if pin:
                        self._pins.put(Pin(str(asked.reference), asked.selection.key))
                    done = _pulled(asked, snapshot)
            except StillPulling as still:
                # The reference was resolved and access checked once; asking the registry twice a second would be rude.
                known = still.manifest_digest or known
                yield _underway(still)
            else:
                yield done
                return
        raise Dropped


def _is_over(work: "Future[Report]", seconds: float) -> bool:
    """Whether it is over, at the latest after so many seconds."""
    wait = Wait(Deadline.after(seconds))
    work.add_done_callback(lambda _: wait.wake())
    try:
        wait.until(work.done)
    except TimeoutError:
        return False
    return True


def _verifying(progress: Progress) -> model_csi_pb2.VerifyProgress:
    read, total, findings = progress.so_far()
    return model_csi_pb2.VerifyProgress(
        underway=model_csi_pb2.VerifyProgress.Underway(
            read_bytes=read, total_bytes=total, damages=map(_damage, findings)
        )
    )


def _verified(report: Report) -> model_csi_pb2.VerifyProgress:
    return model_csi_pb2.VerifyProgress(
        verified=model_csi_pb2.Verified(
            layers=report.layers,
            snapshots=report.snapshots,
            read_bytes=report.read,
            damages=map(_damage, report.findings),
        )
    )


def _damage(finding: Finding) -> model_csi_pb2.Damage:
    return model_csi_pb2.Damage(
        what=finding.what, reason=finding.reason, models=finding.models, volumes=finding.volumes
    )


def _item(item: Item) -> model_csi_pb2.CacheItem:
    return model_csi_pb2.CacheItem(name=item.name, reason=item.reason, size_bytes=item.bytes)


def _underway(still: StillPulling) -> model_csi_pb2.PullProgress:
    return model_csi_pb2.PullProgress(
        underway=model_csi_pb2.PullProgress.Underway(
            message=str(still), fetched_bytes=still.fetched, total_bytes=still.total, bytes_per_second=still.rate
        )
    )


def _pulled(asked: PullRequest, snapshot: Snapshot) -> model_csi_pb2.PullProgress:
    return model_csi_pb2.PullProgress(
        model=model_csi_pb2.PulledModel(
            reference=str(asked.reference),
            manifest_digest=str(snapshot.manifest_digest),
            size_bytes=snapshot.size,
            files=snapshot.files,
        )
    )


def _listed(model: CachedModel) -> model_csi_pb2.CachedModel:
    listed = model_csi_pb2.CachedModel(
        reference=model.reference,
        manifest_digest=model.manifest_digest,
        selection=model.selection,
        size_bytes=model.size,
        files=model.files,
        volumes=model.volumes,
        pinned=model.pinned,
    )
    listed.last_used.FromMicroseconds(int(model.last_used * 1_000_000))
    return listed
