"""Clients whose pauses between tries take no time, and blobs to read with them."""

import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.digest import Digest
from csi_driver.oci.reference import Reference
from csi_driver.registry.blob import BlobSource
from csi_driver.registry.client import Registry, Repository
from csi_driver.registry.credential import Credential
from csi_driver.registry.hostsdir import HostsDirectory
from csi_driver.registry.keychain import Found, Keychain
from csi_driver.registry.retry import Retry
from csi_driver.registry.transport import Transport, tls_context
from tests.fixtures.certificates import Authority
from tests.fixtures.registry import EmbeddedRegistry

CONTENT = bytes(range(256)) * 4096  # 1 MiB
TLS = tls_context()  # costs 30 ms


@dataclass
class Client:
    """A client, and the seconds that it would have slept."""

    sleeps: list[float] = field(default_factory=list)
    transports: list[Transport] = field(default_factory=list)
    patience: float = 60.0

    def repository(
        self,
        reference: str,
        keychain: Keychain | None = None,
        *,
        node_keychain: Keychain | None = None,
        plain_http_hosts: Collection[str] = (),
        loopback_plain_http: bool = True,
        hosts_dir: Path | None = None,
        **options: Any,
    ) -> Repository:
        """A new client's view; `options` are those of `Transport`."""
        self.transports.append(Transport(**{"stall_timeout": 10.0, "tls": TLS, **options}))
        registry = Registry(
            transport=self.transports[-1],
            node_keychain=node_keychain or Keychain.anonymous(),
            retry=Retry(patience=self.patience, sleep=self.sleeps.append, jitter=lambda: 1.0),
            plain_http_hosts=plain_http_hosts,
            loopback_plain_http=loopback_plain_http,
            hosts=HostsDirectory(lambda: hosts_dir),
        )
        return registry.repository(Reference.parse(reference), keychain)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs certificates for this machine, and is trusted by nobody yet."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make certificates with")
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client()
    yield client
    for transport in client.transports:
        transport.close()


@pytest.fixture
def registry() -> Iterator[EmbeddedRegistry]:
    """A registry that wants nothing of anybody."""
    with EmbeddedRegistry() as registry:
        yield registry


def descriptor(digest: str, size: int, data: bytes | None = None) -> Descriptor:
    """What a manifest says of a blob."""
    return Descriptor("application/octet-stream", Digest.parse(digest), size, data=data)


def read_all(source: BlobSource, start: int = 0, stop: int | None = None, *, step: int = 1 << 18) -> bytes:
    """The bytes of a range."""
    with source.open(start, stop) as body:
        return b"".join(pieces(body.readinto, step))


def pieces(readinto: Callable[[memoryview], int], step: int) -> Iterator[bytes]:
    buffer = memoryview(bytearray(step))
    while count := readinto(buffer):
        yield bytes(buffer[:count])


def user(name: str, password: str) -> Keychain:
    """A keychain with these for every registry."""
    return Keychain((_Everywhere(Credential(name, password)),))


@dataclass
class _Everywhere:
    credential: Credential

    def find(self, _host: str, _repository: str) -> Found:
        return Found((self.credential,))

    def holder(self, _host: str, _repository: str) -> None:
        return None

    def plain_http(self, _host: str) -> bool:
        return False
