"""Pushing: what is there already is not sent, what breaks off begins anew, and nothing but the content gets in."""

import io
import json
from pathlib import Path

import pytest

from csi_driver.errors import AccessDenied, ContentMismatch, InvalidRequest, Unauthenticated, Unavailable
from csi_driver.oci.digest import Digest
from tests.fixtures.faults import Fault
from tests.fixtures.models import MANIFEST_TYPE
from tests.fixtures.registry import EmbeddedRegistry
from tests.registry.conftest import CONTENT, Client, user

DIGEST = Digest.of(CONTENT)
UPLOADS = "/v2/team/model/blobs/uploads/*"


def content() -> io.BytesIO:
    return io.BytesIO(CONTENT)


def test_a_blob_is_sent_in_one_request(client: Client, registry: EmbeddedRegistry) -> None:
    told: list[int] = []
    client.repository(registry.reference("team/model", "v1")).push_blob(DIGEST, len(CONTENT), content, told.append)
    assert registry.blob(str(DIGEST)) == CONTENT
    assert sum(told) == len(CONTENT)
    assert len(told) > 1
    assert [seen.method for seen in registry.requests] == ["HEAD", "POST", "PUT"]


def test_a_blob_that_is_there_is_not_sent(client: Client, registry: EmbeddedRegistry) -> None:
    registry.put_blob(CONTENT)
    told: list[int] = []
    client.repository(registry.reference("team/model", "v1")).push_blob(DIGEST, len(CONTENT), content, told.append)
    assert registry.count() == 1
    assert told == [len(CONTENT)]


def test_an_empty_blob_can_be_pushed(client: Client, registry: EmbeddedRegistry) -> None:
    digest = Digest.of(b"")
    client.repository(registry.reference("team/model", "v1")).push_blob(digest, 0, io.BytesIO)
    assert registry.blob(str(digest)) == b""


def test_files_can_be_pushed(client: Client, registry: EmbeddedRegistry, tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(CONTENT)
    repository = client.repository(registry.reference("team/model", "v1"))
    repository.push_blob(DIGEST, len(CONTENT), lambda: path.open("rb", buffering=0))
    assert registry.blob(str(DIGEST)) == CONTENT


@pytest.mark.parametrize("absolute", [False, True])
def test_the_place_for_an_upload_may_be_relative_and_have_a_query(
    client: Client, registry: EmbeddedRegistry, absolute: bool
) -> None:
    registry.distribution.absolute_locations = absolute
    client.repository(registry.reference("team/model", "v1")).push_blob(DIGEST, len(CONTENT), content)
    (put,) = registry.seen(method="PUT")
    assert put.query == {"_state": "a+b", "digest": str(DIGEST)}


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_pushing_asks_for_the_right_to_push(client: Client, auth: str) -> None:
    with EmbeddedRegistry(auth=auth, users={"ann": "a"}) as registry:  # type: ignore[arg-type]
        repository = client.repository(registry.reference("team/model", "v1"), user("ann", "a"))
        repository.push_blob(DIGEST, len(CONTENT), content)
        repository.push_manifest("v1", b"{}", MANIFEST_TYPE)
        assert all(seen.query["scope"] == "repository:team/model:pull,push" for seen in registry.seen(server="tokens"))
        assert registry.count("PUT") == 2


def test_who_may_not_push_is_told(client: Client) -> None:
    with EmbeddedRegistry(auth="basic", users={"ann": "a"}, grants={"ann": []}) as registry:
        repository = client.repository(registry.reference("team/model", "v1"), user("ann", "a"))
        with pytest.raises(Unauthenticated):
            repository.push_blob(DIGEST, len(CONTENT), content)


@pytest.mark.parametrize(
    ("fault", "method"),
    [
        (Fault(drop_after=300_000), "PUT"),
        (Fault(status=500), "PUT"),
        (Fault(status=503), "POST"),
        (Fault(status=404), "PUT"),
        (Fault(refuse=True), "POST"),
    ],
    ids=["dropped", "500", "503", "forgotten", "refused"],
)
def test_an_upload_that_breaks_off_begins_anew(
    client: Client, registry: EmbeddedRegistry, fault: Fault, method: str
) -> None:
    registry.faults.add(fault, method=method, times=2)
    told: list[int] = []
    client.repository(registry.reference("team/model", "v1")).push_blob(DIGEST, len(CONTENT), content, told.append)
    assert registry.blob(str(DIGEST)) == CONTENT
    assert sum(told) == len(CONTENT)
    assert registry.count("POST") == 3
    assert client.sleeps == [0.5, 1.0]


def test_a_token_that_expires_before_the_content_is_replaced(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}) as registry:
        repository = client.repository(registry.reference("team/model", "v1"), user("ann", "a"))
        registry.faults.add(Fault(then=registry.access.revoke_tokens), method="POST", path=UPLOADS)
        told: list[int] = []
        repository.push_blob(DIGEST, len(CONTENT), content, told.append)
        assert registry.blob(str(DIGEST)) == CONTENT
        assert sum(told) == len(CONTENT)


