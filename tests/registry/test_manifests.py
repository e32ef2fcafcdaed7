"""Manifests: by tag and by digest, of bearable size, and only what the digest names."""

import json

import pytest

from csi_driver.errors import ContentMismatch, NotFound, Unavailable, UnsupportedArtifact
from csi_driver.oci.digest import Digest
from csi_driver.oci.manifest import ACCEPT
from csi_driver.registry.transport.transport import USER_AGENT
from tests.fixtures.faults import Fault
from tests.fixtures.models import MANIFEST_TYPE
from tests.fixtures.registry import EmbeddedRegistry
from tests.registry.conftest import Client

MANIFESTS = "/v2/*/manifests/*"


def test_a_tag_gives_the_manifest_its_digest_and_its_type(client: Client, registry: EmbeddedRegistry) -> None:
    digest = registry.push_model("team/model", "v1", {"config.json": b"{}"})
    fetched = client.repository(registry.reference("team/model", "v1")).manifest("v1")
    assert str(fetched.digest) == digest
    assert fetched.media_type == MANIFEST_TYPE
    assert json.loads(fetched.body)["layers"]


def test_the_request_names_every_manifest_type_and_the_driver(client: Client, registry: EmbeddedRegistry) -> None:
    registry.push_model("team/model", "v1", {"config.json": b"{}"})
    client.repository(registry.reference("team/model", "v1")).manifest("v1")
    (seen,) = registry.seen(path=MANIFESTS)
    assert seen.headers["accept"] == ACCEPT
    assert seen.headers["user-agent"] == USER_AGENT
    assert "authorization" not in seen.headers


def test_r2_a_manifest_other_than_its_digest_says_is_refused(client: Client, registry: EmbeddedRegistry) -> None:
    digest = registry.push_model("team/model", "v1", {"config.json": b"{}"})
    registry.faults.add(Fault(corrupt_at=5), path=MANIFESTS)
    repository = client.repository(registry.reference("team/model", digest))
    with pytest.raises(ContentMismatch, match="sent something with the digest sha256:"):
        repository.manifest(digest)


def test_a_sha512_digest_is_verified_as_such(client: Client, registry: EmbeddedRegistry) -> None:
    body = b'{"schemaVersion": 2}'
    digest = str(Digest.of(body, "sha512"))
    registry.store.manifests["team/model", digest] = (MANIFEST_TYPE, body)
    fetched = client.repository(registry.reference("team/model", digest)).manifest(digest)
    assert str(fetched.digest) == digest


def test_r3_a_digest_wins_over_a_tag_that_has_moved(client: Client, registry: EmbeddedRegistry) -> None:
    first = registry.push_model("team/model", "v1", {"config.json": b"{}"})
    registry.push_model("team/model", "v1", {"config.json": b"[]"})
    reference = f"{registry.host}/team/model:v1@{first}"
    fetched = client.repository(reference).manifest(first)
    assert str(fetched.digest) == first


def test_r14_an_unknown_manifest_is_told_once_with_the_registrys_words(
    client: Client, registry: EmbeddedRegistry
) -> None:
    repository = client.repository(registry.reference("team/model", "v1"))
    with pytest.raises(NotFound, match=r"answered 404 \(MANIFEST_UNKNOWN: manifest unknown\) for manifest v1"):
        repository.manifest("v1")
    assert registry.count() == 1


def test_r14_a_bad_request_is_not_repeated(client: Client, registry: EmbeddedRegistry) -> None:
    registry.faults.add(Fault(status=400, body=b"what?"), path=MANIFESTS)
    with pytest.raises(UnsupportedArtifact, match=r"400 \(what\?\)"):
        client.repository(registry.reference("team/model", "v1")).manifest("v1")
    assert registry.count() == 1


def test_r23_a_chunked_manifest_without_length_is_read(client: Client, registry: EmbeddedRegistry) -> None:
    digest = registry.push_model("team/model", "v1", {"config.json": b"{}"})
    registry.faults.add(Fault(chunked=True), path=MANIFESTS)
    assert str(client.repository(registry.reference("team/model", "v1")).manifest("v1").digest) == digest


def test_a_manifest_that_does_not_end_is_cut_and_refused(client: Client, registry: EmbeddedRegistry) -> None:
    registry.push_model("team/model", "v1", {"config.json": b"{}"})
    registry.faults.add(Fault(endless=True), path=MANIFESTS)
    with pytest.raises(UnsupportedArtifact, match="more than 8 MiB"):
        client.repository(registry.reference("team/model", "v1")).manifest("v1")


def test_a_manifest_that_breaks_off_is_asked_for_again(client: Client, registry: EmbeddedRegistry) -> None:
    digest = registry.push_model("team/model", "v1", {"config.json": b"{}"})
    registry.faults.add(Fault(drop_after=40), path=MANIFESTS)
    assert str(client.repository(registry.reference("team/model", "v1")).manifest("v1").digest) == digest
    assert registry.count(path=MANIFESTS) == 2


def test_r23_an_html_page_is_told_by_its_title(client: Client, registry: EmbeddedRegistry) -> None:
    page = b"<html><head><title>Blocked by\nthe firewall</title></head><body>" + b"x" * 100_000 + b"</body></html>"
    registry.faults.add(Fault(status=503, body=page, headers={"Content-Type": "text/html"}), times=99)
    with pytest.raises(Unavailable) as caught:
        client.repository(registry.reference("team/model", "v1")).manifest("v1")
    assert "503 (Blocked by the firewall)" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_r23_a_warning_is_logged_once(
    client: Client, registry: EmbeddedRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    registry.push_model("team/model", "v1", {"config.json": b"{}"})
    registry.faults.add(Fault(headers={"Warning": '299 - "this tag will go away"'}), path=MANIFESTS, times=2)
    repository = client.repository(registry.reference("team/model", "v1"))
    repository.manifest("v1")
    repository.manifest("v1")
    assert [getattr(record, "fields", {}).get("warning") for record in caplog.records] == ["this tag will go away"]
