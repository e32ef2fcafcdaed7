"""What an Ollama model becomes in a volume."""

import pytest

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci.layout import Layout, plan
from csi_driver.oci.manifest import DOCKER_MANIFEST
from csi_driver.oci.media import Packing, Role
from tests.oci.artifacts import Json, descriptor, digest_of, manifest, parsed

DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"


def part(kind: str, content: str = "x", **members: object) -> Json:
    return descriptor(f"application/vnd.ollama.image.{kind}", content, **members)


def ollama(*layers: Json) -> Layout:
    return plan(parsed(manifest(*layers, artifact_type=None, config_type=DOCKER_CONFIG, mediaType=DOCKER_MANIFEST)))


def files(value: Layout) -> dict[str | None, Role]:
    assert all(layer.packing is Packing.RAW for layer in value.layers)
    return {layer.path: layer.role for layer in value.layers}


def test_a34_every_kind_of_layer_has_a_name_of_its_own() -> None:
    kinds = ("model", "projector", "adapter", "draft", "template", "system", "params", "messages", "license")

    value = ollama(*(part(kind, kind) for kind in kinds))

    assert value.producer == "ollama"
    assert files(value) == {
        "model.gguf": Role.WEIGHT,
        "mmproj.gguf": Role.WEIGHT,
        "adapter-1.gguf": Role.WEIGHT,
        "draft.gguf": Role.WEIGHT,
        "template": Role.WEIGHT_CONFIG,
        "system": Role.WEIGHT_CONFIG,
        "params.json": Role.WEIGHT_CONFIG,
        "messages.json": Role.WEIGHT_CONFIG,
        "LICENSE": Role.DOC,
    }


def test_several_layers_of_one_kind_are_numbered() -> None:
    value = ollama(
        part("model", "1"), part("license", "l1"), part("model", "2"), part("license", "l2"), part("adapter", "a"),
        part("adapter", "b"),
    )  # fmt: skip

    assert [layer.path for layer in value.layers] == [
        "model-00001-of-00002.gguf",
        "LICENSE",
        "model-00002-of-00002.gguf",
        "LICENSE.2",
        "adapter-1.gguf",
        "adapter-2.gguf",
    ]


def test_a_json_layer_brings_its_name() -> None:
    value = ollama(part("model"), part("json", "c", name="config.json"), part("json", "t", name="t/tokenizer.json"))

    assert set(files(value)) == {"model.gguf", "config.json", "t/tokenizer.json"}


def test_a_name_that_leads_outside_is_refused() -> None:
    with pytest.raises(UnsupportedArtifact, match="outside"):
        ollama(part("json", "c", name="../config.json"))


def test_a_model_in_tensors_is_refused_with_the_reason() -> None:
    with pytest.raises(UnsupportedArtifact, match="only Ollama can") as caught:
        ollama(part("tensor", "t", name="model.embed.weight"))

    assert digest_of("t") in str(caught.value)


def test_a_kind_that_is_not_known_is_left_out_with_a_warning() -> None:
    value = ollama(part("model"), part("embed", "e"))

    assert set(files(value)) == {"model.gguf"}
    assert digest_of("e") in value.warnings[0]
