"""Where the layers of an artifact, and the files in them, go in a volume."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci.layer import Layer, Layout, file_mode
from csi_driver.oci.manifest import Manifest
from csi_driver.oci.paths import basename, parents
from csi_driver.oci.producers import docker_model_runner, generic, image, modelkit, modelpack, ollama
from csi_driver.oci.producers.recognition import Producer, recognise

__all__ = ["Layer", "Layout", "file_mode", "needs_config", "placement", "plan", "without_conflicts"]

_LAY_OUT: Mapping[Producer, Callable[[Manifest], Layout]] = MappingProxyType(
    {
        Producer.MODELPACK: modelpack.lay_out,
        Producer.DOCKER_MODEL_RUNNER: docker_model_runner.lay_out,
        Producer.OLLAMA: ollama.lay_out,
        Producer.IMAGE: image.lay_out,
        Producer.GENERIC: generic.lay_out,
    }
)
"""One function for each producer whose manifests say all there is to know."""


def needs_config(manifest: Manifest) -> bool:
    """Whether `plan` must be given the configuration blob; for most producers the manifest says it all."""
    return recognise(manifest) is Producer.MODELKIT


def plan(manifest: Manifest, config: bytes | None = None) -> Layout:
    """The layers that a volume of this artifact consists of, free of conflicts that manifest and configuration show.

    `config` is the configuration blob where `needs_config`. UnsupportedArtifact for an artifact that no volume can be
    made of, for one without files, and for layers that exclude each other, naming both.
    """
    layout = _lay_out(manifest, config)
    if not layout.layers and layout.parent is None:
        reasons = "".join(f"; {warning}" for warning in layout.warnings[:3])
        raise UnsupportedArtifact(f"the artifact holds no files: it has no layers, or none with files{reasons}")
    return replace(layout, layers=without_conflicts(layout.layers))


def _lay_out(manifest: Manifest, config: bytes | None) -> Layout:
    producer = recognise(manifest)
    if producer is Producer.MODELKIT:
        if config is None:
            raise UnsupportedArtifact(
                f"this is {producer}, of which the manifest alone does not say where files belong"
            )
        return modelkit.lay_out(manifest, config)
    return _LAY_OUT[producer](manifest)


def placement(layer: Layer, entries: Sequence[str]) -> Mapping[str, str]:
    """Where the entries of an unpacked tar layer go: entry path to path in the volume, both clean.

    `entries` are all that are not directories. Names in the archive are relative to the volume's root, or to the
    directory that the layer is `below`. The exception is a lone file whose layer is annotated with another path of the
    same file name: AIKit, early modctl, `modctl attach` archive it under a shorter one. For anything else the
    annotation is a directory or a label. A compressed file goes where its layer says.
    """
    if not layer.packing.is_tree and layer.path is not None:
        return dict.fromkeys(entries, layer.path)
    if len(entries) == 1 and layer.path is not None and basename(layer.path) == basename(entries[0]):
        return {entries[0]: layer.path}
    prefix = f"{layer.below}/" if layer.below else ""
    return {entry: f"{prefix}{entry}" for entry in entries}


def without_conflicts(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """The layers without repetitions; two that claim one path for different content are refused."""
    files: dict[str, Layer] = {}
    kept: list[Layer] = []
    for layer in layers:
        if layer.path is None or layer.packing.is_tree:
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
