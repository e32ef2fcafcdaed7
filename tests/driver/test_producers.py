"""What others than ModelPack's tools push is mounted as what it was packed from, or refused without a trace."""

import json
import stat

import pytest
import yaml

from csi_driver.errors import AccessDenied, ContentMismatch, DriverError, NotFound, Unauthenticated, UnsupportedArtifact
from csi_driver.oci.media import FILE_METADATA
from tests.fixtures.driver import EXCLUDE_WEIGHTS, Node, RunningDriver, content
from tests.fixtures.faults import Fault
from tests.fixtures.models import pack
from tests.fixtures.producers import (
    DOCKER_AI,
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    FILEPATH,
    KIT,
    OCI_EMPTY,
    OCI_TAR,
    OLLAMA,
    TITLE,
    UNPACK,
    archive,
    kit_of,
    layer,
    push,
    push_kit,
)
from tests.fixtures.registry import EmbeddedRegistry


def refused(
    driver: RunningDriver,
    reference: str,
    match: str,
    error: type[DriverError] = UnsupportedArtifact,
    *,
    layers_stay: bool = False,
) -> None:
    """Nothing is published or half made; whole layers may stay where only their names were found to be at odds."""
    with pytest.raises(error, match=match):
        driver.publish("a", reference)
    assert not driver.node.target("a").exists()
    assert [path for path in driver.node.leftovers() if not (layers_stay and path.startswith("layers/"))] == []


# Ollama and Docker Model Runner


