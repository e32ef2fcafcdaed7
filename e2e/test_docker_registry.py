"""From a directory to a registry to a pod and back, through Debian's docker-registry."""

import re
from pathlib import Path

import pytest

from csi_driver.cli.exits import ExitCode
from e2e import distribution, node
from e2e.distribution import DockerRegistry
from e2e.node import Node, content, succeeded


@pytest.fixture
def reference(driver: Node, docker_registry: DockerRegistry, model: Path, request: pytest.FixtureRequest) -> str:
    """A model in the registry, in a repository of the test's own."""
    repository = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())
    reference = f"{docker_registry.host}/models/{repository}:v1"
    succeeded(driver.model_csi("push", model, reference))
    return reference


def test_a_pushed_model_is_mounted_as_it_was(driver: Node, reference: str, model: Path) -> None:
    mounted = driver.mount(reference, "pod")

    assert content(mounted) == content(model)
    driver.umount("pod")
    assert driver.mounts() == []
    assert not driver.target("pod").exists()


def test_nobody_can_write_to_a_mounted_model(driver: Node, reference: str) -> None:
    mounted = driver.mount(reference, "pod")

    for command in (
        ["touch", "new"],
        ["chmod", "777", "config.json"],
        ["rm", "config.json"],
        ["truncate", "-s0", "README.md"],
    ):
        process = driver.inside("sh", "-c", 'cd "$0" && exec "$@"', driver.target("pod"), *command)
        assert process.returncode != 0
        assert "Read-only file system" in process.stderr
    assert (mounted / "config.json").exists()


def test_the_second_pod_downloads_nothing(driver: Node, docker_registry: DockerRegistry, reference: str) -> None:
    driver.mount(reference, "one")
    fetched = blobs(docker_registry, reference)

    driver.mount(reference, "two")

    assert len(fetched) == len(set(fetched)) > 0, "each blob is fetched once"
    assert blobs(docker_registry, reference) == fetched
    assert content(driver.seen(driver.target("one"))) == content(driver.seen(driver.target("two")))
    assert len(driver.mounts()) == 2


def test_a_model_that_the_registry_has_is_not_sent_again(
    driver: Node, docker_registry: DockerRegistry, reference: str, model: Path
) -> None:
    sent = uploads(docker_registry, reference)

    succeeded(driver.model_csi("push", model, reference))

    assert len(sent) > 0
    assert uploads(docker_registry, reference) == sent


def test_a_digest_names_a_model_as_well_as_a_tag(
    driver: Node, docker_registry: DockerRegistry, reference: str, model: Path
) -> None:
    [manifest] = set(docker_registry.requests("PUT", rf"/v2/{repository(reference)}/manifests/[^ ]+"))
    assert manifest.endswith("/v1")
    digest = re.search(r"sha256:[0-9a-f]{64}", succeeded(driver.model_csi("inspect", "--output", "json", reference)))
    assert digest is not None

    mounted = driver.mount(f"{reference.removesuffix(':v1')}@{digest[0]}", "pod")

    assert content(mounted) == content(model)


def test_a_tag_that_is_not_there_is_refused_and_leaves_nothing(driver: Node, docker_registry: DockerRegistry) -> None:
    target = driver.target("pod")

    refused = driver.model_csi("mount", f"{docker_registry.host}/models/none:v1", target)

    assert refused.returncode == ExitCode.NOT_FOUND, refused.stderr
    assert "models/none" in refused.stderr
    assert not target.exists()
    assert driver.mounts() == []


def test_a_private_model_wants_credentials_of_the_pod_or_of_the_node(
    driver: Node, private_registry: DockerRegistry, model: Path, tmp_path: Path
) -> None:
    reference = f"{private_registry.host}/models/private:v1"
    credentials = distribution.docker_config(tmp_path / "credentials", private_registry.host)
    succeeded(driver.model_csi("--docker-config", credentials, "push", model, reference))

    refused = driver.model_csi("mount", reference, driver.target("stranger"))
    mounted = driver.mount(reference, "owner", "--secret", credentials / "config.json")
    again = driver.model_csi("mount", reference, driver.target("stranger"))

    assert content(mounted) == content(model)
    for answer in (refused, again):
        assert answer.returncode == ExitCode.DENIED, answer.stderr
        assert distribution.PASSWORD not in answer.stderr
    log = (driver.directory / "driver.log").read_text(encoding="utf-8")
    assert distribution.PASSWORD not in log


def test_the_credentials_of_the_node_are_every_pods(
    program: object, private_registry: DockerRegistry, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("node")
    reference = f"{private_registry.host}/models/nodes:v1"
    credentials = distribution.docker_config(directory / "credentials", private_registry.host)
    with node.running(directory, docker_config=credentials) as privileged:
        succeeded(privileged.model_csi("--docker-config", credentials, "push", model, reference))

        assert content(privileged.mount(reference, "pod")) == content(model)


def test_a_restarted_driver_knows_its_volumes_and_its_models(
    docker_registry: DockerRegistry, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("node")
    reference = f"{docker_registry.host}/models/restarted:v1"
    with node.running(directory) as first:
        succeeded(first.model_csi("push", model, reference))
        first.mount(reference, "pod")
    fetched = blobs(docker_registry, reference)

    with node.running(directory) as second:  # and its mounts are gone, as after a reboot
        assert content(second.mount(reference, "pod")) == content(model)
        assert blobs(docker_registry, reference) == fetched
        second.umount("pod")
        assert second.mounts() == []


def repository(reference: str) -> str:
    return re.escape(reference.split("/", 1)[1].rpartition(":")[0])


def blobs(registry: DockerRegistry, reference: str) -> list[str]:
    """The blobs that were fetched from the model's repository, one entry for each time."""
    return registry.requests("GET", rf"/v2/{repository(reference)}/blobs/sha256:[0-9a-f]{{64}}")


def uploads(registry: DockerRegistry, reference: str) -> list[str]:
    """The uploads that were begun in the model's repository."""
    return registry.requests("POST", rf"/v2/{repository(reference)}/blobs/uploads/[^ ]*")
