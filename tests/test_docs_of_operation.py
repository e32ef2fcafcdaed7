"""What operations.md and troubleshooting.md say is what the driver says, word for word."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from csi_driver.csi.status import CODES
from csi_driver.errors import DriverError

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
ANYTHING = "…"
KUBELETS = ("driver name model.csi.modelpack.org not found in the list of registered CSI drivers",)


def sources() -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted((ROOT / "csi_driver").rglob("*.py")):
        if "pb" not in path.parts:
            yield path, ast.parse(path.read_text())


def template(node: ast.AST) -> str | None:
    """A text in the code, with `…` for what is put into it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else ANYTHING for part in node.values)
        return "".join(map(str, parts))
    return None


def events() -> set[str]:
    """What the driver logs: the first argument of log.event and log.warning."""
    found: set[str] = set()
    for _, tree in sources():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and (node.func.value.id, node.func.attr) in (("log", "event"), ("log", "warning"))
                and (text := template(node.args[0])) is not None
            ):
                found.add(text)
    return found


@cache
def texts() -> tuple[str, ...]:
    """Every text in the code, but the documentation of functions."""
    return tuple(text for _, tree in sources() for node in ast.walk(tree) if (text := template(node)) is not None)


def headings() -> list[str]:
    page = (DOCS / "troubleshooting.md").read_text()
    return re.findall(r"^### `(.+)`$", page, flags=re.MULTILINE)


def says(text: str, heading: str) -> bool:
    """Whether the fixed parts of the heading are in the text, in their order; what stands for anything may differ."""
    parts = [re.escape(part.strip()) for part in heading.split(ANYTHING) if part.strip(" :,.()")]
    return re.search(".*".join(parts), text, flags=re.DOTALL) is not None


def test_every_event_of_the_log_is_explained_and_no_other() -> None:
    page = (DOCS / "operations.md").read_text()
    explained = re.findall(r"^\| `([^`]+)` \| ", page.split("## The log")[1], flags=re.MULTILINE)
    assert sorted(explained) == sorted(events())


@pytest.mark.parametrize("heading", headings())
def test_a_text_that_users_are_shown_is_one_that_the_driver_has(heading: str) -> None:
    if heading in KUBELETS:
        return
    assert any(says(text, heading) for text in texts()), heading


def test_a_heading_that_the_driver_does_not_say_would_be_found() -> None:
    assert not any(says(text, "the model is too … for this node") for text in texts())
    assert says("pulling …: the registry has not answered yet", "pulling …: the registry has not answered yet")
    assert not says("pulling …", "pulling …: the registry has not answered yet")


def test_no_text_is_explained_twice() -> None:
    assert len(headings()) == len(set(headings())) >= 35


def test_every_kind_of_error_that_a_pod_sees_has_its_place() -> None:
    """Of each kind at least one text that is raised as such is among the headings."""
    raised: dict[str, list[str]] = {}
    for _, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                raised.setdefault(node.func.id, []).append(template(node.args[0]) or "")
    of_pods = {kind.__name__ for kind in CODES if issubclass(kind, DriverError)} - {"RangeIgnored", "LayerGone"}
    explained = {
        name for name in of_pods for text in raised.get(name, ()) if any(says(text, heading) for heading in headings())
    }
    by_code = {"Unauthenticated"}  # in the words of the registry
    assert of_pods - explained <= by_code
