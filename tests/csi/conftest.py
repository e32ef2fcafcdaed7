"""A driver's gRPC server on a real unix socket, with stand-ins for everything beneath csi/."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from csi_driver.csi.client import Client
from csi_driver.csi.controller import Controller
from csi_driver.csi.endpoint import Endpoint
from csi_driver.csi.identity import Identity
from csi_driver.csi.models import Models
from csi_driver.csi.node import Node
from csi_driver.csi.pb import csi_pb2_grpc
from csi_driver.csi.server import Server
from csi_driver.csi.waiting import PLACES, WaitingRoom
from csi_driver.tracing import Tracing
from tests.csi.fakes import Counter, FakeCollector, FakeInventory, FakePins, FakePublisher, FakePuller, FakeVerifier

SERVICE_NAME = "model.csi.modelpack.org"


class Driver:
    """One server and what stands in for the rest of the driver; also what `observe` was told."""

    def __init__(self, endpoint: Endpoint, *, places: int = PLACES, hold_seconds: float = 110.0) -> None:
        self.endpoint = endpoint
        self.publisher = FakePublisher()
        self.puller = FakePuller()
        self.inventory = FakeInventory()
        self.pins = FakePins()
        self.verifier = FakeVerifier()
        self.collector = FakeCollector()
        self.ready = True
        self.calls: list[tuple[str, str]] = []
        self.ended = Counter()
        self.waiting = WaitingRoom(hold_seconds=hold_seconds, places=places)
        self.server = Server(
            endpoint=endpoint,
            identity=Identity(name=SERVICE_NAME, ready=lambda: self.ready),
            node=Node(publisher=self.publisher, waiting=self.waiting, service_name=SERVICE_NAME, node_id="node-1"),
            controller=Controller(),
            models=Models(
                puller=self.puller,
                inventory=self.inventory,
                pins=self.pins,
                verifier=self.verifier,
                collector=self.collector,
                waiting=self.waiting,
                report_every=0.01,
            ),
            waiting=self.waiting,
            observe=self._observe,
            tracing=Tracing(),
        )

    def _observe(self, method: str, code: str, seconds: float) -> None:
        self.calls.append((method, code))
        self.ended.add()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """A socket that does not exist yet, with a path that is short wherever the tests run."""
    with tempfile.TemporaryDirectory(prefix="csi-") as directory:
        yield Endpoint(Path(directory) / "run" / "csi.sock")


@pytest.fixture
def serve(endpoint: Endpoint) -> Iterator[Callable[..., Driver]]:
    """Starts a driver on the endpoint; it ends with the test."""
    with ExitStack() as stack:

        def start(**settings: float) -> Driver:
            driver = Driver(endpoint, **settings)  # type: ignore[arg-type]  # the test knows the settings
            driver.server.start()
            stack.callback(driver.server.stop, 0)
            return driver

        yield start


@pytest.fixture
def driver(serve: Callable[..., Driver]) -> Driver:
    return serve()


@pytest.fixture
def client(driver: Driver) -> Iterator[Client]:
    with Client(driver.endpoint) as client:
        yield client


@pytest.fixture
def channel(endpoint: Endpoint) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"unix:{endpoint.path}", options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
        yield channel


@pytest.fixture
def node(driver: Driver, channel: grpc.Channel) -> csi_pb2_grpc.NodeStub:
    """The Node service as kubelet sees it."""
    return csi_pb2_grpc.NodeStub(channel)
