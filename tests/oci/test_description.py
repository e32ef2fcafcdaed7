"""What configurations of every producer say of their models."""

import json

import pytest

from csi_driver.oci.config_blob import MAX_CONFIG_BYTES, ModelConfig
from csi_driver.oci.description import describes, description
from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.digest import Digest
from csi_driver.oci.producers.recognition import Producer

LABELS = [producer.label for producer in Producer]


def test_docker_model_runner_says_it_in_its_own_words() -> None:
    body = {
        "config": {
            "format": "gguf",
            "quantization": "IQ2_XXS/Q4_K_M",
            "parameters": "361.82 M",
            "architecture": "llama",
            "size": "256.35 MiB",
        },
        "descriptor": {"created": "2025-06-01T00:00:00Z"},
        "rootfs": {"type": "rootfs", "diff_ids": []},
    }
    assert description("docker-model-runner", json.dumps(body).encode()) == ModelConfig(
        created_at="2025-06-01T00:00:00Z",
        architecture="llama",
        format="gguf",
        param_size="361.82 M",
        quantization="IQ2_XXS/Q4_K_M",
    )


def test_a_kitfile_tells_of_the_package_and_of_the_model() -> None:
    body = {
        "package": {"name": "demo", "version": "1.0", "authors": ["a", 2], "license": "MIT"},
        "model": {"name": "m", "license": "Apache-2.0", "description": "fine", "path": "."},
    }
    assert description("modelkit", json.dumps(body).encode()) == ModelConfig(
        name="demo", version="1.0", description="fine", authors=("a",), licenses=("Apache-2.0",)
    )


def test_an_image_says_nothing_of_a_model() -> None:
    assert description("image", b'{"architecture": "amd64"}') == ModelConfig()


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b"not JSON", b'{"config": 1, "package": [], "model": "m", "model_type": 8}']
)
def test_a_configuration_without_sense_says_nothing(label: str, body: bytes) -> None:
    assert description(label, body) == ModelConfig()


def test_only_what_is_known_and_small_enough_is_worth_reading() -> None:
    def of(size: int, media_type: str = "application/vnd.acme+json") -> Descriptor:
        return Descriptor(media_type, Digest.of(b""), size)

    assert describes(of(10), "ollama")
    assert not describes(of(10), "image")
    assert not describes(of(0), "ollama")
    assert not describes(of(MAX_CONFIG_BYTES + 1), "ollama")
    assert not describes(of(2, "application/vnd.oci.empty.v1+json"), "modelpack")
