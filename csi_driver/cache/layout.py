"""Where everything lies below the data root."""

import re
from dataclasses import dataclass
from pathlib import Path

from csi_driver.oci.digest import Digest
from csi_driver.oci.layer import Layer
from csi_driver.oci.media import Packing
from csi_driver.oci.part import FILE

VERSION = 1


_NAME = re.compile(r"(?P<algorithm>[a-z0-9]+)-(?P<hex>[0-9a-f]+)\.(?P<kind>raw|tree)(?:-(?P<part>[a-z0-9-]+))?")


@dataclass(frozen=True, slots=True, order=True)
class LayerId:
    """A layer as the cache knows it: the same digest kept as it is and unpacked is two layers.

    A compressed file, once unpacked, is a tree with that one file, and its `part` is `file`. Else `part` names what is
    kept of a tree where that is not all of it; each part of a layer is a layer of its own.
    """

    digest: Digest
    is_tree: bool
    part: str = ""

    @classmethod
    def of(cls, layer: Layer) -> "LayerId":
        digest = layer.descriptor.digest
        if layer.packing is Packing.RAW:
            return cls(digest, is_tree=False)
        return cls(digest, True, layer.part.name if layer.part else "" if layer.packing.is_tree else FILE)

    @classmethod
    def from_name(cls, name: str) -> "LayerId":
        """The id whose `name` this is; raises `ValueError` if it is none."""
        match = _NAME.fullmatch(name)
        if match is None or (match["part"] and match["kind"] == "raw"):
            raise ValueError(f"{name!r} is not the name of a layer")
        return cls(Digest(match["algorithm"], match["hex"]), match["kind"] == "tree", match["part"] or "")

    @property
    def name(self) -> str:
        """The id as one component of a path."""
        return f"{self.digest.algorithm}-{self.digest.hex}.{self.kind}"

    @property
    def kind(self) -> str:
        """How the layer is kept: `raw`, `tree`, or `tree-` and the name of its part."""
        return f"tree-{self.part}" if self.part else "tree" if self.is_tree else "raw"

    def __str__(self) -> str:
        return f"{self.digest} ({'unpacked' if self.is_tree else 'as it is'}{', ' if self.part else ''}{self.part})"


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
    layers/sha256/ab/abcd….tree-x/  a part of one, such as `models`, and a skeleton that tells whether it has changed
    snapshots/<key>/                snapshot.json, and the tree that is mounted
    manifests/sha256/ab/abcd….json  manifests as the registry served them
    origins/<name>@<sha256>         which registries have served a layer
    references/ volumes/            what references meant, for whom; the volumes of this node
    pins/ wanted/                   models that are never given up; pulls that have not come to their end
    proofs/<name>                   when a layer or snapshot was last proved to be whole
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
    def proofs(self) -> Path:
        return self.root / "proofs"

    @property
    def wanted(self) -> Path:
        return self.root / "wanted"

    @property
    def trash(self) -> Path:
        return self.root / "trash"

    @property
    def directories(self) -> tuple[Path, ...]:
        """All directories that must exist before anything is kept."""
        return (self.ingests, self.layers, self.snapshots, self.manifests, self.origins, self.references, self.volumes,
                self.pins, self.wanted, self.proofs, self.trash)  # fmt: skip

    @property
    def written_into(self) -> tuple[Path, ...]:
        """The directories whose files are replaced whole, where a killed writer may have left a half."""
        return (self.root, self.ingests, self.origins, self.references, self.volumes, self.pins, self.wanted,
                self.proofs)  # fmt: skip

    def ingest(self, layer: LayerId) -> Path:
        return self.ingests / layer.name

    def layer(self, layer: LayerId) -> Path:
        """What is renamed when the layer is published: its file, or the directory that holds its tree."""
        digest = layer.digest
        return self.layers / digest.algorithm / digest.hex[:2] / f"{digest.hex}.{layer.kind}"

    def manifest(self, digest: Digest) -> Path:
        return self.manifests / digest.algorithm / digest.hex[:2] / f"{digest.hex}.json"

    def snapshot(self, key: str) -> Path:
        return self.snapshots / key