def test_a_refusal_that_comes_before_the_content_was_read_is_understood(
    client: Client, registry: EmbeddedRegistry
) -> None:
    registry.faults.add(Fault(status=403, body=b'{"errors": [{"code": "DENIED"}]}'), method="PUT")
    big = bytes(20 << 20)
    repository = client.repository(registry.reference("team/model", "v1"))
    with pytest.raises((AccessDenied, Unavailable)):
        repository.push_blob(Digest.of(big), len(big), lambda: io.BytesIO(big))


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_content_of_another_size_is_refused(client: Client, registry: EmbeddedRegistry, size: int) -> None:
    told: list[int] = []
    with pytest.raises(ContentMismatch, match=r"ended after|has more than"):
        client.repository(registry.reference("team/model", "v1")).push_blob(DIGEST, size, content, told.append)
    assert sum(told) == 0
    assert str(DIGEST) not in registry.store.blobs


def test_content_that_cannot_be_read_is_no_fault_of_the_network(client: Client, registry: EmbeddedRegistry) -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(InvalidRequest, match="Input/output error"):
        client.repository(registry.reference("team/model", "v1")).push_blob(DIGEST, len(CONTENT), Broken)
    assert client.sleeps == []


def test_a_place_that_is_no_url_is_refused(client: Client, registry: EmbeddedRegistry) -> None:
    registry.faults.add(Fault(status=202, headers={"Location": "file:///tmp/x"}), method="POST", times=9)
    with pytest.raises(Unavailable, match="no usable place for an upload"):
        client.repository(registry.reference("team/model", "v1")).push_blob(DIGEST, len(CONTENT), content)


def test_credentials_do_not_go_to_an_upload_elsewhere(client: Client) -> None:
    with EmbeddedRegistry(auth="basic", users={"ann": "a"}) as registry:
        elsewhere = {"Location": registry.storage.locate(str(DIGEST))}
        registry.faults.add(Fault(status=202, headers=elsewhere), method="POST", path=UPLOADS)
        registry.storage.accepts_uploads = True
        repository = client.repository(registry.reference("team/model", "v1"), user("ann", "a"))
        repository.push_blob(DIGEST, len(CONTENT), content)
        (put,) = registry.seen(server="storage")
    assert put.method == "PUT"
    assert "authorization" not in put.headers


def head_refused(registry: EmbeddedRegistry, status: int) -> None:
    registry.faults.add(Fault(status=status), method="HEAD", times=99)


@pytest.mark.parametrize("status", [401, 403, 405])
@pytest.mark.parametrize("there", [True, False])
def test_r15_get_says_what_a_refused_head_does_not(client: Client, status: int, there: bool) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}) as registry:
        if there:
            registry.put_blob(CONTENT)
        head_refused(registry, status)
        repository = client.repository(registry.reference("team/model", "v1"), user("ann", "a"))
        assert repository.has_blob(DIGEST) is there


def test_a_manifest_is_stored_under_its_tag(client: Client, registry: EmbeddedRegistry) -> None:
    registry.put_blob(CONTENT)
    body = json.dumps({"schemaVersion": 2, "layers": [{"digest": str(DIGEST), "size": len(CONTENT)}]}).encode()
    repository = client.repository(registry.reference("team/model", "v1"))
    digest = repository.push_manifest("v1", body, MANIFEST_TYPE)
    assert registry.manifest("team/model", "v1") == body
    assert repository.manifest(str(digest)).body == body
    assert repository.push_manifest(str(digest), body, MANIFEST_TYPE) == digest
    assert registry.seen(method="PUT")[0].headers["content-type"] == MANIFEST_TYPE


def test_a_manifest_is_not_stored_under_a_digest_that_is_not_its_own(
    client: Client, registry: EmbeddedRegistry
) -> None:
    with pytest.raises(ContentMismatch, match="has the digest sha256:"):
        client.repository(registry.reference("team/model", "v1")).push_manifest(str(DIGEST), b"{}", MANIFEST_TYPE)
    assert registry.count() == 0


def test_a_manifest_whose_push_breaks_off_is_sent_again(client: Client, registry: EmbeddedRegistry) -> None:
    registry.faults.add(Fault(refuse=True), method="PUT")
    client.repository(registry.reference("team/model", "v1")).push_manifest("v1", b"{}", MANIFEST_TYPE)
    assert registry.manifest("team/model", "v1") == b"{}"
