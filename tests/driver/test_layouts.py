"""A driver takes over the data root that an older one wrote, and leaves alone what a newer one did."""

from collections.abc import Iterator

import pytest

from csi_driver.app import Driver
from csi_driver.cache.layout import VERSION
from csi_driver.errors import DriverError
from csi_driver.volumes.records import Records
from tests.fixtures import layouts
from tests.fixtures.driver import EXCLUDE_WEIGHTS, Node, content
from tests.fixtures.proxy import forward_proxy
from tests.fixtures.registry import EmbeddedRegistry

ALL = range(1, VERSION + 1)
PARTLY = {path: data for path, data in layouts.MODEL.items() if not path.endswith(".safetensors")}


@pytest.fixture
def old(request: pytest.FixtureRequest, node: Node, registry: EmbeddedRegistry) -> Iterator[Node]:
    """A node whose data root is that of an older driver, and which finds the registry under the name it had then."""
    layouts.push_models(registry)
    layouts.unpack(request.param, node.root)
    with forward_proxy(registry.host) as proxy:
        node.pull = layouts.through(proxy.url)
        yield node


@pytest.mark.parametrize("old", ALL, indirect=True)
def test_volumes_are_published_from_what_an_older_driver_left(old: Node, registry: EmbeddedRegistry) -> None:
    with old.driver() as driver:
        for name, reference in (("raw", layouts.RAW), ("tree", layouts.TREE), ("packed", layouts.PACKED)):
            assert content(driver.publish(name, reference)) == layouts.MODEL
        assert content(driver.publish("selected", layouts.RAW, {EXCLUDE_WEIGHTS: "true"})) == PARTLY
        assert registry.count("GET", "/v2/*/blobs/*") == 0
        assert {model.reference for model in driver.client.list_models()} == {
            layouts.RAW, layouts.TREE, layouts.PACKED
        }  # fmt: skip


@pytest.mark.parametrize("old", ALL, indirect=True)
def test_a_pull_goes_on_from_where_an_older_driver_ended_it(old: Node, registry: EmbeddedRegistry) -> None:
    with old.driver() as driver:
        assert content(driver.publish("waiting", layouts.UNFINISHED)) == layouts.LARGE
    assert sum(registry.bytes_sent.values()) == len(layouts.LARGE["model.safetensors"]) - layouts.JOURNALED


@pytest.mark.parametrize("old", ALL, indirect=True)
def test_records_of_an_older_driver_are_read(old: Node) -> None:
    volumes = {volume.volume_id: volume for volume in Records(old.root / "volumes").all()}
    assert set(volumes) == {"csi-raw", "csi-tree", "csi-packed", "csi-selected"}
    assert volumes["csi-raw"].reference == layouts.RAW
    assert [target.name for target in volumes["csi-tree"].targets] == ["tree"]


def test_a_data_root_of_a_newer_driver_is_refused_and_left_alone(node: Node) -> None:
    node.root.mkdir()
    (node.root / "version").write_text(f"{VERSION + 1}\n")
    (node.root / "volumes").mkdir()
    (node.root / "volumes" / "record.json").write_text("of another form")
    with pytest.raises(DriverError, match=f"has layout '{VERSION + 1}', and this driver knows layout {VERSION}"):
        Driver(node.config)
    assert (node.root / "volumes" / "record.json").read_text() == "of another form"
    assert {path.name for path in node.root.iterdir()} == {"version", "volumes"}
