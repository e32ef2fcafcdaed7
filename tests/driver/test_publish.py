"""A pod asks for a model and finds it: the whole way, over a real socket, real HTTP and real mounts."""

import hashlib
import math
import os
import re
import stat
from dataclasses import replace

import pytest

from csi_driver.errors import NotFound, StillPulling, Unavailable
from csi_driver.inflight import spawn
from tests.fixtures.driver import EXCLUDE_PATTERNS, EXCLUDE_WEIGHTS, Node, RunningDriver, content
from tests.fixtures.faults import Fault
from tests.fixtures.models import File
from tests.fixtures.registry import EmbeddedRegistry

MODEL = {
    "model-00001-of-00002.safetensors": os.urandom(3_000_000),
    "model-00002-of-00002.safetensors": os.urandom(1_234_567),
    "config.json": b'{"model_type": "bert"}',
    "1_Pooling/config.json": b"{}",
    "README.md": b"# A model\n",
    "empty.txt": b"",
}
SOON = 60.0


def shas(registry: EmbeddedRegistry) -> set[str]:
    return {f"sha256:{hashlib.sha256(data).hexdigest()}" for data in MODEL.values() if data}


@pytest.mark.parametrize("namespace", ["cncf", "cnai"])
@pytest.mark.parametrize("packing", ["raw", "tar", "tar+gzip", "tar+zstd"])
def test_a_model_in_every_packing_and_namespace_is_there_byte_for_byte(
    registry: EmbeddedRegistry, driver: RunningDriver, packing: str, namespace: str
) -> None:
    registry.push_model("team/model", "v1", MODEL, packing=packing, namespace=namespace)
    target = driver.publish("a", registry.reference("team/model", "v1"))
    assert content(target) == MODEL


