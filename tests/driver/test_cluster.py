"""The driver tells Kubernetes what a pod's owner and the scheduler want to know."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csi_driver.config import Kubernetes
from csi_driver.errors import NotFound
from csi_driver.kube.api import core, storage
from csi_driver.kube.node import label_of
from tests.fixtures.certificates import Authority
from tests.fixtures.driver import Node
from tests.fixtures.kubernetes import EmbeddedApi
from tests.fixtures.registry import EmbeddedRegistry

POD = {
    "csi.storage.k8s.io/pod.namespace": "team",
    "csi.storage.k8s.io/pod.name": "web-1",
    "csi.storage.k8s.io/pod.uid": "u-1",
}
TAINT = "model.csi.modelpack.org/not-ready"


@pytest.fixture
def kubernetes(tmp_path: Path) -> Iterator[EmbeddedApi]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make certificates with")
    with EmbeddedApi(tmp_path, Authority(tmp_path)) as kubernetes:
        kubernetes.objects[core("nodes", "node-1")] = {
            "metadata": {"name": "node-1", "resourceVersion": "1"},
            "spec": {"taints": [{"key": TAINT, "effect": "NoSchedule"}]},
        }
        yield kubernetes


def settings(kubernetes: EmbeddedApi, **changes: object) -> Kubernetes:
    kubeconfig = kubernetes.kubeconfig(kubernetes.account.parent / "kubeconfig", "token-of-the-node")
    return Kubernetes(kubeconfig=str(kubeconfig), **changes)  # type: ignore[arg-type]


def eventually(holds: Callable[[], bool]) -> None:
    """Return as soon as it holds; what is told in the background is told within seconds."""
    deadline = time.monotonic() + 30.0
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.02)


def events(kubernetes: EmbeddedApi) -> dict[str, str]:
    """The pod's events: reason and message."""
    prefix = core("events", namespace="team")
    return {one["reason"]: one["message"] for path, one in kubernetes.objects.items() if path.startswith(prefix)}


def test_a_pods_events_tell_of_its_model(kubernetes: EmbeddedApi, registry: EmbeddedRegistry, node: Node) -> None:
    registry.push_model("team/model", "v1", {"model.safetensors": b"weights"})
    reference = registry.reference("team/model", "v1")
    node.kubernetes = settings(kubernetes, events=True)
    with node.driver() as driver:
        driver.publish("a", reference, POD)
        eventually(lambda: "PulledModel" in events(kubernetes))
        driver.publish("b", reference, {**POD, "csi.storage.k8s.io/pod.name": "web-2"})
        eventually(lambda: "MountedModel" in events(kubernetes))
        with pytest.raises(NotFound):
            driver.publish("c", registry.reference("team/missing", "v1"), POD)
        eventually(lambda: "FailedModel" in events(kubernetes))
    assert events(kubernetes)["PulledModel"].startswith(f"pulled {reference} (7 B) in ")
    assert events(kubernetes)["MountedModel"] == f"mounted {reference} (7 B), which was on this node already"
    assert "team/missing" in events(kubernetes)["FailedModel"]


def test_a_dead_api_server_holds_no_pod_up(kubernetes: EmbeddedApi, registry: EmbeddedRegistry, node: Node) -> None:
    registry.push_model("team/model", "v1", {"model.safetensors": b"weights"})
    node.kubernetes = settings(kubernetes, events=True, node_labels=10, startup_taint=TAINT)
    kubernetes.close()
    with node.driver() as driver:
        assert (driver.publish("a", registry.reference("team/model", "v1"), POD) / "model.safetensors").exists()


def test_the_startup_taint_goes_once_kubelet_knows_the_driver(kubernetes: EmbeddedApi, node: Node) -> None:
    asked = storage("csinodes", "node-1")
    node.kubernetes = settings(kubernetes, startup_taint=TAINT)
    with node.driver():
        eventually(lambda: any(seen.path == asked for seen in kubernetes.requests))
        assert kubernetes.objects[core("nodes", "node-1")]["spec"]["taints"] != []
        kubernetes.objects[asked] = {"spec": {"drivers": [{"name": "model.csi.modelpack.org"}]}}
        eventually(lambda: kubernetes.objects[core("nodes", "node-1")]["spec"]["taints"] == [])


def test_the_nodes_labels_name_the_models_used_last(
    kubernetes: EmbeddedApi, registry: EmbeddedRegistry, node: Node
) -> None:
    references = []
    with node.driver() as driver:
        for name in ("one", "two", "three"):
            registry.push_model(f"team/{name}", "v1", {"model.safetensors": name.encode()})
            references.append(registry.reference(f"team/{name}", "v1"))
            driver.publish(name, references[-1], POD)
    node.kubernetes = settings(kubernetes, node_labels=2)
    wanted = dict(label_of("model.csi.modelpack.org", reference) for reference in references[1:])
    with node.driver():
        eventually(lambda: kubernetes.objects[core("nodes", "node-1")]["metadata"].get("labels") == wanted)


def test_nobody_is_asked_unless_a_setting_says_so(
    kubernetes: EmbeddedApi, registry: EmbeddedRegistry, node: Node
) -> None:
    registry.push_model("team/model", "v1", {"model.safetensors": b"weights"})
    node.kubernetes = settings(kubernetes)
    with node.driver() as driver:
        driver.publish("a", registry.reference("team/model", "v1"), POD)
    assert kubernetes.requests == []
