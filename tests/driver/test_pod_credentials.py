"""A pod's model is pulled with the Secrets that its images would be pulled with."""

import base64
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_driver.config import Credentials, Kubernetes, PullConfig
from csi_driver.errors import DriverError, StillPulling, Unauthenticated, Unavailable
from csi_driver.kube.api import core
from tests.driver.pods import (
    MODEL,
    PULL_SECRETS,
    add_pod,
    add_secret,
    pod,
)
from tests.fixtures.certificates import Authority
from tests.fixtures.driver import Node, content
from tests.fixtures.faults import Fault
from tests.fixtures.kubernetes import EmbeddedApi
from tests.fixtures.registry import EmbeddedRegistry


@pytest.fixture
def registry() -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry(auth="bearer", users={"alice": "wonderland"}) as registry:
        registry.push_model("team/model", "v1", MODEL)
        yield registry


@pytest.fixture
def reference(registry: EmbeddedRegistry) -> str:
    return registry.reference("team/model", "v1")


@pytest.fixture
def kubernetes(tmp_path: Path, node: Node) -> Iterator[EmbeddedApi]:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make certificates with")
    with EmbeddedApi(tmp_path, Authority(tmp_path)) as kubernetes:
        kubeconfig = kubernetes.kubeconfig(tmp_path / "kubeconfig", "token-of-the-driver")
        node.kubernetes = Kubernetes(kubeconfig=str(kubeconfig))
        node.credentials = PULL_SECRETS
        node.pull = PullConfig(retry_patience_in_seconds=0.0, access_ttl_in_seconds=0.0)
        yield kubernetes


def test_the_pod_s_image_pull_secrets_are_used(
    kubernetes: EmbeddedApi, registry: EmbeddedRegistry, node: Node, reference: str
) -> None:
    add_secret(kubernetes, registry, "regcred", "wonderland")
    attributes = add_pod(kubernetes, "a", "missing", "regcred")
    with node.driver() as driver:
        assert content(driver.publish("a", reference, attributes)) == MODEL


def test_those_of_its_service_account_are_used_as_well(
    kubernetes: EmbeddedApi, registry: EmbeddedRegistry, node: Node, reference: str
) -> None:
    add_secret(kubernetes, registry, "regcred", "wonderland")
    attributes = add_pod(kubernetes, "a")
    account = {"metadata": {}, "imagePullSecrets": [{"name": "regcred"}]}
    kubernetes.objects[core("serviceaccounts", "default", namespace="team")] = account
    with node.driver() as driver:
        assert content(driver.publish("a", reference, attributes)) == MODEL


def test_the_volume_s_own_secret_comes_first(
    kubernetes: EmbeddedApi, registry: EmbeddedRegistry, node: Node, reference: str
) -> None:
    add_secret(kubernetes, registry, "regcred", "outdated")
    attributes = add_pod(kubernetes, "a", "regcred")
    with node.driver() as driver:
        driver.publish("a", reference, attributes, secrets={"username": "alice", "password": "wonderland"})
    sent = [seen.headers.get("authorization", "") for seen in registry.seen(server="tokens")]
    assert all(base64.b64decode(each.partition(" ")[2]) == b"alice:wonderland" for each in sent if each)


def test_the_api_is_not_asked_unless_the_operator_says_so_and_follows_when_he_changes_his_mind(
    kubernetes: EmbeddedApi, registry: EmbeddedRegistry, node: Node, reference: str
) -> None:
    add_secret(kubernetes, registry, "regcred", "wonderland")
    attributes = add_pod(kubernetes, "a", "regcred")
    node.credentials = Credentials()
    with node.driver() as driver:
        with pytest.raises(Unauthenticated, match="wants credentials"):
            driver.publish("a", reference, attributes)
        assert kubernetes.requests == []
        node.file.write_text("credentials: {pod_image_pull_secrets: true}")
        driver.driver.reload()
        assert content(driver.publish("a", reference, attributes)) == MODEL


def test_a_pod_without_a_secret_gets_nothing_of_one_with(
    kubernetes: EmbeddedApi, registry: EmbeddedRegistry, node: Node, reference: str
) -> None:
    add_secret(kubernetes, registry, "regcred", "wonderland")
    with node.driver() as driver:
        driver.publish("a", reference, add_pod(kubernetes, "a", "regcred"))
        for attributes in (add_pod(kubernetes, "b"), add_pod(kubernetes, "c", "regcred", namespace="other")):
            with pytest.raises(Unauthenticated):
                driver.publish("b", reference, attributes)


