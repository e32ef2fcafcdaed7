"""KitOps' Kitfile: the configuration of a ModelKit, in JSON, and a file in the directory it came from, in YAML."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import yaml

from csi_driver.errors import InvalidRequest, UnsupportedArtifact
from csi_driver.oci import ijson
from csi_driver.oci.reference import Reference

PATH = "Kitfile"

_LISTS = {"code": "code", "datasets": "dataset", "docs": "docs", "prompts": "prompt", "mcpServers": "mcpb"}
_LAYER_INFO = ("digest", "diffId")
_TEXT = "tag:yaml.org,2002:str"


@dataclass(frozen=True, slots=True)
class Entry:
    """One part of a kit: `path` is as it was written; `digest`, known since KitOps 0.5, is that of the part's layer."""

    kind: str
    path: str
    digest: str | None


@dataclass(frozen=True, slots=True)
class Kitfile:
    """What a Kitfile says about files. `entries` are in its order, without the datasets that are `remote`."""

    entries: tuple[Entry, ...]
    remote: tuple[str, ...]
    document: Mapping[str, Any] = field(repr=False)

    @classmethod
    def parse(cls, config: bytes) -> Self:
        """The Kitfile in a configuration blob; UnsupportedArtifact for what is none."""
        try:
            document = ijson.loads(config)
        except ValueError as error:
            raise UnsupportedArtifact(f"the ModelKit's configuration is not valid JSON: {error}") from error
        if not isinstance(document, dict):
            raise UnsupportedArtifact("the ModelKit's configuration is no Kitfile: it is not a JSON object")
        parts = list(_parts(document))
        remote = tuple(text for _, part in parts if (text := _text(part, "remotePath")))
        entries = (_entry(kind, part) for kind, part in parts if not _text(part, "remotePath"))
        return cls(tuple(entries), remote, document)

    @property
    def parent(self) -> Reference | None:
        """The ModelKit that `model.path` names instead of a file, by KitOps' rule: with a tag or a digest.

        UnsupportedArtifact where it names no registry: that means the packer's own disk.
        """
        text = next((entry.path for entry in self.entries if entry.kind == "model"), "").partition(",")[0]
        if ":" not in text and "@" not in text:
            return None
        try:
            reference = Reference.parse(text)
        except InvalidRequest:
            return None
        host = text.partition("/")[0] if "/" in text else ""
        if "." not in host and ":" not in host:
            raise UnsupportedArtifact(
                f"the ModelKit builds on {text[:300]!r}, which names no registry: it is on its packer's disk; pack it "
                "with the full reference of the other ModelKit"
            )
        return reference

    def to_yaml(self) -> bytes:
        """The Kitfile as `kit unpack` writes it: without the digests, and so without what `kit pack` refuses."""
        text = yaml.dump(
            _shown(self.document),
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            default_flow_style=False,
            width=float("inf"),
        )
        return text.encode("utf-8")


def _parts(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    model = document.get("model")
    if isinstance(model, dict):
        yield "model", model
        yield from (("modelpart", part) for part in _objects(model.get("parts")))
    for name, kind in _LISTS.items():
        yield from ((kind, part) for part in _objects(document.get(name)))


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _entry(kind: str, part: Mapping[str, Any]) -> Entry:
    return Entry(kind, _text(part, "path"), _text(part, "digest") or None)


def _text(part: Mapping[str, Any], name: str) -> str:
    value = part.get(name)
    return value.strip() if isinstance(value, str) else ""


def _shown(document: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, value in document.items():
        if name == "model" and isinstance(value, dict):
            shown[name] = _without_digests(value)
            if "parts" in shown[name]:
                shown[name]["parts"] = _list_without_digests(shown[name]["parts"])
        elif value not in ({}, [], None):
            shown[name] = _list_without_digests(value) if name in _LISTS else value
    return shown


def _list_without_digests(value: Any) -> Any:
    return [_without_digests(item) for item in value] if isinstance(value, list) else value


def _without_digests(part: Any) -> Any:
    return {name: value for name, value in part.items() if name not in _LAYER_INFO} if isinstance(part, dict) else part


class _Dumper(yaml.SafeDumper):
    """YAML in the style of Go's yaml.v3, which KitOps writes with."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002  lists are indented
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  what is equal is written twice
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = "|" if "\n" in data else '"'
        return self.represent_scalar(_TEXT, data, style=None if _is_plain(self, data) else style)


def _is_plain(dumper: yaml.SafeDumper, data: str) -> bool:
    """Whether the text is one line that would not be taken for a number, a date or a boolean."""
    tag: str = dumper.resolve(yaml.ScalarNode, data, (True, False))  # type: ignore[no-untyped-call]
    return "\n" not in data and tag == _TEXT


_Dumper.add_representer(str, _Dumper.represent_str)
