"""How container images lay out that carry a model in `/models`, as KServe's modelcars and RamaLama's cars do.

The directory becomes the volume; what else the image holds, such as an operating system, is left out.
"""

from csi_driver.oci import media
from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.layer import Layer, Layout
from csi_driver.oci.manifest import Manifest
from csi_driver.oci.media import Packing, Role
from csi_driver.oci.part import Subtree
from csi_driver.oci.producers import annotated
from csi_driver.oci.producers.recognition import Producer

MODELS = Subtree("models")


def lay_out(manifest: Manifest) -> Layout:
    """All layers of the image, lowest first; UnsupportedArtifact names the one that cannot be unpacked."""
    layers: list[Layer] = []
    warnings: list[str] = []
    for descriptor in manifest.layers:
        if annotated.is_ignored(descriptor):
            continue
        packing = _packing(descriptor)
        if packing is None:
            warnings.append(
                f"layer {descriptor.digest} of type {descriptor.media_type[:100]!r} is no layer of an image"
            )
        else:
            layers.append(Layer(descriptor, packing, Role.OTHER, None, part=MODELS))
    return Layout(Producer.IMAGE.label, tuple(layers), tuple(warnings))


def _packing(descriptor: Descriptor) -> Packing | None:
    packing = annotated.packing_of(descriptor, descriptor.media_type)
    return packing if packing.is_tree or media.is_oci_layer(descriptor.media_type) else None
