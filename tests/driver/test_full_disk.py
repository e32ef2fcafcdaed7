"""The disk fills up at any step of a publish: said so, nothing left half made, and well again when there is room.

Reservations keep a pull from beginning on a disk that cannot hold it, so here somebody else takes the room meanwhile.
"""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_driver.cache.limits import Limits
from csi_driver.cache.store import Cache
from csi_driver.config import Features
from csi_driver.errors import NoSpace
from csi_driver.host.mounts import Mounts
from csi_driver.inflight import spawn
from tests.fixtures.driver import Node, RunningDriver, content, eventually
from tests.fixtures.models import File
from tests.fixtures.registry import EmbeddedRegistry
from tests.fixtures.steps import before_step

Model = dict[str, bytes | File]

RAW: Model = {"weights.safetensors": os.urandom(300_000), "config.json": b"{}", "run.sh": File(b"#!", mode=0o755)}
TREE: Model = {"deep/er/weights.bin": os.urandom(200_000), "deep/config.json": b'{"a": 1}', "README.md": b"# A model"}
MOST_STEPS = 400
KEPT = ("", "ingest", "origins", "pins", "references", "snapshots", "volumes", "wanted")


class Hog:
    """Somebody else's files, which take all that is left of a filesystem."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def take_bytes(self) -> None:
        descriptor = os.open(self._directory / "bytes", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            for size in (1 << 20, 4096):
                while _written(descriptor, size):
                    pass
        finally:
            os.close(descriptor)

    def take_inodes(self) -> None:
        number = 0
        while _made(self._directory / f"inode-{number}"):
            number += 1

    def go(self) -> None:
        for path in self._directory.iterdir():
            path.unlink()


def _written(descriptor: int, size: int) -> bool:
    try:
        return os.write(descriptor, bytes(size)) == size
    except OSError:
        return False


def _made(path: Path) -> bool:
    try:
        path.touch()
    except OSError:
        return False
    return True


@pytest.fixture
def small(node: Node) -> Iterator[Node]:
    """A node whose data root lies on a filesystem of 8 MiB and 400 inodes, beside somebody else's files."""
    disk = node.home / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=400,mode=700", "tmpfs", disk], check=True)
    node.root = disk / "root"
    (disk / "hog").mkdir()
    yield node
    node.unmount_all()
    subprocess.run(["umount", disk], check=True)  # which is refused while anybody has a file open


@pytest.fixture
def hog(small: Node) -> Hog:
    return Hog(small.root.parent / "hog")


def half_made(node: Node) -> list[Path]:
    below = [path for name in KEPT for path in (node.root / name).iterdir()]  # and nothing the sweeper may be at
    return [path for path in below if path.name.startswith((".new-", "snapshot-"))]


def nothing_is_half_made(node: Node) -> None:
    assert [mount.point for mount in Mounts().table() if Path(mount.point).is_relative_to(node.pods)] == []
    assert list(node.pods.iterdir()) == []
    assert list((node.root / "volumes").iterdir()) == []
    eventually(lambda: half_made(node) == [])  # when the layers that have not failed have heard that they are to end
    for snapshot in (node.root / "snapshots").iterdir():
        assert (snapshot / "snapshot.json").exists()
    for layer in (node.root / "layers").glob("*/*/*.raw"):
        assert hashlib.sha256(layer.read_bytes()).hexdigest() == layer.stem


def shown(model: Model) -> dict[str, bytes]:
    return {path: file.content if isinstance(file, File) else file for path, file in model.items()}


def give_all_up(driver: RunningDriver) -> None:
    driver.configure("features: {disk_usage_limit: 1}\n")
    driver.configure("features: {disk_usage_limit: 0}\n")


@pytest.mark.parametrize("what", ["bytes", "inodes"])
@pytest.mark.parametrize("packing", ["raw", "tar+gzip"])
def test_whenever_the_disk_fills_up_it_is_said_and_works_again_with_room(
    registry: EmbeddedRegistry, small: Node, hog: Hog, packing: str, what: str
) -> None:
    model = RAW if packing == "raw" else TREE
    registry.push_model("team/model", "v1", model, packing=packing, bundle=packing != "raw")
    reference = registry.reference("team/model", "v1")
    take = hog.take_bytes if what == "bytes" else hog.take_inodes
    refused = number = 0
    with small.driver() as driver:
        for number in range(1, MOST_STEPS):
            give_all_up(driver)
            with before_step(number, take, below=small.root) as steps:
                try:
                    driver.publish("a", reference)
                except NoSpace:
                    refused += 1
                    nothing_is_half_made(small)
                reached = steps.taken >= number
            hog.go()
            assert content(driver.publish("a", reference)) == shown(model)
            driver.unpublish("a")
            nothing_is_half_made(small)
            if not reached:
                break
    assert not reached
    assert refused > 3
    Cache(small.root, in_use=set, limits=lambda: Limits(max_bytes=1)).collect()
    assert not [path for path in (small.root / "layers").rglob("*") if path.is_file()]


