"""Manifests for tests, written as producers write them: plain JSON that only the parser turns into values."""

import json
from typing import Any

from csi_driver.oci.digest import Digest
from csi_driver.oci.layout import Layout, plan
from csi_driver.oci.manifest import OCI_MANIFEST, Index, Manifest, parse_manifest
from csi_driver.oci.media import FILE_METADATA, FILEPATH, MODEL_ARTIFACT_TYPE, MODEL_CONFIG

Json = dict[str, Any]

INDEX = "application/vnd.oci.image.index.v1+json"
WEIGHT_RAW = "application/vnd.cncf.model.weight.v1.raw"


def digest_of(text: str) -> str:
    """The digest of content made of `text`, so that a test can name two contents."""
    return str(Digest.of(text.encode()))


def descriptor(media_type: str, content: str = "x", **members: object) -> Json:
    """A descriptor of the content made of `content`."""
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content), **members}


def layer(
    path: str | None,
    content: str = "x",
    *,
    media_type: str = WEIGHT_RAW,
    metadata: str | None = None,
    annotations: dict[str, str] | None = None,
) -> Json:
    """A ModelPack layer annotated as modctl annotates it."""
    said = dict(annotations or {})
    if path is not None:
        said[FILEPATH] = path
    if metadata is not None:
        said[FILE_METADATA] = metadata
    return descriptor(media_type, content, annotations=said)


def manifest(
    *layers: Json,
    artifact_type: str | None = MODEL_ARTIFACT_TYPE,
    config_type: str = MODEL_CONFIG,
    **members: object,
) -> Json:
    """An image manifest with these layers."""
    document: Json = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config_type, "{}"),
        "layers": list(layers),
        **members,
    }
    if artifact_type is not None:
        document["artifactType"] = artifact_type
    return document


def index(*entries: Json, **members: object) -> Json:
    """An image index with these entries."""
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries), **members}


def parsed(document: Json) -> Manifest:
    """The document as the parser reads it, which must be a manifest."""
    value = parse_manifest(json.dumps(document).encode(), None)
    assert isinstance(value, Manifest)
    return value


def parsed_index(document: Json) -> Index:
    """The document as the parser reads it, which must be an index."""
    value = parse_manifest(json.dumps(document).encode(), None)
    assert isinstance(value, Index)
    return value


def layout(*layers: Json) -> Layout:
    """How a ModelPack artifact of these layers lays out."""
    return plan(parsed(manifest(*layers)))
