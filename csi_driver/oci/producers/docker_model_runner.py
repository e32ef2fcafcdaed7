"""How Docker Model Runner's own format lays out, versions 0.1 and 0.2.

Files have the name that is annotated. Older artifacts annotate none: then they are called as Docker Model Runner calls
them when it runs the model (pkg/distribution/internal/bundle/unpack.go).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci import media
from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.layer import Layer, Layout
from csi_driver.oci.manifest import Manifest
from csi_driver.oci.media import Packing, Role, essence
from csi_driver.oci.metadata import FileMetadata
from csi_driver.oci.producers import annotated
from csi_driver.oci.producers.recognition import Producer
from csi_driver.oci.producers.shards import numbered, shards

PREFIX = "application/vnd.docker.ai."

_SHARDED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"gguf.v3": ("model", ".gguf"), "safetensors": ("model", ".safetensors"), "dduf": ("model", ".dduf")}
)
_ALONE: Mapping[str, str] = MappingProxyType(
    {"mmproj": "model.mmproj", "chat.template.jinja": "template.jinja", "license": "LICENSE"}
)
_ROLES: Mapping[str, Role] = MappingProxyType(
    {
        **dict.fromkeys((*_SHARDED, "mmproj"), Role.WEIGHT),
        "chat.template.jinja": Role.WEIGHT_CONFIG,
        "vllm.config.tar": Role.WEIGHT_CONFIG,
        "license": Role.DOC,
    }
)

NAMED = frozenset({*_SHARDED, *_ALONE})
"""The kinds of layers that give their files a name."""


def lay_out(manifest: Manifest) -> Layout:
    """Every layer as one file or, for archives, as what they hold; UnsupportedArtifact names the one without a name."""
    warnings: list[str] = []
    described = [
        (layer, annotated.metadata_of(layer, warnings)) for layer in manifest.layers if not annotated.is_ignored(layer)
    ]
    files = [(layer, metadata) for layer, metadata in described if not _packing(layer).is_tree]
    unnamed = Counter(_kind(layer) for layer, metadata in files if annotated.file_name(layer, metadata) is None)
    defaults = {kind: iter(_names(kind, count)) for kind, count in unnamed.items()}
    layers = [_layer(layer, metadata, defaults, warnings) for layer, metadata in described]
    return Layout(Producer.DOCKER_MODEL_RUNNER.label, tuple(layers), tuple(warnings))


def _layer(
    descriptor: Descriptor, metadata: FileMetadata, defaults: Mapping[str, Iterator[str]], warnings: list[str]
) -> Layer:
    role = _ROLES.get(_kind(descriptor), Role.OTHER)
    packing = _packing(descriptor)
    if packing.is_tree:
        return Layer(descriptor, packing, role, None)
    name = annotated.file_name(descriptor, metadata)
    if name is None:
        name = next(defaults[_kind(descriptor)], None)
    if name is None:
        raise UnsupportedArtifact(
            f"layer {descriptor.digest} ({descriptor.media_type[:100]}) is a file without a name: it has no annotation "
            f"{media.FILEPATH}"
        )
    return annotated.file_layer(descriptor, role, name, metadata, warnings)


def _kind(descriptor: Descriptor) -> str:
    return essence(descriptor.media_type).removeprefix(PREFIX)


def _packing(descriptor: Descriptor) -> Packing:
    return annotated.packing_of(descriptor, descriptor.media_type)


def _names(kind: str, count: int) -> list[str]:
    """What files of this kind are called that have no names; none for a kind that says nothing."""
    if kind in _SHARDED:
        return shards(*_SHARDED[kind], count)
    return numbered(_ALONE[kind], count) if kind in _ALONE else []
