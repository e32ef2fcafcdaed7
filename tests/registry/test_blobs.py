"""Blobs: whole or in ranges, never more or less than asked, over connections that are used again."""

import threading
from pathlib import Path

import pytest

from csi_driver.errors import ContentMismatch, NotFound, RangeIgnored, Unavailable, UnsupportedArtifact
from csi_driver.registry.blob import BlobSource
from csi_driver.registry.message import Request
from csi_driver.registry.transport.bulk import Bulk, BulkStream
from csi_driver.registry.url import Url
from tests.fixtures.faults import Fault
from tests.fixtures.registry import EmbeddedRegistry
from tests.registry.conftest import CONTENT, TLS, Client, descriptor, read_all

BLOBS = "/v2/*/blobs/*"


@pytest.fixture
def source(client: Client, registry: EmbeddedRegistry) -> BlobSource:
    """One MiB."""
    digest = registry.put_blob(CONTENT)
    repository = client.repository(registry.reference("team/model", "v1"), stall_timeout=1.0)
    return repository.blob(descriptor(digest, len(CONTENT)))


def test_a_whole_blob_is_asked_for_without_a_range(source: BlobSource, registry: EmbeddedRegistry) -> None:
    assert read_all(source) == CONTENT
    (seen,) = registry.seen(path=BLOBS)
    assert "range" not in seen.headers
    assert seen.headers["accept-encoding"] == "identity"


def test_a_part_is_asked_for_with_a_closed_range(source: BlobSource, registry: EmbeddedRegistry) -> None:
    assert read_all(source, 1000, 5000) == CONTENT[1000:5000]
    assert read_all(source, 5000) == CONTENT[5000:]
    assert [seen.headers["range"] for seen in registry.seen()] == ["bytes=1000-4999", "bytes=5000-1048575"]


def test_one_connection_serves_many_ranges(source: BlobSource, registry: EmbeddedRegistry) -> None:
    for start in range(0, 100_000, 10_000):
        assert read_all(source, start, start + 10_000) == CONTENT[start : start + 10_000]
    assert registry.connections() == 1


def test_a_connection_that_was_closed_meanwhile_is_replaced_unnoticed(
    source: BlobSource, registry: EmbeddedRegistry, client: Client
) -> None:
    registry.faults.add(Fault(then=registry.cut_connections), path=BLOBS)
    assert read_all(source, 0, 1000) == CONTENT[:1000]
    assert read_all(source, 1000, 2000) == CONTENT[1000:2000]
    assert registry.connections() == 2
    assert client.sleeps == []


@pytest.mark.parametrize("body", [b"", b"no such range"])
def test_a_refusal_leaves_its_connection_to_the_next_request(
    source: BlobSource, registry: EmbeddedRegistry, body: bytes
) -> None:
    """Redirects, too, are often without a body: each would cost another handshake."""
    registry.faults.add(Fault(status=416, body=body))
    with pytest.raises(RangeIgnored):
        source.open(10, 1000)
    assert read_all(source, 10, 1000) == CONTENT[10:1000]
    assert registry.connections() == 1


def test_r1_a_blob_of_another_size_is_refused_before_its_body(client: Client, registry: EmbeddedRegistry) -> None:
    digest = registry.put_blob(CONTENT)
    repository = client.repository(registry.reference("team/model", "v1"))
    with pytest.raises(UnsupportedArtifact, match=f"has {len(CONTENT)} bytes for blob {digest} .* says 999"):
        repository.blob(descriptor(digest, 999)).open()


def test_r1_a_part_of_a_blob_of_another_size_is_refused(client: Client, registry: EmbeddedRegistry) -> None:
    digest = registry.put_blob(CONTENT)
    repository = client.repository(registry.reference("team/model", "v1"))
    with pytest.raises(UnsupportedArtifact, match="descriptor says 2000000"):
        repository.blob(descriptor(digest, 2_000_000)).open(5, 10)


def test_r1_a_body_longer_than_the_blob_is_noticed_at_the_first_byte_too_many(
    source: BlobSource, registry: EmbeddedRegistry
) -> None:
    registry.faults.add(Fault(extra=b"x", chunked=True))
    with source.open() as body:
        got = bytearray(len(CONTENT))
        filled = 0
        while filled < len(got):
            filled += body.readinto(memoryview(got)[filled:])
        with pytest.raises(ContentMismatch, match="more bytes came"):
            body.readinto(memoryview(bytearray(1)))
    assert got == CONTENT


def test_an_endless_body_is_not_read_further(source: BlobSource, registry: EmbeddedRegistry) -> None:
    registry.faults.add(Fault(endless=True))
    with pytest.raises(ContentMismatch):
        read_all(source)


@pytest.mark.parametrize("fault", [Fault(drop_after=700_000), Fault(short_by=1, chunked=True)])
def test_r11_a_short_body_is_unavailable(source: BlobSource, registry: EmbeddedRegistry, fault: Fault) -> None:
    registry.faults.add(fault)
    with pytest.raises(Unavailable, match=r"ended|missing"):
        read_all(source)


