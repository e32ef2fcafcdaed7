"""A pod's model is pulled with what the programs of a node know, also when every answer is another one."""

import base64
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_driver.config import Credentials, Kubernetes, PullConfig
from csi_driver.errors import Unauthenticated, Unavailable
from tests.driver.pods import (
    IF_NOT_PRESENT,
    MODEL,
    PREFIX,
    PULL_SECRETS,
    Cloud,
    add_pod,
    add_secret,
    pod,
    token,
    tokens,
)
from tests.fixtures.certificates import Authority
from tests.fixtures.driver import Node, content
from tests.fixtures.kubernetes import EmbeddedApi
from tests.fixtures.registry import EmbeddedRegistry
from tests.registry.programs import calls, program


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
