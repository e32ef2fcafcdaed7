"""Manifests: what a hostile, broken or merely unusual document becomes."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci.digest import Digest
from csi_driver.oci.layout import plan
from csi_driver.oci.manifest import (
    ACCEPT,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MAX_MANIFEST_BYTES,
    OCI_ARTIFACT,
    OCI_INDEX,
    OCI_MANIFEST,
    Index,
    Manifest,
    parse_manifest,
)
from tests.oci.artifacts import WEIGHT_RAW, Json, descriptor, index, layer, manifest, parsed, parsed_index

SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from([OCI_MANIFEST, OCI_INDEX]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
members = st.sampled_from(
    ["schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "annotations", "digest", "size"]
)


def test_a_manifest_is_read_with_its_types_layers_and_annotations() -> None:
    document = manifest(layer("a.bin", "aaa"), layer("b.bin", "b"), annotations={"k": "v"})

    value = parsed(document)

    assert value.artifact_type == "application/vnd.cncf.model.manifest.v1+json"
    assert [entry.size for entry in value.layers] == [3, 1]
    assert value.layers[0].annotations == {"org.cncf.model.filepath": "a.bin"}
    assert value.annotations == {"k": "v"}
    assert value.config.media_type == "application/vnd.cncf.model.config.v1+json"


def test_an_index_is_read_with_its_platforms() -> None:
    platform = {"os": "linux", "architecture": "arm64", "variant": "v8", "os.version": "x"}

    value = parsed_index(index(descriptor(OCI_MANIFEST, platform=platform), annotations={"k": "v"}))

    assert str(value.manifests[0].platform) == "linux/arm64/v8"
    assert value.annotations == {"k": "v"}


@given(st.binary(max_size=200), st.none() | st.sampled_from([OCI_MANIFEST, OCI_INDEX, "", "text/html"]))
def test_arbitrary_bytes_are_an_unsupported_artifact(body: bytes, content_type: str | None) -> None:
    with pytest.raises(UnsupportedArtifact):
        parse_manifest(body, content_type)


@given(st.dictionaries(members, json_values), st.none() | st.sampled_from([OCI_MANIFEST, OCI_INDEX]))
def test_arbitrary_json_is_a_value_or_an_unsupported_artifact(document: Json, content_type: str | None) -> None:
    body = json.dumps(manifest(layer("a")) | document).encode()

    try:
        value = parse_manifest(body, content_type)
    except UnsupportedArtifact:
        return
    assert isinstance(value, Manifest | Index)


@pytest.mark.parametrize("layers", [[], None])
def test_a16_a_manifest_without_layers_holds_no_files(layers: list[Json] | None) -> None:
    with pytest.raises(UnsupportedArtifact, match="holds no files"):
        plan(parsed(manifest() | {"layers": layers}))


def test_a16_a_manifest_without_the_member_layers_holds_no_files() -> None:
    document = manifest()
    del document["layers"]

    with pytest.raises(UnsupportedArtifact, match="holds no files"):
        plan(parsed(document))


def test_a28_a_manifest_of_ten_thousand_layers_is_read() -> None:
    metadata = '{"name":"x","mode":420,"uid":0,"gid":0,"size":1,"mtime":"2025-01-01T00:00:00Z","typeflag":0}'
    annotations = {"org.cncf.model.file.metadata+json": metadata, "filler": "f" * 160}
    body = json.dumps(manifest(*(layer(f"d/{n:05}", annotations=annotations) for n in range(10_000)))).encode()

    value = parse_manifest(body, OCI_MANIFEST)

    assert 5_000_000 < len(body) < MAX_MANIFEST_BYTES
    assert isinstance(value, Manifest)
    assert len(value.layers) == 10_000


def test_a29_a_manifest_beyond_the_limit_is_refused() -> None:
    body = json.dumps(manifest(layer("a"))).encode().ljust(MAX_MANIFEST_BYTES + 1)

    with pytest.raises(UnsupportedArtifact, match="at most 8388608"):
        parse_manifest(body, OCI_MANIFEST)


def test_a30_a_duplicate_key_is_refused() -> None:
    body = json.dumps(manifest(layer("a"))).encode()
    doubled = body.replace(b'"layers": ', b'"layers": [], "layers": ', 1)

    with pytest.raises(UnsupportedArtifact, match="'layers' occurs twice"):
        parse_manifest(doubled, OCI_MANIFEST)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a30_numbers_that_json_does_not_have_are_refused(constant: str) -> None:
    body = json.dumps(manifest(layer("a")) | {"x": 1}).encode().replace(b'"x": 1', f'"x": {constant}'.encode())

    with pytest.raises(UnsupportedArtifact, match="not JSON"):
        parse_manifest(body, OCI_MANIFEST)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a30_a_hundred_thousand_levels_are_refused_without_recursion(opening: bytes) -> None:
    with pytest.raises(UnsupportedArtifact, match="nested deeper"):
        parse_manifest(opening * 100_000, OCI_MANIFEST)


@pytest.mark.parametrize("size", ["1", 1.0, 1e3, -1, 2**63, True, None, [1], 10**400])
def test_a30_a_size_that_is_no_number_of_bytes_is_refused(size: object) -> None:
    with pytest.raises(UnsupportedArtifact, match=r"layers\[0\].size is not a number of bytes"):
        parsed(manifest(layer("a") | {"size": size}))


def test_a30_the_largest_size_is_accepted() -> None:
    assert parsed(manifest(layer("a") | {"size": 2**63 - 1})).layers[0].size == 2**63 - 1


@pytest.mark.parametrize(
    "digest", ["sha256:ABC", "sha256:" + "A" * 64, "sha256:12", "md5:" + "0" * 32, "sha256:../../x", "", None, 7]
)
def test_a31_a_digest_that_cannot_be_verified_is_refused_by_place(digest: object) -> None:
    with pytest.raises(UnsupportedArtifact, match=r"layers\[1\].digest"):
        parsed(manifest(layer("a"), layer("b") | {"digest": digest}))


def test_a32_a_sha512_digest_is_kept_and_blake3_is_refused() -> None:
    sha512 = str(Digest.of(b"x", "sha512"))

    assert str(parsed(manifest(layer("a") | {"digest": sha512})).layers[0].digest) == sha512
    with pytest.raises(UnsupportedArtifact, match="'blake3' is not supported"):
        parsed(manifest(layer("a") | {"digest": "blake3:" + "0" * 64}))


def test_a33_urls_are_not_even_kept() -> None:
    value = parsed(manifest(layer("a") | {"urls": ["http://169.254.169.254/"]}))

    assert "urls" not in repr(value)


@pytest.mark.parametrize(
    ("document", "content_type"),
    [
        ({"schemaVersion": 1, "name": "m", "fsLayers": []}, SCHEMA_1),
        ({"schemaVersion": 1}, None),
        ({"mediaType": SCHEMA_1}, None),
        ({"layers": []}, SCHEMA_1),
    ],
)
def test_a44_a_schema_1_manifest_is_named_and_refused(document: Json, content_type: str | None) -> None:
    with pytest.raises(UnsupportedArtifact, match="schema 1"):
        parse_manifest(json.dumps(document).encode(), content_type)


@pytest.mark.parametrize("version", [3, 0, "2", 2.5, True, None])
def test_another_schema_version_is_refused(version: object) -> None:
    with pytest.raises(UnsupportedArtifact, match="schema"):
        parsed(manifest(layer("a")) | {"schemaVersion": version})


@pytest.mark.parametrize(
    ("declared", "served", "media_type"),
    [
        (OCI_MANIFEST, None, OCI_MANIFEST),
        (OCI_MANIFEST, "application/json", OCI_MANIFEST),
        (OCI_MANIFEST, "application/octet-stream", OCI_MANIFEST),
        (OCI_MANIFEST, "Application/Vnd.OCI.Image.Manifest.v1+JSON; charset=utf-8", OCI_MANIFEST),
        (OCI_MANIFEST.upper(), OCI_MANIFEST, OCI_MANIFEST),
        (None, DOCKER_MANIFEST, DOCKER_MANIFEST),
        (None, "text/plain", OCI_MANIFEST),
        (None, None, OCI_MANIFEST),
        ("", None, OCI_MANIFEST),
    ],
)
def test_the_body_says_what_it_is_else_the_registry_else_the_shape(
    declared: str | None, served: str | None, media_type: str
) -> None:
    body = json.dumps(manifest(layer("a")) | {"mediaType": declared}).encode()

    assert parse_manifest(body, served).media_type == media_type


@pytest.mark.parametrize("served", [DOCKER_MANIFEST, OCI_INDEX, SCHEMA_1])
def test_a_registry_that_contradicts_the_body_is_not_believed(served: str) -> None:
    with pytest.raises(UnsupportedArtifact, match="serves it as"):
        parse_manifest(json.dumps(manifest(layer("a"))).encode(), served)


def test_the_shape_of_an_index_is_recognised() -> None:
    body = json.dumps(index(descriptor(OCI_MANIFEST)) | {"mediaType": None}).encode()

    assert isinstance(parse_manifest(body, None), Index)
    assert parse_manifest(body, DOCKER_LIST).media_type == DOCKER_LIST


@pytest.mark.parametrize(
    "document",
    [
        manifest(layer("a")) | {"manifests": []},
        index(descriptor(OCI_MANIFEST)) | {"layers": []},
        index(descriptor(OCI_MANIFEST)) | {"config": {}},
    ],
)
def test_a_document_that_can_be_read_as_two_things_is_refused(document: Json) -> None:
    with pytest.raises(UnsupportedArtifact, match="ambiguous"):
        parse_manifest(json.dumps(document).encode(), None)


def test_the_withdrawn_artifact_manifest_is_named() -> None:
    with pytest.raises(UnsupportedArtifact, match="OCI artifact manifest"):
        parse_manifest(json.dumps({"mediaType": OCI_ARTIFACT, "blobs": []}).encode(), OCI_ARTIFACT)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mediaType": "application/vnd.acme"}, "neither an image manifest nor an index"),
        ({"mediaType": 7}, "mediaType"),
        ({"artifactType": 7}, "artifactType"),
        ({"config": None}, "config is not a JSON object"),
        ({"layers": {}}, "not an array"),
        ({"layers": [7]}, r"layers\[0\] is not a JSON object"),
        ({"layers": [layer("a") | {"mediaType": ""}]}, r"layers\[0\].mediaType"),
        ({"layers": [layer("a") | {"annotations": {"k": 1}}]}, "not a string: 'k'"),
        ({"layers": [layer("a") | {"annotations": []}]}, "annotations is not a JSON object"),
        ({"annotations": {"k": None}}, "not a string: 'k'"),
        ({"layers": [layer("a") | {"platform": "linux"}]}, "platform is not a JSON object"),
    ],
)
def test_a_member_of_the_wrong_kind_is_refused_by_name(change: Json, reason: str) -> None:
    with pytest.raises(UnsupportedArtifact, match=reason):
        parsed(manifest(layer("a")) | change)


@pytest.mark.parametrize(
    "body", [b"null", b"[]", b"7", b'"x"', b"", b"{", b"\xff\xfe{}", "{}".encode("utf-16"), b"\xef\xbb\xbf{}"]
)
def test_what_is_no_json_object_in_utf_8_is_refused(body: bytes) -> None:
    with pytest.raises(UnsupportedArtifact):
        parse_manifest(body, OCI_MANIFEST)


def test_unknown_members_are_ignored() -> None:
    document = manifest(layer("a") | {"x": {"y": []}}, subject=descriptor(OCI_MANIFEST), x=None)

    assert len(parsed(document).layers) == 1


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (base64.b64encode(b"hello").decode(), b"hello"),
        (base64.b64encode(b"world").decode(), None),
        (base64.b64encode(b"hell").decode(), None),
        ("not base64!", None),
        (7, None),
        (None, None),
    ],
)
def test_embedded_data_is_kept_only_if_it_is_what_the_digest_names(data: object, kept: bytes | None) -> None:
    assert parsed(manifest(layer("a", "hello") | {"data": data})).layers[0].data == kept


def test_a_manifest_written_and_parsed_is_the_same_manifest() -> None:
    value = parsed(manifest(layer("a"), descriptor(WEIGHT_RAW, artifactType="x"), annotations={"k": "ü"}))

    body = value.to_json()

    assert parse_manifest(body, OCI_MANIFEST) == value
    assert value.to_json() == body


def test_what_a_manifest_does_not_say_is_not_written() -> None:
    document = json.loads(parsed(manifest(layer("a"), artifact_type=None)).to_json())

    assert set(document) == {"schemaVersion", "mediaType", "config", "layers"}
    assert set(document["config"]) == {"mediaType", "digest", "size"}


def test_parsed_manifests_cannot_be_changed() -> None:
    annotations: Any = parsed(manifest(layer("a"))).layers[0].annotations

    with pytest.raises(TypeError):
        annotations["k"] = "v"


def test_every_type_that_a_registry_may_hold_is_asked_for() -> None:
    for media_type in (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST, OCI_ARTIFACT, "*/*;q=0.1"):
        assert media_type in ACCEPT.split(", ")
