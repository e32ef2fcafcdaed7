"""What is wrong is refused with the right error, and leaves nothing: not at the target, not in the cache."""

import json
import os
from collections.abc import Mapping

import pytest

from csi_driver.errors import (
    Conflict,
    ContentMismatch,
    DriverError,
    InvalidRequest,
    NotFound,
    Unavailable,
    UnsupportedArtifact,
)
from tests.fixtures import models
from tests.fixtures.driver import EXCLUDE_PATTERNS, EXCLUDE_WEIGHTS, RunningDriver, content, eventually
from tests.fixtures.faults import Fault
from tests.fixtures.models import File
from tests.fixtures.producers import layer
from tests.fixtures.registry import EmbeddedRegistry
from tests.transfer.archives import gzipped, tarfile_of


def refused(
    driver: RunningDriver,
    reference: str,
    error: type[DriverError],
    match: str,
    attributes: Mapping[str, str] | None = None,
) -> None:
    with pytest.raises(error, match=match):
        driver.publish("a", reference, attributes)
    assert not driver.node.target("a").exists()
    assert driver.node.leftovers() == []


@pytest.mark.parametrize(
    ("reference", "match"),
    [
        ("", "modelRef"),
        ("registry.example/UPPER", "lower case"),
        ("host//model", "host//model"),
        ("https://host/m", "https"),
    ],
)
def test_a_bad_reference_is_refused_before_anything_is_asked(driver: RunningDriver, reference: str, match: str) -> None:
    refused(driver, reference, InvalidRequest, match)


def test_a_bad_attribute_is_refused_before_anything_is_asked(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    reference = registry.reference("team/model", "v1")
    refused(driver, reference, InvalidRequest, "pullPolicy", {"pullPolicy": "Sometimes"})
    refused(driver, reference, InvalidRequest, "exclude-model-weights", {EXCLUDE_WEIGHTS: "maybe"})
    refused(driver, reference, InvalidRequest, "exclude-file-patterns", {EXCLUDE_PATTERNS: "*.bin"})
    refused(driver, reference, InvalidRequest, "surprise", {"surprise": "1"})
    assert registry.count() == 0


def test_a_model_that_is_not_there_is_not_found(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    registry.push_model("team/model", "v1", {"a": b"a"})
    refused(driver, registry.reference("team/model", "v2"), NotFound, "team/model")
    refused(driver, registry.reference("team/other", "v1"), NotFound, "team/other")


def test_a_registry_that_does_not_answer_is_unavailable(driver: RunningDriver) -> None:
    refused(driver, "127.0.0.1:1/team/model:v1", Unavailable, "127.0.0.1:1")


def test_a_damaged_layer_is_fetched_once_more(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    registry.push_model("team/model", "v1", {"weights.bin": b"w" * 10_000})
    registry.faults.add(Fault(corrupt_at=5_000), path="/v2/*/blobs/*", times=1)
    assert content(driver.publish("a", registry.reference("team/model", "v1"))) == {"weights.bin": b"w" * 10_000}


@pytest.mark.parametrize("packing", ["raw", "tar", "tar+gzip", "tar+zstd"])
def test_a_layer_that_stays_damaged_is_data_loss(
    registry: EmbeddedRegistry, driver: RunningDriver, packing: str
) -> None:
    registry.push_model("team/model", "v1", {"weights.bin": b"w" * 100_000}, packing=packing)
    registry.faults.add(Fault(corrupt_at=60), path="/v2/*/blobs/*", times=9)
    refused(driver, registry.reference("team/model", "v1"), ContentMismatch, "sha256:")


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b", "..", ""])
def test_a_raw_layer_that_leads_out_is_refused(registry: EmbeddedRegistry, driver: RunningDriver, path: str) -> None:
    registry.push_model("team/model", "v1", {path: b"x"})
    refused(driver, registry.reference("team/model", "v1"), UnsupportedArtifact, ".")
    assert not (driver.node.home / "outside").exists()


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b"])
def test_an_archive_that_leads_out_is_refused(registry: EmbeddedRegistry, driver: RunningDriver, path: str) -> None:
    registry.push_model("team/model", "v1", {"good": b"x", path: b"x"}, packing="tar", bundle=True)
    refused(driver, registry.reference("team/model", "v1"), UnsupportedArtifact, "outside|passwd|b")
    assert not (driver.node.home / "outside").exists()


def test_what_was_on_its_way_beside_a_bad_layer_and_cannot_be_gone_on_with_leaves_nothing(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    media_type = "application/vnd.cncf.model.weight.v1.tar+gzip"
    slow = layer(registry, media_type, gzipped(tarfile_of({"w.bin": os.urandom(300_000)})))
    bad = layer(registry, media_type, gzipped(tarfile_of({"../x": b"x"})))
    registry.put_manifest("team/model", "v1", models.manifest(registry, [slow, bad]), models.MANIFEST_TYPE)
    registry.gate.hold(at=100_000)  # which the bad one does not reach
    with pytest.raises(UnsupportedArtifact, match="does not lie inside"):
        driver.publish("a", registry.reference("team/model", "v1"))
    eventually(lambda: list((driver.node.root / "ingest").iterdir()) == [])


def test_two_layers_with_one_path_and_two_contents_are_refused(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    layers = [models.file_layer(registry, "a.txt", File(data)) for data in (b"one", b"two")]
    registry.put_manifest("team/model", "v1", models.manifest(registry, layers), models.MANIFEST_TYPE)
    refused(driver, registry.reference("team/model", "v1"), UnsupportedArtifact, "a.txt")


def test_an_index_is_never_an_empty_volume(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    body = json.dumps({"schemaVersion": 2, "mediaType": models.INDEX_TYPE, "manifests": []}).encode()
    registry.put_manifest("team/model", "v1", body, models.INDEX_TYPE)
    refused(driver, registry.reference("team/model", "v1"), UnsupportedArtifact, "index|manifest")


def test_a_selection_that_leaves_nothing_is_refused(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    registry.push_model("team/model", "v1", {"weights.safetensors": b"x"})
    reference = registry.reference("team/model", "v1")
    refused(driver, reference, UnsupportedArtifact, "excludes|excluded", {EXCLUDE_PATTERNS: '["*"]'})


def test_a_volume_published_otherwise_is_a_conflict_and_stays(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    registry.push_model("team/model", "v1", {"a": b"a"})
    registry.push_model("team/model", "v2", {"a": b"b"})
    target = driver.publish("a", registry.reference("team/model", "v1"))
    with pytest.raises(Conflict, match="csi-a"):
        driver.publish("a", registry.reference("team/model", "v2"))
    with pytest.raises(Conflict, match="csi-a"):
        driver.client.publish("csi-b", target, {"modelRef": registry.reference("team/model", "v1")})
    assert content(target) == {"a": b"a"}
