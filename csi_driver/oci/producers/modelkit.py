"""How KitOps' ModelKits lay out, all versions: what the manifest holds and where the Kitfile says it belongs."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci import media, paths
from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.layer import GeneratedFile, Layer, Layout
from csi_driver.oci.manifest import Manifest
from csi_driver.oci.media import Role, essence
from csi_driver.oci.producers import annotated, kitfile
from csi_driver.oci.producers.kitfile import Entry, Kitfile
from csi_driver.oci.producers.recognition import Producer

_LAYER = re.compile(r"application/vnd\.kitops\.modelkit\.(?P<kind>[a-z]+)\.v1\.(?P<form>.+)")
_SUBTYPE = "ml.kitops.modelkit.layer-subtype"
_ROLES: Mapping[str, Role] = MappingProxyType(
    {
        "model": Role.WEIGHT,
        "modelpart": Role.WEIGHT_CONFIG,
        "dataset": Role.DATASET,
        "code": Role.CODE,
        "prompt": Role.CODE,
        "docs": Role.DOC,
    }
)
"""As KitOps itself assigns them when it writes ModelPack artifacts."""


def lay_out(manifest: Manifest, config: bytes) -> Layout:
    """The layers of a kit, the Kitfile that `config` holds, and the kit it builds on, if any.

    UnsupportedArtifact names the layer that cannot be placed or unpacked.
    """
    kit = Kitfile.parse(config)
    warnings = [
        f"the dataset at {remote[:200]!r} is not part of the ModelKit and was left out" for remote in kit.remote
    ]
    places = _Places(kit)
    layers = []
    for descriptor in manifest.layers:
        if annotated.is_ignored(descriptor):
            continue
        kind = _kind(descriptor)
        if kind is None:
            warnings.append(annotated.left_out(descriptor))
        else:
            layers.append(_layer(descriptor, kind, places, warnings))
    parent = None if any(_kind(descriptor) == "model" for descriptor in manifest.layers) else kit.parent
    return Layout(
        Producer.MODELKIT.label, tuple(layers), tuple(warnings), (GeneratedFile(kitfile.PATH, kit.to_yaml()),), parent
    )


class _Places:
    """Which entry of the Kitfile a layer belongs to: by its digest, before KitOps 0.5 by its place in the order."""

    def __init__(self, kit: Kitfile) -> None:
        self._by_digest = {entry.digest: entry for entry in kit.entries if entry.digest is not None}
        self._in_order: dict[str, list[Entry]] = {}
        for entry in kit.entries:
            self._in_order.setdefault(entry.kind, []).append(entry)

    def of(self, descriptor: Descriptor, kind: str) -> Entry | None:
        """The entry; None for a layer that the Kitfile does not name, whose names are enough since KitOps 0.5."""
        if self._by_digest:
            return self._by_digest.get(str(descriptor.digest))
        left = self._in_order.get(kind)
        if not left:
            raise UnsupportedArtifact(
                f"layer {descriptor.digest} has no entry in the Kitfile: nothing says where its files belong"
            )
        return left.pop(0)


def _kind(descriptor: Descriptor) -> str | None:
    """What part of a kit the layer is, in the Kitfile's words; None for a layer that KitOps does not know."""
    match = _LAYER.fullmatch(essence(descriptor.media_type))
    if match is None:
        return None
    return "prompt" if descriptor.annotations.get(_SUBTYPE) == "prompt" else match["kind"]


def _layer(descriptor: Descriptor, kind: str, places: _Places, warnings: list[str]) -> Layer:
    role = _ROLES.get(kind, Role.OTHER)
    packing = annotated.packing_of(descriptor, descriptor.media_type)
    entry = places.of(descriptor, kind)
    if packing.is_tree:
        below = "" if entry is None or entry.digest is not None else _directory(descriptor, entry)
        return Layer(descriptor, packing, role, None, below=below)
    metadata = annotated.metadata_of(descriptor, warnings)
    name = annotated.file_name(descriptor, metadata) or (entry.path if entry is not None else None)
    if name is None:
        raise UnsupportedArtifact(
            f"layer {descriptor.digest} ({descriptor.media_type[:100]}) is a file without a name: it has no annotation "
            f"{media.FILEPATH}, and the Kitfile does not know it"
        )
    return annotated.file_layer(descriptor, role, name, metadata, warnings, packing=packing)


def _directory(descriptor: Descriptor, entry: Entry) -> str:
    """The directory above an entry: archives of KitOps before 0.5 begin with the entry's own name."""
    try:
        path = paths.clean(f"{entry.path or '.'}/_").rpartition("/")[0]
    except UnsupportedArtifact as error:
        raise UnsupportedArtifact(f"layer {descriptor.digest}: {error}") from error
    return path.rpartition("/")[0]
