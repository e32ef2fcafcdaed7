"""Model configurations: written by model-spec's schema, read from anything."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_driver.oci.config_blob import MAX_CONFIG_BYTES, ModelConfig
from tests.oci.artifacts import digest_of

FULL = ModelConfig(
    created_at="2025-01-01T00:00:00Z",
    name="qwen",
    family="qwen3",
    title="Qwen é",
    authors=("a", "b"),
    licenses=("Apache-2.0",),
    datasets_url=("https://x.io/d",),
    format="safetensors",
    param_size="0.6B",
    precision="bf16",
    architecture="transformer",
    diff_ids=(digest_of("a"), digest_of("b")),
)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["descriptor", "config", "modelfs", "diffIds", "name", "authors"]), inner)
    ),
    max_leaves=8,
)


def test_it_is_written_by_the_schema_without_empty_members() -> None:
    assert json.loads(FULL.to_json()) == {
        "descriptor": {
            "createdAt": "2025-01-01T00:00:00Z",
            "family": "qwen3",
            "name": "qwen",
            "title": "Qwen é",
            "authors": ["a", "b"],
            "datasetsURL": ["https://x.io/d"],
            "licenses": ["Apache-2.0"],
        },
        "config": {"architecture": "transformer", "format": "safetensors", "paramSize": "0.6B", "precision": "bf16"},
        "modelfs": {"type": "layers", "diffIds": [digest_of("a"), digest_of("b")]},
    }


def test_the_three_members_that_the_schema_demands_are_always_there() -> None:
    document = json.loads(ModelConfig(diff_ids=(digest_of("a"),)).to_json())

    assert document == {"descriptor": {}, "config": {}, "modelfs": {"type": "layers", "diffIds": [digest_of("a")]}}


def test_it_is_written_the_same_way_every_time_and_read_back() -> None:
    assert FULL.to_json() == FULL.to_json()
    assert ModelConfig.parse(FULL.to_json()) == FULL


def test_it_cannot_be_written_without_a_layer() -> None:
    with pytest.raises(ValueError, match="at least one layer"):
        ModelConfig().to_json()


@pytest.mark.parametrize(
    "body", [b"{}", b"null", b"[]", b"", b"\xff", b"{", b'{"modelfs":{"diffIds":null}}', b"[" * 1000, b'{"config":7}']
)
def test_a5_a_configuration_that_says_nothing_is_empty(body: bytes) -> None:
    assert ModelConfig.parse(body) == ModelConfig()


def test_a5_an_oversized_configuration_is_not_read() -> None:
    assert ModelConfig.parse(FULL.to_json().ljust(MAX_CONFIG_BYTES + 1)) == ModelConfig()


def test_a5_unknown_members_are_ignored() -> None:
    document = {"descriptor": {"name": "m", "x": 1, "family": 7}, "config": {"capabilities": {}}, "y": []}

    assert ModelConfig.parse(json.dumps(document).encode()) == ModelConfig(name="m")


def test_the_names_of_the_first_versions_are_understood() -> None:
    document = {
        "config": {"parameterSize": 8000000000, "puantization": "awq"},
        "modelfs": {"diff_ids": [digest_of("a")]},
    }

    assert ModelConfig.parse(json.dumps(document).encode()) == ModelConfig(
        param_size="8000000000", quantization="awq", diff_ids=(digest_of("a"),)
    )


@given(json_values)
def test_reading_never_fails(value: object) -> None:
    assert isinstance(ModelConfig.parse(json.dumps(value).encode()), ModelConfig)
