"""Models that come through mirrors, from the configuration of the driver to the pod."""

import json
import os
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from csi_driver.config import PullConfig
from csi_driver.errors import AccessDenied, ContentMismatch, NotFound, Unauthenticated, Unavailable
from tests.fixtures.driver import Node, RunningDriver, content
from tests.fixtures.faults import Fault
from tests.fixtures.hosts import mirrored, nobody, write_hosts
from tests.fixtures.models import MANIFEST_TYPE
from tests.fixtures.p2p import dfdaemon, spegel
from tests.fixtures.registry import EmbeddedRegistry

WEIGHTS = os.urandom(3 << 20)
MODEL = {"weights.safetensors": WEIGHTS, "config.json": b"{}"}
BLOBS = "/v2/*/blobs/*"
MANIFESTS = "/v2/*/manifests/*"
USERS = {"alice": "wonderland"}


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    """The directory of hosts.toml files."""
    return tmp_path / "certs.d"


@pytest.fixture
def node(tmp_path: Path, certs: Path, mount_namespace: None) -> Iterator[Node]:
    node = Node(tmp_path, PullConfig(retry_patience_in_seconds=0.0, hosts_dir=str(certs)))
    yield node
    node.unmount_all()


@pytest.fixture
def mirror() -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry() as mirror:
        mirror.push_model("team/model", "v1", MODEL)
        yield mirror


@pytest.fixture
def private() -> Iterator[EmbeddedRegistry]:
    """A registry that gives its model to Alice."""
    with EmbeddedRegistry(auth="bearer", users=USERS, redirect_blobs=True) as private:
        private.push_model("team/model", "v1", MODEL)
        yield private


def secret(registry: EmbeddedRegistry) -> dict[str, str]:
    auth = b64encode(b"alice:wonderland").decode()
    return {".dockerconfigjson": json.dumps({"auths": {registry.host: {"auth": auth}}})}


def digest_of_weights(registry: EmbeddedRegistry) -> str:
    layers = json.loads(registry.manifest("team/model", "v1"))["layers"]
    return next(str(layer["digest"]) for layer in layers if layer["size"] == len(WEIGHTS))


def test_a_model_comes_from_the_mirror_behind_a_dead_one_and_the_registry_is_not_asked(
    registry: EmbeddedRegistry, mirror: EmbeddedRegistry, driver: RunningDriver, certs: Path
) -> None:
    with nobody() as dead:
        write_hosts(certs, registry.host, mirrored(f"http://{dead}", mirror.url))
        assert content(driver.publish("a", registry.reference("team/model", "v1"))) == MODEL
    assert registry.requests == []
    assert {seen.query["ns"] for seen in mirror.requests} == {registry.host}


def test_a_mirror_with_other_bytes_costs_a_download_and_not_the_pod(
    registry: EmbeddedRegistry, mirror: EmbeddedRegistry, driver: RunningDriver, certs: Path
) -> None:
    registry.push_model("team/model", "v1", MODEL)
    mirror.faults.add(Fault(corrupt_at=99), path=f"*{digest_of_weights(mirror)}", times=99)
    write_hosts(certs, registry.host, mirrored(mirror.url))
    assert content(driver.publish("a", registry.reference("team/model", "v1"))) == MODEL
    assert registry.count(path=f"*{digest_of_weights(mirror)}") == 1


def test_a_layer_that_both_send_wrongly_is_data_loss(
    registry: EmbeddedRegistry, mirror: EmbeddedRegistry, driver: RunningDriver, certs: Path
) -> None:
    registry.push_model("team/model", "v1", MODEL)
    weights = f"*{digest_of_weights(mirror)}"
    for each in (registry, mirror):
        each.faults.add(Fault(corrupt_at=99), path=weights, times=99)
    write_hosts(certs, registry.host, mirrored(mirror.url))
    with pytest.raises(ContentMismatch, match=digest_of_weights(mirror)):
        driver.publish("a", registry.reference("team/model", "v1"))
    assert (mirror.count(path=weights), registry.count(path=weights)) == (1, 2)
    assert not any("/content" in path for path in driver.node.leftovers())


def test_a_layer_goes_on_at_the_registry_where_its_mirror_died(
    registry: EmbeddedRegistry, mirror: EmbeddedRegistry, driver: RunningDriver, certs: Path
) -> None:
    registry.push_model("team/model", "v1", MODEL)
    digest = digest_of_weights(mirror)
    mirror.faults.add(Fault(drop_after=2 << 20), path=f"*{digest}", times=99)
    write_hosts(certs, registry.host, mirrored(mirror.url))
    assert content(driver.publish("a", registry.reference("team/model", "v1"))) == MODEL
    assert mirror.bytes_sent[digest] == 2 << 20
    assert registry.bytes_sent[digest] == len(WEIGHTS) - (2 << 20), "no byte came twice"


