"""What the chart offers beside the plain driver, as it works in a cluster."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_driver.host.capabilities import NEEDED
from e2e.cluster import pods
from e2e.cluster.installation import NAME, RELEASE, Installation
from e2e.cluster.kubernetes import Kubernetes
from e2e.cluster.registries import Registries
from e2e.node import content, succeeded

NODE = "node1"
TAINT = f"{NAME}/agent-not-ready"
ACCOUNT = f"{RELEASE}-model-csi-driver"


def until(is_so: Callable[[], Any], what: str, patience: float = 60) -> None:
    deadline = time.monotonic() + patience
    while not is_so():
        assert time.monotonic() < deadline, f"{what}: not after {patience} s"
        time.sleep(0.3)


def test_the_policy_of_registries_is_free_of_mistakes_that_the_api_server_sees(driver: Installation) -> None:
    with driver.changed(admissionPolicy={"enabled": True, "allowedRegistries": ["ghcr.io"]}):
        name = f"validatingadmissionpolicy/{ACCOUNT}-allowed-registries"
        until(lambda: "typeChecking" in driver.cluster.get(name).get("status", {}), "the types are checked")
        checked = driver.cluster.get(name)["status"]

    assert checked["typeChecking"] == {}, checked


def test_the_driver_keeps_three_of_roots_capabilities(driver: Installation) -> None:
    """The runtime gives privileged containers all of them."""
    status = Path(f"/proc/{driver.process()}/status").read_text(encoding="ascii")

    held = {name: int(bits, 16) for name, bits in re.findall(r"^Cap(\w+):\t(\w+)$", status, re.MULTILINE)}
    assert held == {"Inh": 0, "Prm": NEEDED, "Eff": NEEDED, "Bnd": NEEDED, "Amb": 0}


def test_pods_come_to_a_new_node_when_they_can_have_models(driver: Installation) -> None:
    cluster = driver.cluster
    succeeded(cluster.kubectl("taint", "node", NODE, f"{TAINT}=:NoSchedule"))

    with driver.changed(**driver.configured(kubernetes={"startup_taint": TAINT})):
        until(lambda: not taints(cluster), "the taint is gone")

    assert taints(cluster) == []


@pytest.fixture
def persistent_volumes(driver: Installation) -> Iterator[None]:
    """The CSIDriver allows them; it is made anew before and after, as Kubernetes lets nobody change its modes."""
    described = f"csidriver/{NAME}"
    succeeded(driver.cluster.kubectl("delete", described))
    with driver.changed(csiDriver={"volumeLifecycleModes": ["Ephemeral", "Persistent"]}):
        yield
        pods.delete_all(driver.cluster)
        succeeded(driver.cluster.kubectl("delete", "pvc/model", "pv/model", "--timeout=60s", timeout=90))
        succeeded(driver.cluster.kubectl("delete", described))


def test_pods_share_a_persistent_volume_of_a_model(
    driver: Installation, persistent_volumes: None, registry: Registries, repository: str, model: Path
) -> None:
    registry.push(model, repository)
    driver.cluster.apply(*persistent(f"{registry.public}/{repository}:v1"))

    both = [reader_of_the_claim(driver.cluster, name) for name in ("one", "two")]

    for reader in both:
        reader.until_ready()
        assert reader.content() == content(model)


def taints(cluster: Kubernetes) -> list[Any]:
    return [item for item in cluster.get(f"node/{NODE}")["spec"].get("taints", []) if item["key"] == TAINT]


def persistent(reference: str) -> tuple[Any, Any]:
    """A volume of a model, and the claim of it."""
    size = {"storage": "1Gi"}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "model"},
        "spec": {
            "accessModes": ["ReadOnlyMany"],
            "capacity": size,
            "storageClassName": "model-image",
            "persistentVolumeReclaimPolicy": "Retain",
            "csi": {
                "driver": NAME,
                "volumeHandle": "model",
                "readOnly": True,
                "volumeAttributes": {"modelRef": reference},
            },
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "model"},
        "spec": {
            "accessModes": ["ReadOnlyMany"],
            "resources": {"requests": size},
            "storageClassName": "model-image",
            "volumeName": "model",
        },
    }
    return volume, claim


def reader_of_the_claim(cluster: Kubernetes, name: str) -> pods.Pod:
    manifest = pods.manifest(name, "unused")
    manifest["spec"]["volumes"] = [{"name": "model", "persistentVolumeClaim": {"claimName": "model", "readOnly": True}}]
    return pods.Pod.created(cluster, manifest)
