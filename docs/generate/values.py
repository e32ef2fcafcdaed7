"""The table of the chart's values, from values.yaml: a `# --` comment above a value says what it is for."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from docs.generate.pages import between, cell

_MARK = "# -- "


@dataclass(frozen=True, slots=True)
class Value:
    """One value that can be given; its name has dots."""

    name: str
    default: str
    doc: str


def page(text: str, path: Path) -> str:
    """The chart's README with its table renewed from the values.yaml at `path`."""
    rows = [f"| `{value.name}` | {value.default} | {cell(value.doc)} |" for value in all_values(path)]
    return between(text, "values", ["| value | default | meaning |", "|---|---|---|", *rows])


def all_values(path: Path) -> list[Value]:
    """What values.yaml at `path` offers, in its order."""
    text = path.read_text(encoding="utf-8")
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)  # noqa: S101  a chart's values are a mapping
    return list(_below(node, text.splitlines(), ""))


def _below(node: yaml.MappingNode, lines: list[str], prefix: str) -> Iterator[Value]:
    for key, child in node.value:
        name, doc = f"{prefix}{key.value}", _doc_above(key.start_mark.line, lines)
        inner = []
        if isinstance(child, yaml.MappingNode) and child.value and not child.flow_style:
            inner = list(_below(child, lines, f"{name}."))
        if any(value.doc for value in inner):
            if doc:
                yield Value(name, "", doc)
            yield from inner
        else:
            yield Value(name, f"`{json.dumps(_plain(child), ensure_ascii=False)}`", doc)


def _plain(node: yaml.Node) -> object:
    return yaml.safe_load(yaml.serialize(node))


def _doc_above(line: int, lines: list[str]) -> str:
    """The comment that ends just above `line`, from its mark on; empty where there is none."""
    comment: list[str] = []
    for text in (lines[number].strip() for number in range(line - 1, -1, -1)):
        if not text.startswith("#"):
            break
        comment.insert(0, text)
        if text.startswith(_MARK):
            return " ".join([text.removeprefix(_MARK), *(more.removeprefix("#").strip() for more in comment[1:])])
    return ""
