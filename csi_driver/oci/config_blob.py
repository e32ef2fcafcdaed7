"""What a model says about itself: model-spec's configuration (docs/config.md), which no mount depends on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from csi_driver.oci import ijson

MAX_CONFIG_BYTES = 4 * 1024 * 1024
"""More is not worth reading for a description."""

_DESCRIPTOR_TEXTS = {
    "created_at": "createdAt",
    "vendor": "vendor",
    "family": "family",
    "name": "name",
    "version": "version",
    "title": "title",
    "description": "description",
    "doc_url": "docURL",
    "source_url": "sourceURL",
    "revision": "revision",
}
_DESCRIPTOR_LISTS = {"authors": "authors", "datasets_url": "datasetsURL", "licenses": "licenses"}
_CONFIG_TEXTS = {
    "architecture": "architecture",
    "format": "format",
    "param_size": "paramSize",
    "precision": "precision",
    "quantization": "quantization",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The configuration of a model; what it does not say is empty.

    `created_at` is an RFC 3339 time, `param_size` a count with a unit such as 0.6B. `diff_ids` are the digests of the
    layers before compression, one a layer in the manifest's order.
    """

    created_at: str = ""
    vendor: str = ""
    family: str = ""
    name: str = ""
    version: str = ""
    title: str = ""
    description: str = ""
    doc_url: str = ""
    source_url: str = ""
    revision: str = ""
    authors: tuple[str, ...] = ()
    datasets_url: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()
    architecture: str = ""
    format: str = ""
    param_size: str = ""
    precision: str = ""
    quantization: str = ""
    diff_ids: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        """The configuration as bytes to push: valid by model-spec's schema, and the same for the same values.

        ValueError without diff_ids, which the schema demands.
        """
        if not self.diff_ids:
            raise ValueError("a model configuration needs the digest of at least one layer")
        document = {
            "descriptor": self._members(_DESCRIPTOR_TEXTS | _DESCRIPTOR_LISTS),
            "config": self._members(_CONFIG_TEXTS),
            "modelfs": {"type": "layers", "diffIds": list(self.diff_ids)},
        }
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8")

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """What can be understood of a configuration of any version of model-spec; it never fails.

        Real artifacts have `{}` here, fields with other types, and other documents altogether.
        """
        try:
            document = ijson.loads(body) if len(body) <= MAX_CONFIG_BYTES else None
        except ValueError:
            document = None
        descriptor = _member(document, "descriptor")
        config = _member(document, "config")
        modelfs = _member(document, "modelfs")
        values: dict[str, Any] = {field: _text(descriptor, name) for field, name in _DESCRIPTOR_TEXTS.items()}
        values |= {field: _text(config, name) for field, name in _CONFIG_TEXTS.items()}
        values["param_size"] = values["param_size"] or _number(config, "parameterSize")
        values["quantization"] = values["quantization"] or _text(config, "puantization")
        values |= {field: _texts(descriptor, name) for field, name in _DESCRIPTOR_LISTS.items()}
        values["diff_ids"] = _texts(modelfs, "diffIds") or _texts(modelfs, "diff_ids")
        return cls(**values)

    def _members(self, names: Mapping[str, str]) -> dict[str, object]:
        values = {name: getattr(self, field) for field, name in names.items()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items() if value}


def _member(document: object, name: str) -> Mapping[str, object]:
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, dict) else {}


def _text(members: Mapping[str, object], name: str) -> str:
    value = members.get(name)
    return value if isinstance(value, str) else ""


def _number(members: Mapping[str, object], name: str) -> str:
    """A number as text: before v0.0.2 the number of parameters was one."""
    value = members.get(name)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _texts(members: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = members.get(name)
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
