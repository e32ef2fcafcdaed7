"""The chart and the manifests, as the API server takes them, and the driver that goes and comes back."""

import json
from pathlib import Path

import pytest
import yaml

from e2e.chart import CASES, ROOT
from e2e.cluster import manifests
from e2e.cluster.conftest import MakePod
from e2e.cluster.installation import NAMESPACE, RELEASE, Installation
from e2e.cluster.kubernetes import Object
from e2e.cluster.manifests import NAME
from e2e.cluster.registries import Registries
from e2e.node import content, succeeded
from e2e.waiting import PATIENCE, until

# What the API server knows only where the Prometheus operator is installed.
OF_AN_OPERATOR = "monitoring.coreos.com/"


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_the_api_server_takes_every_object_of_the_chart(installed: Installation, case: Path) -> None:
    values = yaml.safe_load(case.read_text(encoding="utf-8")) or {}
    objects = [item for item in yaml.safe_load_all(installed.manifests(values)) if item]

    taken = dry_run(installed, [item for item in objects if not item["apiVersion"].startswith(OF_AN_OPERATOR)])

    assert taken > 3


def test_the_api_server_takes_the_manifests_for_kubectl_and_the_examples(installed: Installation) -> None:
    plain = ROOT / "deploy" / "kubernetes"
    rendered = succeeded(installed.cluster.kubectl("kustomize", plain))
    assert dry_run(installed, list(yaml.safe_load_all(rendered))) > 3

    for example in sorted((ROOT / "deploy" / "examples").glob("*.yaml")):
        assert dry_run(installed, list(yaml.safe_load_all(example.read_text(encoding="utf-8")))) > 0


def test_pods_may_name_models_of_allowed_registries_only(driver: Installation, registry: Registries) -> None:
    allowed = f"{registry.public}/models"
    policy = {"admissionPolicy": {"enabled": True, "allowedRegistries": [allowed, "docker.io/acme"]}}
    with driver.changed(**policy):
        evil = manifests.pod("evil", "registry.example.com/model:v1")
        said = until(lambda: refusal(driver, evil), "the policy is in force")

        assert f"models may come from {allowed}, docker.io/acme only" in said
        assert "registry.example.com/model:v1" in said
        for reference in (f"{allowed}/a:v1", f"oci://{allowed}/a", "acme/model", "docker.io/acme/model:v1"):
            assert refusal(driver, manifests.pod("good", reference)) == ""
        for reference in ("model", f"{registry.public}/other:v1", f"{allowed}2/a", f"docker.io/{allowed}/a"):
            assert "models may come from" in refusal(driver, manifests.pod("evil", reference))
        assert refusal(driver, without_model(manifests.pod("none", "unused"))) == ""
    until(lambda: not refusal(driver, evil), "the policy is gone")


def test_a_driver_may_change_no_other_node(driver: Installation) -> None:
    other: Object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node2"}}
    driver.cluster.apply(other)
    account = f"system:serviceaccount:{NAMESPACE}:models-model-csi-driver"
    patch = ["patch", "node/node2", "--patch", '{"metadata":{"labels":{"a":"b"}}}', "--dry-run=server"]
    try:
        refused, allowed = (
            driver.cluster.kubectl(*patch, f"--kubeconfig={impersonating(driver, account, extra)}")
            for extra in ({}, {"authentication.kubernetes.io/node-name": ["node2"]})
        )
    finally:
        succeeded(driver.cluster.kubectl("delete", "node/node2"))

    assert "the driver may change the Node object of its own node only" in refused.stderr
    succeeded(allowed)


def test_a_driver_that_was_uninstalled_leaves_the_pods_their_models_and_cleans_up_when_it_is_back(
    pod: MakePod, driver: Installation, registry: Registries, repository: str, of_its_own: Path
) -> None:
    registry.push(of_its_own, repository)
    reference = f"{registry.public}/{repository}:v1"
    stays, goes = (pod(name, reference) for name in ("stays", "goes"))
    for reader in (stays, goes):
        reader.until_ready()
    fetched = registry.blobs_fetched(repository)
    assert "csidriver.storage.k8s.io/model.csi.modelpack.org" in objects_of(driver)

    driver.uninstall()
    try:
        until(lambda: not driver.is_registered(), "kubelet forgets the driver")
        until(lambda: not objects_of(driver), "all objects of the release are gone")
        assert stays.content() == goes.content() == content(of_its_own)
        goes.delete(wait=False)
        waits = pod("waits", reference)
        assert NAME in waits.until_told("^FailedMount")
    finally:
        driver.install()

    driver.cluster.wait("--for=delete", "pod/goes", patience=2 * PATIENCE)
    waits.until_ready(patience=2 * PATIENCE)
    assert stays.content() == waits.content() == content(of_its_own)
    assert stays.restarts() == 0
    assert registry.blobs_fetched(repository) == fetched


def objects_of(driver: Installation) -> list[str]:
    """The objects of the release that the API server has, of whatever kind."""
    kubectl = driver.cluster.kubectl
    kinds = succeeded(kubectl("api-resources", "--verbs=list", "--output=name")).split()
    selector = f"--selector=app.kubernetes.io/instance={RELEASE}"
    return succeeded(kubectl("get", ",".join(kinds), "--all-namespaces", selector, "--output=name")).split()


def test_what_kubernetes_keeps_of_a_csidriver_changes_as_the_documentation_says(
    pod: MakePod, driver: Installation, registry: Registries, repository: str, of_its_own: Path
) -> None:
    registry.push(of_its_own, repository)
    reader = pod("reader", f"{registry.public}/{repository}:v1")
    reader.until_ready()
    modes = {"volumeLifecycleModes": ["Ephemeral"]}
    with pytest.raises(AssertionError, match="volumeLifecycleModes"):
        driver.install(csiDriver=modes)

    forget = ("delete", f"csidriver/{NAME}", "--ignore-not-found")
    try:
        succeeded(driver.cluster.kubectl(*forget))
        driver.install(csiDriver=modes)
        assert driver.cluster.get(f"csidriver/{NAME}")["spec"]["volumeLifecycleModes"] == ["Ephemeral"]
    finally:
        succeeded(driver.cluster.kubectl(*forget))
        driver.install()

    assert reader.content() == content(of_its_own)
    assert reader.restarts() == 0


def dry_run(installed: Installation, objects: list[Object]) -> int:
    """Let the API server check the objects as if it took them; their number."""
    for item in objects:
        if "namespace" in item["metadata"]:  # which need not exist
            item["metadata"]["namespace"] = NAMESPACE
        if item["kind"] == "CSIDriver":  # of which there is one of that name already, and much of it may not be changed
            item["metadata"]["name"] = "another.csi.example.com"
    installed.cluster.apply(*objects, dry_run=True)
    return len(objects)


def refusal(driver: Installation, pod: Object) -> str:
    """Why the API server does not take a pod, or nothing."""
    answer = driver.cluster.kubectl("create", "--dry-run=server", "--filename=-", stdin=yaml.safe_dump(pod))
    return answer.stderr if answer.returncode else ""


def impersonating(driver: Installation, account: str, extra: dict[str, list[str]]) -> Path:
    """A kubeconfig with which the administrator acts for an account."""
    settings = json.loads((driver.cluster.keys / "admin.kubeconfig").read_text(encoding="utf-8"))
    settings["users"][0]["user"].update({"as": account, "as-user-extra": extra})
    path = driver.cluster.keys / "impersonating.kubeconfig"
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def without_model(pod: Object) -> Object:
    del pod["spec"]["volumes"], pod["spec"]["containers"][0]["volumeMounts"]
    return pod
