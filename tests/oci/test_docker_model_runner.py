"""What Docker Model Runner's models become in a volume, old and new."""

import pytest

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci.layout import Layout, placement, plan
from csi_driver.oci.media import FILE_METADATA, FILEPATH, Packing, Role
from tests.oci.artifacts import Json, descriptor, digest_of, layout, manifest, parsed
from tests.oci.artifacts import layer as modelpack_layer

V01 = "application/vnd.docker.ai.model.config.v0.1+json"
V02 = "application/vnd.docker.ai.model.config.v0.2+json"


def part(kind: str, content: str = "x", path: str | None = None, **annotations: str) -> Json:
    said = annotations if path is None else {FILEPATH: path, **annotations}
    return descriptor(f"application/vnd.docker.ai.{kind}", content, annotations=said)


def model(*layers: Json, config_type: str = V01) -> Layout:
    return plan(parsed(manifest(*layers, artifact_type=None, config_type=config_type)))


def paths(value: Layout) -> list[str | None]:
    return [layer.path for layer in value.layers]


def test_a_lone_gguf_and_what_comes_with_it_have_the_names_it_is_run_with() -> None:
    value = model(
        part("gguf.v3", "w"),
        part("mmproj", "p"),
        part("chat.template.jinja", "t"),
        part("license", "l1"),
        part("license", "l2"),
    )

    assert value.producer == "docker-model-runner"
    assert paths(value) == ["model.gguf", "model.mmproj", "template.jinja", "LICENSE", "LICENSE.2"]
    assert [layer.role for layer in value.layers] == [
        Role.WEIGHT,
        Role.WEIGHT,
        Role.WEIGHT_CONFIG,
        Role.DOC,
        Role.DOC,
    ]


def test_a35_two_gguf_layers_without_annotations_are_two_shards() -> None:
    value = model(part("gguf.v3", "1"), part("license", "l"), part("gguf.v3", "2"))

    assert paths(value) == ["model-00001-of-00002.gguf", "LICENSE", "model-00002-of-00002.gguf"]


def test_safetensors_are_numbered_alike() -> None:
    assert paths(model(part("safetensors"))) == ["model.safetensors"]
    assert paths(model(part("safetensors", "1"), part("safetensors", "2"))) == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]


@pytest.mark.parametrize("config_type", [V01, V02])
def test_an_annotated_path_is_the_files_path_with_its_mode(config_type: str) -> None:
    value = model(
        part("safetensors", "w", "text_encoder/model.safetensors"),
        part("model.file", "c", "text_encoder/run.sh", **{FILE_METADATA: '{"mode":493}'}),
        config_type=config_type,
    )

    assert paths(value) == ["text_encoder/model.safetensors", "text_encoder/run.sh"]
    assert [layer.mode for layer in value.layers] == [None, 0o755]


@pytest.mark.parametrize("kind", ["vllm.config.tar", "dir.tar"])
def test_archives_unpack_at_the_root(kind: str) -> None:
    tree = model(part("gguf.v3", "w"), part(kind, "t", "configs.tar")).layers[1]

    assert (tree.packing, tree.path) == (Packing.TAR, None)
    assert placement(tree, ["config.json", "t/a"]) == {"config.json": "config.json", "t/a": "t/a"}


def test_a_file_of_no_kind_needs_a_name() -> None:
    with pytest.raises(UnsupportedArtifact, match="file without a name") as caught:
        model(part("gguf.v3", "w"), part("model.file", "f"))

    assert digest_of("f") in str(caught.value)


def test_a_path_that_leads_outside_is_refused() -> None:
    with pytest.raises(UnsupportedArtifact, match="outside"):
        model(part("gguf.v3", "w", "../model.gguf"))


def test_its_modelpack_format_lays_out_as_modelpack() -> None:
    weight = "application/vnd.cncf.model.weight.v1"

    value = layout(
        modelpack_layer("model.gguf", "w", media_type=f"{weight}.gguf"),
        modelpack_layer("a/model.safetensors", "s", media_type=f"{weight}.safetensors"),
        modelpack_layer("config.json", "c", media_type="application/vnd.cncf.model.weight.config.v1.raw"),
    )

    assert value.producer == "modelpack"
    assert paths(value) == ["model.gguf", "a/model.safetensors", "config.json"]
    assert {layer.packing for layer in value.layers} == {Packing.RAW}