def test_a34_an_ollama_model_is_mounted_as_named_files(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    kinds = {"model": b"GGUF", "template": b"{{ .Prompt }}", "params": b"{}", "license": b"MIT"}
    layers = [layer(registry, f"{OLLAMA}.{kind}", data) for kind, data in kinds.items()]
    layers.append(layer(registry, f"{OLLAMA}.json", b"[]", name="tokenizer/merges.json"))
    reference = push(registry, "library/m:latest", DOCKER_CONFIG, layers, media_type=DOCKER_MANIFEST)
    assert content(driver.publish("a", reference)) == {
        "LICENSE": b"MIT",
        "model.gguf": b"GGUF",
        "params.json": b"{}",
        "template": b"{{ .Prompt }}",
        "tokenizer/merges.json": b"[]",
    }
    without = driver.publish("b", reference, {EXCLUDE_WEIGHTS: "true"})
    assert sorted(content(without)) == ["LICENSE", "params.json", "template", "tokenizer/merges.json"]


def test_a34_an_ollama_model_in_tensors_is_refused(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    layers = [layer(registry, f"{OLLAMA}.tensor", b"t", name="model.embed.weight")]
    refused(driver, push(registry, "library/m:t", DOCKER_CONFIG, layers), "only Ollama")


def test_a35_docker_model_runners_shards_are_mounted_numbered(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    layers = [layer(registry, f"{DOCKER_AI}.gguf.v3", data) for data in (b"one", b"two")]
    layers.append(layer(registry, f"{DOCKER_AI}.vllm.config.tar", archive({"config.json": b"{}", "t/v.txt": b"v"})))
    reference = push(registry, "ai/m:1", f"{DOCKER_AI}.model.config.v0.1+json", layers)
    assert content(driver.publish("a", reference)) == {
        "config.json": b"{}",
        "model-00001-of-00002.gguf": b"one",
        "model-00002-of-00002.gguf": b"two",
        "t/v.txt": b"v",
    }


def test_a35_docker_model_runners_directory_is_mounted_as_it_was(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    files = {"vae/model.safetensors": b"v", "unet/model.safetensors": b"u", "model_index.json": b"{}"}
    layers = [
        layer(registry, f"{DOCKER_AI}.model.file", data, annotations={FILEPATH: path}) for path, data in files.items()
    ]
    reference = push(registry, "ai/m:2", f"{DOCKER_AI}.model.config.v0.2+json", layers)
    assert content(driver.publish("a", reference)) == files


def test_a35_a_file_without_a_name_is_refused(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    layers = [layer(registry, f"{DOCKER_AI}.gguf.v3", b"w"), layer(registry, f"{DOCKER_AI}.model.file", b"f")]
    refused(driver, push(registry, "ai/m:3", f"{DOCKER_AI}.model.config.v0.2+json", layers), "without a name")


# ORAS


def test_a36_oras_directories_are_unpacked_and_files_are_not(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    directory = archive({"weights/a.bin": b"a", "weights/b/c.bin": b"c"}, "tar+gzip")
    file = archive({"inside": b"x"})
    reference = push(
        registry,
        "team/m:oras",
        OCI_EMPTY,
        [
            layer(registry, f"{OCI_TAR}+gzip", directory, annotations={TITLE: "weights", UNPACK: "true"}),
            layer(registry, OCI_TAR, file, annotations={TITLE: "data.tar"}),
            layer(registry, "text/plain", b"hello", annotations={TITLE: "docs/README"}),
        ],
        artifact_type="application/vnd.unknown.artifact.v1",
    )
    assert content(driver.publish("a", reference)) == {
        "data.tar": file,
        "docs/README": b"hello",
        "weights/a.bin": b"a",
        "weights/b/c.bin": b"c",
    }


def test_a36_a_directory_that_leads_out_is_refused(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    said = {TITLE: "d", UNPACK: "true"}
    layers = [layer(registry, f"{OCI_TAR}+gzip", archive({"../../out": b"x"}, "tar+gzip"), annotations=said)]
    refused(driver, push(registry, "team/m:out", OCI_EMPTY, layers), "out")
    assert not (driver.node.home / "out").exists()


def test_a36_an_artifact_without_named_files_is_refused(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    layers = [layer(registry, "application/vnd.acme", b"x")]
    refused(driver, push(registry, "team/m:nameless", OCI_EMPTY, layers), "has no name")


# ModelKits


def test_a_modelkit_is_mounted_as_kit_unpacks_it(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    model = layer(registry, f"{KIT}.model.v1.tar+zstd", archive({"m/w.gguf": b"w"}, "tar+zstd"))
    docs = layer(registry, f"{KIT}.docs.v1.raw", b"# M", annotations={FILEPATH: "README.md"})
    kitfile = {
        "package": {"name": "demo"},
        "model": {"path": "m", "digest": model["digest"]},
        "docs": [{"path": "README.md", "digest": docs["digest"]}],
    }
    reference = push_kit(registry, "team/kit:1", kitfile, [model, docs])
    files = content(driver.publish("a", reference))
    assert yaml.safe_load(files.pop("Kitfile")) == {
        "manifestVersion": "1.0.0",
        "package": {"name": "demo"},
        "model": {"path": "m"},
        "docs": [{"path": "README.md"}],
    }
    assert files == {"README.md": b"# M", "m/w.gguf": b"w"}
    assert sorted(content(driver.publish("b", reference, {EXCLUDE_WEIGHTS: "true"}))) == ["Kitfile", "README.md"]


def test_a_modelkit_from_before_0_5_is_mounted_where_its_kitfile_says(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    model = layer(registry, f"{KIT}.model.v1.tar+gzip", archive({"m/w.gguf": b"w"}, "tar+gzip"))
    reference = push_kit(registry, "team/kit:old", {"model": {"path": "models/m"}}, [model])
    assert content(driver.publish("a", reference))["models/m/w.gguf"] == b"w"


def test_a_modelkit_with_a_file_in_the_kitfiles_place_is_refused(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    refused(
        driver,
        kit_of(registry, "team/kit:c", None, {"Kitfile": b"another"}),
        "configuration and layer sha256:",
        layers_stay=True,
    )


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_a14_a_compressed_file_of_a_modelkit_is_mounted_unpacked(
    registry: EmbeddedRegistry, driver: RunningDriver, form: str
) -> None:
    said = {"mode": 0o755, "mtime": "2024-01-01T00:00:00Z"}
    data = pack(b"#!/bin/sh\n" * 1000, f"tar+{form}")
    code = layer(
        registry,
        f"{KIT}.code.v1.raw+{form}",
        data,
        annotations={FILEPATH: "bin/run.sh", FILE_METADATA: json.dumps(said)},
    )
    reference = push_kit(registry, "team/kit:raw", {"code": [{"path": "bin", "digest": code["digest"]}]}, [code])
    target = driver.publish("a", reference)
    assert content(target).keys() == {"Kitfile", "bin/run.sh"}
    script = target / "bin/run.sh"
    assert script.read_bytes() == b"#!/bin/sh\n" * 1000
    assert (stat.S_IMODE(script.stat().st_mode), script.stat().st_mtime) == (0o555, 1_704_067_200)
    plain = [layer(registry, "text/plain", data, annotations={TITLE: "run.sh.compressed"})]
    other = driver.publish("b", push(registry, "team/raw:1", OCI_EMPTY, plain))
    assert content(other) == {"run.sh.compressed": data}


def test_a5_a_kitfile_that_is_too_large_is_not_fetched(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    layers = [layer(registry, f"{KIT}.model.v1.tar", archive({"w": b"w"}))]
    refused(driver, push_kit(registry, "team/kit:big", {}, layers, size=(4 << 20) + 1), "at most 4194304")
    assert registry.count(path="/v2/*/blobs/*") == 0


def test_a_kitfile_that_stays_damaged_is_data_loss(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    reference = kit_of(registry, "team/kit:d", None, {"w": b"w" * 1000})
    registry.faults.add(Fault(corrupt_at=5), path="/v2/*/blobs/*", times=2)
    refused(driver, reference, "configuration", ContentMismatch)
    registry.faults.add(Fault(corrupt_at=5), path="/v2/*/blobs/*", times=1)
    assert content(driver.publish("a", reference))["w"] == b"w" * 1000


def test_a37_a_modelkit_gets_the_model_of_its_parents_and_nothing_else(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    model = layer(registry, f"{KIT}.model.v1.tar", archive({"w.gguf": b"w"}))
    part = layer(registry, f"{KIT}.modelpart.v1.tar", archive({"lora.bin": b"l"}))
    code = layer(registry, f"{KIT}.code.v1.tar", archive({"train.py": b"t"}))
    entries = [{"path": ".", "digest": each["digest"]} for each in (model, part, code)]
    base = push_kit(
        registry,
        "base/kit:1",
        {"model": {**entries[0], "parts": [entries[1]]}, "code": [entries[2]]},
        [model, part, code],
    )
    tuned = kit_of(registry, "team/tuned:1", base, {"tune.py": b"x"})
    files = content(driver.publish("a", kit_of(registry, "team/served:1", tuned, {"serve.py": b"s"})))
    assert yaml.safe_load(files.pop("Kitfile"))["model"] == {"path": tuned}
    assert files == {"lora.bin": b"l", "serve.py": b"s", "w.gguf": b"w"}


def test_a37_a_modelkit_that_is_only_a_parents_model_is_mounted(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    base = kit_of(registry, "base/kit:1", None, {"w": b"w"})
    files = content(driver.publish("a", push_kit(registry, "team/kit:1", {"model": {"path": base}})))
    assert files.pop("Kitfile")
    assert files == {"w": b"w"}


def test_a37_modelkits_that_build_on_themselves_are_refused(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    own = registry.reference("team/self", "1")
    refused(driver, kit_of(registry, "team/self:1", own, {"a": b"a"}), "in a circle: .*self:1 => .*self:1")
    kit_of(registry, "team/one:1", registry.reference("team/two", "1"), {"a": b"a"})
    refused(
        driver,
        kit_of(registry, "team/two:1", registry.reference("team/one", "1"), {"b": b"b"}),
        "in a circle: .*two:1 => .*one:1 => .*two:1",
    )


def test_a37_ten_parents_are_pulled_and_eleven_are_refused(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    reference = kit_of(registry, "chain/k0:1", None, {"w": b"w"})
    for number in range(1, 11):
        reference = kit_of(registry, f"chain/k{number}:1", reference, {f"f{number}": b"f"})
    refused(driver, kit_of(registry, "chain/k11:1", reference, {"f11": b"f"}), "more than 10")
    assert sorted(content(driver.publish("a", reference))) == ["Kitfile", "f10", "w"]


def test_a37_a_parent_that_is_not_there_is_named(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    gone = registry.reference("base/gone", "1")
    refused(driver, kit_of(registry, "team/kit:1", gone, {"a": b"a"}), "base/gone", NotFound)


def test_a37_two_models_with_one_path_and_two_contents_are_refused(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    base = kit_of(registry, "base/kit:1", None, {"same": b"one"})
    refused(driver, kit_of(registry, "team/kit:1", base, {"same": b"two"}), "both bring 'same'", layers_stay=True)


def test_a37_a_parent_elsewhere_gets_no_password_that_is_for_the_registry_of_the_model(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    """Whoever may push a kit names its parent."""
    users = {"alice": "wonderland"}
    with EmbeddedRegistry(auth="basic", users=users) as own, EmbeddedRegistry(auth="basic", users=users) as mallorys:
        base = kit_of(mallorys, "mallory/kit:1", None, {"w": b"w"})
        reference = kit_of(own, "team/kit:1", base, {"code": b"c"})
        with pytest.raises(Unauthenticated, match="mallory/kit"):
            driver.publish("a", reference, secrets={"username": "alice", "password": "wonderland"})
        assert any("authorization" in seen.headers for seen in own.requests)
        assert mallorys.count() > 0
        assert not any("authorization" in seen.headers for seen in mallorys.requests)


def test_a37_a_copy_with_a_parents_model_is_only_for_who_may_read_the_parent(node: Node) -> None:
    users = {"alice": "a", "bob": "b"}
    with EmbeddedRegistry(auth="basic", users=users, grants={"alice": ["*/*"], "bob": ["team/*"]}) as registry:
        base = kit_of(registry, "base/kit:1", None, {"w": b"w"})
        reference = kit_of(registry, "team/kit:1", base, {"code": b"c"})
        alice, bob = ({"username": user, "password": key} for user, key in users.items())
        with node.driver() as driver:
            with pytest.raises((AccessDenied, Unauthenticated), match="base/kit"):
                driver.publish("b", reference, secrets=bob)
            assert node.leftovers() == []
            first = content(driver.publish("a", reference, secrets=alice))
            for policy in ("IfNotPresent", "Always"):
                with pytest.raises((AccessDenied, Unauthenticated), match="base/kit"):
                    driver.publish("b", reference, {"pullPolicy": policy}, secrets=bob)
            assert not node.target("b").exists()
            registry.forget_requests()
            for pod, policy in (("c", "IfNotPresent"), ("d", "Never")):
                assert content(driver.publish(pod, reference, {"pullPolicy": policy}, secrets=alice)) == first
            assert registry.count() == 0
            driver.publish("e", reference, {"pullPolicy": "Always"}, secrets=alice)
            assert registry.count(path="/v2/base/kit/manifests/1") > 0
            assert registry.count(path="/v2/*/blobs/*") == 0
