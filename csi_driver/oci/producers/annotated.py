"""What the annotations of a layer say about the file or the files in it, for every producer that writes some."""

import re
from collections.abc import Iterable

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci import media, paths
from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.layer import Layer
from csi_driver.oci.media import Packing, Role
from csi_driver.oci.metadata import FileMetadata

_BLOB_NAME = re.compile(r"sha256-[0-9a-f]{64}")
_IGNORED = frozenset({media.OCI_EMPTY, media.IN_TOTO})


def is_ignored(descriptor: Descriptor) -> bool:
    """Whether this is no part of the model: a placeholder, an attestation, or Nydus' index of the other layers."""
    return (
        media.essence(descriptor.media_type) in _IGNORED
        or descriptor.annotations.get(media.NYDUS_BOOTSTRAP, "").lower() == "true"
    )


def is_to_be_unpacked(descriptor: Descriptor) -> bool:
    """Whether ORAS made the layer of a directory: it says so, and gives plain files the same media type."""
    return descriptor.annotations.get(media.ORAS_UNPACK, "").lower() == "true"


def packing_of(descriptor: Descriptor, media_type: str) -> Packing:
    """How the layer is packed by its media type; UnsupportedArtifact names the layer that cannot be unpacked."""
    try:
        return media.packing_of(media_type)
    except UnsupportedArtifact as error:
        raise UnsupportedArtifact(f"layer {descriptor.digest}: {error}") from error


def metadata_of(descriptor: Descriptor, warnings: list[str]) -> FileMetadata:
    """The file's metadata; what cannot be read says nothing, and becomes a warning."""
    text = annotation(descriptor, media.FILE_METADATAS)
    if text is None:
        return FileMetadata()
    try:
        return FileMetadata.parse(text)
    except ValueError as error:
        warnings.append(f"the file metadata of layer {descriptor.digest} cannot be read and is ignored: {error}")
        return FileMetadata()


def annotation(descriptor: Descriptor, names: Iterable[str]) -> str | None:
    """The first of the annotations that is there, even if it is empty."""
    return next((descriptor.annotations[name] for name in names if name in descriptor.annotations), None)


def file_name(descriptor: Descriptor, metadata: FileMetadata) -> str | None:
    """What the artifact calls the file of a raw layer. RamaLama's title is the name of a blob, not of a file."""
    filepath = annotation(descriptor, media.FILEPATHS)
    if filepath is not None:
        return filepath
    title = descriptor.annotations.get(media.TITLE)
    if title and not (metadata.name and _BLOB_NAME.fullmatch(title)):
        return title
    return metadata.name


def file_layer(
    descriptor: Descriptor,
    role: Role,
    name: str,
    metadata: FileMetadata | None,
    warnings: list[str],
    *,
    packing: Packing = Packing.RAW,
) -> Layer:
    """The layer as one file called `name`; UnsupportedArtifact for a name or a kind of file that no volume can have."""
    try:
        path = paths.clean(name)
    except UnsupportedArtifact as error:
        raise UnsupportedArtifact(f"layer {descriptor.digest}: {error}") from error
    known = metadata or FileMetadata()
    if not known.is_regular:
        raise UnsupportedArtifact(
            f"layer {descriptor.digest} ({path!r}) is not a regular file: its metadata says type {known.type_flag}"
        )
    if packing is Packing.RAW and known.size is not None and known.size != descriptor.size:
        warnings.append(f"the file metadata of {path!r} says {known.size} bytes, but its layer has {descriptor.size}")
    return Layer(descriptor, packing, role, path, known.mode, known.mtime_ns)


def tree_path(descriptor: Descriptor, warnings: list[str]) -> str | None:
    """What the artifact says about the place of a tar layer, if it could be the path of a file.

    KitOps writes a directory or `.`, which says nothing more than the names in the archive do.
    """
    text = annotation(descriptor, media.FILEPATHS)
    if not text or text.endswith(("/", "/.")) or text == ".":
        return None
    try:
        return paths.clean(text)
    except UnsupportedArtifact as error:
        warnings.append(f"the file path of layer {descriptor.digest} is ignored: {error}")
        return None


def left_out(descriptor: Descriptor) -> str:
    """The warning about a layer that nothing names."""
    return f"layer {descriptor.digest} of type {descriptor.media_type[:100]!r} has no name and was left out"