def test_whoever_claims_to_be_another_pod_gets_nothing(
    kubernetes: EmbeddedApi, registry: EmbeddedRegistry, node: Node, reference: str
) -> None:
    add_secret(kubernetes, registry, "regcred", "wonderland")
    add_pod(kubernetes, "a", "regcred")
    with node.driver() as driver, pytest.raises(Unauthenticated, match="is for a pod with the uid somebody-else"):
        driver.publish("a", reference, pod("a", uid="somebody-else"))


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("secret", r"imagePullSecret team/regcred: the Kubernetes API answered 404"),
        ("rights", r"imagePullSecret team/regcred: the Kubernetes API answered 403.*roles of the driver"),
        ("content", r"imagePullSecret team/regcred is of no use: its key \.dockerconfigjson is not a JSON object"),
        ("kind", r"imagePullSecret team/regcred is of no use: it has neither of the keys"),
        ("server", r"the imagePullSecrets of pod team/a cannot be read: the Kubernetes API answered 503"),
    ],
)
def test_who_is_refused_learns_which_secret_could_not_be_had(
    kubernetes: EmbeddedApi, registry: EmbeddedRegistry, node: Node, reference: str, broken: str, told: str
) -> None:
    path = core("secrets", "regcred", namespace="team")
    attributes = add_pod(kubernetes, "a", "regcred")
    hunter = base64.b64encode(b"hunter2 {").decode()
    match broken:
        case "rights":
            kubernetes.forbidden.add(("GET", path))
        case "content":
            kubernetes.objects[path] = {"metadata": {"uid": "u"}, "data": {".dockerconfigjson": hunter}}
        case "kind":
            kubernetes.objects[path] = {"metadata": {"uid": "u"}, "data": {"password": hunter}}
        case "server":
            kubernetes.faults.add(Fault(status=503), times=math.inf)
    registry.push_model("team/public", "v1", MODEL)
    with node.driver() as driver:
        with pytest.raises(Unauthenticated, match=told) as caught:
            driver.publish("a", reference, attributes)
        assert "hunter2" not in str(caught.value)
        registry.access.mode = "none"
        assert content(driver.publish("b", registry.reference("team/public", "v1"), attributes)) == MODEL


def test_which_secret_could_not_be_had_is_told_in_no_other_namespace(
    kubernetes: EmbeddedApi, registry: EmbeddedRegistry, node: Node, reference: str
) -> None:
    slow = registry.faults.add(Fault(drip=3600.0, status=401), server="tokens")
    with node.driver() as driver:
        with pytest.raises(StillPulling, match="the registry has not answered yet"):
            driver.publish("a", reference, add_pod(kubernetes, "a", "regcred"), timeout=2.0)
        slow.resume.set()
        with pytest.raises(DriverError) as caught:
            driver.publish("b", reference, add_pod(kubernetes, "b", namespace="other"))
        assert "team/regcred" not in str(caught.value)
        with pytest.raises(DriverError, match="team/regcred"):
            driver.publish("a", reference, add_pod(kubernetes, "a", "regcred"))


def test_a_secret_whose_password_was_renewed_lets_its_pods_go_on_in_an_outage_and_no_others(
    kubernetes: EmbeddedApi, registry: EmbeddedRegistry, node: Node, reference: str
) -> None:
    add_secret(kubernetes, registry, "regcred", "wonderland")
    with node.driver() as driver:
        driver.publish("a", reference, add_pod(kubernetes, "a", "regcred"))
        registry.go_down()
        add_secret(kubernetes, registry, "regcred", "renewed")
        assert content(driver.publish("b", reference, add_pod(kubernetes, "b", "regcred"))) == MODEL
        add_secret(kubernetes, registry, "regcred", "another", uid="of another Secret of that name")
        add_secret(kubernetes, registry, "regcred", "another", uid="uid", namespace="other")
        for attributes in (
            add_pod(kubernetes, "c", "regcred"),
            add_pod(kubernetes, "d"),
            add_pod(kubernetes, "e", "regcred", namespace="other"),
        ):
            with pytest.raises(Unavailable, match=registry.host):
                driver.publish("c", reference, attributes)


def test_a_secret_that_is_missing_keeps_no_memory_of_another_that_was_refused(
    kubernetes: EmbeddedApi, registry: EmbeddedRegistry, node: Node, reference: str
) -> None:
    add_secret(kubernetes, registry, "regcred", "wonderland")
    attributes = add_pod(kubernetes, "a", "missing", "regcred")
    with node.driver() as driver:
        driver.publish("a", reference, attributes)
        registry.access.users["alice"] = "changed"
        registry.access.revoke_tokens()
        with pytest.raises(Unauthenticated, match="team/missing"):
            driver.publish("b", reference, attributes)
        registry.go_down()
        with pytest.raises(Unavailable):
            driver.publish("b", reference, attributes)


def test_the_api_is_not_asked_for_a_volume_whose_own_secret_is_known(
    kubernetes: EmbeddedApi, registry: EmbeddedRegistry, node: Node, reference: str
) -> None:
    node.pull = PullConfig(retry_patience_in_seconds=0.0)
    secrets = {"username": "alice", "password": "wonderland"}
    with node.driver() as driver:
        driver.publish("a", reference, add_pod(kubernetes, "a"), secrets=secrets)
        asked = len(kubernetes.requests)
        assert asked > 0
        driver.publish("b", reference, add_pod(kubernetes, "b"), secrets=secrets)
        assert len(kubernetes.requests) == asked
