"""What an artifact consists of, as its manifest says (image-spec manifest.md and image-index.md)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci import ijson
from csi_driver.oci.descriptor import (
    Descriptor,
    read_annotations,
    read_object,
    read_optional_text,
)
from csi_driver.oci.media import essence

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"

MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})

ACCEPT = ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST, OCI_ARTIFACT, "*/*;q=0.1"))
"""For the Accept header of GET and HEAD. Registries hide indexes or convert manifests where a type is missing."""

MAX_MANIFEST_BYTES = 8 * 1024 * 1024
"""Registries must take 4 MiB (distribution-spec); 10,000 layers make about 6 MB."""

_UNSUPPORTED_TYPES = {
    OCI_ARTIFACT: "an OCI artifact manifest, which image-spec has withdrawn: push the model again as an image manifest",
    "application/vnd.docker.distribution.manifest.v1+json": "a Docker schema 1 manifest: push the model again",
    "application/vnd.docker.distribution.manifest.v1+prettyjws": "a Docker schema 1 manifest: push the model again",
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """One artifact: what it is, its configuration and its layers in order."""

    media_type: str
    artifact_type: str | None
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    def to_json(self) -> bytes:
        """The manifest as bytes to push; the same manifest always gives the same bytes."""
        members: dict[str, object] = {"schemaVersion": 2, "mediaType": self.media_type}
        if self.artifact_type is not None:
            members["artifactType"] = self.artifact_type
        members["config"] = self.config.to_json()
        members["layers"] = [layer.to_json() for layer in self.layers]
        if self.annotations:
            members["annotations"] = dict(self.annotations)
        return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


@dataclass(frozen=True, slots=True)
class Index:
    """Several artifacts under one name; `choose` in index.py picks one."""

    media_type: str
    artifact_type: str | None
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)


def parse_manifest(body: bytes, content_type: str | None) -> Manifest | Index:
    """The manifest or index in `body`, which a registry served as `content_type`.

    UnsupportedArtifact says what is wrong with anything that is not a well-formed and verifiable one.
    """
    if len(body) > MAX_MANIFEST_BYTES:
        raise UnsupportedArtifact(f"the manifest has {len(body)} bytes; at most {MAX_MANIFEST_BYTES} are supported")
    try:
        members = read_object(ijson.loads(body), "the manifest")
    except ValueError as error:
        raise UnsupportedArtifact(f"the manifest is not valid JSON: {error}") from error
    _check_version(members)
    media_type = _media_type(members, content_type)
    return _index(members, media_type) if media_type in INDEX_TYPES else _manifest(members, media_type)


def _check_version(members: Mapping[str, object]) -> None:
    version = members.get("schemaVersion", 2)
    if version == 1 or "fsLayers" in members:
        raise UnsupportedArtifact(
            "the manifest is a Docker schema 1 manifest, which is not supported: push the model again"
        )
    if isinstance(version, bool) or version != 2:
        raise UnsupportedArtifact("the manifest's schemaVersion is not 2")


def _media_type(members: Mapping[str, object], content_type: str | None) -> str:
    """What the manifest calls itself, which the registry must not contradict; else what that says; else its shape."""
    declared = essence(read_optional_text(members.get("mediaType"), "the manifest's mediaType"))
    served = essence(content_type)
    known = MANIFEST_TYPES | INDEX_TYPES
    if declared and served in known | set(_UNSUPPORTED_TYPES) and served != declared:
        raise UnsupportedArtifact(
            f"the manifest calls itself {declared[:100]!r}, but the registry serves it as {served!r}"
        )
    media_type = declared or (served if served in known | set(_UNSUPPORTED_TYPES) else _shape(members))
    if media_type in _UNSUPPORTED_TYPES:
        raise UnsupportedArtifact(f"the manifest is {_UNSUPPORTED_TYPES[media_type]}")
    if media_type not in known:
        raise UnsupportedArtifact(
            f"the manifest's media type {media_type[:100]!r} is neither an image manifest nor an index"
        )
    return media_type


def _shape(members: Mapping[str, object]) -> str:
    return OCI_INDEX if "manifests" in members else OCI_MANIFEST


def _index(members: Mapping[str, object], media_type: str) -> Index:
    _refuse_members(members, ("layers", "config", "blobs"), "an index")
    return Index(
        media_type=media_type,
        artifact_type=read_optional_text(members.get("artifactType"), "the index's artifactType"),
        manifests=_descriptors(members.get("manifests"), "manifests"),
        annotations=read_annotations(members.get("annotations"), "the index's annotations"),
    )


def _manifest(members: Mapping[str, object], media_type: str) -> Manifest:
    _refuse_members(members, ("manifests", "blobs"), "an image manifest")
    config = Descriptor.of_json(members.get("config"), "config")
    return Manifest(
        media_type=media_type,
        artifact_type=read_optional_text(members.get("artifactType"), "the manifest's artifactType"),
        config=config,
        layers=_descriptors(members.get("layers"), "layers"),
        annotations=read_annotations(members.get("annotations"), "the manifest's annotations"),
    )


def _refuse_members(members: Mapping[str, object], names: tuple[str, ...], kind: str) -> None:
    """A document that could be read as two things is refused, so that nobody can see another one (CVE-2021-41190)."""
    for name in names:
        if name in members:
            raise UnsupportedArtifact(f"the manifest is {kind} but has a member {name!r}: it is ambiguous")


def _descriptors(value: object, where: str) -> tuple[Descriptor, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise UnsupportedArtifact(f"the manifest's {where} is not an array")
    return tuple(Descriptor.of_json(item, f"{where}[{number}]") for number, item in enumerate(value))
