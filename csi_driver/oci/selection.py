"""Which files of a model one volume wants."""

import json
from dataclasses import dataclass, field
from typing import Self

from csi_driver.errors import InvalidRequest
from csi_driver.oci import ijson
from csi_driver.oci.gitignore import Patterns
from csi_driver.oci.layer import Layer
from csi_driver.oci.media import Packing, Role
from csi_driver.oci.paths import basename
from csi_driver.oci.roles import holds_weights

MAX_PATTERNS = 256
MAX_PATTERN_LENGTH = 1024

_WEIGHTS_INDEX = "model.safetensors.index.json"
BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
"""What Go's strconv.ParseBool takes, as every Kubernetes component does."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a volume leaves out of a model; the empty selection leaves out nothing.

    `exclude_patterns` are gitignore patterns matched against whole paths. They decide about the files they name,
    `exclude_weights` about all others. InvalidRequest for patterns that are broken, too long or too many.
    """

    exclude_weights: bool = False
    exclude_patterns: tuple[str, ...] = ()
    _patterns: Patterns = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_patterns", _compile(self.exclude_patterns))

    @classmethod
    def parse(
        cls,
        exclude_weights: str | None,
        exclude_patterns: str | None,
        *,
        weights_name: str = "exclude-model-weights",
        patterns_name: str = "exclude-file-patterns",
    ) -> Self:
        """The selection that two volume attributes describe; None and "" are the same as leaving them out.

        InvalidRequest calls the attributes by the given names.
        """
        weights = BOOLEANS.get(exclude_weights or "false")
        if weights is None:
            raise InvalidRequest(f"{weights_name} must be true or false, not {(exclude_weights or '')[:100]!r}")
        try:
            return cls(weights, _pattern_list(exclude_patterns or "null"))
        except (ValueError, InvalidRequest) as error:
            raise InvalidRequest(f"{patterns_name} must be a JSON array of gitignore patterns: {error}") from error

    @property
    def key(self) -> str:
        """The same text for the same selection, another for any other; empty for the empty selection."""
        if not self.exclude_weights and not self.exclude_patterns:
            return ""
        return json.dumps([self.exclude_weights, *self.exclude_patterns], separators=(",", ":"))

    def wants(self, path: str, role: Role) -> bool:
        """Whether the volume gets the file at the clean path `path`, from a layer of the given role."""
        excluded = self._patterns.excludes(path)
        if excluded is not None:
            return not excluded
        return not (self.exclude_weights and _is_weights(path, role))

    def wants_layer(self, layer: Layer) -> bool:
        """Whether any file of the layer may be wanted: False only if that is certain before the layer is fetched."""
        if layer.packing is Packing.RAW:
            return layer.path is None or self.wants(layer.path, layer.role)
        return not (self.exclude_weights and layer.role is Role.WEIGHT and not self._re_includes)

    @property
    def _re_includes(self) -> bool:
        return any(pattern.negated for pattern in self._patterns.patterns)


def _is_weights(path: str, role: Role) -> bool:
    return role is Role.WEIGHT or holds_weights(path) or basename(path) == _WEIGHTS_INDEX


def _pattern_list(text: str) -> tuple[str, ...]:
    value = ijson.loads(text.encode("utf-8", "surrogateescape"))
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError('write it as ["*.bin", "!keep.bin"]')
    patterns: list[str] = []
    for item in value:
        if not isinstance(item, str):
            raise ValueError(f"{json.dumps(item)[:100]} is not a string")
        patterns.append(item)
    return tuple(patterns)


def _compile(patterns: tuple[str, ...]) -> Patterns:
    if len(patterns) > MAX_PATTERNS:
        raise InvalidRequest(f"{len(patterns)} patterns are too many: at most {MAX_PATTERNS} are allowed")
    for pattern in patterns:
        if len(pattern) > MAX_PATTERN_LENGTH:
            raise InvalidRequest(f"pattern {pattern[:50]!r}… is longer than {MAX_PATTERN_LENGTH} characters")
    try:
        return Patterns.parse(patterns)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
