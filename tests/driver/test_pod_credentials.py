"""A pod's model is pulled with the credentials that its images would be pulled with."""

import base64
import json
import logging
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_driver.config import Credentials, Kubernetes, PullConfig
from csi_driver.errors import Unauthenticated, Unavailable
from csi_driver.kube.api import core
from tests.fixtures.certificates import Authority
from tests.fixtures.driver import Node, content
from tests.fixtures.faults import Fault
from tests.fixtures.kubernetes import EmbeddedApi
from tests.fixtures.registry import EmbeddedRegistry
from tests.registry.programs import calls, program

MODEL = {"weights.bin": b"secret weights"}
PREFIX = "csi.storage.k8s.io"
IF_NOT_PRESENT = {"pullPolicy": "IfNotPresent"}
PULL_SECRETS = Credentials(pod_image_pull_secrets=True)


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


def pod(name: str, namespace: str = "team", account: str = "default", uid: str = "") -> dict[str, str]:
    """What kubelet tells of a pod."""
    return IF_NOT_PRESENT | {
        f"{PREFIX}/pod.namespace": namespace,
        f"{PREFIX}/pod.name": name,
        f"{PREFIX}/pod.uid": uid or f"uid of {name}",
        f"{PREFIX}/serviceAccount.name": account,
    }


def add_pod(kubernetes: EmbeddedApi, name: str, *pull_secrets: str, namespace: str = "team") -> dict[str, str]:
    """A pod of the cluster, as the API server and as kubelet tell of it."""
    kubernetes.objects[core("pods", name, namespace=namespace)] = {
        "metadata": {"name": name, "uid": f"uid of {name}"},
        "spec": {"serviceAccountName": "default", "imagePullSecrets": [{"name": each} for each in pull_secrets]},
    }
    kubernetes.objects.setdefault(core("serviceaccounts", "default", namespace=namespace), {"metadata": {}})
    return pod(name, namespace)


def add_secret(
    kubernetes: EmbeddedApi, registry: EmbeddedRegistry, name: str, password: str, *, uid: str = "uid",
    namespace: str = "team",
) -> None:  # fmt: skip
    config = {"auths": {registry.host: {"username": "alice", "password": password}}}
    kubernetes.objects[core("secrets", name, namespace=namespace)] = {
        "metadata": {"name": name, "uid": uid},
        "data": {".dockerconfigjson": base64.b64encode(json.dumps(config).encode()).decode()},
    }


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


