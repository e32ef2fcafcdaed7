"""The node tells the scheduler when the driver serves, and which models it holds."""

import re

import pytest

from csi_driver.errors import Conflict
from csi_driver.kube.api import Api, core, storage
from csi_driver.kube.node import KubeNode, label_of
from tests.fixtures.faults import Fault, Seen
from tests.fixtures.kubernetes import EmbeddedApi

DRIVER = "model.csi.modelpack.org"
NODE = core("nodes", "node-1")
TAINT = {"key": f"{DRIVER}/not-ready", "effect": "NoSchedule"}
OTHER = {"key": "nvidia.com/gpu", "effect": "NoSchedule"}


@pytest.fixture
def node(kubernetes: EmbeddedApi, api: Api) -> KubeNode:
    labels = {"kubernetes.io/hostname": "node-1"}
    kubernetes.objects[NODE] = {
        "metadata": {"name": "node-1", "resourceVersion": "1", "labels": labels},
        "spec": {"taints": [OTHER, TAINT]},
    }
    return KubeNode(api=api, name="node-1", driver=DRIVER)


def test_the_driver_is_registered_when_kubelet_says_so(kubernetes: EmbeddedApi, node: KubeNode) -> None:
    path = storage("csinodes", "node-1")
    assert not node.is_registered()
    kubernetes.objects[path] = {"metadata": {"name": "node-1"}, "spec": {"drivers": None}}
    assert not node.is_registered()
    kubernetes.objects[path] = {"spec": {"drivers": [{"name": "csi.example.com"}]}}
    assert not node.is_registered()
    kubernetes.objects[path] = {"spec": {"drivers": [{"name": "csi.example.com"}, {"name": DRIVER}]}}
    assert node.is_registered()


def test_the_startup_taint_goes_and_all_others_stay(kubernetes: EmbeddedApi, node: KubeNode) -> None:
    node.remove_taint(TAINT["key"])
    assert kubernetes.objects[NODE]["spec"]["taints"] == [OTHER]
    writes = len(kubernetes.bodies)
    node.remove_taint(TAINT["key"])
    assert len(kubernetes.bodies) == writes


def test_a_node_that_somebody_else_writes_meanwhile_is_read_again(kubernetes: EmbeddedApi, node: KubeNode) -> None:
    def tainted_by_another(_: Seen) -> bool:
        kubernetes.objects[NODE]["metadata"]["resourceVersion"] = "2"
        kubernetes.objects[NODE]["spec"]["taints"] = [OTHER, TAINT, {"key": "disk", "effect": "NoExecute"}]
        return False

    kubernetes.faults.add(Fault(), path=NODE, method="PATCH", when=tainted_by_another)
    node.remove_taint(TAINT["key"])
    assert [taint["key"] for taint in kubernetes.objects[NODE]["spec"]["taints"]] == ["nvidia.com/gpu", "disk"]


def test_a_node_that_is_written_without_end_is_given_up_for_now(kubernetes: EmbeddedApi, node: KubeNode) -> None:
    kubernetes.faults.add(Fault(status=409, body=b"{}"), path=NODE, method="PATCH", times=99)
    with pytest.raises(Conflict, match="tried again"):
        node.remove_taint(TAINT["key"])


def test_labels_follow_the_cache_and_leave_others_alone(kubernetes: EmbeddedApi, node: KubeNode) -> None:
    node.show_models(["r.example/team/llama:v1", "r.example/team/qwen:v2"])
    labels = kubernetes.objects[NODE]["metadata"]["labels"]
    assert sorted(labels.values()) == ["llama_v1", "node-1", "qwen_v2"]
    node.show_models(["r.example/team/qwen:v2"])
    labels = kubernetes.objects[NODE]["metadata"]["labels"]
    assert sorted(labels.values()) == ["node-1", "qwen_v2"]
    writes = len(kubernetes.bodies)
    node.show_models(["r.example/team/qwen:v2"])
    assert len(kubernetes.bodies) == writes


def test_labels_of_the_driver_before_go_with_their_models(kubernetes: EmbeddedApi, node: KubeNode, api: Api) -> None:
    node.show_models(["r.example/team/llama:v1"])
    KubeNode(api=api, name="node-1", driver=DRIVER).show_models([])
    assert list(kubernetes.objects[NODE]["metadata"]["labels"]) == ["kubernetes.io/hostname"]


@pytest.mark.parametrize(
    "reference",
    ["docker.io/library/a:b", "r:5000/" + "x" * 200 + ":" + "t" * 128, f"r/m@sha256:{'0' * 64}", "r/_-_", "r/ä", ""],
)
def test_every_label_is_one_that_kubernetes_takes(reference: str) -> None:
    key, value = label_of(DRIVER, reference)
    name = key.removeprefix(f"{DRIVER}/")
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", name)
    assert re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?", value)
