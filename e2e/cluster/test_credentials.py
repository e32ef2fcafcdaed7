"""A private model is for pods that bring the credentials, on whatever node it already is."""

import json
from pathlib import Path

import pytest

from e2e import distribution
from e2e.cluster.conftest import MakePod
from e2e.cluster.installation import Installation
from e2e.cluster.registries import Registries
from e2e.node import content, succeeded


@pytest.fixture
def secret(driver: Installation, registry: Registries) -> str:
    """A Secret with the password, as `kubectl create secret docker-registry` makes it."""
    credentials = [
        f"--docker-server={registry.private}",
        f"--docker-username={distribution.USERNAME}",
        f"--docker-password={distribution.PASSWORD}",
    ]
    command = ["create", "secret", "docker-registry", "registry-credentials", *credentials]
    manifest = succeeded(driver.cluster.kubectl(*command, "--dry-run=client", "--output=json"))
    driver.cluster.apply(json.loads(manifest))
    return "registry-credentials"


def test_a_private_model_is_for_those_who_have_its_secret(
    pod: MakePod, driver: Installation, registry: Registries, repository: str, of_its_own: Path, secret: str
) -> None:
    registry.push(of_its_own, repository, private=True)
    reference = f"{registry.private}/{repository}:v1"

    stranger = pod("stranger", reference)
    refused = stranger.until_told("^FailedModel")
    owner = pod("owner", reference, secret=secret)
    owner.until_ready()
    late = pod("late", reference)
    refused_late = late.until_told("^FailedModel")

    assert owner.content() == content(of_its_own)
    assert repository in refused
    assert repository in refused_late
    assert not stranger.is_ready()
    assert not late.is_ready()
    assert distribution.PASSWORD not in driver.logs() + json.dumps(driver.cluster.get("events"))


def test_the_right_secret_helps_a_pod_that_had_the_wrong_one(
    pod: MakePod, driver: Installation, registry: Registries, repository: str, of_its_own: Path, secret: str
) -> None:
    registry.push(of_its_own, repository, private=True)
    late = "secret-of-late"
    reader = pod("reader", f"{registry.private}/{repository}:v1", secret=late)
    reader.until_told("^FailedMount")

    copy = driver.cluster.get(f"secret/{secret}")
    wanted = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": late},
        "type": copy["type"],
        "data": copy["data"],
    }
    driver.cluster.apply(wanted)
    reader.until_ready()

    assert reader.content() == content(of_its_own)


def test_the_secrets_for_a_pods_images_are_good_for_its_model(
    pod: MakePod, driver: Installation, registry: Registries, repository: str, of_its_own: Path, secret: str
) -> None:
    registry.push(of_its_own, repository, private=True)
    with driver.changed(**driver.configured(credentials={"pod_image_pull_secrets": True})):
        reader = pod("reader", f"{registry.private}/{repository}:v1", image_secret=secret)
        reader.until_ready()

        assert reader.content() == content(of_its_own)
        assert pod("stranger", f"{registry.private}/{repository}:v1").until_told("^FailedModel")
