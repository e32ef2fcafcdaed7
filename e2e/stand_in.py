"""The controller that csi-sanity wants beside a node-only driver: it gives each volume the attributes of a pod's spec.

csi-sanity's node specs publish volumes that CreateVolume has returned; a driver of inline volumes has no CreateVolume,
because there the kubelet takes the attributes from the pod. This stands in for the kubelet. It also announces a
controller and hands every call for Identity and Node on to the driver, byte for byte: some of the specs publish only
where the same endpoint claims to be a controller.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from csi_driver.csi.pb import csi_pb2

Handler = Callable[[bytes, grpc.ServicerContext], bytes]


@contextmanager
def beside(driver: str, socket: Path, attributes: Mapping[str, str]) -> Iterator[str]:
    """Serve at `socket` for the driver at the endpoint `driver`; the endpoint."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    with grpc.insecure_channel(driver) as channel:
        server.add_generic_rpc_handlers((_StandIn(channel, attributes),))
        server.add_insecure_port(f"unix://{socket}")
        server.start()
        yield f"unix://{socket}"
        server.stop(grace=5).wait()


class _StandIn(grpc.GenericRpcHandler):
    """Serialized requests in, serialized responses out."""

    def __init__(self, driver: grpc.Channel, attributes: Mapping[str, str]) -> None:
        self._driver = driver
        self._attributes = dict(attributes)
        self._own: dict[str, Handler] = {
            "/csi.v1.Controller/ControllerGetCapabilities": lambda *_: _capabilities().SerializeToString(),
            "/csi.v1.Controller/CreateVolume": lambda request, _: self._create_volume(request).SerializeToString(),
            "/csi.v1.Controller/DeleteVolume": lambda *_: csi_pb2.DeleteVolumeResponse().SerializeToString(),
        }

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        method = details.method
        if method.startswith(("/csi.v1.Identity/", "/csi.v1.Node/")):
            return grpc.unary_unary_rpc_method_handler(self._driver_answers(method))
        return grpc.unary_unary_rpc_method_handler(self._own[method]) if method in self._own else None

    def _create_volume(self, request: bytes) -> csi_pb2.CreateVolumeResponse:
        name = csi_pb2.CreateVolumeRequest.FromString(request).name
        return csi_pb2.CreateVolumeResponse(volume=csi_pb2.Volume(volume_id=name, volume_context=self._attributes))

    def _driver_answers(self, method: str) -> Handler:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._driver.unary_unary(method)
        is_announcement = method == "/csi.v1.Identity/GetPluginCapabilities"

        def handler(request: bytes, context: grpc.ServicerContext) -> bytes:
            try:
                response = call(request, timeout=60)
            except grpc.RpcError as error:
                context.abort(error.code(), error.details() or "")
            return _with_controller(response) if is_announcement else response

        return handler


def _capabilities() -> csi_pb2.ControllerGetCapabilitiesResponse:
    kind = csi_pb2.ControllerServiceCapability.RPC(type="CREATE_DELETE_VOLUME")
    return csi_pb2.ControllerGetCapabilitiesResponse(capabilities=[csi_pb2.ControllerServiceCapability(rpc=kind)])


def _with_controller(response: bytes) -> bytes:
    """The driver's own capabilities and one more: that this endpoint is a controller as well."""
    capabilities = csi_pb2.GetPluginCapabilitiesResponse.FromString(response)
    service = csi_pb2.PluginCapability.Service(type="CONTROLLER_SERVICE")
    capabilities.capabilities.append(csi_pb2.PluginCapability(service=service))
    return capabilities.SerializeToString()
