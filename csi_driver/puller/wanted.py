"""Which layers of a model a pull needs, and how much of each."""

from collections.abc import Mapping
from dataclasses import dataclass

from csi_driver.cache.layout import LayerId
from csi_driver.cache.store import Cache
from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci.layer import Layer
from csi_driver.oci.selected import Selected, selected
from csi_driver.puller.artifact import Artifact, Origin
from csi_driver.puller.request import PullRequest


@dataclass(frozen=True, slots=True)
class Wanted:
    """The layers, each whole or a part of it, and where they come from."""

    layers: tuple[Layer, ...]
    origins: Mapping[LayerId, Origin]

    @property
    def is_selected(self) -> bool:
        """Whether less than the whole of some layer is to be kept, as that is all that was asked for."""
        return any(isinstance(layer.part, Selected) for layer in self.layers)


def wanted(artifact: Artifact, request: PullRequest, cache: Cache, *, whole: bool) -> Wanted:
    """What a volume of this request is made of; `UnsupportedArtifact` where nothing is left.

    Of archives only what is selected is kept, unless the whole archive is here already, or is to be kept `whole`.
    """
    selection = request.selection
    layers: list[Layer] = []
    origins: dict[LayerId, Origin] = {}
    for layer in artifact.layers:
        if not selection.wants_layer(layer):
            continue
        origin = artifact.origins[LayerId.of(layer)]
        needs_all = whole or cache.is_served(LayerId.of(layer), origin.registry)
        kept = layer if needs_all else selected(layer, selection)
        layers.append(kept)
        origins.setdefault(LayerId.of(kept), origin)
    if not layers and not any(selection.wants(file.path, file.role) for file in artifact.files):
        raise UnsupportedArtifact(f"{request.reference}: the selection excludes every file; nothing is left to mount")
    return Wanted(tuple(layers), origins)
