"""Who may have a private model: whose credentials can read it, also when the node holds it already."""

import json
import os
from base64 import b64encode
from collections.abc import Iterator

import pytest

from csi_driver.config import Credentials, PullConfig
from csi_driver.errors import AccessDenied, NotFound, StillPulling, Unauthenticated, Unavailable
from csi_driver.inflight import spawn
from csi_driver.oci.digest import Digest
from tests.fixtures.driver import Node, RunningDriver, content
from tests.fixtures.faults import Fault
from tests.fixtures.listener import Exchange
from tests.fixtures.models import MANIFEST_TYPE
from tests.fixtures.registry import EmbeddedRegistry
from tests.registry.programs import program

MODEL = {"weights.bin": b"secret weights"}
USERS = {"alice": "wonderland", "mallory": "guess"}


@pytest.fixture(params=["basic", "bearer"])
def registry(request: pytest.FixtureRequest) -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry(auth=request.param, users=USERS, grants={"alice": ["team/*"]}) as registry:
        registry.push_model("team/model", "v1", MODEL)
        yield registry


def secret(registry: EmbeddedRegistry, user: str, password: str | None = None) -> dict[str, str]:
    auth = b64encode(f"{user}:{password or USERS[user]}".encode()).decode()
    return {".dockerconfigjson": json.dumps({"auths": {registry.host: {"auth": auth}}})}


