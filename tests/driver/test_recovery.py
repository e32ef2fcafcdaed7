"""What a crash, a reboot or a lost file leaves on a node is found by the next driver, and put right or removed."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from csi_driver.errors import DriverError
from csi_driver.inflight import spawn
from csi_driver.volumes.records import Records
from tests.fixtures import layouts
from tests.fixtures.driver import Node, RunningDriver, content
from tests.fixtures.registry import EmbeddedRegistry

MODEL = {"model.safetensors": b"w" * 100_000, "sub/config.json": b"{}"}
SOON = 60.0


@pytest.fixture
def reference(registry: EmbeddedRegistry) -> str:
    registry.push_model("team/model", "v1", MODEL)
    return registry.reference("team/model", "v1")


def target_of(node: Node, pod: str) -> Path:
    """Where kubelet has the volume `model` of a pod."""
    return node.pods / pod / "volumes" / "kubernetes.io~csi" / "model" / "mount"


def publish(driver: RunningDriver, pod: str, reference: str, *, known: bool = True) -> Path:
    """Publish as kubelet does, which notes first what it is about to ask for."""
    target = target_of(driver.node, pod)
    target.parent.mkdir(parents=True)
    if known:
        data = {"driverName": "model.csi.modelpack.org", "specVolID": "model", "volumeHandle": f"csi-{pod}"}
        (target.parent / "vol_data.json").write_text(json.dumps(data))
    driver.client.publish(f"csi-{pod}", target, {"modelRef": reference})
    return target


def forget(node: Node) -> None:
    """No record is left."""
    for path in (node.root / "volumes").glob("*.json"):
        path.unlink()


def test_a_mount_that_kubelet_knows_gets_its_record_again(node: Node, reference: str) -> None:
    with node.driver() as driver:
        target = publish(driver, "a", reference)
        (before,) = Records(node.root / "volumes").all()
    forget(node)
    with node.driver() as driver:
        assert content(target) == MODEL
        assert Records(node.root / "volumes").all() == [before]
        assert not driver.client.stats("csi-a", target).abnormal
        driver.client.publish("csi-a", target, {"modelRef": reference})
        driver.client.unpublish("csi-a", target)
    assert not target.exists()
    assert list((node.root / "volumes").iterdir()) == []


def test_a_mount_that_neither_kubelet_nor_a_record_knows_is_removed(node: Node, reference: str) -> None:
    with node.driver() as driver:
        target, kept = publish(driver, "a", reference, known=False), publish(driver, "b", reference, known=False)
        records = Records(node.root / "volumes")
        records.drop("csi-a")
    with node.driver() as driver:
        assert not target.exists()
        assert content(kept) == MODEL
        assert [volume.volume_id for volume in records.all()] == ["csi-b"]
        driver.client.unpublish("csi-a", target)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"volumeHandle": 1}', b'{"volumeHandle": ""}'])
def test_a_mount_of_which_kubelets_note_cannot_be_read_is_left_alone(node: Node, reference: str, damage: bytes) -> None:
    with node.driver() as driver:
        target = publish(driver, "a", reference)
    forget(node)
    (target.parent / "vol_data.json").write_bytes(damage)
    with node.driver() as driver:
        assert content(target) == MODEL
        driver.client.unpublish("csi-a", target)
        assert not target.exists()


def test_a_note_of_kubelets_that_cannot_be_opened_keeps_no_driver_from_serving(node: Node, reference: str) -> None:
    with node.driver() as driver:
        target = publish(driver, "a", reference)
    forget(node)
    note = target.parent / "vol_data.json"
    note.unlink()
    note.symlink_to("/dev/zero")
    with node.driver() as driver:
        assert content(target) == MODEL
        driver.client.unpublish("csi-a", target)


def test_what_kubelet_binds_of_a_volume_for_a_sub_path_is_left_alone(node: Node, reference: str) -> None:
    place = node.pods / "a" / "volume-subpaths" / "model" / "server" / "0"
    with node.driver() as driver:
        target = publish(driver, "a", reference)
        place.mkdir(parents=True)
        subprocess.run(["mount", "--bind", target / "sub", place], check=True)
    for lost in (False, True):
        if lost:
            forget(node)
        with node.driver():
            assert content(place) == {"config.json": b"{}"}
            assert content(target) == MODEL


def test_what_somebody_mounted_by_hand_is_left_alone_without_its_record(node: Node, reference: str) -> None:
    with node.driver() as driver:
        target = driver.publish("by-hand", reference)
    forget(node)
    with node.driver() as driver:
        assert content(target) == MODEL
        driver.unpublish("by-hand")
        assert not target.exists()


def test_a_snapshot_without_its_layer_is_made_anew_and_what_shows_it_stays(
    registry: EmbeddedRegistry, node: Node, reference: str
) -> None:
    with node.driver() as driver:
        old = publish(driver, "a", reference)
    layers = sorted((node.root / "layers").glob("*/*/*"), key=lambda path: path.stat().st_size)
    layers[0].unlink()
    registry.forget_requests()
    with node.driver() as driver:
        assert content(old) == MODEL
        assert "is missing" in driver.client.stats("csi-a", old).condition
        new = publish(driver, "b", reference)
        assert content(new) == MODEL
        assert not driver.client.stats("csi-b", new).abnormal
        assert registry.count("GET", "/v2/*/blobs/*") == 1


def test_damaged_records_are_set_aside_and_not_for_ever(node: Node, reference: str) -> None:
    volumes = node.root / "volumes"
    with node.driver() as driver:
        target = publish(driver, "a", reference)
    (record,) = volumes.glob("*.json")
    record.write_bytes(b"\0" * 100)
    for number in range(150):
        (volumes / f"{number:064x}.damaged").write_bytes(b"")
        os.utime(volumes / f"{number:064x}.damaged", (time.time() - 86400, time.time() - 86400 + number))
    os.utime(volumes / f"{149:064x}.damaged", (0, 0))
    with node.driver() as driver:
        driver.driver.upkeep.housekeep()
        left = {path.name for path in volumes.glob("*.damaged")}
        assert len(left) == 100
        assert f"{record.stem}.damaged" in left
        assert f"{148:064x}.damaged" in left
        assert not {f"{number:064x}.damaged" for number in (0, 1, 149)} & left
        assert content(target) == MODEL
        driver.client.unpublish("csi-a", target)


def test_a_driver_that_is_stopped_in_the_middle_keeps_what_it_fetched(registry: EmbeddedRegistry, node: Node) -> None:
    registry.push_model("team/large", "v1", layouts.LARGE)
    large = registry.reference("team/large", "v1")
    size = len(layouts.LARGE["model.safetensors"])
    registry.gate.hold(at=size - 100_000)
    with node.driver() as driver:
        waiting = spawn("pod", lambda: driver.publish("a", large))
        registry.gate.wait_until_held()
    assert isinstance(waiting.exception(SOON), DriverError)
    registry.gate.open()
    registry.forget_requests()
    with node.driver() as driver:
        assert content(driver.publish("a", large)) == layouts.LARGE
    assert sum(registry.bytes_sent.values()) <= size // 2
