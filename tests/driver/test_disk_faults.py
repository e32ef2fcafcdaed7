"""A bad block of the disk under the data root costs what was in it, and nothing else."""

import os
import subprocess
from pathlib import Path

import pytest

from csi_driver.errors import DriverError
from csi_driver.volumes.records import Records
from tests.driver.test_recovery import publish, target_of
from tests.fixtures.badblocks import spoil
from tests.fixtures.driver import Node, content, eventually
from tests.fixtures.registry import EmbeddedRegistry

MODEL = {"model.safetensors": os.urandom(100_000), "config.json": b"{}"}
OTHER = {"model.gguf": os.urandom(50_000)}


@pytest.fixture
def models(registry: EmbeddedRegistry) -> list[str]:
    registry.push_model("team/model", "v1", MODEL)
    registry.push_model("team/other", "v1", OTHER)
    return [registry.reference(f"team/{name}", "v1") for name in ("model", "other")]


@pytest.mark.parametrize(
    "place",
    ["volumes/*.json", "snapshots/*/snapshot.json", "references/*.json", "pins/*.json", "wanted/*.json", "secret"],
)
def test_files_that_cannot_be_read_any_more_keep_no_driver_from_serving(
    node: Node, models: list[str], place: str
) -> None:
    model, other = models
    with node.driver() as driver:
        old = publish(driver, "a", model)
        list(driver.client.pull(model, pin=True))
        (node.root / "wanted" / "left.json").write_bytes(b"{}")
    spoilt = list(node.root.glob(place))
    assert spoilt
    for path in spoilt:
        spoil(path)
    with node.driver() as driver:
        assert content(old) == MODEL
        assert content(publish(driver, "b", model)) == MODEL
        assert content(publish(driver, "c", other)) == OTHER
        driver.driver.upkeep.housekeep()
        for pod in ("a", "b", "c"):
            driver.client.unpublish(f"csi-{pod}", target_of(node, pod))
        driver.configure("features: {disk_usage_limit: 1}\n")
        eventually(lambda: not any((node.root / "trash").iterdir()))
    assert [path for path in spoilt if path.is_symlink()] == []


def remount(disk: Path, how: str) -> None:
    """As the kernel would; by itself mount(8) repeats what the mount had, which a user namespace does not allow it."""
    subprocess.run(["mount", "--options-mode", "ignore", "-o", f"remount,{how}", disk], check=True)


def test_a_disk_that_has_become_read_only_takes_nothing_from_pods_and_keeps_none_from_leaving(
    node: Node, models: list[str]
) -> None:
    disk = node.home / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", disk], check=True)
    node.root = disk / "root"
    with node.driver() as driver:
        for pod in ("a", "b"):
            driver.publish(pod, models[0])
        eventually(lambda: not any((node.root / "wanted").iterdir()))
        remount(disk, "ro")
        driver.unpublish("a")
        assert not node.target("a").exists()
        assert content(node.target("b")) == MODEL
        with pytest.raises(DriverError, match="Read-only file system"):
            driver.publish("c", models[0])
        assert not node.target("c").exists()
        remount(disk, "rw")
        assert content(driver.publish("c", models[0])) == MODEL
        assert content(driver.publish("a", models[0])) == MODEL
        remount(disk, "ro")
        driver.unpublish("a")
        remount(disk, "rw")
    with node.driver() as driver:
        assert {volume.volume_id for volume in Records(node.root / "volumes").all()} == {"csi-b", "csi-c"}
        for pod in ("b", "c"):
            driver.unpublish(pod)
    subprocess.run(["umount", disk], check=True)


def test_new_settings_take_effect_though_the_cache_cannot_be_looked_through(node: Node, models: list[str]) -> None:
    with node.driver() as driver:
        driver.publish("a", models[0])
        (description,) = node.root.glob("snapshots/*/snapshot.json")
        content_of_it = description.read_bytes()
        description.unlink()
        description.symlink_to(description)
        driver.configure("features: {disk_usage_limit: 1}\n")
        description.unlink()
        description.write_bytes(content_of_it)
        driver.unpublish("a")
        driver.client.collect()
        assert driver.models() == set()
