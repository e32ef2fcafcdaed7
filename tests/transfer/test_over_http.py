"""The engine and the registry client together, over sockets and against every fault of a registry."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf
from threading import Thread, current_thread

import pytest

from csi_driver.errors import ContentMismatch, Stopping, Unavailable, UnsupportedArtifact
from csi_driver.inflight import spawn
from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.digest import Digest
from csi_driver.oci.media import Packing
from csi_driver.oci.reference import Reference
from csi_driver.registry.blob import BlobSource
from csi_driver.registry.client import Registry
from csi_driver.registry.keychain import Keychain
from csi_driver.registry.retry import Retry
from csi_driver.registry.transport import Transport
from csi_driver.transfer.stream import Patience
from tests.fixtures.faults import Fault
from tests.fixtures.registry import EmbeddedRegistry
from tests.transfer.archives import END, gzipped, member, zstd
from tests.transfer.conftest import SMALL, Bench
from tests.transfer.test_split import SPLIT

DATA = os.urandom(50 * SMALL + 99)
FILES = {f"f{number}": os.urandom(400_000) for number in range(8)}
ARCHIVE = b"".join(member(name, data) for name, data in FILES.items()) + END
BLOBS = "/v2/*/blobs/*"
WHOLE = replace(SPLIT, slow=0.0)

Serve = Callable[[bytes], BlobSource]


@pytest.fixture(params=[False, True], ids=["direct", "redirected"])
def registry(request: pytest.FixtureRequest) -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry(redirect_blobs=request.param) as registry:
        yield registry


@pytest.fixture
def stall_timeout() -> float:
    return 10.0


@pytest.fixture
def paused() -> dict[Thread, float]:
    """The seconds that each thread would have slept between its tries to be answered."""
    return defaultdict(float)


@pytest.fixture
def serve(registry: EmbeddedRegistry, stall_timeout: float, paused: dict[Thread, float]) -> Iterator[Serve]:
    """Puts a blob into the registry; the source to fetch it from."""

    def pause(seconds: float) -> None:
        paused[current_thread()] += seconds

    transport = Transport(stall_timeout=stall_timeout)
    client = Registry(
        transport=transport,
        node_keychain=Keychain.anonymous(),
        retry=Retry(patience=10.0, sleep=pause),
        plain_http_hosts=(),
        loopback_plain_http=True,
    )

    def put(data: bytes) -> BlobSource:
        digest = Digest.parse(registry.put_blob(data))
        repository = client.repository(Reference.parse(f"{registry.host}/models/m:v1"), None)
        return repository.blob(Descriptor("application/octet-stream", digest, len(data)))

    yield put
    transport.close()


@pytest.mark.parametrize(
    ("packing", "data"),
    [(Packing.TAR, ARCHIVE), (Packing.TAR_GZIP, gzipped(ARCHIVE)), (Packing.TAR_ZSTD, zstd(ARCHIVE))],
)
@pytest.mark.parametrize("splits", [False, True])
def test_a_layer_comes_over_http(bench: Bench, serve: Serve, packing: Packing, data: bytes, splits: bool) -> None:
    bench.splitting = SPLIT if splits else WHOLE
    bench.fetch(data, packing, source=serve(data))
    assert bench.tree() == FILES


def faulty(registry: EmbeddedRegistry, fault: Fault, *, times: int = 1, skip: int = 0) -> None:
    """Let answers with the bytes of blobs go wrong, not those that redirect to them."""
    if registry.distribution.redirect_blobs:
        registry.faults.add(fault, server="storage", times=times, skip=skip)
    else:
        registry.faults.add(fault, path=BLOBS, times=times, skip=skip)


@pytest.mark.parametrize("splits", [False, True])
@pytest.mark.parametrize(
    "fault",
    [Fault(drop_after=500_000), Fault(status=503), Fault(refuse=True), Fault(ignore_range=True), Fault(chunked=True)],
)
def test_faults_on_the_way_are_overcome(
    bench: Bench, registry: EmbeddedRegistry, serve: Serve, fault: Fault, splits: bool
) -> None:
    bench.splitting = SPLIT if splits else WHOLE
    source = serve(DATA)
    faulty(registry, fault, times=1)
    faulty(registry, replace(fault, drop_after=10_000 if fault.drop_after else None), times=2, skip=3)
    bench.fetch(DATA, Packing.RAW, source=source)
    assert bench.content.read_bytes() == DATA


@pytest.mark.parametrize("splits", [False, True])
@pytest.mark.parametrize("fault", [Fault(ignore_range=True), Fault(shift_range=1), Fault(status=416)])
def test_a_range_that_is_answered_with_something_else_is_had_in_another_way(
    bench: Bench, registry: EmbeddedRegistry, serve: Serve, fault: Fault, splits: bool
) -> None:
    bench.splitting = SPLIT if splits else WHOLE
    source = serve(DATA)
    faulty(registry, Fault(drop_after=500_000))
    registry.faults.add(fault, path="*sha256*", times=3, when=lambda seen: "range" in seen.headers)
    bench.fetch(DATA, Packing.RAW, source=source)
    assert bench.content.read_bytes() == DATA


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(status=429, headers={"Retry-After": "9"})])
def test_a_split_that_gets_no_ranges_keeps_nobody_waiting(
    bench: Bench, registry: EmbeddedRegistry, serve: Serve, fault: Fault, paused: dict[Thread, float]
) -> None:
    bench.splitting = SPLIT
    source = serve(DATA)
    registry.faults.add(fault, path="*sha256*", times=inf, when=lambda seen: "range" in seen.headers)
    bench.fetch(DATA, Packing.RAW, source=source)
    assert bench.content.read_bytes() == DATA
    assert max(paused.values(), default=0.0) <= 2.0


def test_a_split_outlives_a_registry_that_is_busy_for_a_moment(
    bench: Bench, registry: EmbeddedRegistry, serve: Serve
) -> None:
    bench.splitting = SPLIT
    source = serve(DATA)
    registry.faults.add(Fault(status=503), path=BLOBS, times=2, skip=8)
    bench.fetch(DATA, Packing.RAW, source=source)
    assert bench.content.read_bytes() == DATA
    ranges = [seen.headers["range"].removeprefix("bytes=") for seen in registry.seen() if "range" in seen.headers]
    assert all(int(stop) - int(start) < SMALL for start, stop in (one.split("-") for one in ranges))


@pytest.mark.parametrize("stall_timeout", [0.5])
@pytest.mark.parametrize(("splits", "skip"), [(False, 0), (True, 3)])
def test_only_what_an_answer_that_stalls_still_owes_is_asked_for_again(
    bench: Bench, registry: EmbeddedRegistry, serve: Serve, splits: bool, skip: int
) -> None:
    bench.splitting = SPLIT if splits else WHOLE
    source = serve(DATA)
    faulty(registry, Fault(stall_after=50_000), skip=skip)
    bench.fetch(DATA, Packing.RAW, source=source)
    assert bench.content.read_bytes() == DATA
    ranges = [seen.headers["range"].removeprefix("bytes=") for seen in registry.seen() if "range" in seen.headers]
    offsets = [tuple(map(int, one.split("-"))) for one in ranges]
    assert any(start % SMALL == 50_000 and stop - start < (SMALL if splits else len(DATA)) for start, stop in offsets)


def test_an_answer_that_drips_is_broken_off_and_only_the_rest_asked_for_again(
    bench: Bench, registry: EmbeddedRegistry, serve: Serve
) -> None:
    bench.patience, bench.splitting = Patience(attempts=3, pause=0.0, slowest=100_000, window=0.5), WHOLE
    source = serve(DATA)
    faulty(registry, Fault(drip_body=0.01))
    bench.fetch(DATA, Packing.RAW, source=source)
    assert bench.content.read_bytes() == DATA
    *_, last = registry.seen(method="GET")
    start = int(last.headers["range"].removeprefix("bytes=").partition("-")[0])
    assert 0 < start < 1000


def test_damage_on_the_way_is_noticed(bench: Bench, registry: EmbeddedRegistry, serve: Serve) -> None:
    source = serve(DATA)
    faulty(registry, Fault(corrupt_at=1_000_000))
    with pytest.raises(ContentMismatch):
        bench.fetch(DATA, Packing.RAW, source=source)
    bench.fetch(DATA, Packing.RAW, source=source)
    assert bench.content.read_bytes() == DATA


def test_a_blob_of_another_size_is_noticed(bench: Bench, registry: EmbeddedRegistry, serve: Serve) -> None:
    source = serve(DATA)
    faulty(registry, Fault(extra=b"more"))
    with pytest.raises(UnsupportedArtifact):
        bench.fetch(DATA, Packing.RAW, source=source)


@pytest.mark.parametrize("splits", [False, True])
def test_a_stop_wakes_whoever_waits_for_the_registry(
    bench: Bench, registry: EmbeddedRegistry, serve: Serve, splits: bool
) -> None:
    bench.splitting = SPLIT if splits else WHOLE
    source = serve(DATA)
    registry.gate.hold(at=1_000_000)
    fetching = spawn("test", lambda: bench.fetch(DATA, Packing.RAW, source=source))
    registry.gate.wait_until_held()
    bench.stop.set()
    with pytest.raises(Stopping):
        fetching.result(30)
    registry.gate.open()
    bench.stop = type(bench.stop)()
    assert bench.fetch(DATA, Packing.RAW, source=source).resumed > 0
    assert bench.content.read_bytes() == DATA


def test_a_registry_that_goes_away_is_given_up(bench: Bench, registry: EmbeddedRegistry, serve: Serve) -> None:
    source = serve(DATA)
    faulty(registry, Fault(drop_after=1_000_000))
    registry.faults.add(Fault(refuse=True), times=10_000)
    with pytest.raises(Unavailable):
        bench.fetch(DATA, Packing.RAW, source=source)
    registry.faults.clear()
    bench.fetch(DATA, Packing.RAW, source=source)
    assert bench.content.read_bytes() == DATA
