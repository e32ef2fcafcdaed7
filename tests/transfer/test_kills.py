"""A process that is killed in the middle of a transfer: what the registry is asked for after that."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import pytest

from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.digest import Digest
from csi_driver.oci.media import Packing
from csi_driver.oci.reference import Reference
from csi_driver.registry.blob import BlobSource, Body
from csi_driver.registry.client import Registry
from csi_driver.registry.keychain import Keychain
from csi_driver.registry.retry import Retry
from csi_driver.registry.transport import Transport
from csi_driver.transfer.proof import prove_tree
from tests.fixtures.registry import EmbeddedRegistry
from tests.transfer.archives import END, member
from tests.transfer.conftest import SMALL, Bench
from tests.transfer.test_split import SPLIT

MEMBER = 100_000
DATA = os.urandom(3_000_000)
FILES = {f"f{number:02}": os.urandom(MEMBER) for number in range(30)}
ARCHIVE = b"".join(member(name, data) for name, data in FILES.items()) + END
ON_ITS_WAY = 6 * SMALL
"""All the buffers of the engine: what has arrived, and is neither hashed nor written yet."""

_STEP = 10_000
OFFSETS = [1, SMALL + 1, *random.Random(3).sample(range(2 * SMALL, 3_000_000), 6)]


@contextmanager
def source_of(host: str, digest: str, size: int) -> Iterator[BlobSource]:
    transport = Transport(stall_timeout=10.0)
    client = Registry(
        transport=transport,
        node_keychain=Keychain.anonymous(),
        retry=Retry(patience=10.0, sleep=lambda _: False),
        plain_http_hosts=(),
        loopback_plain_http=True,
    )
    repository = client.repository(Reference.parse(f"{host}/models/m:v1"), None)
    try:
        yield repository.blob(Descriptor("application/octet-stream", Digest.parse(digest), size))
    finally:
        transport.close()


class Deadly:
    """A source whose reader is killed when it has taken so many bytes, over however many connections."""

    def __init__(self, source: BlobSource, offset: int) -> None:
        self._source = source
        self._left = offset
        self._lock = Lock()

    def open(self, start: int, stop: int | None, /, *, briefly: bool = False) -> "DeadlyBody":
        return DeadlyBody(self._source.open(start, stop, briefly=briefly), self.take)

    def take(self, wanted: int) -> int:
        """How many of so many bytes to read before the next look."""
        with self._lock:
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            count = min(wanted, self._left, _STEP)
            self._left -= count
            return count


class DeadlyBody:
    def __init__(self, body: Body, take: Callable[[int], int]) -> None:
        self._body = body
        self._take = take

    def readinto(self, view: memoryview, /) -> int:
        count, filled = self._take(len(view)), 0
        while filled < count and (more := self._body.readinto(view[filled:count])):
            filled += more
        return filled

    def abort(self) -> None:
        self._body.abort()

    def __enter__(self) -> "DeadlyBody":
        return self

    def __exit__(self, *_: object) -> None:
        self._body.close()


def die_while_fetching(host: str, file: str, into: str, packing: str, offset: int, *, splits: bool) -> None:
    """What the process that is killed does."""
    data, bench = Path(file).read_bytes(), Bench(Path(into))
    bench.splitting = SPLIT if splits else bench.splitting
    with source_of(host, str(Digest.of(data)), len(data)) as source:
        bench.fetch(data, Packing(packing), source=Deadly(source, offset))


@pytest.fixture
def registry() -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry() as registry:
        yield registry


@pytest.mark.parametrize(("offset", "splits"), [*((offset, False) for offset in OFFSETS), (1_500_000, True)])
@pytest.mark.parametrize(("packing", "data"), [(Packing.RAW, DATA), (Packing.TAR, ARCHIVE)], ids=["raw", "tar"])
def test_what_had_arrived_before_a_kill_is_not_sent_again(
    bench: Bench, registry: EmbeddedRegistry, tmp_path: Path, packing: Packing, data: bytes, offset: int,
    splits: bool,
) -> None:  # fmt: skip
    digest = registry.put_blob(data)
    (tmp_path / "blob").write_bytes(data)
    call = f"from {__name__} import *; die_while_fetching(*{[registry.host, str(tmp_path / 'blob'), str(bench.into)]}"
    child = subprocess.run([sys.executable, "-c", f"{call}, {packing.value!r}, {offset}, {splits=})"], check=False)
    assert child.returncode == -signal.SIGKILL
    before = registry.count(path="/v2/*/blobs/*")
    assert (before > 1) is splits

    with source_of(registry.host, digest, len(data)) as source:
        fetched = bench.fetch(data, packing, source=source)
    (first, *others) = registry.seen(path="/v2/*/blobs/*")[before:]
    assert others == []
    start = int(first.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
    assert start == fetched.resumed
    lost = offset - start
    last_mark = 0 if packing is Packing.RAW else bench.mark_every + MEMBER + 512
    assert lost <= ON_ITS_WAY + last_mark
    if packing is Packing.RAW:
        assert bench.content.read_bytes() == data
    else:
        assert bench.tree() == FILES
        prove_tree(bench.content, bench.into / "skeleton", Digest.of(data), pace=lambda _: None)
