"""The administration service: pull a model ahead of its pods, and list what the node holds."""

# ruff: noqa: N802, ARG002  method names and signatures are those of proto/model_csi.proto

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import grpc

from csi_driver.csi import requests
from csi_driver.csi.pb import model_csi_pb2, model_csi_pb2_grpc
from csi_driver.csi.waiting import WaitingRoom
from csi_driver.errors import StillPulling
from csi_driver.inflight import Deadline, Dropped, Wait
from csi_driver.puller.request import PullRequest
from csi_driver.volumes.inventory import CachedModel

# Seconds between two reports of a pull: as often as a person can read them.
REPORT_EVERY = 0.5


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


class Inventory(Protocol):
    """Who knows what the node holds."""

    def models(self) -> Sequence[CachedModel]: ...


class Models(model_csi_pb2_grpc.ModelsServicer):
    """Serves `model-csi pull` and `model-csi list`."""

    def __init__(
        self, *, puller: Puller, inventory: Inventory, waiting: WaitingRoom, report_every: float = REPORT_EVERY
    ) -> None:
        self._puller = puller
        self._inventory = inventory
        self._waiting = waiting
        self._report_every = report_every

    def Pull(
        self, request: model_csi_pb2.PullRequest, context: grpc.ServicerContext
    ) -> Iterator[model_csi_pb2.PullProgress]:
        asked = requests.pull_request(request)
        with self._waiting.enter(context):
            yield from self._reports(asked, context)

    def List(self, request: model_csi_pb2.ListRequest, context: grpc.ServicerContext) -> model_csi_pb2.ListResponse:
        return model_csi_pb2.ListResponse(models=[_listed(model) for model in self._inventory.models()])

    def _reports(self, asked: PullRequest, context: grpc.ServicerContext) -> Iterator[model_csi_pb2.PullProgress]:
        """How far the pull is, until it is over; the pull itself goes on whoever listens.

        Raises `Dropped` when the client left.
        """
        known: str | None = None
        while context.is_active():
            self._waiting.check()
            try:
                with self._puller.snapshot(asked, Wait(Deadline.after(self._report_every)), known=known) as snapshot:
                    done = _pulled(asked, snapshot)
            except StillPulling as still:
                # The reference was resolved and access checked once; asking the registry twice a second would be rude.
                known = still.manifest_digest or known
                yield _underway(still)
            else:
                yield done
                return
        raise Dropped


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
    )
    listed.last_used.FromMicroseconds(int(model.last_used * 1_000_000))
    return listed
