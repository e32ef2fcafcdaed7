"""CSI's Node service: volumes of this node appear, are measured and go."""

# ruff: noqa: N802, ARG002  method names and signatures are the CSI specification's

from pathlib import Path
from typing import Protocol

import grpc

from csi_driver import log
from csi_driver.csi import condition, requests
from csi_driver.csi.pb import csi_pb2, csi_pb2_grpc
from csi_driver.csi.waiting import WaitingRoom
from csi_driver.inflight import Wait
from csi_driver.volumes.volume import PublishSpec, VolumeStats

# GET_VOLUME_HEALTH is alpha in CSI 1.13, where it takes the place of VOLUME_CONDITION.
_CAPABILITIES = (
    csi_pb2.NodeServiceCapability.RPC.GET_VOLUME_STATS,
    condition.VOLUME_CONDITION,
    csi_pb2.NodeServiceCapability.RPC.GET_VOLUME_HEALTH,
)


class Publisher(Protocol):
    """Who makes volumes appear and disappear; raises the driver's errors."""

    def publish(self, spec: PublishSpec, wait: Wait) -> None: ...

    def is_adopted(self, volume_id: str, target: Path) -> bool: ...

    def unpublish(self, volume_id: str, target: Path) -> None: ...

    def stats(self, volume_id: str, path: Path | None) -> VolumeStats:
        """The volume at `path`, or wherever it is published; raises `NotFound` when it is not."""
        ...


class Node(csi_pb2_grpc.NodeServicer):
    """Answers for `node_id`. A publish waits in the `waiting` room; everything else is answered at once."""

    def __init__(self, *, publisher: Publisher, waiting: WaitingRoom, service_name: str, node_id: str) -> None:
        self._publisher = publisher
        self._waiting = waiting
        self._service_name = service_name
        self._node_id = node_id

    def NodePublishVolume(
        self, request: csi_pb2.NodePublishVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodePublishVolumeResponse:
        """A live mount of the Go driver stays, whatever its volume was asked for with: here that may not be offered."""
        if self._publisher.is_adopted(*requests.volume_at(request)):
            return csi_pb2.NodePublishVolumeResponse()
        spec = requests.publish_spec(request, self._service_name)
        with log.context(reference=spec.reference), self._waiting.enter(context) as wait:
            self._publisher.publish(spec, wait)
        return csi_pb2.NodePublishVolumeResponse()

    def NodeUnpublishVolume(
        self, request: csi_pb2.NodeUnpublishVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeUnpublishVolumeResponse:
        self._publisher.unpublish(*requests.volume_at(request))
        return csi_pb2.NodeUnpublishVolumeResponse()

    def NodeGetVolumeStats(
        self, request: csi_pb2.NodeGetVolumeStatsRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetVolumeStatsResponse:
        """A model fills its volume: nothing is available, as nothing can be written."""
        stats = self._publisher.stats(*requests.volume_seen(request))
        usage = [
            csi_pb2.VolumeUsage(unit=unit, total=used, used=used, available=0)
            for unit, used in (
                (csi_pb2.VolumeUsage.BYTES, stats.bytes_used),
                (csi_pb2.VolumeUsage.INODES, stats.inodes_used),
            )
        ]
        response = csi_pb2.NodeGetVolumeStatsResponse(usage=usage)
        condition.add_condition(response, stats)
        return response

    def NodeGetVolumeHealth(
        self, request: csi_pb2.NodeGetVolumeHealthRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetVolumeHealthResponse:
        volume_id, path = requests.volume_examined(request)
        health = condition.health_of(volume_id, self._publisher.stats(volume_id, path))
        return csi_pb2.NodeGetVolumeHealthResponse(volume_health=health)

    def NodeGetCapabilities(
        self, request: csi_pb2.NodeGetCapabilitiesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetCapabilitiesResponse:
        response = csi_pb2.NodeGetCapabilitiesResponse()
        for capability in _CAPABILITIES:
            response.capabilities.add().rpc.type = capability  # type: ignore[assignment]  # open enum: any number
        return response

    def NodeGetInfo(
        self, request: csi_pb2.NodeGetInfoRequest, context: grpc.ServicerContext
    ) -> csi_pb2.NodeGetInfoResponse:
        """No topology: every node can have every model. No limit: volumes of one model share one copy."""
        return csi_pb2.NodeGetInfoResponse(node_id=self._node_id)
