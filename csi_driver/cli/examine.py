"""All that is known of a model without fetching it: from its registry, and from this node's driver if there is one."""

import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from csi_driver.cache.layout import LayerId
from csi_driver.cli.driver import driver
from csi_driver.errors import DriverError, UnsupportedArtifact
from csi_driver.oci.config_blob import ModelConfig
from csi_driver.oci.description import describes, description
from csi_driver.oci.descriptor import Platform
from csi_driver.oci.digest import Digest
from csi_driver.oci.layer import Layer, Layout
from csi_driver.oci.layout import without_conflicts
from csi_driver.oci.manifest import Manifest
from csi_driver.oci.reference import Reference
from csi_driver.oci.selected import selected
from csi_driver.oci.selection import Selection
from csi_driver.puller.artifact import INHERITED, MAX_PARENTS, configuration, lay_out
from csi_driver.puller.resolver import find
from csi_driver.registry.client import Repository
from csi_driver.volumes.inventory import CachedModel


@dataclass(frozen=True, slots=True)
class Model:
    """What a registry holds under a reference; `digest` is that of the model's own manifest, also within an index.

    `layers` are all that a pod would see files of, those of `parents` included.
    """

    reference: Reference
    digest: Digest
    manifest: Manifest
    layout: Layout
    config: ModelConfig
    layers: tuple[Layer, ...]
    parents: tuple[Reference, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all layers, as the registries keep them."""
        return _bytes(self.layers)


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a volume with a selection would fetch of a model onto a node that holds nothing of it."""

    layers: tuple[Layer, ...]

    @property
    def size(self) -> int:
        return _bytes(self.layers)


@dataclass(frozen=True, slots=True)
class OnNode:
    """What the node holds: layers that serve this selection, and snapshots of this very model."""

    layers: frozenset[LayerId]
    models: tuple[CachedModel, ...]

    def holds(self, layer: Layer, selection: Selection) -> bool:
        """Whether nothing of the layer would have to be fetched."""
        return not self.layers.isdisjoint(_served_by(layer, selection))


def examine(repository_of: Callable[[Reference], Repository], reference: Reference) -> Model:
    """The model that `reference` means, of an index the one for this machine's platform, and those it builds on."""
    model = _read(repository_of(reference), reference)
    lineage = {model.digest: reference}
    layers, parent = list(model.layers), model.layout.parent
    while parent is not None:
        if len(lineage) > MAX_PARENTS:
            raise UnsupportedArtifact(f"{reference} builds on more than {MAX_PARENTS} models, one on the other")
        above = _read(repository_of(parent), parent)
        if above.digest in lineage:
            raise UnsupportedArtifact(f"{reference} builds on {parent}, which builds on it: models go in a circle")
        lineage[above.digest] = parent
        layers += [layer for layer in above.layers if layer.role in INHERITED]
        parent = above.layout.parent
    _, *parents = lineage.values()
    return Model(
        reference, model.digest, model.manifest, model.layout, model.config, without_conflicts(layers), tuple(parents)
    )


def fetched(model: Model, selection: Selection) -> Fetched:
    """The layers that the selection needs, each once."""
    wanted = {LayerId.of(layer): layer for layer in model.layers if selection.wants_layer(layer)}
    return Fetched(tuple(wanted.values()))


def on_node(endpoint: str, model: Model, selection: Selection) -> OnNode | None:
    """What the driver at `endpoint` holds; None where none answers, or not to this user."""
    asked = {each for layer in model.layers for each in _served_by(layer, selection)}
    try:
        with driver(endpoint) as client:
            held = client.held(asked)
            models = [each for each in client.list_models() if each.manifest_digest == str(model.digest)]
    except DriverError:
        return None
    return OnNode(frozenset(held), tuple(models))


def _read(repository: Repository, reference: Reference) -> Model:
    found, manifest = find(repository, reference.selector, Platform.of_machine(platform.machine()))
    layout = lay_out(repository, manifest)
    config = ModelConfig()
    if describes(manifest.config, layout.producer):
        config = description(layout.producer, configuration(repository, manifest.config))
    return Model(reference, found.digest, manifest, layout, config, layout.layers)


def _served_by(layer: Layer, selection: Selection) -> tuple[LayerId, ...]:
    """What of a cache would do for the layer: the whole of it, or the part that the selection wants."""
    return LayerId.of(layer), LayerId.of(selected(layer, selection))


def _bytes(layers: Iterable[Layer]) -> int:
    return sum(layer.descriptor.size for layer in layers)
