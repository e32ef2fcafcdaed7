"""Roles by file name, as modctl's `modelfile generate` gives them."""

import pytest

from csi_driver.oci.media import Role
from csi_driver.oci.roles import LARGE_FILE_BYTES, holds_weights, is_left_out, role_of_file


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("model.safetensors", Role.WEIGHT),
        ("deep/er/model-00001-of-00002.SAFETENSORS", Role.WEIGHT),
        ("m.gguf", Role.WEIGHT),
        ("pytorch_model.bin", Role.WEIGHT),
        ("m.pt", Role.WEIGHT),
        ("m.pth", Role.WEIGHT),
        ("m.onnx", Role.WEIGHT),
        ("spiece.model", Role.WEIGHT_CONFIG),
        ("sentencepiece.bpe.model", Role.WEIGHT_CONFIG),
        ("tiktoken.model", Role.WEIGHT_CONFIG),
        ("vocab.txt", Role.WEIGHT_CONFIG),
        ("model.onnx_data_1", Role.WEIGHT),
        ("pytorch_model.bin.part1", Role.WEIGHT),
        ("train.parquet", Role.WEIGHT),
        ("model.ckpt.data-00000-of-00001", Role.WEIGHT),
        ("config.json", Role.WEIGHT_CONFIG),
        ("package.json", Role.WEIGHT_CONFIG),
        ("model.safetensors.index.json", Role.WEIGHT_CONFIG),
        ("tokenizer.model", Role.WEIGHT_CONFIG),
        ("tokenizer.model.v3", Role.WEIGHT_CONFIG),
        ("config.json.bak", Role.WEIGHT_CONFIG),
        ("params.yaml", Role.WEIGHT_CONFIG),
        ("model.meta", Role.WEIGHT_CONFIG),
        ("modeling.py", Role.CODE),
        ("run.sh", Role.CODE),
        ("requirements-dev.txt", Role.CODE),
        ("Makefile", Role.CODE),
        ("README", Role.DOC),
        ("README.md", Role.DOC),
        ("LICENSE", Role.DOC),
        ("merges.txt", Role.WEIGHT_CONFIG),
        ("my-requirements", Role.DOC),
        ("figure.png", Role.DOC),
        ("unknown.xyz", Role.CODE),
        ("chat_template.jinja", Role.WEIGHT_CONFIG),
        ("noextension", Role.CODE),
    ],
)
def test_a_file_is_packed_under_the_role_that_modctl_gives_it(path: str, role: Role) -> None:
    assert role_of_file(path, 1) is role


def test_an_unknown_file_is_weights_if_it_is_large() -> None:
    assert role_of_file("shard.xyz", LARGE_FILE_BYTES) is Role.CODE
    assert role_of_file("shard.xyz", LARGE_FILE_BYTES + 1) is Role.WEIGHT
    assert role_of_file("README.md", LARGE_FILE_BYTES + 1) is Role.DOC


def test_only_names_that_mean_parameters_hold_weights() -> None:
    assert holds_weights("a/b.safetensors")
    assert holds_weights("B.GGUF")
    assert not holds_weights("tokenizer.model")
    assert not holds_weights("safetensors")
    assert not holds_weights("b.safetensors/config.json")


def test_hidden_files_bytecode_and_the_modelfile_are_left_out() -> None:
    assert [name for name in (".git", "Modelfile", "__pycache__", "a.pyc", "a.py", "a.b") if is_left_out(name)] == [
        ".git",
        "Modelfile",
        "__pycache__",
        "a.pyc",
    ]