def test_a_model_in_one_archive_is_there_byte_for_byte(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    registry.push_model("team/model", "v1", MODEL, packing="tar+zstd", bundle=True)
    assert content(driver.publish("a", registry.reference("team/model", "v1"))) == MODEL


def test_files_are_readable_by_all_writable_by_none_and_keep_their_times(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    files = {"run.sh": File(b"#!/bin/sh\n", mode=0o4755, mtime=1_600_000_000), "secret.bin": File(b"x", mode=0o600)}
    registry.push_model("team/model", "v1", files)
    target = driver.publish("a", registry.reference("team/model", "v1"))
    script, weights = os.stat(target / "run.sh"), os.stat(target / "secret.bin")
    assert (stat.S_IMODE(script.st_mode), script.st_mtime, script.st_uid) == (0o555, 1_600_000_000, os.getuid())
    assert stat.S_IMODE(weights.st_mode) == 0o444
    assert stat.S_IMODE(os.stat(target).st_mode) == 0o555
    with pytest.raises(OSError, match="Read-only file system"):
        (target / "new").touch()


def test_a_second_pod_gets_the_same_copy_without_a_download(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    registry.push_model("team/model", "v1", MODEL)
    reference = registry.reference("team/model", "v1")
    first = driver.publish("a", reference)
    registry.forget_requests()
    second = driver.publish("b", reference)
    assert content(second) == MODEL
    assert registry.count() == 0
    assert os.path.samefile(first / "config.json", second / "config.json")


def test_models_share_the_layers_they_have_in_common(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    registry.push_model("team/model", "v1", MODEL)
    registry.push_model("team/model", "v2", {**MODEL, "config.json": b'{"model_type": "gpt"}'})
    first = driver.publish("a", registry.reference("team/model", "v1"))
    registry.forget_requests()
    second = driver.publish("b", registry.reference("team/model", "v2"))
    assert registry.count("GET", "/v2/team/model/blobs/*") == 1
    weights = "model-00001-of-00002.safetensors"
    assert os.path.samefile(first / weights, second / weights)


def test_a_hundred_pods_at_once_make_one_download_and_probes_are_answered_meanwhile(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    registry.push_model("team/model", "v1", MODEL)
    reference = registry.reference("team/model", "v1")
    registry.gate.hold()
    publishes = [spawn("pod", lambda pod=f"pod-{n}": driver.publish(pod, reference)) for n in range(100)]  # type: ignore[misc]
    registry.gate.wait_until_held()
    assert all(driver.client.probe(timeout=5.0) for _ in range(20))
    registry.gate.open()
    targets = [publish.result(SOON) for publish in publishes]
    assert all(content(target) == MODEL for target in targets)
    fetched = {one: registry.count("GET", f"/v2/team/model/blobs/{one}") for one in shas(registry)}
    assert fetched == dict.fromkeys(shas(registry), 1)


def test_a_pull_longer_than_the_call_is_joined_by_the_next_and_fetches_every_blob_once(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    registry.push_model("team/model", "v1", MODEL)
    reference = registry.reference("team/model", "v1")
    registry.gate.hold(at=500_000)
    with pytest.raises(StillPulling) as late:
        driver.publish("a", reference, timeout=1.5)
    assert re.search(rf"pulling {reference}: \d+ % \(\d+\.\d of 4\.0 MiB", str(late.value))
    assert not driver.node.target("a").exists()
    registry.gate.open()
    assert content(driver.publish("a", reference)) == MODEL
    assert all(registry.count("GET", f"/v2/team/model/blobs/{one}") == 1 for one in shas(registry))


def test_unpublishing_leaves_nothing_and_the_cache_keeps_the_model(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    registry.push_model("team/model", "v1", MODEL)
    reference = registry.reference("team/model", "v1")
    target = driver.publish("a", reference)
    driver.unpublish("a")
    driver.unpublish("a")
    assert not target.exists()
    registry.forget_requests()
    assert content(driver.publish("a", reference)) == MODEL
    assert registry.count() == 0


def test_a_tag_that_moved_is_followed_only_by_policy_always(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    reference = registry.reference("team/model", "v1")
    registry.push_model("team/model", "v1", {"a.txt": b"old"})
    driver.publish("a", reference)
    registry.push_model("team/model", "v1", {"a.txt": b"new"})
    assert content(driver.publish("b", reference)) == {"a.txt": b"old"}
    assert content(driver.publish("c", reference, {"pullPolicy": "Always"})) == {"a.txt": b"new"}


def test_a_tag_that_moved_keeps_its_meaning_until_the_new_one_is_here(registry: EmbeddedRegistry, node: Node) -> None:
    node.pull = replace(node.pull, access_ttl_in_seconds=0.0)
    reference, if_not_present = registry.reference("team/model", "v1"), {"pullPolicy": "IfNotPresent"}
    registry.push_model("team/model", "v1", {"a.txt": b"old"})
    with node.driver() as driver:
        driver.publish("a", reference)
        registry.push_model("team/model", "v1", {"a.txt": b"new"})
        for pod in ("b", "c"):
            assert content(driver.publish(pod, reference, if_not_present)) == {"a.txt": b"old"}
        registry.faults.add(Fault(status=500), path="/v2/*/blobs/*", times=math.inf)
        with pytest.raises(Unavailable):
            driver.publish("d", reference, {"pullPolicy": "Always"})
        assert content(driver.publish("e", reference, if_not_present)) == {"a.txt": b"old"}
        registry.faults.clear()
        driver.publish("d", reference, {"pullPolicy": "Always"})
        assert content(driver.publish("f", reference, if_not_present)) == {"a.txt": b"new"}


def test_policy_never_takes_only_what_is_here(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    registry.push_model("team/model", "v1", MODEL)
    reference = registry.reference("team/model", "v1")
    with pytest.raises(NotFound, match="pullPolicy is Never"):
        driver.publish("a", reference, {"pullPolicy": "Never"})
    assert registry.count() == 0
    driver.publish("a", reference)
    registry.forget_requests()
    assert content(driver.publish("b", reference, {"pullPolicy": "Never"})) == MODEL
    assert registry.count() == 0


def test_what_is_here_keeps_mounting_when_the_registry_is_gone(node: Node) -> None:
    with EmbeddedRegistry() as registry:
        registry.push_model("team/model", "v1", MODEL)
        reference = registry.reference("team/model", "v1")
        with node.driver() as driver:
            driver.publish("a", reference)
    with node.driver() as driver:
        assert content(driver.publish("b", reference)) == MODEL
        with pytest.raises(Unavailable, match=re.escape(registry.host)):
            driver.publish("c", reference, {"pullPolicy": "Always"})


def test_what_a_selection_leaves_out_is_not_downloaded(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    registry.push_model("team/model", "v1", MODEL)
    reference = registry.reference("team/model", "v1")
    target = driver.publish("a", reference, {EXCLUDE_WEIGHTS: "true"})
    assert set(content(target)) == {"config.json", "1_Pooling/config.json", "README.md", "empty.txt"}
    assert sum(registry.bytes_sent.values()) < 100
    patterns = driver.publish("b", reference, {EXCLUDE_PATTERNS: '["*.safetensors", "/1_Pooling/"]'})
    assert set(content(patterns)) == {"config.json", "README.md", "empty.txt"}


def test_a_digest_reference_is_that_very_model(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    digest = registry.push_model("team/model", "v1", {"a.txt": b"old"})
    registry.push_model("team/model", "v1", {"a.txt": b"new"})
    assert content(driver.publish("a", f"{registry.host}/team/model@{digest}")) == {"a.txt": b"old"}
    assert content(driver.publish("b", f"{registry.host}/team/model:v1@{digest}")) == {"a.txt": b"old"}


def test_pull_brings_a_model_and_list_shows_it(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    registry.push_model("team/model", "v1", MODEL)
    reference = registry.reference("team/model", "v1")
    assert list(driver.client.pull(reference))
    (model,) = driver.client.list_models()
    assert (model.reference, model.files, model.volumes) == (reference, len(MODEL), 0)
    assert model.size == sum(map(len, MODEL.values()))
    registry.forget_requests()
    driver.publish("a", reference)
    assert registry.count() == 0
    assert [one.volumes for one in driver.client.list_models()] == [1]
