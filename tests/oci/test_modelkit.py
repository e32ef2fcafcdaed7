"""What KitOps' ModelKits become in a volume, whatever version packed them."""

import json
from typing import Any

import pytest
import yaml

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci.layout import Layout, needs_config, placement, plan
from csi_driver.oci.media import FILE_METADATA, FILEPATH, Packing, Role
from tests.oci.artifacts import Json, descriptor, digest_of, manifest, parsed

KIT = "application/vnd.kitops.modelkit"


def part(kind: str, form: str = "tar", content: str = "x", **annotations: str) -> Json:
    return descriptor(f"{KIT}.{kind}.v1.{form}", content, annotations=annotations)


def kit(document: dict[str, Any], *layers: Json, artifact_type: str | None = None) -> Layout:
    value = parsed(manifest(*layers, artifact_type=artifact_type, config_type=f"{KIT}.config.v1+json"))
    assert needs_config(value)
    return plan(value, json.dumps({"manifestVersion": "1.0.0", **document}).encode())


def known(path: str, content: str = "x") -> dict[str, str]:
    """An entry of a Kitfile since KitOps 0.5."""
    return {"path": path, "digest": digest_of(content), "diffId": digest_of(content)}


@pytest.mark.parametrize("artifact_type", [None, f"{KIT}.manifest.v1+json"])
@pytest.mark.parametrize(
    ("form", "packing"), [("tar", Packing.TAR), ("tar+gzip", Packing.TAR_GZIP), ("tar+zstd", Packing.TAR_ZSTD)]
)
def test_archives_of_today_unpack_at_the_root(artifact_type: str | None, form: str, packing: Packing) -> None:
    value = kit({"model": known("models/m")}, part("model", form), artifact_type=artifact_type)

    (tree,) = value.layers
    assert value.producer == "modelkit"
    assert (tree.packing, tree.role) == (packing, Role.WEIGHT)
    assert placement(tree, ["models/m/w.bin"]) == {"models/m/w.bin": "models/m/w.bin"}


def test_layers_have_the_roles_that_kitops_gives_them_in_modelpack() -> None:
    kinds = ("model", "modelpart", "dataset", "code", "docs", "mcpb")

    value = kit({"model": known("m", "model")}, *(part(kind, content=kind) for kind in kinds))

    assert [layer.role for layer in value.layers] == [
        Role.WEIGHT,
        Role.WEIGHT_CONFIG,
        Role.DATASET,
        Role.CODE,
        Role.DOC,
        Role.OTHER,
    ]


def test_archives_from_before_0_5_unpack_beside_their_entries_matched_by_order() -> None:
    value = kit(
        {
            "model": {"path": "./models/m", "parts": [{"path": "lora/a.bin"}]},
            "code": [{"path": "src/one"}, {"path": "."}],
            "prompts": [{"path": "prompts/p.md"}],
        },
        part("model", content="m"),
        part("modelpart", content="l"),
        part("code", content="1"),
        part("code", content="p", **{"ml.kitops.modelkit.layer-subtype": "prompt"}),
        part("code", content="2"),
    )

    assert [layer.below for layer in value.layers] == ["models", "lora", "src", "prompts", ""]
    assert placement(value.layers[0], ["m/w.bin", "m/c/d"]) == {"m/w.bin": "models/m/w.bin", "m/c/d": "models/m/c/d"}


@pytest.mark.parametrize("path", ["../m", "/models/m", "a/../../m"])
def test_an_entry_from_before_0_5_that_leads_outside_is_refused(path: str) -> None:
    with pytest.raises(UnsupportedArtifact, match=digest_of("x")):
        kit({"model": {"path": path}}, part("model"))


def test_a_layer_from_before_0_5_without_an_entry_is_refused() -> None:
    with pytest.raises(UnsupportedArtifact, match="no entry in the Kitfile"):
        kit({"model": {"path": "m"}}, part("model"), part("code", content="c"))


def test_a_raw_layer_is_the_file_that_is_annotated_or_that_the_kitfile_names() -> None:
    value = kit(
        {"model": known("m.gguf", "m"), "docs": [known("README.md", "d")], "mcpServers": [known("s.mcpb", "s")]},
        part("model", "raw", "m", **{FILEPATH: "m.gguf", FILE_METADATA: '{"mode":493}'}),
        part("docs", "raw", "d"),
        part("mcpb", "raw", "s", **{FILEPATH: "s.mcpb"}),
    )

    assert [(layer.path, layer.packing) for layer in value.layers] == [
        ("m.gguf", Packing.RAW),
        ("README.md", Packing.RAW),
        ("s.mcpb", Packing.RAW),
    ]
    assert value.layers[0].mode == 0o755