def test_r11_what_came_before_the_end_is_handed_over(source: BlobSource, registry: EmbeddedRegistry) -> None:
    registry.faults.add(Fault(drop_after=700_000))
    buffer = memoryview(bytearray(1 << 20))
    with source.open() as body:
        count = body.readinto(buffer)
        with pytest.raises(Unavailable):
            body.readinto(buffer[count:])
    assert buffer[:count] == CONTENT[:700_000]
    assert read_all(source, count) == CONTENT[count:]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(ignore_range=True),
        Fault(shift_range=1),
        Fault(status=416),
        Fault(headers={"Content-Range": "bytes 0-1048575/1048576"}),
        Fault(headers={"Content-Range": "potatoes"}),
        Fault(headers={"Content-Range": "bytes 10-2000/1048576"}),
        Fault(headers={"Content-Range": f"bytes 10-{'9' * 5000}/1048576"}),
    ],
    ids=["200", "shifted", "416", "other range", "garbage", "longer", "endless number"],
)
def test_r11_an_answer_that_is_not_the_range_is_told_apart(
    source: BlobSource, registry: EmbeddedRegistry, fault: Fault
) -> None:
    registry.faults.add(fault)
    with pytest.raises(RangeIgnored):
        source.open(10, 1000)
    assert registry.count() == 1


@pytest.mark.parametrize("size", [8191, 8193, (512 << 10) - 1, 512 << 10, (512 << 10) + 1, (768 << 10) + 5])
def test_ranges_of_any_size_are_whole_and_leave_the_connection_to_the_next(
    source: BlobSource, registry: EmbeddedRegistry, size: int
) -> None:
    for start in (0, 1000, len(CONTENT) - size):
        assert read_all(source, start, start + size) == CONTENT[start : start + size]
    assert registry.connections() == 1


def test_what_came_before_a_pause_is_handed_over(client: Client, registry: EmbeddedRegistry) -> None:
    digest = registry.put_blob(CONTENT)
    repository = client.repository(registry.reference("team/model", "v1"), stall_timeout=0.1)
    registry.faults.add(Fault(stall_after=700_000), path=BLOBS)
    buffer = memoryview(bytearray(1 << 20))
    with repository.blob(descriptor(digest, len(CONTENT))).open() as body:
        filled = 0
        while filled < 700_000:
            filled += body.readinto(buffer[filled:])
        with pytest.raises(Unavailable, match="nothing came"):
            body.readinto(buffer[filled:])
    assert bytes(buffer[:filled]) == CONTENT[:700_000]


def test_half_a_range_is_handed_over_and_then_missing(source: BlobSource, registry: EmbeddedRegistry) -> None:
    registry.faults.add(Fault(short_by=500, headers={"Content-Range": "bytes 10-499/1048576"}))
    buffer = memoryview(bytearray(1 << 20))
    with source.open(10, 1000) as body:
        assert body.readinto(buffer) == 490
        with pytest.raises(Unavailable, match="500 bytes are missing"):
            body.readinto(buffer)


def test_r12_a_blob_in_an_encoding_nobody_asked_for_is_refused(source: BlobSource, registry: EmbeddedRegistry) -> None:
    registry.faults.add(Fault(headers={"Content-Encoding": "gzip"}), times=9)
    with pytest.raises(UnsupportedArtifact, match="encoding 'gzip'"):
        source.open()
    assert registry.count() == 1


def test_a_stalled_body_is_given_up_after_the_stall_timeout(client: Client, registry: EmbeddedRegistry) -> None:
    digest = registry.put_blob(CONTENT)
    repository = client.repository(registry.reference("team/model", "v1"), stall_timeout=0.05)
    registry.faults.add(Fault(stall_after=1000))
    with repository.blob(descriptor(digest, len(CONTENT))).open() as body:
        buffer = memoryview(bytearray(1000))
        assert body.readinto(buffer) == 1000
        with pytest.raises(Unavailable, match=r"nothing came from 127\.0\.0\.1:.* for too long"):
            body.readinto(buffer)


def test_an_abort_from_another_thread_ends_a_waiting_read(client: Client, registry: EmbeddedRegistry) -> None:
    digest = registry.put_blob(CONTENT)
    repository = client.repository(registry.reference("team/model", "v1"), stall_timeout=60.0)
    registry.gate.hold(at=1000)
    with repository.blob(descriptor(digest, len(CONTENT))).open() as body:
        buffer = memoryview(bytearray(1000))
        assert body.readinto(buffer) == 1000

        def abort() -> None:
            registry.gate.wait_until_held()
            body.abort()

        thread = threading.Thread(target=abort)
        thread.start()
        with pytest.raises(Unavailable):
            body.readinto(buffer)
        thread.join()


