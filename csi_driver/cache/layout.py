"""Where everything lies below the data root."""

from dataclasses import dataclass
from pathlib import Path

from csi_driver.oci.digest import Digest
from csi_driver.oci.layer import Layer

VERSION = 1


@dataclass(frozen=True, slots=True, order=True)
class LayerId:
    """A layer as the cache knows it: the same digest kept as one file and as a tree is two layers."""

    digest: Digest
    is_tree: bool

    @classmethod
    def of(cls, layer: Layer) -> "LayerId":
        return cls(layer.descriptor.digest, layer.packing.is_tree)

    @classmethod
    def from_name(cls, name: str) -> "LayerId":
        """The id whose `name` this is; raises `ValueError` if it is none."""
        rest, dot, kind = name.rpartition(".")
        algorithm, dash, digits = rest.partition("-")
        if not (dot and dash) or kind not in ("raw", "tree"):
            raise ValueError(f"{name!r} is not the name of a layer")
        return cls(Digest(algorithm, digits), kind == "tree")

    @property
    def name(self) -> str:
        """The id as one component of a path."""
        return f"{self.digest.algorithm}-{self.digest.hex}.{'tree' if self.is_tree else 'raw'}"

    def __str__(self) -> str:
        return f"{self.digest} ({'unpacked' if self.is_tree else 'as it is'})"


@dataclass(frozen=True, slots=True)
class Places:
    """The paths below the data root, all on one filesystem.

    ```
    version                         the layout's number: a driver refuses to touch what a newer one wrote
    lock                            held by the one process that uses the root
    secret                          the key of the credentials' fingerprints
    ingest/<name>/                  half-written layers: content, skeleton and journal, or previous/ with such three
    layers/sha256/ab/abcd….raw      a layer that is one file
    layers/sha256/ab/abcd….tree/    an unpacked layer: its content, and the skeleton from which its digest can be proved
    snapshots/<key>/                snapshot.json, and the tree that is mounted
    manifests/sha256/ab/abcd….json  manifests as the registry served them
    origins/<name>@<sha256>         which registries have served a layer
    references/ volumes/            what references meant, for whom; the volumes of this node
    pins/                           models that are never given up
    trash/                          renamed here first, removed after
    ```
    """

    root: Path

    @property
    def version(self) -> Path:
        return self.root / "version"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def secret(self) -> Path:
        return self.root / "secret"

    @property
    def ingests(self) -> Path:
        return self.root / "ingest"

    @property
    def layers(self) -> Path:
        return self.root / "layers"

    @property
    def snapshots(self) -> Path:
        return self.root / "snapshots"

    @property
    def manifests(self) -> Path:
        return self.root / "manifests"

    @property
    def origins(self) -> Path:
        return self.root / "origins"

    @property
    def references(self) -> Path:
        return self.root / "references"

    @property
    def volumes(self) -> Path:
        return self.root / "volumes"

    @property
    def pins(self) -> Path:
        return self.root / "pins"

    @property
    def trash(self) -> Path:
        return self.root / "trash"

    @property
    def directories(self) -> tuple[Path, ...]:
        """All directories that must exist before anything is kept."""
        return (self.ingests, self.layers, self.snapshots, self.manifests, self.origins, self.references, self.volumes,
                self.pins, self.trash)  # fmt: skip

    @property
    def written_into(self) -> tuple[Path, ...]:
        """The directories whose files are replaced whole, where a killed writer may have left a half."""
        return (self.root, self.ingests, self.origins, self.references, self.volumes, self.pins)

    def ingest(self, layer: LayerId) -> Path:
        return self.ingests / layer.name

    def layer(self, layer: LayerId) -> Path:
        """What is renamed when the layer is published: its file, or the directory that holds its tree."""
        digest = layer.digest
        return self.layers / digest.algorithm / digest.hex[:2] / f"{digest.hex}.{'tree' if layer.is_tree else 'raw'}"

    def manifest(self, digest: Digest) -> Path:
        return self.manifests / digest.algorithm / digest.hex[:2] / f"{digest.hex}.json"

    def snapshot(self, key: str) -> Path:
        return self.snapshots / key
