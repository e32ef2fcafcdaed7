"""What names content: an algorithm and the hash of the bytes."""

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from hashlib import _Hash

_GRAMMAR = re.compile(r"([a-z0-9]+(?:[.+_-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)")
_HEX = re.compile(r"[0-9a-f]+")
_HEX_LENGTHS = {"sha256": 64, "sha512": 128}
"""The registered algorithms that can be verified here, with their length in hex digits (image-spec descriptor.md)."""


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A digest that can be verified: it never names an unknown algorithm and is safe as a file name.

    Raises ValueError for anything else, so that no unverifiable digest can be carried around.
    """

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        length = _HEX_LENGTHS.get(self.algorithm)
        if length is None:
            raise ValueError(f"digest algorithm {self.algorithm!r} is not supported: use {' or '.join(_HEX_LENGTHS)}")
        if len(self.hex) != length or not _HEX.fullmatch(self.hex):
            raise ValueError(f"a {self.algorithm} digest is {length} lower-case hex digits, not {self.hex[:140]!r}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The digest that `text` writes as algorithm:hex (image-spec descriptor.md, "Digests"); ValueError if none."""
        match = _GRAMMAR.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:160]!r} is not a digest of the form sha256:<64 lower-case hex digits>")
        return cls(match[1], match[2])

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Self:
        """The digest of `data`; ValueError for an algorithm other than sha256 and sha512."""
        if algorithm not in _HEX_LENGTHS:
            raise ValueError(f"digest algorithm {algorithm!r} is not supported: use {' or '.join(_HEX_LENGTHS)}")
        return cls(algorithm, hashlib.new(algorithm, data, usedforsecurity=True).hexdigest())

    def hasher(self) -> "_Hash":
        """A new hash object of this digest's algorithm, still empty."""
        return hashlib.new(self.algorithm)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


EMPTY_DIGEST = Digest.of(b"")
"""What names zero bytes: such a blob is made here and never asked of a registry."""
