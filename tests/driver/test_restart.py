"""A driver goes and the next one comes: mounts stay, work goes on, and no two drivers share a node."""

import subprocess
import sys
from pathlib import Path

import pytest

from csi_driver.app import Driver
from csi_driver.errors import Conflict, DriverError, StillPulling
from csi_driver.host import files
from csi_driver.inflight import spawn
from csi_driver.oci.digest import Digest
from csi_driver.oci.reference import Reference
from csi_driver.oci.selection import Selection
from csi_driver.puller.intents import Intent, Intents
from tests.fixtures.driver import Node, content, eventually
from tests.fixtures.registry import EmbeddedRegistry, went_on_at

MODEL = {"weights.safetensors": b"w" * 1_000_000, "config.json": b"{}"}
SOON = 60.0
LARGE = {"weights.safetensors": b"w" * 8_000_000, "config.json": b"{}"}
HELD = 7_000_000  # bytes of it that have arrived when the gate holds it


def test_mounts_outlive_the_driver_and_the_next_one_takes_them_over(registry: EmbeddedRegistry, node: Node) -> None:
    registry.push_model("team/model", "v1", MODEL)
    reference = registry.reference("team/model", "v1")
    with node.driver() as driver:
        target = driver.publish("a", reference)
    assert content(target) == MODEL
    registry.forget_requests()
    with node.driver() as driver:
        driver.publish("a", reference)
        assert registry.count() == 0
        driver.unpublish("a")
    assert not target.exists()


def test_after_a_reboot_volumes_are_published_again_without_a_download(registry: EmbeddedRegistry, node: Node) -> None:
    registry.push_model("team/model", "v1", MODEL)
    reference = registry.reference("team/model", "v1")
    with node.driver() as driver:
        driver.publish("a", reference)
    node.unmount_all()
    registry.forget_requests()
    with node.driver() as driver:
        assert content(driver.publish("a", reference)) == MODEL
        assert registry.count() == 0


def test_a_driver_that_stops_sends_waiting_pods_away_and_the_next_one_goes_on(
    registry: EmbeddedRegistry, node: Node
) -> None:
    registry.push_model("team/model", "v1", MODEL)
    reference = registry.reference("team/model", "v1")
    registry.gate.hold(at=100)
    with node.driver() as driver:
        waiting = spawn("pod", lambda: driver.publish("a", reference))
        registry.gate.wait_until_held()
    with pytest.raises(DriverError):
        waiting.result(SOON)
    registry.gate.open()
    with node.driver() as driver:
        assert content(driver.publish("a", reference)) == MODEL


def test_a_second_driver_on_the_same_socket_is_refused_and_the_first_goes_on(node: Node, tmp_path: Path) -> None:
    with node.driver() as driver:
        second = Node(tmp_path / "second")
        second.endpoint = node.endpoint
        with pytest.raises(Conflict, match=str(node.endpoint.path)):
            Driver(second.config).start()
        assert driver.client.probe()


def test_a_second_driver_on_the_same_data_root_is_refused(node: Node) -> None:
    config = node.home / "config.yaml"
    node.root.mkdir(mode=0o700)
    config.write_text(f"root_dir: {node.root}\ncsi_endpoint: unix://{node.home}/other.sock\n")
    with files.exclusive_lock(node.root / "lock"):
        done = subprocess.run(
            [sys.executable, "-m", "csi_driver", "serve", "--config", config],
            capture_output=True,
            text=True,
            timeout=SOON,
            check=False,
        )
    assert done.returncode == 8
    assert str(node.root) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_socket_that_a_killed_driver_left_is_replaced(registry: EmbeddedRegistry, node: Node) -> None:
    registry.push_model("team/model", "v1", MODEL)
    leaver = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()"
    subprocess.run([sys.executable, "-c", leaver, str(node.endpoint.path)], check=True)
    assert node.endpoint.path.is_socket()
    with node.driver() as driver:
        assert content(driver.publish("a", registry.reference("team/model", "v1"))) == MODEL


