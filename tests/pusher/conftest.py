"""A model to push, and a registry to push it to."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_driver.oci.reference import Reference
from csi_driver.pusher import Pushed, Pusher, Tally
from csi_driver.registry.client import Registry
from csi_driver.registry.keychain import Keychain
from csi_driver.registry.retry import Retry
from csi_driver.registry.transport import Transport
from tests.fixtures.registry import EmbeddedRegistry

Push = Callable[..., Pushed]

FILES = {
    "config.json": b'{"model_type": "bert", "transformers_version": "4.8.2", "torch_dtype": "float16"}',
    "model.safetensors": bytes(range(256)) * 8192,
    "onnx/int8/model.bin": b"weights",
    "README.md": "# Prüfling\n".encode(),
    "run.py": b"#!/usr/bin/env python3\n",
    "empty.txt": b"",
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory as its author has it: a nested folder, an empty file, an executable one, times with nanoseconds."""
    directory = tmp_path / "model"
    for path, content in FILES.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
        os.utime(directory / path, ns=(0, 1_700_000_000_123_456_789))
    (directory / "run.py").chmod(0o755)
    (directory / "config.json").chmod(0o600)
    return directory


@pytest.fixture
def registry() -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry() as registry:
        yield registry


@pytest.fixture
def push(registry: EmbeddedRegistry) -> Iterator[Push]:
    """Pushes a directory, to `team/model:v1` of the registry where nothing else is said."""
    transport = Transport(stall_timeout=10.0)
    retry = Retry(patience=60.0, sleep=lambda _: None, jitter=lambda: 1.0)
    pusher = Pusher(
        registry=Registry(transport=transport, node_keychain=Keychain.anonymous(), retry=retry), concurrency=2
    )

    def to_the_registry(
        directory: Path, *, reference: Reference | None = None, tally: Tally | None = None, **options: Any
    ) -> Pushed:
        where = reference or Reference.parse(registry.reference("team/model", "v1"))
        return pusher.push(directory, where, tally=tally or Tally(), **options)

    yield to_the_registry
    transport.close()
