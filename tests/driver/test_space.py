"""A disk that is full: said with the numbers, nothing left half made, and well again when there is room."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from csi_driver.errors import NoSpace
from tests.fixtures.driver import Node, content
from tests.fixtures.producers import OCI_EMPTY, OCI_TAR, UNPACK, archive, layer, push
from tests.fixtures.registry import EmbeddedRegistry

MIB = 1 << 20


@pytest.fixture
def small(node: Node) -> Iterator[Node]:
    """A node whose data root is a filesystem of 16 MiB."""
    node.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(node.root)], check=True)
    yield node
    node.unmount_all()
    subprocess.run(["umount", str(node.root)], check=True)


def test_a_model_larger_than_the_disk_is_refused_before_its_first_byte(registry: EmbeddedRegistry, small: Node) -> None:
    registry.push_model("team/model", "v1", {"weights.bin": os.urandom(20 * MIB)})
    with small.driver() as driver:
        with pytest.raises(NoSpace, match=r"needs 20 MiB.*15\.\d+ MiB free"):
            driver.publish("a", registry.reference("team/model", "v1"))
        assert sum(registry.bytes_sent.values()) == 0
        assert small.leftovers() == []
        assert not small.target("a").exists()


def test_an_archive_that_unpacks_to_more_than_the_disk_holds_leaves_nothing(
    registry: EmbeddedRegistry, small: Node
) -> None:
    registry.push_model("team/model", "v1", {"zeros.bin": bytes(64 * MIB)}, packing="tar+gzip")
    registry.push_model("team/model", "v2", {"weights.bin": os.urandom(4 * MIB)})
    with small.driver() as driver:
        with pytest.raises(NoSpace):
            driver.publish("a", registry.reference("team/model", "v1"))
        assert small.leftovers() == []
        assert len(content(driver.publish("b", registry.reference("team/model", "v2")))) == 1


@pytest.mark.parametrize("packing", ["tar+gzip", "tar+zstd"])
def test_an_archive_that_grows_beyond_the_disk_is_refused_before_it_fills_it(
    registry: EmbeddedRegistry, small: Node, packing: str
) -> None:
    packed = archive({f"{number}.bin": bytes(1 * MIB) for number in range(64)}, packing)
    one = layer(registry, f"{OCI_TAR}{packing.removeprefix('tar')}", packed, annotations={UNPACK: "true"})
    with small.driver() as driver:
        with pytest.raises(NoSpace, match=r"the model needs .* too much: the disk has .* free and keeps"):
            driver.publish("a", push(registry, "team/model:1", OCI_EMPTY, [one]))
        assert small.leftovers() == []
        assert not small.target("a").exists()


def test_an_archive_that_grows_gets_the_room_of_what_nobody_uses(registry: EmbeddedRegistry, small: Node) -> None:
    registry.push_model("team/model", "v1", {"weights.bin": os.urandom(8 * MIB)})
    grown = {f"{number}.bin": bytes(1 * MIB) for number in range(12)}
    reference = push(registry, "team/grown:1", OCI_EMPTY, [
        layer(registry, f"{OCI_TAR}+gzip", archive(grown, "tar+gzip"), annotations={UNPACK: "true"})
    ])  # fmt: skip
    with small.driver() as driver:
        driver.publish("a", registry.reference("team/model", "v1"))
        with pytest.raises(NoSpace):
            driver.publish("b", reference)
        driver.unpublish("a")
        assert content(driver.publish("b", reference)) == grown
        assert [model.reference for model in driver.client.list_models()] == [reference]


def test_what_nobody_uses_makes_room_and_what_is_mounted_stays(registry: EmbeddedRegistry, small: Node) -> None:
    models = {tag: {"weights.bin": os.urandom(6 * MIB)} for tag in ("v1", "v2", "v3")}
    for tag, files in models.items():
        registry.push_model("team/model", tag, files)
    with small.driver() as driver:
        mounted = driver.publish("a", registry.reference("team/model", "v1"))
        driver.publish("b", registry.reference("team/model", "v2"))
        with pytest.raises(NoSpace, match="in use"):
            driver.publish("c", registry.reference("team/model", "v3"))
        driver.unpublish("b")
        assert content(driver.publish("c", registry.reference("team/model", "v3"))) == models["v3"]
        assert content(mounted) == models["v1"]
        assert {model.reference for model in driver.client.list_models()} == {
            registry.reference("team/model", "v1"),
            registry.reference("team/model", "v3"),
        }
