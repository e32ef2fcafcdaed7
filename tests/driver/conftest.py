"""A registry and a node for every test of the whole driver."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.driver import Node, RunningDriver
from tests.fixtures.registry import EmbeddedRegistry


@pytest.fixture
def registry() -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry() as registry:
        yield registry


@pytest.fixture
def node(tmp_path: Path, mount_namespace: None) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.unmount_all()


@pytest.fixture
def driver(node: Node) -> Iterator[RunningDriver]:
    with node.driver() as driver:
        yield driver