@pytest.mark.parametrize("what", ["bytes", "inodes"])
def test_a_full_disk_takes_nothing_from_pods_that_run_and_keeps_no_pod_from_leaving(
    registry: EmbeddedRegistry, small: Node, hog: Hog, what: str
) -> None:
    registry.push_model("team/model", "v1", RAW)
    registry.push_model("team/other", "v1", TREE)
    reference = registry.reference("team/model", "v1")
    with small.driver() as driver:
        for pod in ("a", "b"):
            driver.publish(pod, reference)
        hog.take_bytes() if what == "bytes" else hog.take_inodes()
        driver.unpublish("a")
        assert content(small.target("b")) == shown(RAW)
    with small.driver() as driver:
        driver.publish("b", reference)
        assert content(small.target("b")) == shown(RAW)
        with pytest.raises(NoSpace, match=r"team/model:v1 \(\S+ KiB, mounted\)"):
            driver.publish("c", registry.reference("team/other", "v1"))
        assert not small.target("c").exists()
        driver.unpublish("b")
        hog.go()
        assert content(driver.publish("c", registry.reference("team/other", "v1"))) == TREE


def test_pulls_that_come_together_never_take_more_than_there_is(registry: EmbeddedRegistry, small: Node) -> None:
    models: dict[str, Model] = {f"v{number}": {"weights.bin": os.urandom(1_500_000)} for number in range(8)}
    for tag, files in models.items():
        registry.push_model("team/model", tag, files)
    small.features = Features(disk_usage_limit=5_000_000)
    with small.driver() as driver:

        def publish(tag: str) -> bool:
            try:
                return content(driver.publish(tag, registry.reference("team/model", tag))) == models[tag]
            except NoSpace:
                return False

        calls = [spawn(tag, lambda tag=tag: publish(tag)) for tag in models]  # type: ignore[misc]
        assert sum(call.result(60.0) for call in calls) == 3
        held = sum(path.stat().st_size for path in (small.root / "layers").rglob("*") if path.is_file())
        assert held == 4_500_000


def test_copies_of_a_layer_take_no_more_than_there_is_either(registry: EmbeddedRegistry, small: Node) -> None:
    """One layer, named again and again with a mode that its file cannot have as well."""
    data = os.urandom(1_500_000)
    small.features = Features(disk_usage_limit=5_000_000)
    with small.driver() as driver:
        for copies in (4, 2):
            files = {f"run{number}": File(data, mode=0o755) for number in range(copies)} | {"plain": File(data)}
            registry.push_model("team/model", f"v{copies}", files)
        with pytest.raises(NoSpace, match=r"the model needs .* too much"):
            driver.publish("a", registry.reference("team/model", "v4"))
        assert list((small.root / "snapshots").iterdir()) == list((small.root / "ingest").iterdir()) == []
        shown = content(driver.publish("b", registry.reference("team/model", "v2")))
        assert shown == dict.fromkeys(("plain", "run0", "run1"), data)


def test_a_volume_that_lost_one_of_its_mounts_keeps_no_driver_from_serving_on_a_full_disk(
    registry: EmbeddedRegistry, small: Node, hog: Hog
) -> None:
    registry.push_model("team/model", "v1", RAW)
    attributes = {"modelRef": registry.reference("team/model", "v1")}
    with small.driver() as driver:
        for pod in ("a", "b"):
            driver.client.publish("csi-claim", small.target(pod), attributes)
    Mounts().unmount(small.target("a"))
    hog.take_bytes()
    with small.driver() as driver:
        assert content(small.target("b")) == shown(RAW)
        for pod in ("b", "a"):
            driver.client.unpublish("csi-claim", small.target(pod))
    nothing_is_half_made(small)