def test_no_authorization_reaches_any_host_but_its_own(
    private: EmbeddedRegistry, mirror: EmbeddedRegistry, driver: RunningDriver, certs: Path
) -> None:
    """The mirror has half of the model, so that everybody is asked: mirror, registry, token service and storage."""
    mirror.faults.add(Fault(status=404), path=f"*{digest_of_weights(mirror)}", times=99)
    write_hosts(certs, private.host, mirrored(mirror.url, capabilities=["pull"]))
    assert content(driver.publish("a", private.reference("team/model", "v1"), secrets=secret(private))) == MODEL
    assert mirror.count() > 0
    assert not any("authorization" in seen.headers for seen in mirror.requests)
    schemes: dict[str, set[str]] = {}
    for seen in private.requests:
        schemes.setdefault(seen.server, set()).add(seen.headers.get("authorization", "none").partition(" ")[0])
    assert schemes["storage"] == {"none"}
    assert schemes["registry"] <= {"none", "Bearer"}
    assert "Basic" in schemes["tokens"]


def test_a_damaged_hosts_toml_is_told_to_the_pod_and_mended_without_a_restart(
    registry: EmbeddedRegistry, mirror: EmbeddedRegistry, driver: RunningDriver, certs: Path
) -> None:
    path = write_hosts(certs, registry.host, mirrored(mirror.url) + "skip_verify = true\n")
    reference = registry.reference("team/model", "v1")
    with pytest.raises(Unavailable, match=f"{path} cannot be used: host '{mirror.url}': `skip_verify` is not honoured"):
        driver.publish("a", reference)
    write_hosts(certs, registry.host, mirrored(mirror.url))
    assert content(driver.publish("a", reference)) == MODEL


def test_a_mirror_that_may_not_resolve_opens_no_private_model(
    private: EmbeddedRegistry, mirror: EmbeddedRegistry, driver: RunningDriver, certs: Path
) -> None:
    write_hosts(certs, private.host, mirrored(mirror.url, capabilities=["pull"]))
    reference = private.reference("team/model", "v1")
    by_digest = private.reference("team/model", private.store.tags["team/model", "v1"])
    for pod, wanted in (("a", reference), ("b", by_digest)):
        with pytest.raises((Unauthenticated, AccessDenied)):
            driver.publish(pod, wanted)
    assert mirror.requests == []
    assert content(driver.publish("c", reference, secrets=secret(private))) == MODEL
    assert private.count("GET", BLOBS) == 0
    assert private.count("HEAD", BLOBS) > 0


def test_with_spegel_a_model_that_no_node_has_comes_from_the_registry(
    registry: EmbeddedRegistry, driver: RunningDriver, certs: Path
) -> None:
    registry.push_model("team/model", "v1", MODEL)
    with EmbeddedRegistry() as cluster, spegel(cluster.storage, cluster.store) as mirror:
        write_hosts(certs, "_default", mirrored(mirror.url))
        assert content(driver.publish("a", registry.reference("team/model", "v1"))) == MODEL
        assert {seen.query["ns"] for seen in mirror.requests} == {registry.host}
    assert registry.count(path=MANIFESTS) > 0


def test_with_spegel_a_model_that_the_cluster_holds_does_not_come_from_the_registry(
    registry: EmbeddedRegistry, driver: RunningDriver, certs: Path
) -> None:
    registry.push_model("team/model", "v1", MODEL)
    reference = registry.reference("team/model", "v1")
    with EmbeddedRegistry() as cluster, spegel(cluster.storage, cluster.store) as mirror:
        mirror.tags[reference] = cluster.push_model("team/model", "v1", MODEL)
        write_hosts(certs, "_default", mirrored(mirror.url))
        assert content(driver.publish("a", reference)) == MODEL
    assert registry.requests == []


def test_with_spegel_that_may_only_pull_the_registry_says_who_may_have_what_it_brings(
    private: EmbeddedRegistry, driver: RunningDriver, certs: Path
) -> None:
    reference = private.reference("team/model", "v1")
    with EmbeddedRegistry() as cluster, spegel(cluster.storage, cluster.store) as mirror:
        cluster.push_model("team/model", "v1", MODEL)
        write_hosts(certs, private.host, mirrored(mirror.url, capabilities=["pull"]))
        with pytest.raises(Unauthenticated):
            driver.publish("a", reference)
        assert mirror.requests == []
        assert content(driver.publish("b", reference, secrets=secret(private))) == MODEL
    assert private.count("GET", BLOBS) == 0


