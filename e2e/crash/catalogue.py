"""The models that the pods of a crashing node want: every packing, shared layers, and two that are slow to come."""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass

from tests.fixtures.driver import EXCLUDE_PATTERNS
from tests.fixtures.registry import EmbeddedRegistry

REPOSITORY = "crash/model"
_PACKINGS = ("raw", "tar", "tar+gzip", "tar+zstd")
_WITHOUT = "*.onnx"
_LARGE = 9 << 20  # bytes: more than the transfer writes at once, so that there is a beginning to go on from


@dataclass(frozen=True, slots=True)
class Model:
    """What a pod asks for, and what it must then see: of every file its path and SHA-256."""

    reference: str
    selection: str  # gitignore pattern of what is left out, or nothing
    files: Mapping[str, str]
    size: int

    @property
    def attributes(self) -> dict[str, str]:
        patterns = {EXCLUDE_PATTERNS: f'["{self.selection}"]'} if self.selection else {}
        return {"modelRef": self.reference, **patterns}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All models; the large ones apart, as they would fill a small cache alone, and those that no pod asks for."""

    small: tuple[Model, ...]
    large: tuple[Model, ...]
    operators: tuple[Model, ...]


def publish(registry: EmbeddedRegistry) -> Catalogue:
    """Put all models into the registry; they are the same every time."""
    chance = random.Random(0)
    shared = {"shared.safetensors": chance.randbytes(200_000), "empty.txt": b""}
    small: list[Model] = []
    for number, packing in enumerate(_PACKINGS * 3):
        files = {
            **shared,
            "weights.safetensors": chance.randbytes(chance.choice((300_001, 900_000, 1_100_000))),
            "onnx/model.onnx": chance.randbytes(chance.choice((10, 400_000))),
            "deep/er/config.json": b'{"number": %d}' % number,
        }
        small += _both(registry, f"small-{number}", files, packing, bundle=number >= 8 and packing != "raw")
    large: list[Model] = []
    for packing in ("raw", "tar"):
        files = {**shared, "a.bin": chance.randbytes(_LARGE), "b.onnx": chance.randbytes(_LARGE)}
        large += _both(registry, f"large-{packing.replace('+', '-')}", files, packing, bundle=packing == "tar")
    operators = [
        _both(registry, f"operators-{number}", {"data.bin": chance.randbytes(70_001 + number)}, packing, bundle=False)[
            0
        ]
        for number, packing in enumerate(_PACKINGS)
    ]
    return Catalogue(tuple(small), tuple(large), tuple(operators))


def _both(
    registry: EmbeddedRegistry, tag: str, files: Mapping[str, bytes], packing: str, *, bundle: bool
) -> list[Model]:
    """The model as a whole, and without some of its files."""
    registry.push_model(REPOSITORY, tag, files, packing=packing, bundle=bundle)
    reference = registry.reference(REPOSITORY, tag)
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    part = {path: digest for path, digest in digests.items() if not path.endswith(_WITHOUT.removeprefix("*"))}
    size = sum(map(len, files.values()))
    return [Model(reference, "", digests, size), Model(reference, _WITHOUT, part, size)]
