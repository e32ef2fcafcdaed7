"""Which registries have served which layers."""

import hashlib
import time
from collections.abc import Collection
from pathlib import Path

from csi_driver.cache.layout import LayerId
from csi_driver.host import faults, files


class Origins:
    """A registry counts as an origin of a layer once it has served all of it; one empty file tells so.

    A digest is no permission: whoever knows that of a private layer can name it in a manifest at a registry of his own.
    So a layer is given to the readers of a registry only after that registry has proved that it holds it. Between the
    repositories of one registry that is the registry's own business.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, layer: LayerId, registry: str) -> None:
        """The registry has served the layer; a power cut may make it serve it once more."""
        files.write_atomically(self._path(layer, registry), b"", durable_name=False)

    def has(self, layer: LayerId, registry: str) -> bool:
        """Whether the registry has served the layer."""
        return faults.exists(self._path(layer, registry))

    def expire(self, older_than_seconds: float, *, keep: Collection[LayerId]) -> int:
        """Forget what was served so long ago and is not among the layers to keep; returns how many."""
        kept = {layer.name for layer in keep}
        before = time.time() - older_than_seconds
        old = [
            path
            for path in self._directory.glob("*@*")
            if path.name.partition("@")[0] not in kept and path.stat().st_mtime < before
        ]
        for path in old:
            path.unlink()
        return len(old)

    def _path(self, layer: LayerId, registry: str) -> Path:
        return self._directory / f"{layer.name}@{hashlib.sha256(registry.encode()).hexdigest()}"
