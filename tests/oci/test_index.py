"""Indexes: which entry a node takes."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci.descriptor import Descriptor, Platform
from csi_driver.oci.digest import Digest
from csi_driver.oci.index import choose
from csi_driver.oci.manifest import OCI_INDEX, OCI_MANIFEST, Index, Manifest, parse_manifest
from csi_driver.oci.media import MODEL_ARTIFACT_TYPE, MODEL_CONFIG
from tests.oci.artifacts import Json, index, layer, manifest, parsed_index

AMD64 = Platform("linux", "amd64")
IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json"
MODELKIT = "application/vnd.kitops.modelkit.manifest.v1+json"
ATTESTATION = {"vnd.docker.reference.type": "attestation-manifest"}
OLOT = {"io.opendatahub.author": "olot", "io.opendatahub.modelcar.manifest.type": "modelpack"}
UNKNOWN = {"os": "unknown", "architecture": "unknown"}


class Contents:
    """Manifests by digest, as a registry holds them."""

    def __init__(self) -> None:
        self.bodies: dict[Digest, bytes] = {}
        self.fetched: list[Digest] = []

    def put(self, document: Json, **members: Any) -> Json:
        """Store a document; its descriptor with further members."""
        body = json.dumps(document).encode()
        digest = Digest.of(body)
        self.bodies[digest] = body
        return {"mediaType": document["mediaType"], "digest": str(digest), "size": len(body), **members}

    def model(self, name: str, **members: Any) -> Json:
        return self.put(manifest(layer(name)), **members)

    def image(self, name: str, **members: Any) -> Json:
        return self.put(
            manifest(layer(name, media_type="x/y"), artifact_type=None, config_type=IMAGE_CONFIG), **members
        )

    def fetch(self, entry: Descriptor) -> Manifest | Index:
        self.fetched.append(entry.digest)
        return parse_manifest(self.bodies[entry.digest], entry.media_type)


@pytest.fixture
def contents() -> Contents:
    return Contents()


@pytest.fixture
def chosen(contents: Contents) -> Callable[..., str]:
    def choice(*entries: Json, platform: Platform = AMD64) -> str:
        descriptor, value = choose(parsed_index(index(*entries)), platform, contents.fetch)
        assert contents.bodies[descriptor.digest]
        return value.layers[0].annotations["org.cncf.model.filepath"]

    return choice


def on(architecture: str, variant: str | None = None) -> Json:
    platform = {"os": "linux", "architecture": architecture}
    return platform | ({"variant": variant} if variant else {})


def test_a41_the_entry_for_the_nodes_platform_is_taken(contents: Contents, chosen: Callable[..., str]) -> None:
    entries = (
        contents.model("amd", platform=on("amd64")),
        contents.model("arm", platform=on("arm64")),
        contents.model("att", platform=UNKNOWN, annotations=ATTESTATION),
    )

    assert chosen(*entries) == "amd"
    assert chosen(*entries, platform=Platform("linux", "arm64")) == "arm"


def test_a42_olots_modelpack_entry_is_taken_before_the_images(contents: Contents, chosen: Callable[..., str]) -> None:
    assert (
        chosen(
            contents.image("amd", platform=on("amd64")),
            contents.image("arm", platform=on("arm64")),
            contents.model("model", platform=UNKNOWN, annotations=OLOT),
        )
        == "model"
    )


@pytest.mark.parametrize("artifact_type", [MODEL_ARTIFACT_TYPE, "application/vnd.cnai.model.manifest.v1+json"])
def test_an_entry_whose_artifact_type_is_modelpack_is_taken_unread(
    contents: Contents, chosen: Callable[..., str], artifact_type: str
) -> None:
    assert (
        chosen(contents.image("amd", platform=on("amd64")), contents.model("model", artifactType=artifact_type))
        == "model"
    )
    assert len(contents.fetched) == 1


def test_an_entry_without_a_platform_is_read_to_see_whether_it_is_modelpack(
    contents: Contents, chosen: Callable[..., str]
) -> None:
    assert chosen(contents.image("amd", platform=on("amd64")), contents.model("model", platform=UNKNOWN)) == "model"


def test_modelpack_entries_for_several_platforms_are_told_apart(contents: Contents, chosen: Callable[..., str]) -> None:
    entries = [
        contents.model(architecture, platform=on(architecture), artifactType=MODEL_ARTIFACT_TYPE)
        for architecture in ("amd64", "arm64")
    ]

    assert chosen(*entries) == "amd64"


def test_the_only_entry_is_taken_whatever_its_platform(contents: Contents, chosen: Callable[..., str]) -> None:
    assert chosen(contents.model("m", platform=on("s390x")), contents.model("att", annotations=ATTESTATION)) == "m"


def test_an_entry_listed_twice_is_one_entry(contents: Contents, chosen: Callable[..., str]) -> None:
    assert chosen(contents.model("m"), contents.model("m")) == "m"


def test_an_entry_that_is_no_manifest_is_no_candidate(contents: Contents, chosen: Callable[..., str]) -> None:
    blob = contents.model("blob") | {"mediaType": "application/octet-stream"}

    assert chosen(blob, contents.model("m")) == "m"


def test_the_exact_variant_is_preferred(contents: Contents, chosen: Callable[..., str]) -> None:
    entries = [contents.image(f"v{n}", platform=on("arm", f"v{n}")) for n in (6, 7)]
    generic = contents.image("any", platform=on("arm"))

    assert chosen(*entries, platform=Platform("linux", "arm", "v7")) == "v7"
    assert chosen(generic, entries[0], platform=Platform("linux", "arm", "v7")) == "any"


def test_the_usual_variant_needs_no_name(contents: Contents, chosen: Callable[..., str]) -> None:
    entries = (contents.image("arm64", platform=on("arm64", "v8")), contents.image("amd64", platform=on("amd64")))

    assert chosen(*entries, platform=Platform.of_machine("aarch64")) == "arm64"
    assert chosen(*entries, platform=Platform.of_machine("x86_64")) == "amd64"


def test_a_nested_index_is_followed(contents: Contents, chosen: Callable[..., str]) -> None:
    inner = contents.put(index(contents.model("deep")))

    assert chosen(contents.put(index(inner))) == "deep"


def refused(contents: Contents, *entries: Json, reason: str) -> str:
    with pytest.raises(UnsupportedArtifact, match=reason) as caught:
        choose(parsed_index(index(*entries)), AMD64, contents.fetch)
    return str(caught.value)


def test_a43_without_a_match_the_candidates_are_listed(contents: Contents) -> None:
    entries = [contents.image(name, platform=on(name)) for name in ("arm64", "s390x")]

    text = refused(contents, *entries, reason="2 candidates and none is the one for linux/amd64")

    assert all(entry["digest"] in text for entry in entries)
    assert "linux/s390x" in text


def test_a43_two_variants_of_a_modelkit_are_listed_with_what_tells_them_apart(contents: Contents) -> None:
    kits = [
        contents.put(manifest(layer("m"), artifact_type=MODELKIT, annotations={"v": name}), annotations={"v": name})
        for name in ("q4_0", "q8_0")
    ]

    text = refused(contents, *kits, reason="refer to one by its digest")

    assert "v='q4_0'" in text
    assert "v='q8_0'" in text


def test_a43_two_modelpack_entries_are_not_told_apart_by_their_order(contents: Contents) -> None:
    refused(contents, contents.model("a"), contents.model("b"), reason="2 candidates")


def test_a43_an_empty_index_is_refused(contents: Contents) -> None:
    refused(contents, reason="empty")
    refused(contents, contents.model("att", annotations=ATTESTATION), reason="empty")


def test_a43_indexes_nested_five_deep_are_refused(contents: Contents) -> None:
    entry = contents.model("deep")
    for _ in range(4):
        entry = contents.put(index(entry))

    refused(contents, entry, reason="nested more than 3 deep")


def test_a43_an_index_that_holds_itself_is_refused() -> None:
    itself = parsed_index(
        index({"mediaType": OCI_INDEX, "digest": "sha256:" + "0" * 64, "size": 2}),
    )

    with pytest.raises(UnsupportedArtifact, match="nested"):
        choose(itself, AMD64, lambda _: itself)


def test_an_index_of_many_nameless_entries_is_not_read_to_the_end(contents: Contents) -> None:
    images = [contents.image(str(number)) for number in range(40)]

    refused(contents, *images, reason="more than 32 manifests")
    assert len(contents.fetched) == 32


def test_what_fetching_raises_is_passed_on(contents: Contents) -> None:
    entry = contents.model("m")
    contents.bodies = dict.fromkeys(contents.bodies, b"{}")

    refused(contents, entry, reason="config is not a JSON object")


def test_the_config_type_alone_makes_a_model(contents: Contents, chosen: Callable[..., str]) -> None:
    model = contents.put(manifest(layer("m", media_type="a/b"), artifact_type=None, config_type=MODEL_CONFIG))

    assert model["mediaType"] == OCI_MANIFEST
    assert chosen(contents.image("amd", platform=on("amd64")), model) == "m"
