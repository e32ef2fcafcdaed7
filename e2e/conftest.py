"""What the end-to-end tests share: programs of other projects, real registries, a node with the real driver."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e import distribution, node, toolbox
from e2e.distribution import DockerRegistry
from e2e.node import Node

Program = Callable[[str], Path]


@pytest.fixture(scope="session")
def program() -> Program:
    """Finds a program by name. Without it the test is skipped; in CI, where all must be there, it fails."""

    def find(name: str) -> Path:
        found = toolbox.find(name)
        if found is None:
            give_up = pytest.fail if os.environ.get("CI") or os.environ.get("E2E_REQUIRE") else pytest.skip
            give_up(f"{name} is not here: {toolbox.how_to_get(name)}")
        return found

    return find


@pytest.fixture(scope="session")
def docker_registry(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A registry that everybody may read and write."""
    with distribution.serving(program("docker-registry"), tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="session")
def private_registry(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A registry that wants a name and a password."""
    scratch = tmp_path_factory.mktemp("private-registry")
    with distribution.serving(program("docker-registry"), scratch, private=True) as registry:
        yield registry


@pytest.fixture
def driver(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with an empty cache and no credentials."""
    program("unshare")
    with node.running(tmp_path_factory.mktemp("node")) as running:
        yield running


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model as its author would have it in a directory: every kind of file, a nested folder, a large file."""
    root = tmp_path_factory.mktemp("model")
    (root / "onnx" / "int8").mkdir(parents=True)
    (root / "name with spaces").mkdir()
    weights = bytes(range(256)) * 4096
    files: dict[str, bytes] = {
        "model-00001-of-00002.safetensors": weights * 20,
        "model-00002-of-00002.safetensors": weights[::-1] * 3 + b"and a tail that fills no page",
        "onnx/int8/model.onnx": weights,
        "config.json": b'{"architectures": ["BertModel"], "model_type": "bert", "torch_dtype": "float32"}\n',
        "name with spaces/vocab file.json": b"{}\n",
        "README.md": "# A model for tests\n\nDas Modell heißt Prüfling.\n".encode(),
        "LICENSE": b"Apache-2.0\n",
        "empty.txt": b"",
        "generate.py": b"#!/usr/bin/env python3\nprint('hello')\n",
    }
    for name, content in files.items():
        (root / name).write_bytes(content)
        os.utime(root / name, ns=(0, 1_700_000_000_123_456_789))
    (root / "generate.py").chmod(0o755)
    return root