class OneTime(str):
    """Equal to every password of the provider: each is another one, and none has expired yet."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and other.startswith("one-time-")

    __hash__ = str.__hash__


class Cloud:
    """A node with a credential provider that gives another password each time."""

    def __init__(self, node: Node, registry: EmbeddedRegistry, *, with_token: bool) -> None:
        self.config = node.home / "providers.yaml"
        self.bin = node.home / "bin"
        token = {"serviceAccountTokenAudience": "cloud", "cacheType": "Token", "requireServiceAccount": True}
        provider = {
            "name": "cloud", "matchImages": [registry.host], "defaultCacheDuration": "0s",
            "apiVersion": "credentialprovider.kubelet.k8s.io/v1", **({"tokenAttributes": token} if with_token else {}),
        }  # fmt: skip
        document = {"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig"}
        self.config.write_text(json.dumps({**document, "providers": [provider]}))
        self.program = program(
            self.bin / "cloud",
            "token = json.loads(given).get('serviceAccountToken', 'node')\n"
            "count = len(open(__file__ + '.calls').readlines())\n"
            "print(json.dumps({'apiVersion': 'credentialprovider.kubelet.k8s.io/v1', 'cacheKeyType': 'Image',\n"
            "    'kind': 'CredentialProviderResponse', 'auth': {json.loads(given)['image'].split('/')[0]:\n"
            "    {'username': 'bad' if 'other' in token else 'alice', 'password': f'one-time-{count}'}}}))\n",
        )
        registry.access.users["alice"] = OneTime()
        node.pull = PullConfig(retry_patience_in_seconds=0.0, access_ttl_in_seconds=0.0)
        node.credentials = Credentials(
            image_credential_provider_config=str(self.config), image_credential_provider_bin_dir=str(self.bin)
        )


def token(name: str) -> str:
    claims = {"kubernetes.io": {"serviceaccount": {"name": name, "uid": f"uid of {name}"}}}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"header.{payload}.signature-of-{name}"


def tokens(name: str, serial: int) -> str:
    return json.dumps({"cloud": {"token": f"{token(name)}-{serial}", "expirationTimestamp": "2030-01-01T00:00:00Z"}})


@pytest.mark.parametrize("in_secrets", [False, True])
def test_a_service_account_s_token_buys_credentials_and_the_account_is_remembered(
    registry: EmbeddedRegistry, node: Node, reference: str, in_secrets: bool
) -> None:
    cloud = Cloud(node, registry, with_token=True)

    def asked(pod_name: str, account: str, serial: int) -> dict[str, Any]:
        given = {f"{PREFIX}/serviceAccount.tokens": tokens(account, serial)}
        attributes = pod(pod_name, account=account)
        return {"attributes": attributes, "secrets": given} if in_secrets else {"attributes": attributes | given}

    with node.driver() as driver:
        assert content(driver.publish("a", reference, **asked("a", "runner", 1))) == MODEL
        request = json.loads(calls(cloud.program)[0]["given"])
        assert request["serviceAccountToken"] == f"{token('runner')}-1"
        with pytest.raises(Unauthenticated):
            driver.publish("b", reference, **asked("b", "other", 1))
        registry.go_down()
        assert content(driver.publish("c", reference, **asked("c", "runner", 2))) == MODEL
        for refused in (asked("d", "other", 2), {"attributes": pod("e", account="runner")}):
            with pytest.raises(Unavailable, match=registry.host):
                driver.publish("d", reference, **refused)


def test_a_program_that_fails_during_an_outage_locks_nobody_out(
    registry: EmbeddedRegistry, node: Node, reference: str
) -> None:
    cloud = Cloud(node, registry, with_token=True)
    attributes = pod("a", account="runner") | {f"{PREFIX}/serviceAccount.tokens": tokens("runner", 1)}
    with node.driver() as driver:
        driver.publish("a", reference, attributes)
        registry.go_down()
        program(cloud.program, "sys.exit(1)")
        assert content(driver.publish("b", reference, attributes)) == MODEL


def test_a_program_that_fails_while_the_registry_refuses_takes_no_memory_away(
    registry: EmbeddedRegistry, node: Node, reference: str
) -> None:
    cloud = Cloud(node, registry, with_token=True)
    attributes = pod("a", account="runner") | {f"{PREFIX}/serviceAccount.tokens": tokens("runner", 1)}
    with node.driver() as driver:
        driver.publish("a", reference, attributes)
        program(cloud.program, "sys.exit(1)")
        with pytest.raises(Unauthenticated, match="cloud ended with code 1"):
            driver.publish("b", reference, attributes)
        registry.go_down()
        assert content(driver.publish("b", reference, attributes)) == MODEL


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


def test_a_provider_of_the_node_serves_all_of_its_pods_also_in_an_outage(
    registry: EmbeddedRegistry, node: Node, reference: str
) -> None:
    Cloud(node, registry, with_token=False)
    with node.driver() as driver:
        assert content(driver.publish("a", reference, IF_NOT_PRESENT)) == MODEL
        registry.go_down()
        assert content(driver.publish("b", reference, pod("b"))) == MODEL


def test_a_provider_that_is_broken_is_named_to_who_needs_it(
    registry: EmbeddedRegistry, node: Node, reference: str
) -> None:
    cloud = Cloud(node, registry, with_token=False)
    program(cloud.program, "print('hunter2'); print('no role', file=sys.stderr); sys.exit(1)")
    with (
        node.driver() as driver,
        pytest.raises(Unauthenticated, match=r"cloud ended with code 1 \(no role\)") as caught,
    ):
        driver.publish("a", reference)
    assert "hunter2" not in str(caught.value)


def test_the_helper_of_the_node_s_docker_config_is_run(registry: EmbeddedRegistry, node: Node, reference: str) -> None:
    program(
        node.home / "bin" / "docker-credential-x", "print(json.dumps({'Username': 'alice', 'Secret': 'wonderland'}))"
    )
    (node.home / "docker").mkdir()
    (node.home / "docker" / "config.json").write_text(json.dumps({"credHelpers": {registry.host: "x"}}))
    node.credentials = Credentials(credential_helper_dir=str(node.home / "bin"))
    with node.driver() as driver:
        assert content(driver.publish("a", reference)) == MODEL


def test_nothing_of_all_this_is_written_or_logged(
    kubernetes: EmbeddedApi,
    registry: EmbeddedRegistry,
    node: Node,
    reference: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    cloud = Cloud(node, registry, with_token=True)
    node.credentials = Credentials(
        pod_image_pull_secrets=True,
        image_credential_provider_config=str(cloud.config),
        image_credential_provider_bin_dir=str(cloud.bin),
    )
    add_secret(kubernetes, registry, "regcred", "hunter2")
    attributes = add_pod(kubernetes, "a", "regcred") | {f"{PREFIX}/serviceAccount.tokens": tokens("default", 1)}
    with node.driver() as driver:
        driver.publish("a", reference, attributes)
        registry.access.users["alice"] = "changed"
        registry.access.revoke_tokens()
        with pytest.raises(Unauthenticated) as caught:
            driver.publish("b", reference, attributes)
    secrets = ("hunter2", "one-time-", "signature-of-default", "token-of-the-driver")
    encoded = base64.b64encode(b"alice:hunter2").decode()
    texts = [
        str(caught.value),
        caplog.text,
        *(str(path.read_bytes()) for path in node.root.rglob("*") if path.is_file()),
    ]
    assert [each for each in (*secrets, encoded) for text in texts if each in text] == []
