"""What the documentation says about the code is what the code says."""

import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from csi_driver.cli.exits import MEANINGS
from csi_driver.config import IGNORED, Config

DOCS = Path(__file__).parent.parent / "docs"


def settings(section: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Name and description of every setting."""
    found: list[tuple[str, str]] = []
    for item in fields(section):
        if item.default_factory is not MISSING:
            found += settings(item.default_factory, f"{item.name}.")
        elif "doc" in item.metadata:
            found.append((f"{prefix}{item.name}", item.metadata["doc"]))
    return found


def test_every_setting_is_documented_and_nothing_else_is() -> None:
    text = (DOCS / "configuration.md").read_text()
    table = re.findall(r"^\| `([a-z_.]+)` \| .* \| (.*) \|$", text, flags=re.MULTILINE)
    assert table == settings(Config)


def test_every_ignored_setting_of_the_go_driver_is_named() -> None:
    text = (DOCS / "configuration.md").read_text()
    assert {name for name in IGNORED if f"`{name}`" in text} == IGNORED


@pytest.mark.parametrize("page", sorted([*DOCS.glob("*.md"), DOCS.parent / "README.md"]), ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_table_of_exit_codes_is_the_command_lines_own() -> None:
    table = re.findall(r"^\| (\d+) \| (.*) \|$", (DOCS / "command-line.md").read_text(), flags=re.MULTILINE)
    assert table == [(str(code.value), meaning) for code, meaning in MEANINGS]
