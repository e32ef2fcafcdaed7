"""What a media type says about a layer: how its bytes are packed and what they are for."""

import re
from enum import StrEnum

from csi_driver.errors import UnsupportedArtifact

MODEL_ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
MODEL_CONFIG = "application/vnd.cncf.model.config.v1+json"
"""What model-spec calls a manifest and its configuration since v0.0.7; before, `cnai` stood for `cncf`."""

OCI_EMPTY = "application/vnd.oci.empty.v1+json"
IN_TOTO = "application/vnd.in-toto+json"

FILEPATH = "org.cncf.model.filepath"
FILE_METADATA = "org.cncf.model.file.metadata+json"
FILEPATHS = (FILEPATH, "org.cnai.model.filepath")
FILE_METADATAS = (FILE_METADATA, "org.cnai.model.file.metadata+json", "org.cnai.model.file.metadata")
"""Each annotation under all its names, the present one first (model-spec v0.0.1 to v0.0.7)."""

TITLE = "org.opencontainers.image.title"
ORAS_UNPACK = "io.deis.oras.content.unpack"
NYDUS_BOOTSTRAP = "containerd.io/snapshot/nydus-bootstrap"

_MODEL_TYPE = re.compile(r"application/vnd\.(?:cncf|cnai)\.model\.(?P<role>[a-z.]+)\.v1\.(?P<form>.+)")
_MODEL_PREFIX = re.compile(r"application/vnd\.(?:cncf|cnai)\.model\.")
_TREE = re.compile(r".*\.tar(?P<suffix>\.(?:gz|gzip|zst|zstd)|\+.*)?")
_FILE = re.compile(r"[^+]*\.(?:raw|gguf|safetensors)(?P<suffix>\+gzip|\+zstd)")
_OCI_LAYER = re.compile(
    r"application/vnd\.oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+[a-z]+)?"
    r"|application/vnd\.docker\.image\.rootfs\.(?:diff|foreign\.diff)\.tar(?:\.[a-z]+)?"
)


class Packing(StrEnum):
    """How the bytes of a layer hold its files; part of the identity of a layer in the cache."""

    RAW = "raw"
    TAR = "tar"
    RAW_GZIP = "raw+gzip"
    RAW_ZSTD = "raw+zstd"
    TAR_GZIP = "tar+gzip"
    TAR_ZSTD = "tar+zstd"

    @property
    def is_tree(self) -> bool:
        """Whether the layer unpacks to a directory rather than to one file."""
        return self in (Packing.TAR, Packing.TAR_GZIP, Packing.TAR_ZSTD)

    @property
    def is_compressed(self) -> bool:
        """Whether the blob is smaller than what it holds."""
        return self not in (Packing.RAW, Packing.TAR)


class Role(StrEnum):
    """What the files of a layer are for, in the words of model-spec's media types."""

    WEIGHT = "weight"
    WEIGHT_CONFIG = "weight.config"
    DOC = "doc"
    CODE = "code"
    DATASET = "dataset"
    OTHER = "other"


_GZIP, _ZSTD = ("+gzip", ".gzip", ".gz", "+gz"), ("+zstd", ".zstd", ".zst")
_COMPRESSIONS: dict[str | None, Packing] = {
    None: Packing.TAR,
    **dict.fromkeys(_GZIP, Packing.TAR_GZIP),
    **dict.fromkeys(_ZSTD, Packing.TAR_ZSTD),
}
_FILE_COMPRESSIONS = {"+gzip": Packing.RAW_GZIP, "+zstd": Packing.RAW_ZSTD}
_ROLES = {
    **{role.value: role for role in Role if role is not Role.OTHER},
    "layer": Role.WEIGHT,  # before v0.0.1
    "config": Role.WEIGHT_CONFIG,  # before v0.0.1
}


def essence(media_type: str | None) -> str:
    """A media type without its parameters, in lower case (RFC 9110, section 8.3.1)."""
    return (media_type or "").partition(";")[0].strip().lower()


def is_model_type(media_type: str | None) -> bool:
    """Whether model-spec, in any version, defines the family that this type belongs to."""
    return _MODEL_PREFIX.match(essence(media_type)) is not None


def is_oci_layer(media_type: str | None) -> bool:
    """Whether this is a layer of a container image. ORAS gives the same type to plain files."""
    return _OCI_LAYER.fullmatch(essence(media_type)) is not None


def role_of(media_type: str) -> Role:
    """What the files of a layer with this media type are for; OTHER where model-spec does not say."""
    match = _MODEL_TYPE.fullmatch(essence(media_type))
    return _ROLES.get(match["role"], Role.OTHER) if match else Role.OTHER


def packing_of(media_type: str) -> Packing:
    """How a layer with this media type is packed: what does not say otherwise is one plain file.

    UnsupportedArtifact for a compression or encryption that cannot be undone here.
    """
    text = essence(media_type)
    tree = _TREE.fullmatch(text)
    if tree is not None and tree["suffix"] in _COMPRESSIONS:
        return _COMPRESSIONS[tree["suffix"]]
    if tree is None and ".raw+" not in text and not (is_model_type(text) and "+" in text):
        return Packing.RAW
    file = _FILE.fullmatch(text)
    if file is None:
        raise UnsupportedArtifact(
            f"the layer type {text[:150]!r} cannot be unpacked: use raw (one file) or tar, plain or with +gzip or +zstd"
        )
    return _FILE_COMPRESSIONS[file["suffix"]]


def layer_media_type(role: Role, packing: Packing) -> str:
    """The media type of model-spec for a layer of this role and packing; ValueError for OTHER, which has none."""
    if role is Role.OTHER:
        raise ValueError("model-spec has no media type for files without a role")
    return f"application/vnd.cncf.model.{role}.v1.{packing}"
