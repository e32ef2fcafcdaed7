"""Which files of a model one volume wants."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from csi_driver.errors import InvalidRequest
from csi_driver.oci import ijson
from csi_driver.oci.gitignore import Patterns
from csi_driver.oci.layer import Layer
from csi_driver.oci.media import Role
from csi_driver.oci.paths import basename
from csi_driver.oci.roles import holds_weights, role_of_file

MAX_PATTERNS = 256
MAX_PATTERN_LENGTH = 1024

ROLES = {
    "weights": Role.WEIGHT,
    "config": Role.WEIGHT_CONFIG,
    "code": Role.CODE,
    "docs": Role.DOC,
    "dataset": Role.DATASET,
}
"""What users call the roles that a selection can name."""

_WEIGHTS_INDEX = "model.safetensors.index.json"
BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
"""What Go's strconv.ParseBool takes, as every Kubernetes component does."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a volume takes of a model: a file is taken if nothing speaks against it, so the empty selection takes all.

    Patterns are gitignore patterns, matched against whole paths. `exclude_patterns` decide about the files they name,
    `exclude_weights` about all others; where there are `include_patterns`, what they do not name is left out, and
    where there are `roles` (names of `ROLES`), what has none of them. InvalidRequest for patterns that are broken, too
    long or too many, and for a role that nobody knows.
    """

    exclude_weights: bool = False
    exclude_patterns: tuple[str, ...] = ()
    include_patterns: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    _excluded: Patterns = field(init=False, repr=False, compare=False)
    _included: Patterns = field(init=False, repr=False, compare=False)
    _roles: frozenset[Role] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_roles(self.roles)
        object.__setattr__(self, "roles", tuple(name for name in ROLES if name in self.roles))
        object.__setattr__(self, "_excluded", _compile(self.exclude_patterns))
        object.__setattr__(self, "_included", _compile(self.include_patterns))
        object.__setattr__(self, "_roles", frozenset(ROLES[name] for name in self.roles))

    @classmethod
    def parse(
        cls,
        exclude_weights: str | None = None,
        exclude_patterns: str | None = None,
        include_patterns: str | None = None,
        roles: str | None = None,
        *,
        weights_name: str = "exclude-model-weights",
        patterns_name: str = "exclude-file-patterns",
        include_name: str = "include-file-patterns",
        roles_name: str = "layer-roles",
    ) -> Self:
        """The selection that four volume attributes describe; None and "" are the same as leaving them out.

        InvalidRequest calls the attributes by the given names.
        """
        weights = BOOLEANS.get(exclude_weights or "false")
        if weights is None:
            raise InvalidRequest(f"{weights_name} must be true or false, not {(exclude_weights or '')[:100]!r}")
        return cls(
            weights,
            _attribute(patterns_name, exclude_patterns, "gitignore patterns", '["*.bin", "!keep.bin"]', _compile),
            _attribute(include_name, include_patterns, "gitignore patterns", '["*.json", "tokenizer/"]', _compile),
            _attribute(roles_name, roles, ", ".join(ROLES), '["config", "docs"]', _check_roles),
        )

    @classmethod
    def of_key(cls, key: str) -> Self:
        """The selection with this `key`; ValueError for what is none's."""
        try:
            said = json.loads(key) if key else []
            if isinstance(said, list):
                weights, *patterns = said or [False]
                return cls(bool(weights), tuple(map(str, patterns)))
            return cls(bool(said["weights"]), tuple(said["excluded"]), tuple(said["included"]), tuple(said["roles"]))
        except (TypeError, KeyError, ValueError, InvalidRequest) as error:
            raise ValueError(f"{key[:200]!r} is not the key of a selection") from error

    @property
    def key(self) -> str:
        """The same text for the same selection, another for any other; empty for the empty selection."""
        said: Any = [self.exclude_weights, *self.exclude_patterns]
        if self.include_patterns or self.roles:
            said = {
                "weights": self.exclude_weights,
                "excluded": self.exclude_patterns,
                "included": self.include_patterns,
                "roles": self.roles,
            }
        elif said == [False]:
            return ""
        return json.dumps(said, separators=(",", ":"))

    def wants(self, path: str, role: Role) -> bool:
        """Whether the volume gets the file at the clean path `path`, from a layer of the given role."""
        if not self._has_role(path, role) or (self.include_patterns and self._included.excludes(path) is not True):
            return False
        excluded = self._excluded.excludes(path)
        if excluded is not None:
            return not excluded
        return not (self.exclude_weights and _is_weights(path, role))

    def wants_layer(self, layer: Layer) -> bool:
        """Whether any file of the layer may be wanted: False only if that is certain before the layer is fetched."""
        if not layer.packing.is_tree:
            return layer.path is None or self.wants(layer.path, layer.role)
        if self._roles and layer.role is not Role.OTHER and layer.role not in self._roles:
            return False
        return not (self.exclude_weights and layer.role is Role.WEIGHT and not self._re_includes)

    def may_split(self, role: Role) -> bool:
        """Whether there may be files in a layer of this role that are wanted beside others that are not."""
        by_name = role is Role.OTHER
        return bool(
            self.exclude_patterns
            or self.include_patterns
            or (self.roles and by_name)
            or (self.exclude_weights and (by_name or role is Role.WEIGHT))
        )

    @property
    def _re_includes(self) -> bool:
        return any(pattern.negated for pattern in self._excluded.patterns)

    def _has_role(self, path: str, role: Role) -> bool:
        """Whether the role is asked for: the layer's, or where its producer gives none, the one the name tells."""
        return not self._roles or (role_of_file(path, 0) if role is Role.OTHER else role) in self._roles


def _is_weights(path: str, role: Role) -> bool:
    return role is Role.WEIGHT or holds_weights(path) or basename(path) == _WEIGHTS_INDEX


def _attribute(
    name: str, text: str | None, of: str, example: str, check: Callable[[tuple[str, ...]], object]
) -> tuple[str, ...]:
    """The strings of a volume attribute that `check` takes."""
    try:
        values = _strings(text or "null", example)
        check(values)
    except (ValueError, InvalidRequest) as error:
        raise InvalidRequest(f"{name} must be a JSON array of {of}: {error}") from error
    return values


def _strings(text: str, example: str) -> tuple[str, ...]:
    value = ijson.loads(text.encode("utf-8", "surrogateescape"))
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError(f"write it as {example}")
    strings: list[str] = []
    for item in value:
        if not isinstance(item, str):
            raise ValueError(f"{json.dumps(item)[:100]} is not a string")
        strings.append(item)
    return tuple(strings)


def _check_roles(names: Iterable[str]) -> None:
    for name in names:
        if name not in ROLES:
            raise InvalidRequest(f"{name[:100]!r} is not a role; use {', '.join(ROLES)}")


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
