"""A node on which the Go driver ran is taken over: its pods notice nothing, and its volumes go when they do."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_driver.errors import Conflict, InvalidRequest, NotFound
from csi_driver.host.mounts import Mounts
from tests.fixtures.driver import Node, RunningDriver, content
from tests.fixtures.predecessor import MODEL, GoDriver
from tests.fixtures.registry import EmbeddedRegistry

OWN = {"model.safetensors": b"own", "config.json": b"[]"}


@pytest.fixture
def go(node: Node) -> Iterator[GoDriver]:
    go = GoDriver(node.root)
    yield go
    node.unmount_all()


def mounted(node: Node) -> list[str]:
    """The pods that see something, once for each mount."""
    points = (Path(mount.point) for mount in Mounts().table())
    return sorted(str(point.relative_to(node.pods)) for point in points if point.is_relative_to(node.pods))


def test_pods_of_the_go_driver_keep_their_models_and_their_volumes_go_with_them(node: Node, go: GoDriver) -> None:
    targets = {name: node.target(name) for name in ("csi-inline", "pvc-claim", "csi-dynamic")}
    go.publish_inline("csi-inline", targets["csi-inline"])
    go.create_pvc("pvc-claim")
    go.publish_pvc("pvc-claim", targets["pvc-claim"])
    go.publish_dynamic("csi-dynamic", targets["csi-dynamic"])
    with node.driver() as driver:
        driver.driver.upkeep.housekeep()
        assert mounted(node) == sorted(targets)
        assert content(targets["csi-inline"]) == content(targets["pvc-claim"]) == MODEL
        assert content(targets["csi-dynamic"] / "models" / "m1" / "model") == MODEL
        for volume_id, target in targets.items():
            driver.client.unpublish(volume_id, target)
            assert not target.exists()
            assert not (node.root / "volumes" / volume_id).exists()
            driver.client.unpublish(volume_id, target)  # kubelet repeats itself
    assert mounted(node) == []
    with node.driver():
        pass
    assert list((node.root / "volumes").iterdir()) == []


def test_a_republish_leaves_a_live_mount_as_it_is(node: Node, go: GoDriver) -> None:
    """kubelet asks again for every volume when it is restarted; the attributes are those that the Go driver takes."""
    attributes: dict[str, dict[str, str]] = {
        "csi-inline": {"model.csi.modelpack.org/reference": "registry.example/team/go:v1"},
        "csi-dynamic": {},
        "pvc-claim": {
            "model.csi.modelpack.org/type": "image",
            "model.csi.modelpack.org/reference": "registry.example/team/go:v1",
            "model.csi.modelpack.org/mount-id": "",
            "model.csi.modelpack.org/node-ip": "10.0.0.7",
            "volume.kubernetes.io/selected-node": "node-1",
        },
    }
    go.publish_inline("csi-inline", node.target("csi-inline"))
    go.publish_dynamic("csi-dynamic", node.target("csi-dynamic"))
    go.create_pvc("pvc-claim")
    go.publish_pvc("pvc-claim", node.target("pvc-claim"))
    before = mounted(node)
    inodes = {name: node.target(name).stat().st_ino for name in attributes}
    with node.driver() as driver:
        for volume_id, given in attributes.items():
            driver.client.publish(volume_id, node.target(volume_id), given)
            stats = driver.client.stats(volume_id, node.target(volume_id))
            assert not stats.abnormal
            assert stats.bytes_used >= sum(map(len, MODEL.values()))
    assert mounted(node) == before
    assert {name: node.target(name).stat().st_ino for name in attributes} == inodes
    assert not list((node.root / "volumes").glob("*.json"))


def test_a_claim_that_two_pods_show_goes_with_the_second(node: Node, go: GoDriver) -> None:
    go.create_pvc("pvc-claim")
    for pod in ("a", "b"):
        go.publish_pvc("pvc-claim", node.target(pod))
    with node.driver() as driver:
        driver.client.unpublish("pvc-claim", node.target("a"))
        assert content(node.target("b")) == MODEL
        driver.driver.upkeep.housekeep()
        assert content(node.target("b")) == MODEL
        driver.client.unpublish("pvc-claim", node.target("b"))
        assert not (node.root / "volumes" / "pvc-claim").exists()


def test_what_no_pod_shows_is_given_back_and_what_one_shows_stays(node: Node, go: GoDriver) -> None:
    go.publish_inline("csi-gone", node.target("gone"))
    Mounts().unmount(node.target("gone"))
    go.publish_inline("csi-here", node.target("here"))
    (go.volumes / "csi-half").mkdir()
    (go.volumes / "csi-half" / "status.json").write_bytes(b"")  # a pull that was killed
    with node.driver() as driver:
        driver.driver.upkeep.housekeep()
        (left,) = driver.client.collect(-1).kept
        assert (left.name, left.reason) == ("volume csi-here of the Go driver", "mounted")
        assert left.bytes >= sum(map(len, MODEL.values()))
        assert content(node.target("here")) == MODEL


def test_after_a_reboot_a_pod_of_the_go_driver_gets_its_model_from_this_one(
    node: Node, go: GoDriver, registry: EmbeddedRegistry
) -> None:
    registry.push_model("team/go", "v1", OWN)
    go.create_pvc("pvc-claim", reference=registry.reference("team/go", "v1"))
    given = {
        "model.csi.modelpack.org/type": "image",
        "model.csi.modelpack.org/reference": registry.reference("team/go", "v1"),
        "model.csi.modelpack.org/node-ip": "10.0.0.7",
        "volume.kubernetes.io/selected-node": "node-1",
        "storage.kubernetes.io/csiProvisionerIdentity": "1-2-model.csi.modelpack.org",
    }
    with node.driver() as driver:
        driver.client.publish("pvc-claim", node.target("a"), given)
        assert content(node.target("a")) == OWN
        driver.driver.upkeep.housekeep()
        assert not (go.volumes / "pvc-claim").exists()
        driver.client.unpublish("pvc-claim", node.target("a"))


def test_the_shared_socket_of_an_old_go_driver_is_unmounted_and_kept(node: Node, go: GoDriver, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "csi.sock").touch()
    go.publish_dynamic("csi-dynamic", node.target("a"), shared=shared)
    assert (node.target("a") / "csi" / "csi.sock").exists()
    with node.driver() as driver:
        driver.client.unpublish("csi-dynamic", node.target("a"))
        assert not (go.volumes / "csi-dynamic").exists()
        assert not node.target("a").exists()
    assert (shared / "csi.sock").exists()
    assert [mount for mount in Mounts().table() if str(go.volumes) in mount.point] == []


def test_a_mount_whose_directory_the_go_driver_removed_can_be_unpublished(node: Node, go: GoDriver) -> None:
    """A publish to another target wiped the model first, also while a pod showed it."""
    volume = go.publish_inline("csi-wiped", node.target("a"))
    shutil.rmtree(volume)
    with node.driver() as driver:
        driver.client.publish("csi-wiped", node.target("a"), {})
        driver.client.unpublish("csi-wiped", node.target("a"))
    assert not node.target("a").exists()


def test_a_volume_takes_away_only_its_own_mounts(node: Node, go: GoDriver) -> None:
    go.publish_inline("csi-one", node.target("one"))
    with node.driver() as driver:
        for stranger in ("csi-two", "..", "../volumes/csi-one", "csi-one/model", ""):
            with pytest.raises((Conflict, InvalidRequest)):
                driver.client.unpublish(stranger, node.target("one"))
        with pytest.raises((Conflict, InvalidRequest)):
            driver.client.publish("csi-two", node.target("one"), {"modelRef": "registry.example/a:v1"})
        with pytest.raises(NotFound):
            driver.client.stats("csi-one", node.target("elsewhere"))
        assert content(node.target("one")) == MODEL


def test_what_a_pod_wrote_into_its_volume_misleads_nobody(node: Node, go: GoDriver, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    volume = go.publish_dynamic("csi-dynamic", node.target("a"))
    (volume / "status.json").unlink()
    (volume / "status.json").symlink_to(precious / "file")
    (volume / "link").symlink_to(precious)
    os.mkfifo(volume / "fifo")
    os.mknod(volume / "socket", stat.S_IFSOCK | 0o600)
    with node.driver() as driver:
        assert [each.name for each in driver.client.collect(dry_run=True).kept] == [
            "volume csi-dynamic of the Go driver"
        ]
        assert driver.client.stats("csi-dynamic", node.target("a")).condition.startswith("the volume is mounted")
        driver.client.unpublish("csi-dynamic", node.target("a"))
        assert not volume.exists()
    with node.driver() as driver:
        driver.driver.upkeep.housekeep()
    assert (precious / "file").exists()


def test_records_beside_the_go_drivers_volumes_are_read(
    node: Node, go: GoDriver, driver: RunningDriver, registry: EmbeddedRegistry
) -> None:
    (go.volumes / "pvc.json").mkdir()
    registry.push_model("team/model", "v1", OWN)
    driver.publish("a", registry.reference("team/model", "v1"))
    with pytest.raises(Conflict):
        driver.publish("a", registry.reference("team/model", "v2"))
    driver.unpublish("a")
