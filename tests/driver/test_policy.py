"""What the operator's policy forbids is refused before anybody is asked, and to whoever has it already."""

import pytest

from csi_driver.cache.layout import Places
from csi_driver.config import Policy
from csi_driver.config.policy import NamespaceRules
from csi_driver.errors import AccessDenied, InvalidRequest
from csi_driver.oci.digest import Digest
from csi_driver.oci.reference import Reference
from csi_driver.oci.selection import Selection
from csi_driver.puller.intents import Intent, Intents
from tests.fixtures.driver import Node, RunningDriver, content, eventually
from tests.fixtures.producers import kit_of
from tests.fixtures.registry import EmbeddedRegistry

MODEL = {"weights.bin": b"weights"}


@pytest.fixture
def reference(registry: EmbeddedRegistry) -> str:
    registry.push_model("team/model", "v1", MODEL)
    return registry.reference("team/model", "v1")


def of(namespace: str) -> dict[str, str]:
    return {"csi.storage.k8s.io/pod.namespace": namespace, "csi.storage.k8s.io/pod.name": "a"}


@pytest.mark.parametrize("policy", ["IfNotPresent", "Always", "Never"])
def test_what_is_forbidden_is_refused_before_anybody_is_asked(
    registry: EmbeddedRegistry, node: Node, reference: str, policy: str
) -> None:
    node.policy = Policy(deny=(f"{registry.host}/team",))
    with node.driver() as driver, pytest.raises(AccessDenied, match=rf"policy\.deny has '{registry.host}/team'"):
        driver.publish("a", reference, {"pullPolicy": policy})
    assert registry.connections() == 0
    assert node.leftovers() == []
    assert not node.target("a").exists()


def test_each_namespace_has_its_own_lists(registry: EmbeddedRegistry, node: Node, reference: str) -> None:
    node.policy = Policy(
        allow=("registry.example.com",), namespaces=(NamespaceRules("team-*", allow=(registry.host,)),)
    )
    with node.driver() as driver:
        assert content(driver.publish("a", reference, of("team-a"))) == MODEL
        for attributes in (of("other"), {}):
            with pytest.raises(AccessDenied, match=r"nothing in policy\.allow"):
                driver.publish("b", reference, attributes)


def test_a_model_that_is_here_already_is_forbidden_like_any_other(
    registry: EmbeddedRegistry, node: Node, reference: str
) -> None:
    with node.driver() as driver:
        driver.publish("a", reference)
    node.unmount_all()  # as after a reboot: the volume is to be mounted again
    node.policy = Policy(deny=("*",))
    with node.driver() as driver:
        for pod in ("a", "b"):
            with pytest.raises(AccessDenied, match=r"policy\.deny"):
                driver.publish(pod, reference)


def test_a_parent_is_forbidden_like_any_other_model(registry: EmbeddedRegistry, node: Node) -> None:
    base = kit_of(registry, "base/kit:1", None, {"w": b"w"})
    reference = kit_of(registry, "team/kit:1", base, {"code": b"c"})
    node.policy = Policy(namespaces=(NamespaceRules("other", deny=("*/base",)),))
    with node.driver() as driver:
        with pytest.raises(AccessDenied, match=r"base/kit is forbidden for namespace other"):
            driver.publish("a", reference, of("other"))
        assert registry.count(path="/v2/base/*") == 0
        driver.publish("b", reference, of("team"))
        with pytest.raises(AccessDenied, match=r"base/kit is forbidden for namespace other"):
            driver.publish("a", reference, of("other"))
    node.unmount_all()
    node.policy = Policy(deny=("*/base",))
    with node.driver() as driver, pytest.raises(AccessDenied, match=r"base/kit is forbidden"):
        driver.publish("b", reference, of("team"))


def test_a_pull_that_was_begun_before_it_was_forbidden_is_not_gone_on_with(
    registry: EmbeddedRegistry, node: Node, reference: str
) -> None:
    wanted = Places(node.root).wanted
    wanted.mkdir(parents=True)
    digest = Digest.of(registry.manifest("team/model", "v1"))
    Intents(wanted).put(Intent(Reference.parse(reference), digest, Selection(), urgent=True))
    node.policy = Policy(deny=(registry.host,))
    with node.driver():
        eventually(lambda: not list(wanted.iterdir()))
    assert registry.connections() == 0


def test_a_pod_whose_model_is_mounted_keeps_it(registry: EmbeddedRegistry, node: Node, reference: str) -> None:
    with node.driver() as driver:
        target = driver.publish("a", reference)
    node.policy = Policy(deny=("*",))
    with node.driver() as driver:
        assert content(driver.publish("a", reference)) == content(target) == MODEL


def test_a_changed_policy_takes_effect_at_once(driver: RunningDriver, node: Node, reference: str) -> None:
    driver.publish("a", reference)
    node.file.write_text("policy: {deny: ['*']}")
    driver.driver.reload()
    with pytest.raises(AccessDenied, match=r"policy\.deny has '\*'"):
        driver.publish("b", reference)
    node.file.write_text("policy: {deny: [https://x]}")
    with pytest.raises(InvalidRequest, match=r"policy\.deny"):
        driver.driver.reload()
    with pytest.raises(AccessDenied):
        driver.publish("b", reference)
    node.file.write_text("policy: {}")
    driver.driver.reload()
    assert content(driver.publish("b", reference)) == MODEL
