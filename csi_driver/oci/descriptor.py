"""What points at content: its media type, digest and size, and what is said about it (image-spec descriptor.md)."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci.digest import Digest

MAX_SIZE = 2**63 - 1
"""Sizes are 64-bit signed integers in image-spec."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "i386": "386"}
_DEFAULT_VARIANTS = {"amd64": "v1", "arm64": "v8"}


@dataclass(frozen=True, slots=True)
class Platform:
    """What an entry of an index runs on, in Go's words (GOOS, GOARCH)."""

    os: str
    architecture: str
    variant: str | None = None

    @classmethod
    def of_machine(cls, machine: str) -> Self:
        """The Linux platform of a machine as uname(2) names it."""
        return cls("linux", _ARCHITECTURES.get(machine, machine))

    @property
    def unknown(self) -> bool:
        """Whether this says nothing: BuildKit and olot write unknown/unknown where a platform makes no sense."""
        return self.os in {"", "unknown"} or self.architecture in {"", "unknown"}

    def accepts(self, other: "Platform") -> bool:
        """Whether a node of this platform takes what was made for `other`."""
        if (self.os, self.architecture) != (other.os, other.architecture):
            return False
        wanted, offered = self.full_variant, other.full_variant
        return wanted is None or offered is None or wanted == offered

    @property
    def full_variant(self) -> str | None:
        """The variant, with the one that containerd and Docker assume where none is written."""
        return self.variant or _DEFAULT_VARIANTS.get(self.architecture)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A pointer to content that can be verified.

    `data` is the content itself where the manifest embeds it; it has been verified against size and digest. `name` is a
    member of Ollama's own.
    """

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str | None = None
    platform: Platform | None = None
    data: bytes | None = field(default=None, repr=False)
    name: str | None = None

    @classmethod
    def of_json(cls, value: object, where: str) -> Self:
        """The descriptor in a parsed JSON `value`; UnsupportedArtifact names the member of `where` that is wrong."""
        members = read_object(value, where)
        digest = _read_digest(members.get("digest"), f"{where}.digest")
        size = _read_size(members.get("size"), f"{where}.size")
        return cls(
            media_type=read_text(members.get("mediaType"), f"{where}.mediaType"),
            digest=digest,
            size=size,
            annotations=read_annotations(members.get("annotations"), f"{where}.annotations"),
            artifact_type=read_optional_text(members.get("artifactType"), f"{where}.artifactType"),
            platform=_read_platform(members.get("platform"), f"{where}.platform"),
            data=_embedded(members.get("data"), digest, size),
            name=name if isinstance(name := members.get("name"), str) and name else None,
        )

    def to_json(self) -> dict[str, object]:
        """The members that image-spec gives to this descriptor, without embedded data."""
        members: dict[str, object] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.artifact_type is not None:
            members["artifactType"] = self.artifact_type
        if self.annotations:
            members["annotations"] = dict(self.annotations)
        return members


def read_object(value: object, where: str) -> dict[str, object]:
    """`value` if it is a JSON object; UnsupportedArtifact otherwise."""
    if not isinstance(value, dict):
        raise UnsupportedArtifact(f"{where} is not a JSON object")
    return value


def read_text(value: object, where: str) -> str:
    """`value` if it is a string with something in it; UnsupportedArtifact otherwise."""
    if not isinstance(value, str) or not value:
        raise UnsupportedArtifact(f"{where} is not a non-empty string")
    return value


def read_optional_text(value: object, where: str) -> str | None:
    """Like `read_text`, with None for null, for the empty string and for an absent member."""
    return None if value is None or value == "" else read_text(value, where)


def read_annotations(value: object, where: str) -> Mapping[str, str]:
    """`value` if it is an object of strings, nothing for null; UnsupportedArtifact otherwise."""
    members = {} if value is None else read_object(value, where)
    annotations: dict[str, str] = {}
    for key, text in members.items():
        if not isinstance(text, str):
            raise UnsupportedArtifact(f"{where} has a value that is not a string: {key[:100]!r}")
        annotations[key] = text
    return MappingProxyType(annotations)


def _read_digest(value: object, where: str) -> Digest:
    try:
        return Digest.parse(read_text(value, where))
    except ValueError as error:
        raise UnsupportedArtifact(f"{where} cannot be verified: {error}") from error


def _read_size(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SIZE:
        raise UnsupportedArtifact(f"{where} is not a number of bytes from 0 to 2^63 - 1")
    return value


def _read_platform(value: object, where: str) -> Platform | None:
    if value is None:
        return None
    members = read_object(value, where)
    return Platform(
        os=read_optional_text(members.get("os"), f"{where}.os") or "",
        architecture=read_optional_text(members.get("architecture"), f"{where}.architecture") or "",
        variant=read_optional_text(members.get("variant"), f"{where}.variant"),
    )


def _embedded(value: object, digest: Digest, size: int) -> bytes | None:
    """Embedded content that keeps what the descriptor promises; anything else is as good as none (descriptor.md)."""
    if not isinstance(value, str):
        return None
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if len(data) == size and Digest.of(data, digest.algorithm) == digest else None
