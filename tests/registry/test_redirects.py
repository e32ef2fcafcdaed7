"""Blobs that are kept elsewhere: credentials stay at home, and signed URLs may expire."""

import pytest

from csi_driver.errors import AccessDenied, Unauthenticated, Unavailable
from csi_driver.registry.blob import BlobSource
from csi_driver.registry.message import Answer, Request
from csi_driver.registry.redirect import follow
from csi_driver.registry.url import Url
from tests.fixtures.faults import Fault
from tests.fixtures.registry import EmbeddedRegistry
from tests.registry.conftest import CONTENT, Client, descriptor, read_all, user

BLOBS = "/v2/*/blobs/*"


def blob_of(client: Client, registry: EmbeddedRegistry) -> BlobSource:
    digest = registry.put_blob(CONTENT)
    repository = client.repository(registry.reference("team/model", "v1"), user("ann", "hunter2"))
    return repository.blob(descriptor(digest, len(CONTENT)))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_r9_no_credentials_go_to_another_host_and_the_range_does(client: Client, auth: str, status: int) -> None:
    with EmbeddedRegistry(auth=auth, users={"ann": "hunter2"}, redirect_blobs=True) as registry:  # type: ignore[arg-type]
        registry.distribution.redirect_status = status
        assert read_all(blob_of(client, registry), 1000, 2000) == CONTENT[1000:2000]
        (stored,) = registry.seen(server="storage")
    assert "authorization" not in stored.headers
    assert stored.headers["range"] == "bytes=1000-1999"


def test_later_ranges_go_where_the_first_was_sent(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "hunter2"}, redirect_blobs=True) as registry:
        source = blob_of(client, registry)
        for start in range(0, 10_000, 1000):
            assert read_all(source, start, start + 1000) == CONTENT[start : start + 1000]
        assert registry.count(path=BLOBS) == 2
        assert registry.count(server="storage") == 10


def test_r10_an_expired_url_is_replaced_by_the_registry(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "hunter2"}, redirect_blobs=True) as registry:
        source = blob_of(client, registry)
        registry.faults.add(
            Fault(drop_after=700_000, then=registry.storage.expire_signatures), server="storage", path="/storage/*"
        )
        buffer = memoryview(bytearray(1 << 20))
        with source.open() as body:
            count = body.readinto(buffer)
        assert read_all(source, count) == CONTENT[count:]
        assert registry.count(server="storage") == 3
        assert client.sleeps == []


def test_r10_a_url_that_has_expired_at_once_is_replaced_once(client: Client) -> None:
    with EmbeddedRegistry(redirect_blobs=True) as registry:
        registry.faults.add(Fault(status=403), server="storage")
        assert read_all(blob_of(client, registry)) == CONTENT
        assert registry.count(path=BLOBS) == 2


def test_r10_storage_that_goes_on_refusing_is_told(client: Client) -> None:
    with EmbeddedRegistry(redirect_blobs=True) as registry:
        registry.faults.add(
            Fault(status=403, body=b"<Error><Code>AccessDenied</Code><Message>No way</Message></Error>"),
            server="storage",
            times=9,
        )
        with pytest.raises(AccessDenied, match=r"answered 403 \(AccessDenied No way\)") as caught:
            blob_of(client, registry).open()
        assert registry.count(server="storage") == 2
    assert "signature" not in str(caught.value)


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(refuse=True)])
def test_busy_storage_is_asked_again_by_way_of_the_registry(client: Client, fault: Fault) -> None:
    with EmbeddedRegistry(redirect_blobs=True) as registry:
        registry.faults.add(fault, server="storage", times=2)
        assert read_all(blob_of(client, registry)) == CONTENT
        assert registry.count(path=BLOBS) == 3


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(status=404), Fault(refuse=True), Fault(ignore_range=True)])
def test_storage_that_fails_later_is_left_for_the_registry(client: Client, fault: Fault) -> None:
    with EmbeddedRegistry(redirect_blobs=True) as registry:
        source = blob_of(client, registry)
        assert read_all(source, 0, 1000) == CONTENT[:1000]
        registry.faults.add(fault, server="storage", times=2 if fault.refuse else 1)
        assert read_all(source, 1000, 2000) == CONTENT[1000:2000]
        assert registry.count(path=BLOBS) == 2
        assert client.sleeps == []


