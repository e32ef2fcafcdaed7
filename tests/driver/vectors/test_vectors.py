"""Every artifact and every archive of the catalogues is mounted as it should be, or refused without a trace."""

from collections.abc import Iterator

import pytest

from csi_driver.config import Features
from tests.driver.vectors.archives import ARCHIVES, MOST_ENTRIES
from tests.driver.vectors.artifacts import ARTIFACTS
from tests.driver.vectors.world import CANARY, Vector, World
from tests.fixtures.driver import Node
from tests.fixtures.registry import EmbeddedRegistry


@pytest.fixture
def world(registry: EmbeddedRegistry, node: Node) -> Iterator[World]:
    outside = node.home / "outside"
    outside.mkdir()
    (outside / "canary").write_bytes(CANARY)
    (outside / "canary").chmod(0o640)
    node.features = Features(disk_usage_limit=256 << 20)
    node.file.write_text(f"limits: {{layer_entries: {MOST_ENTRIES}}}\n")
    with node.driver() as driver:
        yield World(registry, driver, outside)


def named(vector: Vector) -> str:
    return f"{vector.number}-{vector.name}"


@pytest.mark.parametrize("vector", ARTIFACTS.vectors, ids=named)
def test_an_artifact(world: World, vector: Vector) -> None:
    vector.hold(world)


@pytest.mark.parametrize("vector", ARCHIVES.vectors, ids=named)
def test_an_archive(world: World, vector: Vector) -> None:
    vector.hold(world)


def test_the_catalogues_have_no_gaps() -> None:
    assert ARTIFACTS.numbers() == {f"A{number}" for number in range(1, 45)}
    assert ARCHIVES.numbers() == {f"T{number}" for number in range(1, 27)}
