"""How Ollama's models lay out: its layers have kinds and no names, so the kinds give the names.

Ollama publishes no format; the kinds are those of its source (manifest/layer.go, server/images.go).
"""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.layer import Layer, Layout
from csi_driver.oci.manifest import Manifest
from csi_driver.oci.media import Role, essence
from csi_driver.oci.producers import annotated
from csi_driver.oci.producers.recognition import Producer
from csi_driver.oci.producers.shards import numbered, shards

PREFIX = "application/vnd.ollama.image."

_SHARDED: Mapping[str, str] = MappingProxyType({"model": "model", "projector": "mmproj", "draft": "draft"})
_ROLES: Mapping[str, Role] = MappingProxyType(
    {
        "model": Role.WEIGHT,
        "projector": Role.WEIGHT,
        "adapter": Role.WEIGHT,
        "draft": Role.WEIGHT,
        "license": Role.DOC,
        **dict.fromkeys(("template", "prompt", "system", "params", "messages", "json"), Role.WEIGHT_CONFIG),
    }
)
_ALONE: Mapping[str, str] = MappingProxyType(
    {
        "template": "template",
        "prompt": "prompt",
        "system": "system",
        "params": "params.json",
        "messages": "messages.json",
        "license": "LICENSE",
    }
)

NAMED = frozenset({*_SHARDED, *_ALONE, "adapter"})
"""The kinds of layers that give their files a name."""


def lay_out(manifest: Manifest) -> Layout:
    """Every layer as one file; UnsupportedArtifact for a model that Ollama split into tensors."""
    layers: list[Layer] = []
    warnings: list[str] = []
    counts = Counter(_kind(descriptor) for descriptor in manifest.layers)
    names = {kind: iter(_names(kind, count)) for kind, count in counts.items()}
    for descriptor in manifest.layers:
        kind = _kind(descriptor)
        if kind == "tensor":
            raise UnsupportedArtifact(
                f"layer {descriptor.digest} is one tensor: Ollama split this model into tensors, which only Ollama can "
                "put together; use a model that it keeps in GGUF"
            )
        name = next(names[kind], descriptor.name)
        if name is None:
            warnings.append(annotated.left_out(descriptor))
        else:
            layers.append(annotated.file_layer(descriptor, _ROLES.get(kind, Role.OTHER), name, None, warnings))
    return Layout(Producer.OLLAMA.label, tuple(layers), tuple(warnings))


def _kind(descriptor: Descriptor) -> str:
    return essence(descriptor.media_type).removeprefix(PREFIX)


def _names(kind: str, count: int) -> list[str]:
    """What the files of this kind are called; none for a kind whose layers have names of their own."""
    if kind == "adapter":
        return [f"adapter-{number}.gguf" for number in range(1, count + 1)]
    if kind in _SHARDED:
        return shards(_SHARDED[kind], ".gguf", count)
    return numbered(_ALONE[kind], count) if kind in _ALONE else []
