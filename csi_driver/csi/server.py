"""The gRPC server: the driver's services on one unix socket."""

import grpc

from csi_driver import log
from csi_driver.csi.endpoint import Endpoint, Inode
from csi_driver.csi.pb import csi_pb2_grpc, model_csi_pb2_grpc
from csi_driver.csi.status import Observe, StatusInterceptor
from csi_driver.csi.waiting import PLACES, WaitingRoom
from csi_driver.errors import Conflict
from csi_driver.inflight import rpc_executor
from csi_driver.tracing import Tracing

# Threads for calls. Those beyond the places of the waiting room are for calls that answer at once, Probe first of all.
WORKERS = PLACES + 32

# A Secret has at most 1 MiB (core/v1 MaxSecretSize), and every other field much less.
_LARGEST_REQUEST = 2 * 1024 * 1024


class Server:
    """Serves from `start` to `stop`; `observe` is told of every call."""

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        identity: csi_pb2_grpc.IdentityServicer,
        node: csi_pb2_grpc.NodeServicer,
        controller: csi_pb2_grpc.ControllerServicer,
        models: model_csi_pb2_grpc.ModelsServicer,
        waiting: WaitingRoom,
        observe: Observe,
        tracing: Tracing,
        workers: int = WORKERS,
    ) -> None:
        self._endpoint = endpoint
        self._waiting = waiting
        self._socket: Inode | None = None
        self._server = grpc.server(
            rpc_executor(workers),
            interceptors=[StatusInterceptor(observe=observe, tracing=tracing)],
            options=[("grpc.max_receive_message_length", _LARGEST_REQUEST), ("grpc.so_reuseport", 0)],
        )
        csi_pb2_grpc.add_IdentityServicer_to_server(identity, self._server)
        csi_pb2_grpc.add_NodeServicer_to_server(node, self._server)
        csi_pb2_grpc.add_ControllerServicer_to_server(controller, self._server)
        model_csi_pb2_grpc.add_ModelsServicer_to_server(models, self._server)

    def start(self) -> None:
        """Listen and answer; raises `Conflict` when the socket is another driver's or cannot be made."""
        self._endpoint.make_room()
        with self._endpoint.address() as address:
            try:
                self._server.add_insecure_port(address)
            except RuntimeError as error:
                raise Conflict(f"cannot listen on {self._endpoint}: {error}") from error
        self._socket = self._endpoint.inode()
        self._server.start()
        log.event("serving", endpoint=self._endpoint)

    def stop(self, grace: float) -> None:
        """Take no more calls, send those away that wait, and give the others `grace` seconds to end."""
        self._endpoint.release(self._socket)
        self._waiting.close()
        self._server.stop(grace).wait(grace + 1.0)
