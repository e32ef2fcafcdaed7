"""Where the layers of an artifact, and the files in them, go in a volume."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci.layer import DIRECTORY_MODE, Layer, Layout, file_mode
from csi_driver.oci.manifest import Manifest
from csi_driver.oci.paths import basename, parents
from csi_driver.oci.producers import modelpack
from csi_driver.oci.producers.recognition import Producer, recognise

__all__ = ["DIRECTORY_MODE", "Layer", "Layout", "file_mode", "placement", "plan"]

_LAY_OUT: Mapping[Producer, Callable[[Manifest], Layout]] = MappingProxyType({Producer.MODELPACK: modelpack.lay_out})
"""One function for each producer whose artifacts can be laid out."""


def plan(manifest: Manifest) -> Layout:
    """The layers that a volume of this artifact consists of, free of conflicts that the manifest alone shows.

    UnsupportedArtifact for the artifact of another producer, for one without files, and for layers that exclude each
    other, naming both.
    """
    producer = recognise(manifest)
    lay_out = _LAY_OUT.get(producer)
    if lay_out is None:
        raise UnsupportedArtifact(_unsupported(producer, manifest))
    layout = lay_out(manifest)
    if not layout.layers:
        reasons = "".join(f"; {warning}" for warning in layout.warnings[:3])
        raise UnsupportedArtifact(f"the artifact has no files: none of its layers holds any{reasons}")
    return Layout(layout.producer, _without_conflicts(layout.layers), layout.warnings)


def placement(layer: Layer, entries: Sequence[str]) -> Mapping[str, str]:
    """Where the entries of an unpacked tar layer go: entry path to path in the volume, both clean.

    `entries` are all that are not directories. Names in the archive are relative to the volume's root. The exception is
    a lone file whose layer is annotated with another path of the same file name: AIKit, early modctl, `modctl attach`
    archive it under a shorter one. For anything else the annotation is a directory or a label.
    """
    if len(entries) == 1 and layer.path is not None and basename(layer.path) == basename(entries[0]):
        return {entries[0]: layer.path}
    return {entry: entry for entry in entries}


def _unsupported(producer: Producer, manifest: Manifest) -> str:
    artifact_type = f", artifact type {manifest.artifact_type[:100]!r}" if manifest.artifact_type else ""
    return (
        f"this is {producer} (config type {manifest.config.media_type[:100]!r}{artifact_type}); this version lays out "
        "ModelPack artifacts: pack the model with modctl build or model-csi push"
    )


def _without_conflicts(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """The layers without repetitions; two that claim one path for different content are refused."""
    files: dict[str, Layer] = {}
    kept: list[Layer] = []
    for layer in layers:
        if layer.packing.is_tree or layer.path is None:
            kept.append(layer)
            continue
        first = files.setdefault(layer.path, layer)
        if first is layer:
            kept.append(layer)
        elif first.descriptor.digest != layer.descriptor.digest:
            raise _conflict(first, layer, "both are to be the same file")
    for path, layer in files.items():
        for parent in parents(path):
            if parent in files:
                raise _conflict(files[parent], layer, "the first is to be a file and a directory")
    return tuple(kept)


def _conflict(one: Layer, other: Layer, reason: str) -> UnsupportedArtifact:
    return UnsupportedArtifact(
        f"layers {one.descriptor.digest} ({one.path!r}) and {other.descriptor.digest} ({other.path!r}) "
        f"exclude each other: {reason}"
    )
