"""One layer of a model, and where its files go."""

from dataclasses import dataclass, field

from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.media import Packing, Role
from csi_driver.oci.part import Part
from csi_driver.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer whose place is known.

    `path` of a RAW layer is its file's clean path relative to the volume (`paths.clean`); of a tar layer it is what
    the artifact says about the layer's place, or None: `layout.placement` knows what that means. `below` is the clean
    path of the directory that the names in a tar layer are relative to, `""` for the root of the volume. `mode` holds
    the permission bits that the file had when the model was packed, `mtime_ns` nanoseconds since the epoch; None where
    the artifact says nothing. `part` is what is kept of a tar layer, None for all of it.
    """

    descriptor: Descriptor
    packing: Packing
    role: Role
    path: str | None
    mode: int | None = None
    mtime_ns: int | None = None
    below: str = ""
    part: Part | None = None


@dataclass(frozen=True, slots=True)
class GeneratedFile:
    """A small file that no layer holds: its content is what the artifact's configuration says, written another way."""

    path: str
    content: bytes = field(repr=False)
    role: Role = Role.WEIGHT_CONFIG


@dataclass(frozen=True, slots=True)
class Layout:
    """The layers that make up a volume, in the order of the manifest; `warnings` are sentences for the log.

    `files` come in addition. `parent` is the model whose weights this one builds on, and brings none of its own.
    """

    producer: str
    layers: tuple[Layer, ...]
    warnings: tuple[str, ...] = ()
    files: tuple[GeneratedFile, ...] = ()
    parent: Reference | None = None


def file_mode(mode: int | None) -> int:
    """The mode of a file in a volume: readable by all, writable by none, executable as it was, no s-bits."""
    return 0o444 | ((mode or 0) & 0o111)