def test_an_abort_that_comes_too_late_hurts_nobody(source: BlobSource, registry: EmbeddedRegistry) -> None:
    with source.open(0, 10) as body:
        while body.readinto(memoryview(bytearray(10))):
            pass
    with source.open(10, 20) as other:
        body.abort()
        assert other.readinto(memoryview(bytearray(10))) == 10
    assert registry.connections() == 1


def test_r14_an_unknown_blob_is_not_found(client: Client, registry: EmbeddedRegistry) -> None:
    repository = client.repository(registry.reference("team/model", "v1"))
    with pytest.raises(NotFound, match="BLOB_UNKNOWN"):
        repository.blob(descriptor("sha256:" + "0" * 64, 5)).open()


def test_r22_an_empty_blob_needs_no_request(client: Client, registry: EmbeddedRegistry) -> None:
    digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    repository = client.repository(registry.reference("team/model", "v1"))
    assert read_all(repository.blob(descriptor(digest, 0))) == b""
    assert registry.count() == 0


def test_r22_a_blob_of_one_byte(client: Client, registry: EmbeddedRegistry) -> None:
    digest = registry.put_blob(b"x")
    repository = client.repository(registry.reference("team/model", "v1"))
    assert read_all(repository.blob(descriptor(digest, 1))) == b"x"


def test_r22_a_blob_of_five_gibibytes_is_read_on_both_sides_of_four_and_at_its_end(
    client: Client, registry: EmbeddedRegistry, tmp_path: Path
) -> None:
    size, edge, end = 5 << 30, b"at four", b"the end"
    with (tmp_path / "blob").open("wb") as file:  # the rest of it is a hole
        for place, content in (((4 << 30) - 3, edge), (size - len(end), end)):
            file.seek(place)
            file.write(content)
    digest = "sha256:" + "5" * 64  # nobody hashes it here
    registry.store.blobs[digest] = tmp_path / "blob"
    source = client.repository(registry.reference("team/model", "v1")).blob(descriptor(digest, size))
    assert read_all(source, (4 << 30) - 3, (4 << 30) + 4) == edge
    assert read_all(source, size - len(end)) == end
    with source.open() as body:
        assert body.readinto(memoryview(bytearray(8))) == 8
    assert "range" not in registry.seen(path=BLOBS)[-1].headers


def test_r22_many_blobs_at_once_use_a_bounded_number_of_connections(client: Client, registry: EmbeddedRegistry) -> None:
    repository = client.repository(registry.reference("team/model", "v1"))
    sources = [
        (content, repository.blob(descriptor(registry.put_blob(content), len(content))))
        for content in (b"%d" % number for number in range(200))
    ]

    def fetch(share: int) -> None:
        for content, source in sources[share::4]:
            assert read_all(source) == content

    threads = [threading.Thread(target=fetch, args=(share,)) for share in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert registry.count(path=BLOBS) == 200
    assert registry.connections() <= 8


def test_r22_only_some_idle_connections_are_kept(source: BlobSource, registry: EmbeddedRegistry) -> None:
    bodies = [source.open(0, 1) for _ in range(12)]
    for body in bodies:
        with body:
            assert body.readinto(memoryview(bytearray(1))) == 1
    again = [source.open(0, 1) for _ in range(12)]
    for body in again:
        body.close()
    assert registry.connections() == 12 + 4


def test_r22_connections_to_origins_that_nobody_asks_any_more_are_closed() -> None:
    bulk = Bulk(
        tls=TLS, proxy_tls=lambda: TLS, user_agent="", connect_timeout=10.0, stall_timeout=10.0, exchange_timeout=10.0,
        longest_idle=0.0,
    )  # fmt: skip
    streams = []
    for _ in range(5):
        with EmbeddedRegistry() as registry:
            url = Url.parse(f"{registry.url}/v2/team/model/blobs/{registry.put_blob(b'x')}")
            stream = bulk.send(Request("GET", url, bulk=True), None).stream
            assert isinstance(stream, BulkStream)
            streams.append(stream)
            while stream.readinto(memoryview(bytearray(9))):
                pass
            stream.close()
    assert [stream._connection.wire.fileno() for stream in streams[:-1]] == [-1] * 4
    bulk.close()


def test_content_that_the_descriptor_carries_needs_no_request(client: Client, registry: EmbeddedRegistry) -> None:
    digest = registry.put_blob(b"{}")
    repository = client.repository(registry.reference("team/model", "v1"))
    assert read_all(repository.blob(descriptor(digest, 2, data=b"{}")), step=1) == b"{}"
    assert registry.count() == 0
    assert read_all(repository.blob(descriptor(digest, 2, data=b"[]"))) == b"{}"
    assert registry.count() == 1


def test_a_range_outside_the_blob_is_a_mistake_of_the_caller(source: BlobSource) -> None:
    with pytest.raises(ValueError, match="no range"):
        source.open(0, len(CONTENT) + 1)
