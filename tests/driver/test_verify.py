"""What has become damaged on the disk is found, given up and fetched anew, while the driver serves."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from csi_driver.config import Verification
from csi_driver.csi.client import Client, VerifyStep
from csi_driver.csi.pb import csi_pb2, csi_pb2_grpc
from csi_driver.errors import NotFound, Stopping, Unavailable
from csi_driver.inflight import spawn
from csi_driver.verifier.report import Report
from tests.fixtures.driver import EXCLUDE_WEIGHTS, Node, RunningDriver, content
from tests.fixtures.models import File
from tests.fixtures.registry import EmbeddedRegistry

SOON = 60.0
PACKINGS = ("raw", "tar", "tar+gzip", "tar+zstd")
MODEL = {"model.safetensors": b"w" * 100_000, "config.json": b"{}", "code/run.py": b"pass"}


@pytest.fixture
def models(registry: EmbeddedRegistry) -> dict[str, str]:
    """References by packing; no two models share a layer."""
    for packing in PACKINGS:
        own = {**MODEL, "config.json": packing.encode()}
        registry.push_model("team/model", packing.replace("+", "-"), own, packing=packing, bundle=packing != "raw")
    return {packing: registry.reference("team/model", packing.replace("+", "-")) for packing in PACKINGS}


@pytest.fixture
def stub(driver: RunningDriver) -> Iterator[csi_pb2_grpc.NodeStub]:
    options = (("grpc.use_local_subchannel_pool", 1),)
    with grpc.insecure_channel(f"unix:{driver.node.endpoint.path}", options=options) as channel:
        yield csi_pb2_grpc.NodeStub(channel)


def verified(client: Client, *references: str) -> Report:
    *_, report = client.verify(references, max_bytes_per_second=-1)
    assert isinstance(report, Report)
    return report


def layer_file(node: Node, packing: str) -> Path:
    """The configuration in the layer of that packing: alone in it, or in its tree."""
    found = (path for path in (node.root / "layers").rglob("*") if path.is_file() and path.suffix != ".zst")
    return next(path for path in found if path.read_bytes() == packing.encode())


def flip(path: Path) -> None:
    """One bit turns, as on a disk: no time and no mode changes."""
    status, data = path.stat(), path.read_bytes()
    with path.open("r+b") as file:
        file.write(bytes([data[0] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_what_is_whole_is_proved_and_stays(
    models: dict[str, str], driver: RunningDriver, registry: EmbeddedRegistry
) -> None:
    targets = {packing: driver.publish(packing.replace("+", "-"), models[packing]) for packing in PACKINGS}
    report = verified(driver.client)
    assert (report.layers, report.snapshots, report.findings) == (3 + 3, 4, ())
    assert report.read >= sum(map(len, MODEL.values()))
    one = verified(driver.client, models["tar"])
    assert (one.layers, one.snapshots) == (1, 1)
    registry.forget_requests()
    for packing, target in targets.items():
        assert content(target)["config.json"] == packing.encode()
    driver.publish("again", models["raw"])
    assert registry.count("GET", "/v2/*/blobs/*") == 0


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_damaged_layer_is_given_up_and_the_next_pod_gets_it_anew(
    models: dict[str, str], driver: RunningDriver, packing: str, registry: EmbeddedRegistry
) -> None:
    for each in PACKINGS:
        driver.publish(each.replace("+", "-"), models[each])
    registry.forget_requests()
    victim = packing.replace("+", "-")
    driver.unpublish(victim)
    flip(layer_file(driver.node, packing))
    report = verified(driver.client)
    (finding,) = report.findings
    assert finding.what.startswith("layer sha256:")
    assert finding.models == (models[packing],)
    assert finding.volumes == ()
    assert verified(driver.client).findings == ()
    assert content(driver.publish(victim, models[packing])) == {**MODEL, "config.json": packing.encode()}
    assert registry.count("GET", "/v2/*/blobs/*") == 1  # and no other layer


def test_a_pod_that_has_damage_mounted_keeps_it_and_is_reported(
    models: dict[str, str], node: Node, driver: RunningDriver
) -> None:
    old = driver.publish("old", models["raw"])
    part = driver.publish("part", models["raw"], {EXCLUDE_WEIGHTS: "true"})
    other = driver.publish("other", models["tar"])
    flip(layer_file(node, "raw"))
    (finding,) = verified(driver.client).findings
    assert finding.volumes == ("csi-old", "csi-part")
    for pod, path in (("old", old), ("part", part)):
        stats = driver.client.stats(f"csi-{pod}", path)
        assert stats.abnormal
        assert "was found damaged on this node: layer sha256:" in stats.condition
    assert not driver.client.stats("csi-other", other).abnormal
    assert content(old)["model.safetensors"] == MODEL["model.safetensors"]
    driver.publish("old", models["raw"])  # kubelet repeats itself: a live mount is left alone
    new = driver.publish("new", models["raw"])
    assert content(new)["config.json"] == b"raw"
    assert content(old)["config.json"] != b"raw"
    assert driver.client.stats("csi-old", old).abnormal
    assert not driver.client.stats("csi-new", new).abnormal
    for pod in ("old", "part", "new", "other"):
        driver.unpublish(pod)
    assert verified(driver.client).findings == ()


def test_what_was_found_is_known_to_the_next_driver(models: dict[str, str], node: Node) -> None:
    with node.driver() as driver:
        target = driver.publish("a", models["tar"])
        flip(layer_file(node, "tar"))
        assert verified(driver.client).findings
    with node.driver() as driver:
        stats = driver.client.stats("csi-a", target)
        assert stats.abnormal
        assert "found damaged" in stats.condition
        driver.unpublish("a")
        assert content(driver.publish("a", models["tar"]))["config.json"] == b"tar"


def remove(path: Path) -> None:
    path.parent.chmod(0o755)
    path.unlink()
    path.parent.chmod(0o555)


def replace(path: Path) -> None:
    """Another file of the same size and mode takes its place."""
    data = path.read_bytes()
    path.parent.chmod(0o755)
    path.unlink()
    path.write_bytes(data[::-1])
    path.chmod(0o444)
    path.parent.chmod(0o555)


def add(path: Path) -> None:
    path.parent.chmod(0o755)
    (path.parent / "more").write_bytes(b"")
    path.parent.chmod(0o555)


@pytest.mark.parametrize("damage", [remove, replace, add, lambda path: path.parent.chmod(0o777)],
                         ids=["remove", "replace", "add", "mode"])  # fmt: skip
def test_a_snapshot_that_is_not_what_it_was_is_made_anew_from_its_layers(
    models: dict[str, str], driver: RunningDriver, registry: EmbeddedRegistry, damage: Callable[[Path], None]
) -> None:
    target = driver.publish("a", models["raw"])
    driver.unpublish("a")
    registry.forget_requests()
    (tree,) = (driver.node.root / "snapshots").glob("*/tree")
    damage(tree / "config.json")
    (finding,) = verified(driver.client).findings
    assert finding.what.startswith("snapshot")
    assert finding.models == (models["raw"],)
    assert content(driver.publish("a", models["raw"])) == {**MODEL, "config.json": b"raw"}
    assert target.exists()
    assert registry.count("GET", "/v2/*/blobs/*") == 0


@pytest.mark.parametrize("damage", ["mode", "skeleton", "content", "extra"])
def test_damage_to_a_layer_beside_its_content_is_found(
    models: dict[str, str], driver: RunningDriver, damage: str
) -> None:
    driver.publish("a", models["tar"])
    driver.unpublish("a")
    file = layer_file(driver.node, "tar")
    tree = file.parent
    match damage:
        case "mode":
            file.chmod(0o644)
        case "skeleton":
            (tree.parent / "skeleton").unlink()
        case "content":
            tree.chmod(0o755)
            tree.rename(tree.parent / "gone")
        case "extra":
            add(file)
    findings = verified(driver.client).findings
    assert any(finding.what.startswith("layer") for finding in findings)
    assert content(driver.publish("a", models["tar"]))["config.json"] == b"tar"


def test_files_that_no_layer_shares_are_proved_too(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    """Of two models that disagree on the mode of one content, the second has a copy."""
    registry.push_model("team/one", "v1", {"run.sh": File(b"echo", mode=0o644)})
    registry.push_model("team/two", "v1", {"run.sh": File(b"echo", mode=0o755)})
    driver.publish("one", registry.reference("team/one", "v1"))
    two = driver.publish("two", registry.reference("team/two", "v1"))
    copies = [path for path in (driver.node.root / "snapshots").rglob("run.sh") if path.stat().st_nlink == 1]
    assert len(copies) == 1
    assert verified(driver.client).findings == ()
    flip(copies[0])
    (finding,) = verified(driver.client).findings
    assert finding.volumes == ("csi-two",)
    assert driver.client.stats("csi-two", two).abnormal


def test_a_model_that_the_cache_does_not_hold_is_not_found(models: dict[str, str], driver: RunningDriver) -> None:
    with pytest.raises(NotFound, match="tar-gzip"):
        verified(driver.client, models["tar+gzip"])


def test_kubelets_of_every_age_hear_of_a_volumes_health(
    models: dict[str, str], driver: RunningDriver, stub: csi_pb2_grpc.NodeStub
) -> None:
    target = driver.publish("a", models["raw"])
    request = csi_pb2.NodeGetVolumeHealthRequest(volume_id="csi-a", volume_publish_path=str(target))
    assert list(stub.NodeGetVolumeHealth(request).volume_health.health_statuses) == []
    assert driver.client.stats("csi-a", target).condition.endswith("is mounted")
    flip(layer_file(driver.node, "raw"))
    verified(driver.client)
    (new,), old = stub.NodeGetVolumeHealth(request).volume_health.health_statuses, driver.client.stats("csi-a", target)
    assert (new.status, new.reason, new.message) == (csi_pb2.DATA_LOSS, "ModelDamaged", old.condition)
    assert old.abnormal
    driver.node.unmount_all()
    (new,), old = stub.NodeGetVolumeHealth(request).volume_health.health_statuses, driver.client.stats("csi-a", target)
    assert (new.status, new.reason, new.message) == (csi_pb2.INACCESSIBLE, "ModelInaccessible", old.condition)
    assert old.abnormal


@pytest.mark.parametrize("proved_at", [0.0, time.time() + 10 * 365 * 86400.0], ids=["long ago", "by a wrong clock"])
def test_what_is_due_is_verified_in_the_background(models: dict[str, str], node: Node, proved_at: float) -> None:
    node.verification = Verification(interval_in_seconds=3600)
    with node.driver() as running:
        running.publish("a", models["tar"])
        running.publish("b", models["raw"])
        flip(layer_file(node, "tar"))
        running.driver.upkeep.verify_due()
        assert not running.client.stats("csi-a", node.target("a")).abnormal  # it came just now
        layers = {f"sha256-{path.name}" for path in (node.root / "layers").glob("*/*/*")}
        for name in layers:
            (node.root / "proofs" / name).touch()
            os.utime(node.root / "proofs" / name, (proved_at, proved_at))
        running.driver.upkeep.verify_due()
        assert running.client.stats("csi-a", node.target("a")).abnormal
        assert not running.client.stats("csi-b", node.target("b")).abnormal
    left = {f"sha256-{path.name}" for path in (node.root / "layers").glob("*/*/*")}
    proved = {path.name for path in (node.root / "proofs").iterdir() if path.stat().st_mtime != proved_at}
    assert len(left) == len(layers) - 1
    assert proved == left


def test_a_verification_ends_when_its_client_leaves(models: dict[str, str], driver: RunningDriver) -> None:
    driver.publish("a", models["raw"])
    steps = driver.client.verify([], max_bytes_per_second=1)
    assert isinstance(next(steps), VerifyStep)
    (thread,) = (each for each in threading.enumerate() if each.name == "verify")
    steps.close()
    thread.join(SOON)
    assert not thread.is_alive()
    assert driver.client.probe()


def test_a_driver_that_stops_ends_its_verifications(models: dict[str, str], node: Node) -> None:
    with node.driver() as driver:
        driver.publish("a", models["raw"])
        steps = driver.client.verify([], max_bytes_per_second=1)
        next(steps)
        stopping = spawn("stop", driver.driver.stop)
        with pytest.raises((Unavailable, Stopping)):
            for _ in steps:
                pass
        stopping.result(SOON)
