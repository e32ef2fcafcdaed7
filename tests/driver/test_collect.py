"""Room that an operator asks for: what nobody needs goes, and the rest says why it stays."""

import os
from pathlib import Path

import pytest

from tests.fixtures.driver import Node, RunningDriver, content
from tests.fixtures.registry import EmbeddedRegistry

MIB = 1 << 20


@pytest.fixture
def references(registry: EmbeddedRegistry) -> list[str]:
    for number in range(3):
        registry.push_model("team/model", f"v{number}", {"model.safetensors": os.urandom(MIB), "shared": b"s" * 50_000})
    return [registry.reference("team/model", f"v{number}") for number in range(3)]


def held(node: Node) -> int:
    """Bytes of disk that the node's layers and snapshots take."""
    files = {path.stat().st_ino: path.stat() for part in ("layers", "snapshots", "trash", "ingest")
             for path in Path(node.root, part).rglob("*") if path.is_file()}  # fmt: skip
    return sum(status.st_blocks * 512 for status in files.values())


def test_what_a_dry_run_names_is_what_goes(node: Node, driver: RunningDriver, references: list[str]) -> None:
    mounted = driver.publish("a", references[0])
    for reference in references[1:]:
        driver.publish("b", reference)
        driver.unpublish("b")
    before = held(node)
    shown = driver.client.collect(-1, dry_run=True)
    assert held(node) == before
    assert [item.name for item in shown.given_up] == references[1:]
    assert [(item.name, item.reason) for item in shown.kept] == [(references[0], "mounted")]
    done = driver.client.collect(-1)
    assert (done.freed, [item.name for item in done.given_up]) == (shown.freed, references[1:])
    assert abs(before - held(node) - done.freed) <= 2 * 4096  # descriptions of snapshots are not counted
    assert 2 * MIB <= done.freed < 2 * MIB + 50_000
    assert set(content(mounted)) == {"model.safetensors", "shared"}
    assert [model.reference for model in driver.client.list_models()] == references[:1]


def test_no_more_goes_than_was_asked_for(driver: RunningDriver, references: list[str]) -> None:
    for reference in references:
        driver.publish("a", reference)
        driver.unpublish("a")
    assert driver.client.collect().given_up == ()  # the limits are kept
    done = driver.client.collect(MIB // 2)
    assert [item.name for item in done.given_up] == references[:1]
    assert {item.name for item in done.kept} == set(references[1:])
    assert all("its room is not needed" in item.reason for item in done.kept)


def test_parts_that_no_model_shows_are_named(node: Node, driver: RunningDriver, references: list[str]) -> None:
    driver.publish("a", references[0])
    driver.unpublish("a")
    for path in (node.root / "snapshots").iterdir():
        path.rename(node.root / "gone")
    done = driver.client.collect(-1)
    assert {item.reason for item in done.given_up} == {"no model shows it"}
    assert len(done.given_up) == 2
