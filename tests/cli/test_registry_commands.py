"""push and inspect: what they do at a registry, and what they print."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from csi_driver.cli.exits import ExitCode
from tests.cli.conftest import Command
from tests.fixtures.faults import Fault
from tests.fixtures.hosts import mirrored, write_hosts
from tests.fixtures.registry import EmbeddedRegistry

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
FILES = {"model.safetensors": b"w" * 5000, "config.json": b'{"model_type": "bert"}', "docs/README.md": b"# Model\n"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    for path, content in FILES.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
    (directory / ".gitattributes").write_bytes(b"")
    return directory


def test_a_push_tells_what_it_did(model_csi: Command, registry: EmbeddedRegistry, model: Path) -> None:
    reference = registry.reference("team/bert", "v1")
    document = model_csi("push", model, reference, "--output", "json").document
    assert document.pop("seconds") >= 0
    assert registry.count("GET", f"/v2/team/bert/manifests/{document['digest']}") == 0
    assert json.loads(registry.manifest("team/bert", document["digest"])) == json.loads(
        registry.manifest("team/bert", "v1")
    )
    digest = document["digest"]
    assert document == {
        "reference": reference,
        "digest": digest,
        "files": 3,
        "layers": 3,
        "size": 5030,
        "sent": 5030,
        "skipped": [".gitattributes"],
    }
    again = model_csi("push", model, reference)
    assert again.out.splitlines() == [
        f"pushed {reference}: 3 files, 4.9 KiB (4.9 KiB already there); 1 path left out",
        f"digest {digest}",
    ]


def test_a_push_takes_its_time_from_source_date_epoch(
    model_csi: Command, registry: EmbeddedRegistry, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = registry.reference("team/bert", "v1")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert model_csi("push", model, reference, "--name", "mine", "--family", "llama").code == 0
    said = model_csi("inspect", reference, "--output", "json").document["model"]
    assert said == {
        "createdAt": "2023-11-14T22:13:20Z",
        "family": "llama",
        "name": "mine",
        "format": "safetensors",
    }
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    outcome = model_csi("push", model, reference)
    assert (outcome.code, outcome.out) == (ExitCode.INVALID, "")


def test_inspect_shows_what_a_pod_would_see(model_csi: Command, registry: EmbeddedRegistry, model: Path) -> None:
    reference = registry.reference("team/bert", "v1")
    digest = model_csi("push", model, reference, "--output", "json").document["digest"]
    shown = model_csi("inspect", reference)
    assert (shown.code, shown.err) == (0, "")
    lines = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert [line for line in lines if not line.startswith("Created at")] == [
        f"Reference {reference}",
        f"Digest {digest}",
        "Producer modelpack",
        "Name bert",
        "Family bert",
        "Format safetensors",
        "Total 3 layers, 4.9 KiB",
        "",
        "ROLE PACKING SIZE PATH",
        "weight.config raw 22 B config.json",
        "doc raw 8 B docs/README.md",
        "weight raw 4.9 KiB model.safetensors",
    ]
    assert registry.count("GET", "/v2/team/bert/blobs/*") == 1  # the configuration, and no layer


def test_inspect_for_scripts(model_csi: Command, registry: EmbeddedRegistry) -> None:
    digest = registry.push_model(
        "team/model", "v1", {"a/model.bin": b"weights", "b.json": b"{}"}, packing="tar+zstd", bundle=True
    )
    document = model_csi("inspect", registry.reference("team/model", digest), "--output", "json").document
    layer = document["layers"][0]
    assert (document["digest"], document["producer"]) == (digest, "modelpack")
    assert document["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert document["model"] == {"name": "test-model", "format": "safetensors", "paramSize": "1M"}
    assert document["warnings"] == []
    assert (layer["path"], layer["role"], layer["packing"]) == (None, "weight", "tar+zstd")
    assert document["size"] == layer["size"]
    assert layer.keys() == {"path", "role", "packing", "size", "digest", "mediaType", "selected", "cached"}
    assert (layer["selected"], layer["cached"], document["cached"]) == (True, None, None)
    assert (document["selected"], document["parents"], document["files"]) == (
        {"layers": 1, "size": layer["size"]},
        [],
        [],
    )


def test_inspect_takes_from_an_index_what_a_node_would_take(model_csi: Command, registry: EmbeddedRegistry) -> None:
    digest = registry.push_model("team/model", None, {"model.bin": b"weights"})
    entry: dict[str, Any] = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": len(registry.manifest("team/model", digest)),
    }
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]}
    registry.put_manifest("team/model", "v1", json.dumps(index).encode(), INDEX_TYPE)
    assert model_csi("inspect", registry.reference("team/model", "v1"), "-o", "json").document["digest"] == digest


def test_what_is_odd_about_a_model_is_a_warning(model_csi: Command, registry: EmbeddedRegistry) -> None:
    registry.push_model("team/model", "v1", {"model.bin": b"weights"})
    manifest = json.loads(registry.manifest("team/model", "v1"))
    manifest["layers"][0]["annotations"]["org.cncf.model.file.metadata+json"] = "{"
    registry.put_manifest("team/model", "v1", json.dumps(manifest).encode(), manifest["mediaType"])
    outcome = model_csi("inspect", registry.reference("team/model", "v1"))
    assert outcome.code == 0
    assert outcome.err.startswith("Warning: the file metadata of layer sha256:")


def test_a_config_blob_without_sense_is_no_obstacle(model_csi: Command, registry: EmbeddedRegistry) -> None:
    registry.push_model("team/model", "v1", {"model.bin": b"weights"})
    manifest = json.loads(registry.manifest("team/model", "v1"))
    for body in (b"{}", b"not JSON"):
        manifest["config"] |= {"digest": registry.put_blob(body), "size": len(body)}
        registry.put_manifest("team/model", "v1", json.dumps(manifest).encode(), manifest["mediaType"])
        document = model_csi("inspect", registry.reference("team/model", "v1"), "-o", "json").document
        assert document["model"] == {}


def test_a_damaged_config_blob_is_never_shown(model_csi: Command, registry: EmbeddedRegistry) -> None:
    registry.push_model("team/model", "v1", {"model.bin": b"weights"})
    registry.faults.add(Fault(corrupt_at=5), path="/v2/*/blobs/*", times=1)
    assert model_csi("inspect", registry.reference("team/model", "v1")).code == 0
    registry.faults.add(Fault(corrupt_at=5), path="/v2/*/blobs/*", times=2)
    outcome = model_csi("inspect", registry.reference("team/model", "v1"))
    assert (outcome.code, outcome.out) == (ExitCode.UNSUPPORTED, "")


def test_what_is_no_model_is_told_by_name(model_csi: Command, registry: EmbeddedRegistry) -> None:
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": f"sha256:{'1' * 64}", "size": 2},
        "layers": [{"mediaType": "application/vnd.acme.thing", "digest": f"sha256:{'2' * 64}", "size": 2}],
    }
    registry.put_manifest("team/image", "v1", json.dumps(manifest).encode(), str(manifest["mediaType"]))
    outcome = model_csi("inspect", registry.reference("team/image", "v1"))
    assert (outcome.code, outcome.out) == (ExitCode.UNSUPPORTED, "")
    assert "application/vnd.acme.thing" in outcome.err


def test_a_model_that_is_not_there_is_not_found(model_csi: Command, registry: EmbeddedRegistry) -> None:
    outcome = model_csi("inspect", registry.reference("team/model", "v9"))
    assert (outcome.code, outcome.out) == (ExitCode.NOT_FOUND, "")


def test_a_registry_that_is_gone_is_unavailable(model_csi: Command, registry: EmbeddedRegistry) -> None:
    registry.faults.add(Fault(status=503, headers={"Retry-After": "3600"}), times=100)
    outcome = model_csi("inspect", registry.reference("team/model", "v1"))
    assert (outcome.code, outcome.out) == (ExitCode.UNAVAILABLE, "")


def test_credentials_come_from_a_secret_or_from_the_docker_config(
    model_csi: Command, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "geheim"}) as registry:
        reference = registry.reference("team/bert", "v1")
        for command in (("push", model, reference), ("inspect", reference)):
            refused = model_csi(*command)
            assert (refused.code, refused.out) == (ExitCode.DENIED, "")
            assert "geheim" not in refused.err

        secret = tmp_path / "secret.yaml"
        secret.write_text("username: ann\npassword: geheim\n")
        assert model_csi("push", model, reference, "--secret", secret).code == 0
        assert model_csi("inspect", reference, "--secret", secret).code == 0

        auths = {registry.host: {"auth": base64.b64encode(b"ann:geheim").decode()}}
        config = tmp_path / "config" / "config.json"
        config.parent.mkdir()
        config.write_text(json.dumps({"auths": auths}))
        assert model_csi("inspect", reference, "--docker-config", config.parent).code == 0
        assert model_csi("--docker-config", config.parent, "inspect", reference).code == 0
        monkeypatch.setenv("DOCKER_CONFIG", str(config.parent))
        assert model_csi("push", model, reference).code == 0
        monkeypatch.delenv("DOCKER_CONFIG")
        config.parent.rename(tmp_path / ".docker")  # in the home directory
        assert model_csi("inspect", reference).code == 0


def test_a_registry_is_spoken_to_in_tls_unless_it_is_named(model_csi: Command, registry: EmbeddedRegistry) -> None:
    registry.push_model("team/model", "v1", {"model.bin": b"weights"})
    port = registry.host.rpartition(":")[2]
    registry.forget_requests()
    assert model_csi("inspect", f"0.0.0.0:{port}/team/model:v1").code == ExitCode.UNAVAILABLE
    assert registry.count() == 0
    assert model_csi("inspect", f"0.0.0.0:{port}/team/model:v1", "--plain-http", f"0.0.0.0:{port}").code == 0


def test_mirrors_and_authorities_come_from_hosts_toml_files(
    model_csi: Command, registry: EmbeddedRegistry, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_hosts(tmp_path, "models.example", mirrored(registry.url, capabilities=["pull", "resolve", "push"]))
    reference = "models.example/team/bert:v1"
    assert model_csi("push", model, reference, "--hosts-dir", tmp_path).code == 0
    assert model_csi("--hosts-dir", tmp_path, "inspect", reference).code == 0
    monkeypatch.setenv("MODEL_CSI_HOSTS_DIR", str(tmp_path))
    assert model_csi("inspect", reference).code == 0
    assert {seen.query.get("ns") for seen in registry.seen(method="GET")} == {"models.example"}
