"""The kinds of settings: each takes what YAML holds, or raises `ValueError` with what it must be."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Parser = Callable[[Any], Any]


def setting(default: object, parse: Parser, doc: str, *, live: bool = False) -> Any:
    """A field of a section: its default, how its value is read, and what it means, with its unit and its reason.

    A `live` setting takes effect while the driver runs, when the file changes.
    """
    return field(default=default, metadata={"parse": parse, "doc": doc, "live": live})


def text(value: object) -> str:
    """Text, without the spaces around it."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value.strip()


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def path(value: object) -> Path:
    """An absolute path."""
    path = Path(text(value))
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def optional_path(value: object) -> str:
    """An absolute path, or nothing: whoever uses it makes a `Path` of what is not empty."""
    return str(path(value)) if value != "" else ""


_KEY = re.compile(r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")


def taint_key(value: object) -> str:
    """The key of a taint, or nothing. With a value or an effect it would name no taint, and nobody would notice."""
    key = text(value)
    if key and not _KEY.fullmatch(key):
        raise ValueError("must be the key of a taint, such as example.com/not-ready, without value and effect")
    return key


@dataclass(frozen=True, slots=True)
class Number:
    """A number in seconds, or whatever the setting counts, within these bounds."""

    low: float
    high: float

    def __call__(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            raise ValueError(f"must be a number from {self.low:g} to {self.high:g}")
        return float(value)


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number within these bounds; `zero_means` is what 0 stands for, where it stands for something."""

    low: int
    high: int
    zero_means: int | None = None

    def __call__(self, value: object) -> int:
        if value == 0 and self.zero_means is not None and not isinstance(value, bool):
            return self.zero_means
        if isinstance(value, bool) or not isinstance(value, int) or not self.low <= value <= self.high:
            raise ValueError(f"must be a whole number from {self.low} to {self.high}")
        return value


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these words."""

    allowed: tuple[str, ...]

    def __call__(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.allowed:
            raise ValueError(f"must be one of {', '.join(self.allowed)}")
        return value


_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def size(value: object) -> int:
    """Bytes from a number or from text such as `500GB` or `10TiB` (the Go driver's humanize form)."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?", text(value).lower()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a number of bytes, or a size such as 500GB or 10TiB")
    number, unit, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** _UNITS[unit])


@dataclass(frozen=True, slots=True)
class Mark:
    """How much of a disk: a share of the filesystem in percent, or a number of bytes."""

    percent: float | None = None
    bytes: int = 0

    def of(self, total: int) -> int:
        """The mark in bytes (or inodes, or whatever `total` counts)."""
        return self.bytes if self.percent is None else int(total * self.percent / 100)

    def __str__(self) -> str:
        return str(self.bytes) if self.percent is None else f"{self.percent:g}%"


def mark(value: object) -> Mark:
    """A share such as `85%`, or a size."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value.strip()) if isinstance(value, str) else None
    if found is not None and float(found[1]) <= 100:
        return Mark(percent=float(found[1]))
    try:
        return Mark(bytes=size(value))
    except ValueError as error:
        raise ValueError("must be a share of the filesystem such as 85%, or a size such as 500GB or 2TiB") from error


def names(value: object) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list) or not all(isinstance(name, str) and name.strip() for name in value):
        raise ValueError("must be a list of texts")
    return tuple(name.strip() for name in value)


@dataclass(frozen=True, slots=True)
class PrefetchEntry:
    """A model to be pulled ahead, and which part of it, in the words of volume attributes."""

    reference: str
    exclude_model_weights: bool = False
    exclude_file_patterns: tuple[str, ...] = ()
    include_file_patterns: tuple[str, ...] = ()
    layer_roles: tuple[str, ...] = ()


def prefetch(value: object) -> tuple[PrefetchEntry, ...]:
    """A list of models, each a reference, or a mapping of `reference` and what of it is wanted."""
    if not isinstance(value, list):
        raise ValueError("must be a list of references, or of mappings with the key reference")
    return tuple(PrefetchEntry(text(each)) if isinstance(each, str) else _prefetch_entry(each) for each in value)


def _prefetch_entry(value: object) -> PrefetchEntry:
    kinds: dict[str, Parser] = {"reference": text, "exclude_model_weights": flag, "exclude_file_patterns": names,
             "include_file_patterns": names, "layer_roles": names}  # fmt: skip
    if not isinstance(value, dict) or "reference" not in value:
        raise ValueError("must be a list of references, or of mappings with the key reference")
    if unknown := value.keys() - kinds.keys():
        raise ValueError(f"knows no {', '.join(map(str, unknown))}; an entry may have {', '.join(kinds)}")
    return PrefetchEntry(**{key: kinds[key](given) for key, given in value.items()})


def hosts(value: object) -> tuple[str, ...]:
    """A list of registries, each a host or host:port."""
    if not isinstance(value, list) or not all(isinstance(host, str) and host.strip() for host in value):
        raise ValueError("must be a list of registry hosts, such as [registry.local:5000]")
    return tuple(host.strip().lower() for host in value)