def test_a_volume_brings_its_own_credentials(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    reference = registry.reference("team/model", "v1")
    assert content(driver.publish("a", reference, secrets=secret(registry, "alice"))) == MODEL
    plain = {"username": "alice", "password": "wonderland"}
    assert content(driver.publish("b", reference, secrets=plain)) == MODEL


def test_the_node_brings_credentials_for_who_has_none(registry: EmbeddedRegistry, node: Node) -> None:
    (node.home / "docker").mkdir()
    (node.home / "docker" / "config.json").write_text(secret(registry, "alice")[".dockerconfigjson"])
    with node.driver() as driver:
        assert content(driver.publish("a", registry.reference("team/model", "v1"))) == MODEL


@pytest.mark.parametrize("selector", ["tag", "digest"])
def test_a_copy_that_another_pod_pulled_opens_no_door(
    registry: EmbeddedRegistry, driver: RunningDriver, selector: str
) -> None:
    digest = registry.store.put_manifest(
        "team/model", None, registry.manifest("team/model", "v1"), "application/vnd.oci.image.manifest.v1+json"
    )
    reference = registry.reference("team/model", "v1" if selector == "tag" else digest)
    driver.publish("a", reference, secrets=secret(registry, "alice"))
    for policy in ("IfNotPresent", "Always"):
        with pytest.raises((Unauthenticated, AccessDenied), match="team/model"):
            driver.publish("b", reference, {"pullPolicy": policy})
        with pytest.raises((Unauthenticated, AccessDenied), match="team/model"):
            driver.publish("c", reference, {"pullPolicy": policy}, secrets=secret(registry, "mallory"))
        with pytest.raises((Unauthenticated, AccessDenied), match="team/model"):
            driver.publish("d", reference, {"pullPolicy": policy}, secrets=secret(registry, "alice", "wrong"))
    with pytest.raises(NotFound, match="pullPolicy is Never"):
        driver.publish("e", reference, {"pullPolicy": "Never"})
    assert not any(driver.node.target(pod).exists() for pod in "bcde")
    assert content(driver.publish("f", reference, secrets=secret(registry, "alice"))) == MODEL


def test_who_was_allowed_before_stays_allowed_while_the_registry_is_down(node: Node) -> None:
    with EmbeddedRegistry(auth="basic", users=USERS) as registry:
        registry.push_model("team/model", "v1", MODEL)
        reference, alice = registry.reference("team/model", "v1"), secret(registry, "alice")
        with node.driver() as driver:
            driver.publish("a", reference, secrets=alice)
    with node.driver() as driver:
        assert content(driver.publish("b", reference, secrets=alice)) == MODEL
        with pytest.raises(Exception, match=registry.host):
            driver.publish("c", reference)


SELECTORS = pytest.mark.parametrize("selector", ["tag", "digest"])


def reference_of(registry: EmbeddedRegistry, repository: str, selector: str) -> str:
    body = registry.manifest(repository, "v1")
    return registry.reference(repository, "v1" if selector == "tag" else str(Digest.of(body)))


def pod(namespace: str, name: str) -> dict[str, str]:
    """What kubelet tells of a pod."""
    prefix = "csi.storage.k8s.io"
    return {
        f"{prefix}/pod.namespace": namespace, f"{prefix}/pod.name": name, f"{prefix}/pod.uid": f"uid of {name}",
        f"{prefix}/serviceAccount.name": "default",
    }  # fmt: skip


@SELECTORS
def test_of_two_namespaces_only_the_one_with_a_secret_gets_the_model(
    registry: EmbeddedRegistry, driver: RunningDriver, selector: str
) -> None:
    reference = reference_of(registry, "team/model", selector)
    assert content(driver.publish("a", reference, pod("team", "a"), secrets=secret(registry, "alice"))) == MODEL
    for policy in ("IfNotPresent", "Always"):
        with pytest.raises(Unauthenticated, match="team/model"):
            driver.publish("b", reference, {**pod("other", "b"), "pullPolicy": policy})
    with pytest.raises(NotFound, match="not for these credentials"):
        driver.publish("b", reference, {**pod("other", "b"), "pullPolicy": "Never"})
    assert not driver.node.target("b").exists()


@SELECTORS
def test_a_layer_that_a_public_model_shares_with_a_private_one_makes_neither_the_other(
    registry: EmbeddedRegistry, driver: RunningDriver, selector: str
) -> None:
    registry.access.users["bob"] = "builder"
    registry.access.grants["bob"] = ["public/*"]
    registry.push_model("public/model", "v1", {**MODEL, "README.md": b"everybody's"})
    private, public = (reference_of(registry, name, selector) for name in ("team/model", "public/model"))
    bob = {"username": "bob", "password": "builder"}
    first = driver.publish("a", private, secrets=secret(registry, "alice"))
    registry.forget_requests()
    second = driver.publish("b", public, secrets=bob)
    assert (first / "weights.bin").samefile(second / "weights.bin")
    assert registry.count("GET", f"/v2/*/blobs/{Digest.of(MODEL['weights.bin'])}") == 0
    for policy in ("IfNotPresent", "Always"):
        with pytest.raises((Unauthenticated, AccessDenied), match="team/model"):
            driver.publish("c", private, {"pullPolicy": policy}, secrets=bob)


@SELECTORS
def test_while_the_registry_is_down_those_go_on_that_were_allowed_and_no_others(
    registry: EmbeddedRegistry, node: Node, selector: str
) -> None:
    node.pull = PullConfig(retry_patience_in_seconds=0.0, access_ttl_in_seconds=0.0)
    reference = reference_of(registry, "team/model", selector)
    allowed = {"pullPolicy": "IfNotPresent"}
    with node.driver() as driver:
        driver.publish("a", reference, secrets=secret(registry, "alice"))
        registry.go_down()
        assert content(driver.publish("b", reference, allowed, secrets=secret(registry, "alice"))) == MODEL
        for refused in (None, secret(registry, "mallory"), secret(registry, "alice", "wrong")):
            with pytest.raises(Unavailable, match=registry.host):
                driver.publish("c", reference, allowed, secrets=refused)
    with node.driver() as driver:  # what is remembered outlives the driver
        assert content(driver.publish("d", reference, allowed, secrets=secret(registry, "alice"))) == MODEL
        with pytest.raises(Unavailable, match=registry.host):
            driver.publish("e", reference, allowed)


@pytest.mark.parametrize(("ttl", "asked"), [(0.0, True), (600.0, False)])
def test_for_how_long_the_registry_is_not_asked_again_is_a_setting(
    registry: EmbeddedRegistry, node: Node, ttl: float, asked: bool
) -> None:
    node.pull = PullConfig(retry_patience_in_seconds=0.0, access_ttl_in_seconds=ttl)
    reference, alice = registry.reference("team/model", "v1"), secret(registry, "alice")
    policy = {"pullPolicy": "IfNotPresent"}
    with node.driver() as driver:
        driver.publish("a", reference, policy, secrets=alice)
        registry.forget_requests()
        driver.publish("b", reference, policy, secrets=alice)
        assert (registry.count("GET", "/v2/team/model/manifests/v1") > 0) == asked


def test_a_permission_that_was_withdrawn_is_not_remembered_in_an_outage(registry: EmbeddedRegistry, node: Node) -> None:
    node.pull = PullConfig(retry_patience_in_seconds=0.0, access_ttl_in_seconds=0.0)
    reference, alice = registry.reference("team/model", "v1"), secret(registry, "alice")
    policy = {"pullPolicy": "IfNotPresent"}
    with node.driver() as driver:
        driver.publish("a", reference, policy, secrets=alice)
        registry.access.users["alice"] = "changed"
        registry.access.revoke_tokens()
        with pytest.raises(Unauthenticated):
            driver.publish("b", reference, policy, secrets=alice)
        registry.go_down()
        with pytest.raises(Unavailable):
            driver.publish("c", reference, policy, secrets=alice)


def test_a_password_that_is_rotated_takes_the_place_of_the_old_one_in_every_way(
    registry: EmbeddedRegistry, node: Node
) -> None:
    """A volume's Secret is known by its content: the new content is another one, and the old one is nobody's."""
    node.pull = PullConfig(retry_patience_in_seconds=0.0, access_ttl_in_seconds=0.0)
    reference, policy = registry.reference("team/model", "v1"), {"pullPolicy": "IfNotPresent"}
    old, new = secret(registry, "alice"), secret(registry, "alice", "changed")
    with node.driver() as driver:
        driver.publish("a", reference, policy, secrets=old)
        registry.access.users["alice"] = "changed"
        registry.access.revoke_tokens()
        assert content(driver.publish("b", reference, policy, secrets=new)) == MODEL
        with pytest.raises(Unauthenticated):
            driver.publish("c", reference, policy, secrets=old)
        registry.go_down()
        assert content(driver.publish("d", reference, policy, secrets=new)) == MODEL
        for unknown in (old, secret(registry, "alice", "guessed")):
            with pytest.raises(Unavailable):
                driver.publish("e", reference, policy, secrets=unknown)


def test_a_permission_of_long_ago_is_none_although_the_model_is_pinned(registry: EmbeddedRegistry, node: Node) -> None:
    reference, alice = registry.reference("team/model", "v1"), secret(registry, "alice")
    with node.driver() as driver:
        list(driver.client.pull(reference, secrets=alice, pin=True))
        registry.go_down()
        assert content(driver.publish("a", reference, {"pullPolicy": "Never"}, secrets=alice)) == MODEL
        for path in (node.root / "references").glob("*.json"):
            record = json.loads(path.read_text())
            path.write_text(json.dumps(record | {"seen_at": record["seen_at"] - 31 * 24 * 3600}))
        with pytest.raises(NotFound, match="not for these credentials"):
            driver.publish("b", reference, {"pullPolicy": "Never"}, secrets=alice)
        with pytest.raises(Unavailable):
            driver.publish("b", reference, {"pullPolicy": "IfNotPresent"}, secrets=alice)


def test_what_the_registry_said_when_nobody_listened_any_more_is_not_asked_again(
    driver: RunningDriver,
) -> None:
    with EmbeddedRegistry() as registry:
        registry.push_model("team/model", "v1", MODEL)
        slow = registry.faults.add(Fault(drip=3600.0), path="/v2/*/manifests/*")
        with pytest.raises(StillPulling, match="the registry has not answered yet"):
            driver.publish("a", registry.reference("team/model", "v1"), timeout=2.0)
        slow.resume.set()
        assert content(driver.publish("a", registry.reference("team/model", "v1"))) == MODEL
        assert registry.count("GET", "/v2/*/manifests/*") == 1


def test_who_waits_for_a_program_is_not_told_of_the_registry(node: Node) -> None:
    (node.home / "docker").mkdir()
    (node.home / "docker" / "config.json").write_text('{"credsStore": "slow"}')
    gate = node.home / "gate"
    os.mkfifo(gate)
    program(node.home / "bin" / "docker-credential-slow", f"open({str(gate)!r}).read()")
    node.credentials = Credentials(credential_helper_dir=str(node.home / "bin"))
    with EmbeddedRegistry() as registry, node.driver() as driver:
        registry.push_model("team/model", "v1", MODEL)
        with pytest.raises(StillPulling, match="credentials are being looked for"):
            driver.publish("a", registry.reference("team/model", "v1"), timeout=2.0)
        gate.write_bytes(b"")
        assert content(driver.publish("a", registry.reference("team/model", "v1"))) == MODEL


def test_of_several_credentials_only_the_one_that_could_read_is_remembered(
    registry: EmbeddedRegistry, node: Node
) -> None:
    node.pull = PullConfig(retry_patience_in_seconds=0.0, access_ttl_in_seconds=0.0)
    mallory, alice = (b64encode(f"{user}:{USERS[user]}".encode()).decode() for user in ("mallory", "alice"))
    auths = {f"{registry.host}/team": {"auth": mallory}, registry.host: {"auth": alice}}
    both, policy = {".dockerconfigjson": json.dumps({"auths": auths})}, {"pullPolicy": "IfNotPresent"}
    reference = registry.reference("team/model", "v1")
    with node.driver() as driver:
        driver.publish("a", reference, policy, secrets=both)
        registry.go_down()
        assert content(driver.publish("b", reference, policy, secrets=secret(registry, "alice"))) == MODEL
        with pytest.raises(Unavailable):
            driver.publish("c", reference, policy, secrets=secret(registry, "mallory"))


def test_a_model_for_everybody_stays_so_in_an_outage_whoever_pulled_it(node: Node) -> None:
    node.pull = PullConfig(retry_patience_in_seconds=0.0, access_ttl_in_seconds=0.0)
    with EmbeddedRegistry() as registry, node.driver() as driver:
        registry.push_model("public/model", "v1", MODEL)
        reference, policy = registry.reference("public/model", "v1"), {"pullPolicy": "IfNotPresent"}
        driver.publish("a", reference, policy, secrets={"username": "alice", "password": "wonderland"})
        registry.go_down()
        assert content(driver.publish("b", reference, policy)) == MODEL


def test_what_an_index_offers_to_everybody_is_for_those_who_can_read_the_index(
    registry: EmbeddedRegistry, node: Node
) -> None:
    node.pull = PullConfig(retry_patience_in_seconds=0.0, access_ttl_in_seconds=600.0)
    body = registry.manifest("team/model", "v1")
    digest = str(Digest.of(body))
    offered = {"mediaType": MANIFEST_TYPE, "digest": digest, "size": len(body)}
    index_type = "application/vnd.oci.image.index.v1+json"
    index = {"schemaVersion": 2, "mediaType": index_type, "manifests": [offered]}
    registry.put_manifest("team/model", "all", json.dumps(index).encode(), index_type)
    allows = registry.access.allows

    def allows_digests(exchange: Exchange, repository: str, action: str) -> bool:
        return exchange.seen.path.endswith(digest) or allows(exchange, repository, action)

    registry.access.allows = allows_digests  # type: ignore[method-assign]
    reference, policy = registry.reference("team/model", "all"), {"pullPolicy": "IfNotPresent"}
    with node.driver() as driver:
        driver.publish("a", reference, policy, secrets=secret(registry, "alice"))
        with pytest.raises(Unauthenticated):
            driver.publish("b", reference, policy)
        registry.go_down()
        assert content(driver.publish("c", reference, policy, secrets=secret(registry, "alice"))) == MODEL
        with pytest.raises(Unavailable):
            driver.publish("b", reference, policy)


def test_what_a_tag_meant_while_it_was_private_does_not_become_everybodys(
    registry: EmbeddedRegistry, node: Node
) -> None:
    node.pull = PullConfig(retry_patience_in_seconds=0.0, access_ttl_in_seconds=0.0)
    reference, policy = registry.reference("team/model", "v1"), {"pullPolicy": "IfNotPresent"}
    with node.driver() as driver:
        driver.publish("a", reference, policy, secrets=secret(registry, "alice"))
        registry.push_model("team/model", "v1", {"weights.bin": b"published weights"})
        registry.access.mode = "none"
        assert content(driver.publish("b", reference, policy, secrets=secret(registry, "alice"))) == MODEL
        registry.go_down()
        assert content(driver.publish("c", reference, policy, secrets=secret(registry, "alice"))) == MODEL
        with pytest.raises(Unavailable):
            driver.publish("d", reference, policy)


def test_no_secret_is_ever_on_disk_or_in_a_message(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    reference = registry.reference("team/model", "v1")
    driver.publish("a", reference, secrets=secret(registry, "alice"))
    with pytest.raises((Unauthenticated, AccessDenied)) as refused:
        driver.publish("b", reference, secrets=secret(registry, "alice", "drowssap"))
    assert "drowssap" not in str(refused.value)
    for path in driver.node.root.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"wonderland" not in data
            assert b64encode(b"alice:wonderland") not in data


@pytest.fixture
def claimant(registry: EmbeddedRegistry) -> Iterator[EmbeddedRegistry]:
    """A registry for everybody, with the private model's manifest and none of its layers."""
    with EmbeddedRegistry() as claimant:
        claimant.put_manifest("mallory/model", "v1", registry.manifest("team/model", "v1"), MANIFEST_TYPE)
        yield claimant


def test_knowing_the_digests_of_a_private_model_opens_no_door(
    registry: EmbeddedRegistry, claimant: EmbeddedRegistry, driver: RunningDriver
) -> None:
    driver.publish("a", registry.reference("team/model", "v1"), secrets=secret(registry, "alice"))
    with pytest.raises(NotFound, match="mallory/model"):
        driver.publish("b", claimant.reference("mallory/model", "v1"))
    assert not driver.node.target("b").exists()


def test_knowing_the_digests_does_not_help_while_the_private_model_is_being_pulled(
    registry: EmbeddedRegistry, claimant: EmbeddedRegistry, driver: RunningDriver
) -> None:
    registry.gate.hold()
    reference, alice = registry.reference("team/model", "v1"), secret(registry, "alice")
    pulling = spawn("alice", lambda: driver.publish("a", reference, secrets=alice))
    registry.gate.wait_until_held()
    with pytest.raises(StillPulling):
        driver.publish("b", claimant.reference("mallory/model", "v1"), timeout=1.0)
    registry.gate.open()
    assert content(pulling.result(60.0)) == MODEL
    with pytest.raises(NotFound, match="mallory/model"):
        driver.publish("b", claimant.reference("mallory/model", "v1"))


def test_registries_that_hold_the_same_model_share_one_copy_of_it(
    registry: EmbeddedRegistry, claimant: EmbeddedRegistry, driver: RunningDriver
) -> None:
    first = driver.publish("a", registry.reference("team/model", "v1"), secrets=secret(registry, "alice"))
    claimant.put_blob(MODEL["weights.bin"])
    second = driver.publish("b", claimant.reference("mallory/model", "v1"))
    assert content(second) == MODEL
    assert (first / "weights.bin").samefile(second / "weights.bin")
    claimant.forget_requests()
    driver.publish(
        "c", claimant.reference("mallory/model", "v1"), {"model.csi.modelpack.org/exclude-model-weights": "false"}
    )
    assert claimant.count("GET", "/v2/*/blobs/*") == 0


def test_a_pull_that_was_refused_for_one_pod_is_not_refused_for_another(node: Node) -> None:
    users = {"alice": "wonderland", "bob": "builder"}
    node.pull = PullConfig(retry_patience_in_seconds=30.0)  # the cut below may meet any request
    with EmbeddedRegistry(auth="basic", users=users) as registry, node.driver() as driver:
        registry.push_model("team/model", "v1", MODEL)
        reference = registry.reference("team/model", "v1")
        registry.gate.hold(at=5)
        first = spawn("alice", lambda: driver.publish("a", reference, secrets=secret(registry, "alice")))
        registry.gate.wait_until_held()
        bob = {"username": "bob", "password": "builder"}
        second = spawn("bob", lambda: driver.publish("b", reference, secrets=bob))
        while (
            registry.count("GET", "/v2/team/model/manifests/*") < 4
        ):  # each asked twice: refused, then with credentials
            assert not second.done()
        registry.access.users["alice"] = "changed"
        registry.cut_connections()
        registry.gate.open()
        with pytest.raises((Unauthenticated, AccessDenied)):
            first.result(60)
        assert content(second.result(60)) == MODEL