def test_a_registry_that_has_moved_to_where_credentials_are_wanted_is_told_as_such(client: Client) -> None:
    with EmbeddedRegistry() as old, EmbeddedRegistry(auth="basic", users={"ann": "hunter2"}) as new:
        location = f"{new.url}/v2/team/model/manifests/v1"
        old.faults.add(Fault(status=301, headers={"Location": location}), path="*/manifests/*", times=9)
        repository = client.repository(old.reference("team/model", "v1"), user("ann", "hunter2"))
        with pytest.raises(Unauthenticated, match=rf"{new.host} answered 401.*name {new.host} in the reference"):
            repository.manifest("v1")
        assert not any("authorization" in seen.headers for seen in new.requests)


def test_r9_manifests_may_be_elsewhere_too(client: Client) -> None:
    with EmbeddedRegistry(auth="basic", users={"ann": "hunter2"}) as registry:
        body = b'{"schemaVersion": 2}'
        location = registry.storage.locate(registry.put_blob(body))
        registry.faults.add(Fault(status=307, headers={"Location": location}), path="*/manifests/*")
        repository = client.repository(registry.reference("team/model", "v1"), user("ann", "hunter2"))
        assert repository.manifest("v1").body == body


def test_r9_ten_redirects_are_followed_and_not_eleven(client: Client, registry: EmbeddedRegistry) -> None:
    registry.push_model("team/model", "v1", {"config.json": b"{}"})
    again = Fault(status=307, headers={"Location": "/v2/team/model/manifests/v1"})
    repository = client.repository(registry.reference("team/model", "v1"))
    registry.faults.add(again, times=10)
    repository.manifest("v1")
    registry.faults.add(again, times=99)
    with pytest.raises(Unavailable, match="redirected more than 10 times"):
        repository.manifest("v1")
    assert registry.count() == 22


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("file:///etc/passwd", "its scheme 'file' is neither https nor http"),
        ("ftp://r.io/x?secret", "its scheme 'ftp'"),
        ("https://", "it names no host"),
        ("", "it has no Location"),
    ],
)
def test_r9_redirects_out_of_the_web_are_refused(
    client: Client, registry: EmbeddedRegistry, location: str, told: str
) -> None:
    registry.faults.add(Fault(status=307, headers={"Location": location}), times=9)
    with pytest.raises(Unavailable, match=told) as caught:
        client.repository(registry.reference("team/model", "v1")).manifest("v1")
    assert "secret" not in str(caught.value)
    assert registry.count() == 1


def answers(*locations: str) -> tuple[list[Request], Answer]:
    """What is sent while each location is given in turn, and the last answer."""
    sent: list[Request] = []
    waiting = list(locations)

    def send(request: Request) -> Answer:
        sent.append(request)
        if waiting:
            return Answer(request.url, 307, {"location": waiting.pop(0)})
        return Answer(request.url, 200, {})

    answer = follow(send, Request("GET", Url.parse("https://r.io/x"), {"Range": "bytes=0-1"}, "Bearer hunter2"))
    return sent, answer


def test_r9_tls_is_not_dropped() -> None:
    with pytest.raises(Unavailable, match=r"redirects to plain HTTP at s\.io, which is refused"):
        answers("http://s.io/y?secret")


@pytest.mark.parametrize("elsewhere", ["https://s.io/y", "https://r.io:444/y", "https://r.io.s.io/y"])
def test_r9_credentials_do_not_come_back_from_elsewhere(elsewhere: str) -> None:
    sent, answer = answers("https://r.io/other", elsewhere, "https://r.io/home")
    assert [request.authorization for request in sent] == ["Bearer hunter2", "Bearer hunter2", None, None]
    assert all(request.headers == {"Range": "bytes=0-1"} for request in sent)
    assert str(answer.url) == "https://r.io/home"