def test_unpublishing_a_pod_that_still_waits_lets_the_pull_go_on(registry: EmbeddedRegistry, node: Node) -> None:
    registry.push_model("team/model", "v1", MODEL)
    reference = registry.reference("team/model", "v1")
    registry.gate.hold(at=100)
    with node.driver() as driver:
        waiting = spawn("pod", lambda: driver.publish("a", reference))
        registry.gate.wait_until_held()
        driver.unpublish("a")
        with pytest.raises(StillPulling, match="unpublished"):
            waiting.result(SOON)
        assert not node.target("a").exists()
        registry.gate.open()
        assert content(driver.publish("b", reference)) == MODEL
    assert registry.count("GET", "/v2/team/model/blobs/*") == len(MODEL)


def wanted(node: Node) -> list[str]:
    return [path.read_text() for path in (node.root / "wanted").iterdir()]


def test_a_pull_that_a_pod_waited_for_goes_on_by_itself_with_the_next_driver(
    registry: EmbeddedRegistry, node: Node
) -> None:
    registry.push_model("team/model", "v1", LARGE)
    reference = registry.reference("team/model", "v1")
    registry.gate.hold(at=HELD)
    with node.driver() as driver:
        waiting = spawn("pod", lambda: driver.publish("a", reference))
        registry.gate.wait_until_held()
    with pytest.raises(DriverError):
        waiting.result(SOON)
    assert len(wanted(node)) == 1
    registry.gate.open()
    with node.driver() as driver:
        eventually(lambda: driver.models() == {reference})
        eventually(lambda: wanted(node) == [])
        assert content(driver.publish("a", reference)) == LARGE
    *_, last = went_on_at(registry, LARGE["weights.safetensors"])
    assert 0 < last <= HELD


def test_a_pull_with_a_pods_own_credentials_waits_for_the_pod_and_nothing_secret_is_kept(node: Node) -> None:
    secret = {"username": "alice", "password": "wonderland"}
    with EmbeddedRegistry(auth="basic", users={"alice": "wonderland"}) as registry:
        registry.push_model("team/model", "v1", LARGE)
        reference = registry.reference("team/model", "v1")
        registry.gate.hold(at=HELD)
        with node.driver() as driver:
            waiting = spawn("pod", lambda: driver.publish("a", reference, secrets=secret))
            registry.gate.wait_until_held()
        with pytest.raises(DriverError):
            waiting.result(SOON)
        (intent,) = wanted(node)
        assert "alice" not in intent
        assert "wonderland" not in intent
        registry.gate.open()
        with node.driver() as driver:
            eventually(lambda: wanted(node) == [])
            assert driver.models() == set()
            assert content(driver.publish("a", reference, secrets=secret)) == LARGE
        *_, last = went_on_at(registry, LARGE["weights.safetensors"])
        assert 0 < last <= HELD


def test_a_driver_that_was_killed_leaves_its_pulls_to_the_next_one_too(registry: EmbeddedRegistry, node: Node) -> None:
    digest = registry.push_model("team/model", "v1", MODEL)
    reference = Reference.parse(registry.reference("team/model", "v1"))
    with node.driver():
        pass
    intents = Intents(node.root / "wanted")
    intents.put(Intent(reference, Digest.parse(digest), Selection(), urgent=True))
    (node.root / "wanted" / "damaged.json").write_text("{")
    with node.driver() as driver:
        eventually(lambda: driver.models() == {str(reference)})
        eventually(lambda: wanted(node) == [])


def test_a_pull_that_came_to_its_end_while_the_driver_was_killed_is_not_wanted_any_more(
    registry: EmbeddedRegistry, node: Node
) -> None:
    digest = registry.push_model("team/model", "v1", MODEL)
    reference = Reference.parse(registry.reference("team/model", "v1"))
    with node.driver() as driver:
        driver.publish("a", str(reference))
    Intents(node.root / "wanted").put(Intent(reference, Digest.parse(digest), Selection(), urgent=True))
    registry.forget_requests()
    with node.driver():
        eventually(lambda: wanted(node) == [])
    assert registry.count() == 0