@pytest.mark.parametrize("is_honest", [True, False], ids=["honest", "lying"])
@pytest.mark.parametrize("capabilities", [["pull"], ["pull", "push"]], ids=" ".join)
def test_with_spegel_that_may_only_pull_digests_of_a_private_model_open_no_door(
    private: EmbeddedRegistry, driver: RunningDriver, certs: Path, is_honest: bool, capabilities: list[str]
) -> None:
    """Spegel gives blobs to whoever knows their digests; a manifest of one's own names them, and gets nothing.

    Also if one's own registry says of all blobs that it has them: nobody has named it to the driver but the pod.
    """
    with (
        EmbeddedRegistry() as mallorys,
        EmbeddedRegistry() as cluster,
        spegel(cluster.storage, cluster.store) as mirror,
    ):
        cluster.push_model("team/model", "v1", MODEL)
        mallorys.put_manifest("mallory/model", "v1", private.manifest("team/model", "v1"), MANIFEST_TYPE)
        if not is_honest:
            mallorys.faults.add(Fault(status=200), method="HEAD", times=99)
        write_hosts(certs, "_default", mirrored(mirror.url, capabilities=capabilities))
        with pytest.raises(NotFound, match="mallory/model"):
            driver.publish("a", mallorys.reference("mallory/model", "v1"))
        assert mirror.requests == []


def test_with_dragonfly_blobs_come_through_its_daemon_once_for_all(
    registry: EmbeddedRegistry, driver: RunningDriver, certs: Path, tmp_path: Path
) -> None:
    registry.push_model("team/model", "v1", MODEL)
    with dfdaemon() as daemon:
        toml = f'[host."{daemon.url}"]\ncapabilities = ["pull"]\n'
        toml += f'[host."{daemon.url}".header]\nX-Dragonfly-Registry = ["{registry.url}"]\n'
        write_hosts(certs, registry.host, toml)
        assert content(driver.publish("a", registry.reference("team/model", "v1"))) == MODEL
        assert registry.count("GET", BLOBS) == len(MODEL)
        other = Node(tmp_path / "other", driver.node.pull)
        with other.driver() as second:
            assert content(second.publish("b", registry.reference("team/model", "v1"))) == MODEL
            second.unpublish("b")
        assert registry.count("GET", BLOBS) == len(MODEL), "the second node's came from the first's"
        assert {seen.headers["x-dragonfly-registry"] for seen in daemon.requests} == {registry.url}
    assert not any("x-dragonfly-registry" in seen.headers for seen in registry.requests)


def test_with_dragonfly_a_private_model_comes_through_it_with_credentials_for_the_daemons_own_name(
    driver: RunningDriver, certs: Path
) -> None:
    docker = driver.node.home / "docker"
    docker.mkdir()
    with EmbeddedRegistry(auth="basic", users=USERS) as registry, dfdaemon() as daemon:
        registry.push_model("team/model", "v1", MODEL)
        toml = f'[host."{daemon.url}"]\ncapabilities = ["pull"]\n'
        toml += f'[host."{daemon.url}".header]\nX-Dragonfly-Registry = ["{registry.url}"]\n'
        write_hosts(certs, registry.host, toml)
        reference = registry.reference("team/model", "v1")
        with pytest.raises((Unauthenticated, AccessDenied)):
            driver.publish("a", reference)
        (docker / "config.json").write_text(
            json.dumps({"auths": {daemon.host: {"username": "alice", "password": "wonderland"}}})
        )
        with pytest.raises((Unauthenticated, AccessDenied)):
            driver.publish("b", reference)  # what the node may bring through the daemon is not what the pod may read
        assert content(driver.publish("c", reference, secrets=secret(registry))) == MODEL
        assert len(daemon.kept) == len(MODEL)


def test_the_directory_of_hosts_may_be_named_while_the_driver_runs(
    registry: EmbeddedRegistry, mirror: EmbeddedRegistry, node: Node, certs: Path
) -> None:
    write_hosts(certs, registry.host, mirrored(mirror.url))
    node.pull = replace(node.pull, hosts_dir="")
    config = node.home / "config.yaml"
    config.write_text("")
    node.file = config
    with node.driver() as driver:
        with pytest.raises(NotFound):
            driver.publish("a", registry.reference("team/model", "v1"))
        config.write_text(f"pull_config: {{hosts_dir: {certs}}}")
        driver.driver.reload()
        assert content(driver.publish("a", registry.reference("team/model", "v1"))) == MODEL
