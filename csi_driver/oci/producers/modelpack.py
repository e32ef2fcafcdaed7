"""How ModelPack artifacts lay out: every version of model-spec, and every tool that claims to follow it.

model-spec has no rules for unpacking. What is here is what modctl, KitOps, AIKit, RamaLama, olot and Docker Model
Runner write, read so that each artifact becomes the directory that was packed.
"""

import re
from collections.abc import Iterable

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci import media, paths
from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.layer import Layer, Layout
from csi_driver.oci.manifest import Manifest
from csi_driver.oci.media import Packing, Role
from csi_driver.oci.metadata import FileMetadata

_BLOB_NAME = re.compile(r"sha256-[0-9a-f]{64}")
_IGNORED = frozenset({media.OCI_EMPTY, media.IN_TOTO})


def lay_out(manifest: Manifest) -> Layout:
    """The layers of a ModelPack artifact that hold files.

    UnsupportedArtifact names the layer that cannot be placed or unpacked.
    """
    layers: list[Layer] = []
    warnings: list[str] = []
    for descriptor in manifest.layers:
        if _is_ignored(descriptor):
            continue
        layer = _layer(descriptor, warnings)
        if layer is not None:
            layers.append(layer)
    return Layout("modelpack", tuple(layers), tuple(warnings))


def _is_ignored(descriptor: Descriptor) -> bool:
    """Whether this is no part of the model: a placeholder, an attestation, or Nydus' index of the other layers."""
    return (
        media.essence(descriptor.media_type) in _IGNORED
        or descriptor.annotations.get(media.NYDUS_BOOTSTRAP, "").lower() == "true"
    )


def _layer(descriptor: Descriptor, warnings: list[str]) -> Layer | None:
    metadata = _metadata(descriptor, warnings)
    media_type = _model_media_type(descriptor)
    role = media.role_of(media_type)
    packing = _packing(descriptor, media_type)
    if packing.is_tree:
        return Layer(descriptor, packing, role, _tree_path(descriptor, warnings), metadata.mode, metadata.mtime_ns)
    name = _file_name(descriptor, metadata)
    if name is not None:
        return _raw_layer(descriptor, role, name, metadata, warnings)
    if media.is_model_type(media_type):
        raise UnsupportedArtifact(
            f"layer {descriptor.digest} ({media_type}) is a file without a name: it has no annotation {media.FILEPATH}"
        )
    warnings.append(f"layer {descriptor.digest} of type {descriptor.media_type[:100]!r} has no name and was left out")
    return None


def _model_media_type(descriptor: Descriptor) -> str:
    """The layer's type; before v0.0.1 it was the layer's artifactType, and the media type that of an image layer."""
    if descriptor.artifact_type is not None and media.is_model_type(descriptor.artifact_type):
        return descriptor.artifact_type
    return descriptor.media_type


def _packing(descriptor: Descriptor, media_type: str) -> Packing:
    """The layer's packing. ORAS gives an image layer's type to plain files too: one with a name is a file."""
    try:
        packing = media.packing_of(media_type)
    except UnsupportedArtifact as error:
        raise UnsupportedArtifact(f"layer {descriptor.digest}: {error}") from error
    named = any(name in descriptor.annotations for name in (*media.FILEPATHS, media.TITLE))
    unpack = descriptor.annotations.get(media.ORAS_UNPACK, "").lower() == "true"
    return Packing.RAW if media.is_oci_layer(media_type) and named and not unpack else packing


def _metadata(descriptor: Descriptor, warnings: list[str]) -> FileMetadata:
    text = _annotation(descriptor, media.FILE_METADATAS)
    if text is None:
        return FileMetadata()
    try:
        return FileMetadata.parse(text)
    except ValueError as error:
        warnings.append(f"the file metadata of layer {descriptor.digest} cannot be read and is ignored: {error}")
        return FileMetadata()


def _annotation(descriptor: Descriptor, names: Iterable[str]) -> str | None:
    """The first of the annotations that is there, even if it is empty."""
    return next((descriptor.annotations[name] for name in names if name in descriptor.annotations), None)


def _file_name(descriptor: Descriptor, metadata: FileMetadata) -> str | None:
    """What the artifact calls the file of a raw layer. RamaLama's title is the name of a blob, not of a file."""
    filepath = _annotation(descriptor, media.FILEPATHS)
    if filepath is not None:
        return filepath
    title = descriptor.annotations.get(media.TITLE)
    if title and not (metadata.name and _BLOB_NAME.fullmatch(title)):
        return title
    return metadata.name


def _raw_layer(descriptor: Descriptor, role: Role, name: str, metadata: FileMetadata, warnings: list[str]) -> Layer:
    try:
        path = paths.clean(name)
    except UnsupportedArtifact as error:
        raise UnsupportedArtifact(f"layer {descriptor.digest}: {error}") from error
    if not metadata.is_regular:
        raise UnsupportedArtifact(
            f"layer {descriptor.digest} ({path!r}) is not a regular file: its metadata says type {metadata.type_flag}"
        )
    if metadata.size is not None and metadata.size != descriptor.size:
        warnings.append(
            f"the file metadata of {path!r} says {metadata.size} bytes, but its layer has {descriptor.size}"
        )
    return Layer(descriptor, Packing.RAW, role, path, metadata.mode, metadata.mtime_ns)


def _tree_path(descriptor: Descriptor, warnings: list[str]) -> str | None:
    """What the artifact says about the place of a tar layer, if it could be the path of a file.

    KitOps writes a directory or `.`, which says nothing more than the names in the archive do.
    """
    text = _annotation(descriptor, media.FILEPATHS)
    if not text or text.endswith(("/", "/.")) or text == ".":
        return None
    try:
        return paths.clean(text)
    except UnsupportedArtifact as error:
        warnings.append(f"the file path of layer {descriptor.digest} is ignored: {error}")
        return None
