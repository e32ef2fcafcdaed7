"""CSI's Controller service: there is nothing to control, and it says so."""

# ruff: noqa: N802, ARG002  method names and signatures are the CSI specification's

import grpc

from csi_driver.csi.pb import csi_pb2, csi_pb2_grpc


class Controller(csi_pb2_grpc.ControllerServicer):
    """Offers no capability; every other call is UNIMPLEMENTED by the generated base.

    Orchestrators and conformance tests ask even a driver for inline volumes only.
    """

    def ControllerGetCapabilities(
        self, request: csi_pb2.ControllerGetCapabilitiesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerGetCapabilitiesResponse:
        return csi_pb2.ControllerGetCapabilitiesResponse()
