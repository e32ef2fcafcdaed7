"""What model-csi pushes is what a pod finds, however it was packed."""

import os
from pathlib import Path

import pytest

from csi_driver.oci.reference import Reference
from csi_driver.pusher import PACKINGS, Pusher, Tally
from csi_driver.registry.client import Registry
from csi_driver.registry.keychain import Keychain
from csi_driver.registry.retry import Retry
from csi_driver.registry.transport import Transport
from tests.fixtures.driver import RunningDriver, content
from tests.fixtures.registry import EmbeddedRegistry

FILES = {
    "config.json": b"{}",
    "tokenizer/vocab.json": os.urandom(5000),
    "model-00001-of-00002.safetensors": os.urandom(3_000_000),
    "model-00002-of-00002.safetensors": bytes(1_000_000),
    "README.md": b"# M",
    "LICENSE": b"MIT",
    "serve.py": b"#!/usr/bin/env python3",
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_pushed_directory_is_mounted_byte_for_byte(
    registry: EmbeddedRegistry, driver: RunningDriver, tmp_path: Path, packing: str
) -> None:
    for name, data in FILES.items():
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    (tmp_path / "model/serve.py").chmod(0o755)
    os.utime(tmp_path / "model/serve.py", ns=(0, 1_700_000_000_123_456_789))
    reference = registry.reference("team/model", "v1")
    transport = Transport(stall_timeout=10.0)
    pusher = Pusher(registry=Registry(transport=transport, node_keychain=Keychain.anonymous(), retry=Retry(patience=1)))
    pusher.push(tmp_path / "model", Reference.parse(reference), tally=Tally(), packing=packing)
    transport.close()
    target = driver.publish("a", reference)
    assert content(target) == FILES
    assert {(target / name).stat().st_mtime_ns for name in FILES} == {1_700_000_000_123_456_789}
    assert os.access(target / "serve.py", os.X_OK)
    assert (target / "serve.py").stat().st_mode & 0o777 == 0o555