def test_a_raw_layer_that_nothing_names_is_refused() -> None:
    with pytest.raises(UnsupportedArtifact, match="file without a name") as caught:
        kit({"model": known("m", "m")}, part("model", content="m"), part("code", "raw", "c"))

    assert digest_of("c") in str(caught.value)


@pytest.mark.parametrize("form", ["raw+gzip", "raw+zstd"])
def test_a14_a_compressed_file_is_one_file(form: str) -> None:
    (layer,) = kit({"model": known("m", "x")}, part("model", form, **{FILEPATH: "m/w"})).layers

    assert (layer.packing, layer.path, layer.role) == (Packing(form), "m/w", Role.WEIGHT)


def test_a14_a_compression_that_nobody_knows_is_refused_naming_layer_and_type() -> None:
    with pytest.raises(UnsupportedArtifact, match="cannot be unpacked") as caught:
        kit({"model": known("m")}, part("model", "raw+xz", **{FILEPATH: "m"}))

    assert digest_of("x") in str(caught.value)
    assert "raw+xz" in str(caught.value)


def test_the_kitfile_is_in_the_volume_as_kit_unpacks_it() -> None:
    document = {
        "package": {"name": "demo", "version": "1.0", "authors": ["a"], "description": "one\ntwo\n"},
        "model": {**known("m"), "parameters": {"digest": "kept", "n": 1.5}, "parts": [known("p", "p")]},
        "code": [known("src", "c")],
        "docs": [],
    }

    (file,) = kit(document, part("model")).files

    assert file.path == "Kitfile"
    assert yaml.safe_load(file.content) == {
        "manifestVersion": "1.0.0",
        "package": document["package"],
        "model": {"path": "m", "parameters": {"digest": "kept", "n": 1.5}, "parts": [{"path": "p"}]},
        "code": [{"path": "src"}],
    }
    assert b'version: "1.0"\n' in file.content
    assert b"description: |\n    one\n    two\n" in file.content
    assert b"code:\n  - path: src\n" in file.content


def test_a_remote_dataset_is_left_out_with_a_warning() -> None:
    value = kit(
        {"datasets": [{"path": "d", "remotePath": "s3://bucket/d"}, {"path": "e/f"}], "model": {"path": "m"}},
        part("model", content="m"),
        part("dataset", content="f"),
    )

    assert [layer.below for layer in value.layers] == ["", "e"]
    assert "s3://bucket/d" in value.warnings[0]


def test_a_layer_of_another_type_is_left_out_with_a_warning() -> None:
    value = kit({"model": known("m")}, part("model"), descriptor("application/vnd.acme", "y"))

    assert len(value.layers) == 1
    assert digest_of("y") in value.warnings[0]


@pytest.mark.parametrize(
    ("path", "parent"),
    [
        ("registry.example/base/m:v1", "registry.example/base/m:v1"),
        ("localhost:5000/m:v1,latest", "localhost:5000/m:v1"),
        (f"registry.example/m@{digest_of('kit')}", f"registry.example/m@{digest_of('kit')}"),
    ],
)
def test_a37_a_model_path_may_be_the_reference_of_another_kit(path: str, parent: str) -> None:
    value = kit({"model": {"path": path}, "code": [known("src")]}, part("code"))

    assert str(value.parent) == parent


def test_a37_a_kit_may_consist_of_nothing_else() -> None:
    value = kit({"model": {"path": "registry.example/m:v1"}})

    assert value.layers == ()
    assert str(value.parent) == "registry.example/m:v1"


@pytest.mark.parametrize("path", ["team/m:v1", "m:v1", "localhost/m:v1"])
def test_a37_a_parent_on_its_packers_disk_is_refused_and_never_looked_for_at_docker_hub(path: str) -> None:
    with pytest.raises(UnsupportedArtifact, match="names no registry"):
        kit({"model": {"path": path}, "code": [known("src")]}, part("code"))


def test_a_model_path_with_a_layer_is_no_reference() -> None:
    value = kit({"model": known("registry.example/m:v1")}, part("model"))

    assert value.parent is None


@pytest.mark.parametrize("config", [b"", b"[]", b"null", b'{"a":1,"a":2}', b"\xff"])
def test_a_configuration_that_is_no_kitfile_is_refused(config: bytes) -> None:
    value = parsed(manifest(part("model"), artifact_type=None, config_type=f"{KIT}.config.v1+json"))

    with pytest.raises(UnsupportedArtifact, match="configuration"):
        plan(value, config)


def test_fields_of_another_type_say_nothing() -> None:
    value = kit({"model": [1], "code": "x", "docs": [None, 1], "datasets": [{"path": 1}]}, part("dataset"))

    assert [layer.below for layer in value.layers] == [""]
