"""inspect: what it says of artifacts that are no ModelPack."""

import json

from csi_driver.cache.layout import LayerId
from csi_driver.cli.exits import ExitCode
from csi_driver.oci.digest import Digest
from csi_driver.oci.media import Role
from csi_driver.oci.selected import Selected
from csi_driver.oci.selection import Selection
from csi_driver.volumes.inventory import CachedModel
from tests.cli.conftest import Command
from tests.csi.conftest import Driver
from tests.fixtures.producers import (
    DOCKER_CONFIG,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_TAR,
    OLLAMA,
    UNPACK,
    archive,
    kit_of,
    layer,
    push,
)
from tests.fixtures.registry import EmbeddedRegistry


def test_inspect_tells_the_producer_and_where_its_files_go(model_csi: Command, registry: EmbeddedRegistry) -> None:
    layers = [layer(registry, f"{OLLAMA}.{kind}", b"x" + kind.encode()) for kind in ("model", "template")]
    document = model_csi("inspect", push(registry, "library/m:1", DOCKER_CONFIG, layers), "--output", "json").document
    assert document["producer"] == "ollama"
    assert [(one["path"], one["role"]) for one in document["layers"]] == [
        ("model.gguf", "weight"),
        ("template", "weight.config"),
    ]


def test_inspect_reads_the_kitfile_of_a_modelkit(model_csi: Command, registry: EmbeddedRegistry) -> None:
    outcome = model_csi("inspect", kit_of(registry, "team/kit:1", None, {"m/w": b"w"}))
    assert (outcome.code, outcome.err) == (0, "")
    assert "modelkit" in outcome.out


def test_inspect_says_what_an_image_is(model_csi: Command, registry: EmbeddedRegistry) -> None:
    layers = [layer(registry, OCI_TAR, archive({"models/w": b"w"}))]
    outcome = model_csi("inspect", push(registry, "team/image:1", OCI_CONFIG, layers))
    assert (outcome.code, outcome.err) == (ExitCode.OK, "")
    assert "Producer      image" in outcome.out
    assert "(what it has in /models)" in outcome.out


def test_inspect_says_what_a_selection_would_fetch(model_csi: Command, registry: EmbeddedRegistry) -> None:
    registry.push_model("team/model", "v1", {"model.bin": b"w" * 100, "config.json": b"{}", "README.md": b"# M"})
    reference = registry.reference("team/model", "v1")
    shown = model_csi("inspect", reference, "--exclude-model-weights", "--exclude-file-pattern", "*.md")
    lines = [line.split() for line in shown.out.splitlines()]
    assert ["Total", "3", "layers,", "105", "B"] in lines
    assert ["Selected", "1", "layer,", "2", "B"] in lines
    assert ["ROLE", "PACKING", "SIZE", "SELECTED", "PATH"] in lines
    assert ["weight", "raw", "100", "B", "no", "model.bin"] in lines
    document = model_csi("inspect", reference, "--layer-role", "docs", "--output", "json").document
    assert document["selected"] == {"layers": 1, "size": 3}
    assert {each["path"]: each["selected"] for each in document["layers"]} == {
        "README.md": True,
        "config.json": False,
        "model.bin": False,
    }


def test_inspect_says_what_the_node_holds(at_driver: Command, driver: Driver, registry: EmbeddedRegistry) -> None:
    digest = registry.push_model("team/model", "v1", {"model.bin": b"w" * 100, "config.json": b"{}"})
    reference = registry.reference("team/model", "v1")
    driver.inventory.layers = {LayerId(Digest.of(b"w" * 100), is_tree=False)}
    driver.inventory.held = [
        CachedModel(reference, digest, "", 100, 1, 2, 0.0),
        CachedModel("other/model:v1", "sha256:" + "b" * 64, "", 100, 1, 7, 0.0),
    ]
    lines = [line.split() for line in at_driver("inspect", reference).out.splitlines()]
    assert ["On", "this", "node", "1", "layer,", "100", "B;", "2", "volumes", "of", "this", "model"] in lines
    assert ["weight", "raw", "100", "B", "yes", "model.bin"] in lines
    assert ["weight.config", "raw", "2", "B", "no", "config.json"] in lines
    document = at_driver("inspect", reference, "-o", "json").document
    assert document["cached"] == {"layers": 1, "size": 100, "volumes": 2}
    assert sorted(each["cached"] for each in document["layers"]) == [False, True]


def test_inspect_knows_a_part_of_an_archive_that_the_node_holds(
    at_driver: Command, driver: Driver, registry: EmbeddedRegistry
) -> None:
    packed = archive({"model.bin": b"w", "config.json": b"{}"})
    layers = [layer(registry, OCI_TAR, packed, annotations={UNPACK: "true"})]
    reference = push(registry, "team/m:1", OCI_EMPTY, layers)
    chosen = Selection(exclude_weights=True)
    part = Selected(chosen, Role.OTHER, None, "")
    driver.inventory.layers = {LayerId(Digest.of(packed), is_tree=True, part=part.name)}
    held = at_driver("inspect", reference, "--exclude-model-weights", "-o", "json").document
    assert held["layers"][0]["cached"] is True
    assert at_driver("inspect", reference, "-o", "json").document["layers"][0]["cached"] is False


def test_inspect_shows_what_a_modelkit_builds_on(model_csi: Command, registry: EmbeddedRegistry) -> None:
    base = kit_of(registry, "base/kit:1", None, {"w.gguf": b"w"})
    document = model_csi("inspect", kit_of(registry, "team/kit:1", base, {"a.py": b"a"}), "-o", "json").document
    assert document["parents"] == [base]
    assert [each["role"] for each in document["layers"]] == ["code", "weight"]
    assert [(file["path"], file["role"]) for file in document["files"]] == [("Kitfile", "weight.config")]
    assert f"Builds on     {base}" in model_csi("inspect", registry.reference("team/kit", "1")).out


def test_inspect_refuses_kits_that_go_in_a_circle(model_csi: Command, registry: EmbeddedRegistry) -> None:
    outcome = model_csi("inspect", kit_of(registry, "team/kit:1", registry.reference("team/kit", "1"), {"a": b"a"}))
    assert (outcome.code, outcome.out) == (ExitCode.UNSUPPORTED, "")
    assert "circle" in outcome.err


def test_inspect_reads_what_others_than_modelpack_say_of_their_models(
    model_csi: Command, registry: EmbeddedRegistry
) -> None:
    said = json.dumps(
        {"model_format": "gguf", "model_family": "llama", "model_type": "8.0B", "file_type": "Q4_K_M"}
    ).encode()
    layers = [layer(registry, f"{OLLAMA}.model", b"GGUF")]
    document = model_csi(
        "inspect", push(registry, "library/m:1", DOCKER_CONFIG, layers, config=said), "-o", "json"
    ).document
    assert document["model"] == {"family": "llama", "format": "gguf", "paramSize": "8.0B", "quantization": "Q4_K_M"}
