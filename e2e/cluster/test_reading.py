"""What pods see of their models under a real kubelet."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from e2e.chart import ROOT
from e2e.cluster import manifests, pods
from e2e.cluster.conftest import MakePod
from e2e.cluster.installation import Installation
from e2e.cluster.manifests import NAME
from e2e.cluster.pods import Pod
from e2e.cluster.registries import Registries
from e2e.node import content, succeeded
from e2e.waiting import PATIENCE, until


def test_a_pod_reads_its_model_byte_for_byte(
    driver: Installation, registry: Registries, repository: str, model: Path
) -> None:
    registry.push(model, repository)
    [example] = manifests.example("getting-started", f"{registry.public}/{repository}:v1")

    reader = Pod.created(driver.cluster, example)
    reader.until_ready()

    assert reader.content() == content(model)


def test_two_pods_share_one_download(
    pod: MakePod, driver: Installation, registry: Registries, repository: str, of_its_own: Path
) -> None:
    registry.push(of_its_own, repository)
    reference = f"{registry.public}/{repository}:v1"

    both = [pod(name, reference) for name in ("one", "two")]
    for reader in both:
        reader.until_ready()

    fetched = registry.blobs_fetched(repository)
    assert len(fetched) == len(set(fetched)) > 0, "each blob is fetched once"
    assert both[0].content() == both[1].content() == content(of_its_own)


def test_a_pod_without_any_privilege_reads_its_model(
    pod: MakePod, registry: Registries, repository: str, model: Path, restricted: str
) -> None:
    registry.push(model, repository)

    reader = pod("reader", f"{registry.public}/{repository}:v1", namespace=restricted, restricted=True)
    reader.until_ready()

    assert reader.sh("id -u").stdout == "65532\n"
    assert reader.content() == content(model)


def test_replicas_of_a_model_server_share_one_download(
    driver: Installation, registry: Registries, repository: str, of_its_own: Path, restricted: str
) -> None:
    registry.push(of_its_own, repository)
    kubectl = driver.cluster.kubectl
    objects = manifests.example("vllm", f"{registry.public}/{repository}:v1", namespace=restricted)
    server = f"deployment/{objects[0]['metadata']['name']}"

    driver.cluster.apply(*objects)
    try:
        rollout = ["rollout", "status", server, f"--namespace={restricted}", f"--timeout={PATIENCE}s"]
        succeeded(kubectl(*rollout, timeout=PATIENCE + 30))
        replicas = pods.found(driver.cluster, restricted)
        contents = [replica.content() for replica in replicas]
    finally:
        succeeded(kubectl("delete", server, f"--namespace={restricted}"))

    fetched = registry.blobs_fetched(repository)
    assert contents == [content(of_its_own)] * 2
    assert len(fetched) == len(set(fetched)) > 0


def test_pods_share_a_model_that_an_administrator_made_a_persistent_volume_of(
    driver: Installation, registry: Registries, repository: str, of_its_own: Path
) -> None:
    registry.push(of_its_own, repository)
    objects = manifests.example("persistent-volume", f"{registry.public}/{repository}:v1")
    [claim] = [item["metadata"]["name"] for item in objects if item["kind"] == "PersistentVolumeClaim"]
    described = manifests.pod("unused", "unused")
    described["spec"]["volumes"] = [{"name": "model", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}]

    driver.cluster.apply(*objects)
    try:
        readers = []
        for name in ("one", "two"):
            described["metadata"]["name"] = name
            readers.append(Pod.created(driver.cluster, described))
        for reader in readers:
            reader.until_ready()
        contents = [reader.content() for reader in readers]
        readers[0].delete()
        contents.append(readers[1].content())
    finally:
        pods.delete_all(driver.cluster)
        for item in reversed(objects):
            succeeded(driver.cluster.kubectl("delete", f"{item['kind']}/{item['metadata']['name']}", timeout=PATIENCE))

    assert contents == [content(of_its_own)] * 3


@pytest.mark.parametrize("read_only", [True, False], ids=["read-only", "as if it were not read-only"])
def test_a_pod_cannot_change_its_model(
    pod: MakePod, registry: Registries, repository: str, model: Path, read_only: bool
) -> None:
    registry.push(model, repository)
    writer = pod("writer", f"{registry.public}/{repository}:v1", read_only=read_only)
    writer.until_ready()

    for command in (
        "touch new",
        "rm config.json",
        "chmod 777 config.json",
        "echo > README.md",
        "mkdir new",
        "mv LICENSE l",
    ):
        refused = writer.sh(f"cd /model && {command}")
        assert refused.returncode != 0
        assert "Read-only file system" in refused.stderr
    assert writer.content() == content(model)


def test_a_pod_gets_what_it_selects(driver: Installation, registry: Registries, repository: str, model: Path) -> None:
    registry.push(model, repository)
    [example] = manifests.example("without-weights", f"{registry.public}/{repository}:v1")

    reader = Pod.created(driver.cluster, example)
    reader.until_ready()

    kept = {path: file for path, file in content(model).items() if not path.endswith((".safetensors", ".onnx", ".md"))}
    assert reader.content() == kept


def test_a_reference_that_means_nothing_is_told_to_the_pod(pod: MakePod, registry: Registries, repository: str) -> None:
    waiting = pod("waiting", f"{registry.public}/{repository}:v1")

    assert repository in waiting.until_told("^FailedModel")
    assert repository in waiting.until_told("^FailedMount: .* code = NotFound ")


def test_the_node_is_labelled_with_the_models_that_it_has(
    pod: MakePod, driver: Installation, registry: Registries, repository: str, model: Path, tmp_path: Path
) -> None:
    registry.push(model, repository)
    before = labels_of_models(driver)

    pod("reader", f"{registry.public}/{repository}:v1").until_ready()
    driver.restart()

    until(lambda: before < labels_of_models(driver), "the node is labelled")
    succeeded(script_of_the_documentation(driver, tmp_path))
    assert labels_of_models(driver) == set()


def script_of_the_documentation(driver: Installation, scratch: Path) -> "subprocess.CompletedProcess[str]":
    """Run what docs/install.md has against the labels that stay."""
    [script] = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "install.md").read_text(encoding="utf-8"), re.DOTALL)
    (scratch / "kubectl").symlink_to(driver.cluster.programs["kubectl"])
    environment = {
        **driver.cluster.environment,
        "KUBECONFIG": str(driver.cluster.keys / "admin.kubeconfig"),
        "PATH": f"{scratch}:{os.environ['PATH']}",
    }
    command = driver.cluster.node.connect("sh", "-ec", script)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)


def labels_of_models(driver: Installation) -> set[str]:
    labels = driver.cluster.get("node/node1")["metadata"]["labels"]
    return {key for key in labels if key.partition("/")[0].endswith(NAME)}
