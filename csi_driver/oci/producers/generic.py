"""How the artifacts of ORAS lay out, and of all who push files as ORAS does: podman artifact, AIKit, oras-py.

A layer with a title is the file of that name, whatever its media type; ORAS gives the type of an image layer to plain
files. A directory is a tar layer whose annotation asks for it to be unpacked, and whose names begin with the title.
"""

from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.layer import Layer, Layout
from csi_driver.oci.manifest import Manifest
from csi_driver.oci.media import Packing, Role
from csi_driver.oci.producers import annotated
from csi_driver.oci.producers.recognition import Producer


def lay_out(manifest: Manifest) -> Layout:
    """The layers that have a name, or are archives; UnsupportedArtifact names the one that cannot be placed."""
    layers: list[Layer] = []
    warnings: list[str] = []
    for descriptor in manifest.layers:
        if annotated.is_ignored(descriptor):
            continue
        layer = _layer(descriptor, warnings)
        if layer is None:
            warnings.append(annotated.left_out(descriptor))
        else:
            layers.append(layer)
    return Layout(Producer.GENERIC.label, tuple(layers), tuple(warnings))


def _layer(descriptor: Descriptor, warnings: list[str]) -> Layer | None:
    if annotated.is_to_be_unpacked(descriptor):
        return Layer(descriptor, _packing_of_directory(descriptor), Role.OTHER, None)
    metadata = annotated.metadata_of(descriptor, warnings)
    name = annotated.file_name(descriptor, metadata)
    if name is not None:
        return annotated.file_layer(descriptor, Role.OTHER, name, metadata, warnings)
    packing = annotated.packing_of(descriptor, descriptor.media_type)
    return Layer(descriptor, packing, Role.OTHER, None) if packing.is_tree else None


def _packing_of_directory(descriptor: Descriptor) -> Packing:
    """ORAS packs every directory as tar+gzip, and lets its user call that anything."""
    packing = annotated.packing_of(descriptor, descriptor.media_type)
    return packing if packing.is_tree else Packing.TAR_GZIP
