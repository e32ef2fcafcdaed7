"""How ModelPack artifacts lay out: every version of model-spec, and every tool that claims to follow it.

model-spec has no rules for unpacking. What is here is what modctl, KitOps, AIKit, RamaLama, olot and Docker Model
Runner write, read so that each artifact becomes the directory that was packed.
"""

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci import media
from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.layer import Layer, Layout
from csi_driver.oci.manifest import Manifest
from csi_driver.oci.media import Packing
from csi_driver.oci.producers import annotated
from csi_driver.oci.producers.recognition import Producer


def lay_out(manifest: Manifest) -> Layout:
    """The layers of a ModelPack artifact that hold files.

    UnsupportedArtifact names the layer that cannot be placed or unpacked.
    """
    layers: list[Layer] = []
    warnings: list[str] = []
    for descriptor in manifest.layers:
        if annotated.is_ignored(descriptor):
            continue
        layer = _layer(descriptor, warnings)
        if layer is not None:
            layers.append(layer)
    return Layout(Producer.MODELPACK.label, tuple(layers), tuple(warnings))


def _layer(descriptor: Descriptor, warnings: list[str]) -> Layer | None:
    metadata = annotated.metadata_of(descriptor, warnings)
    media_type = _model_media_type(descriptor)
    role = media.role_of(media_type)
    packing = _packing(descriptor, media_type)
    if packing.is_tree:
        place = annotated.tree_path(descriptor, warnings)
        return Layer(descriptor, packing, role, place, metadata.mode, metadata.mtime_ns)
    name = annotated.file_name(descriptor, metadata)
    if name is not None:
        return annotated.file_layer(descriptor, role, name, metadata, warnings, packing=packing)
    if media.is_model_type(media_type):
        raise UnsupportedArtifact(
            f"layer {descriptor.digest} ({media_type}) is a file without a name: it has no annotation {media.FILEPATH}"
        )
    warnings.append(annotated.left_out(descriptor))
    return None


def _model_media_type(descriptor: Descriptor) -> str:
    """The layer's type; before v0.0.1 it was the layer's artifactType, and the media type that of an image layer."""
    if descriptor.artifact_type is not None and media.is_model_type(descriptor.artifact_type):
        return descriptor.artifact_type
    return descriptor.media_type


def _packing(descriptor: Descriptor, media_type: str) -> Packing:
    """The layer's packing. ORAS gives an image layer's type to plain files too: one with a name is a file."""
    packing = annotated.packing_of(descriptor, media_type)
    named = any(name in descriptor.annotations for name in (*media.FILEPATHS, media.TITLE))
    plain = media.is_oci_layer(media_type) and named and not annotated.is_to_be_unpacked(descriptor)
    return Packing.RAW if plain else packing
