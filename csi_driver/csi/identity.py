"""CSI's Identity service: who the driver is and whether it is ready."""

# ruff: noqa: N802, ARG002  method names and signatures are the CSI specification's

from collections.abc import Callable

import grpc
from google.protobuf.wrappers_pb2 import BoolValue

from csi_driver import __version__
from csi_driver.csi.pb import csi_pb2, csi_pb2_grpc


class Identity(csi_pb2_grpc.IdentityServicer):
    """Answers at once, whatever the driver is at.

    `ready` tells whether start-up is over. It is asked by every liveness probe, so it must not wait for anything.
    """

    def __init__(self, *, name: str, ready: Callable[[], bool]) -> None:
        self._name = name
        self._ready = ready

    def GetPluginInfo(
        self, request: csi_pb2.GetPluginInfoRequest, context: grpc.ServicerContext
    ) -> csi_pb2.GetPluginInfoResponse:
        return csi_pb2.GetPluginInfoResponse(name=self._name, vendor_version=__version__)

    def GetPluginCapabilities(
        self, request: csi_pb2.GetPluginCapabilitiesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.GetPluginCapabilitiesResponse:
        """None: there is no controller service, and every node can have every model."""
        return csi_pb2.GetPluginCapabilitiesResponse()

    def Probe(self, request: csi_pb2.ProbeRequest, context: grpc.ServicerContext) -> csi_pb2.ProbeResponse:
        """A driver that still starts is healthy but not ready (CSI spec, Probe)."""
        return csi_pb2.ProbeResponse(ready=BoolValue(value=self._ready()))
