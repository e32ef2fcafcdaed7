"""The whole way by hand: serve, push, pull, mount, look, umount, with the real driver as a process."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from csi_driver.cli.exits import ExitCode
from csi_driver.csi.endpoint import Endpoint
from tests.cli.conftest import Command, Outcome
from tests.fixtures.registry import EmbeddedRegistry


@dataclass(frozen=True, slots=True)
class Node:
    """A node with a running driver, which keeps its models and its socket below `directory`."""

    directory: Path
    command: Command

    @property
    def target(self) -> Path:
        return self.directory / "pods" / "one" / "mount"

    def model_csi(self, *arguments: object) -> Outcome:
        return self.command("--endpoint", self.directory / "csi.sock", *arguments)

    def listed(self, reference: str) -> Any:
        """What `list` says of one model."""
        models = self.model_csi("list", "--output", "json").document
        return next(model for model in models if model["reference"] == reference)


@pytest.fixture(scope="module")
def running_driver(mount_namespace: None) -> Iterator[Path]:
    """The directory of a driver that runs for all tests of this file, and ends in order after them."""
    with tempfile.TemporaryDirectory(prefix="csi-") as name:
        directory = Path(name)
        config = directory / "config.yaml"
        config.write_text(f"root_dir: {directory}/root\ncsi_endpoint: unix://{directory}/csi.sock\nnode_id: node-1\n")
        with (directory / "log").open("w") as log:
            process = subprocess.Popen([sys.executable, "-m", "csi_driver", "serve", "--config", config], stderr=log)
        try:
            while not Endpoint(directory / "csi.sock").is_served():
                with pytest.raises(subprocess.TimeoutExpired):  # it must not end before it serves
                    process.wait(0.02)
            yield directory
        finally:
            process.terminate()
            code = process.wait(30)
        assert code == 0, (directory / "log").read_text()


@pytest.fixture
def node(running_driver: Path, model_csi: Command) -> Iterator[Node]:
    """The node; whatever the test has mounted is unmounted after it."""
    node = Node(running_driver, model_csi)
    yield node
    assert node.model_csi("umount", node.target).code == 0


@pytest.fixture
def files() -> dict[str, bytes]:
    """A model that no test before has brought to the node."""
    weights = os.urandom(1 << 20)
    return {"model.safetensors": weights, "config.json": b"{}", "a/b/run.py": b"#!/bin/sh\n", "empty": b""}


@pytest.fixture
def reference(files: dict[str, bytes], registry: EmbeddedRegistry, model_csi: Command, tmp_path: Path) -> str:
    """The model, pushed by `model-csi push`."""
    for path, content in files.items():
        (tmp_path / "model" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / path).write_bytes(content)
    (tmp_path / "model" / "a/b/run.py").chmod(0o750)
    reference = registry.reference("team/model", "v1")
    assert model_csi("push", tmp_path / "model", reference).code == 0
    registry.forget_requests()
    return reference


def test_what_was_pushed_is_what_is_mounted(node: Node, reference: str, files: dict[str, bytes]) -> None:
    target = node.target
    mounted = node.model_csi("mount", reference, target, "--output", "json").document
    assert mounted["target"] == str(target)
    seen = {str(path.relative_to(target)): path for path in target.rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in seen.items()} == files
    assert os.access(seen["a/b/run.py"], os.X_OK)
    with pytest.raises(OSError, match="Read-only file system") as refusal:
        (target / "new").touch()
    assert refusal.value.errno == errno.EROFS

    listed = node.listed(reference)
    assert (listed["files"], listed["volumes"]) == (4, 1)
    assert node.model_csi("umount", target).code == 0
    assert not target.exists()
    assert node.listed(reference)["volumes"] == 0


def test_mount_and_umount_may_be_repeated(node: Node, reference: str) -> None:
    target = node.target
    for command in (("mount", reference, target), ("umount", target)):
        assert [node.model_csi(*command).code for _ in range(3)] == [0, 0, 0]


def test_a_target_is_for_one_model(node: Node, reference: str, registry: EmbeddedRegistry) -> None:
    registry.push_model("team/other", "v1", {"model.bin": b"weights"})
    target = node.target
    assert node.model_csi("mount", reference, target).code == 0
    other = node.model_csi("mount", registry.reference("team/other", "v1"), target)
    assert (other.code, other.out) == (ExitCode.BUSY, "")
    assert (target / "config.json").read_bytes() == b"{}"


def test_a_mount_can_be_of_a_part(node: Node, reference: str) -> None:
    target = node.target
    weightless = "model.csi.modelpack.org/exclude-model-weights=true"
    assert node.model_csi("mount", reference, target, "--attribute", weightless).code == 0
    assert sorted(path.name for path in target.iterdir()) == ["a", "config.json", "empty"]


def test_a_pulled_model_is_mounted_without_another_download(
    node: Node, reference: str, registry: EmbeddedRegistry, files: dict[str, bytes]
) -> None:
    pulled = node.model_csi("pull", reference, "--output", "json").document
    assert (pulled["reference"], pulled["files"], pulled["size"]) == (reference, 4, sum(map(len, files.values())))
    registry.forget_requests()
    assert node.model_csi("mount", reference, node.target).code == 0
    assert registry.count("GET", "/v2/*/blobs/*") == 0


def test_a_mount_that_is_interrupted_leaves_nothing_and_the_pull_goes_on(
    node: Node, reference: str, registry: EmbeddedRegistry, files: dict[str, bytes]
) -> None:
    registry.gate.hold(at=1000)
    mount = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "csi_driver",
            "mount",
            reference,
            node.target,
            "--endpoint",
            node.directory / "csi.sock",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with mount:
        registry.gate.wait_until_held()
        mount.send_signal(signal.SIGINT)
        assert mount.communicate(timeout=30)[0].strip() == b""
    assert mount.returncode == ExitCode.INTERRUPTED
    assert not node.target.exists()

    registry.gate.open()
    assert node.model_csi("mount", reference, node.target).code == 0
    weights = f"sha256:{hashlib.sha256(files['model.safetensors']).hexdigest()}"
    assert registry.bytes_sent[weights] == len(files["model.safetensors"])


def test_a_model_that_is_not_there_is_not_found(node: Node, registry: EmbeddedRegistry) -> None:
    reference = registry.reference("team/model", "v9")
    for outcome in (node.model_csi("mount", reference, node.target), node.model_csi("pull", reference)):
        assert (outcome.code, outcome.out) == (ExitCode.NOT_FOUND, "")
    assert not (node.target).exists()


def test_a_private_model_needs_a_secret(node: Node, tmp_path: Path) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text("username: ann\npassword: geheim\n")
    with EmbeddedRegistry(auth="bearer", users={"ann": "geheim"}) as registry:
        registry.push_model("team/model", "v1", {"model.bin": b"weights"})
        reference, target = registry.reference("team/model", "v1"), node.target
        assert node.model_csi("mount", reference, target).code == ExitCode.DENIED
        assert node.model_csi("mount", reference, target, "--secret", secret).code == 0


def test_a_second_driver_on_the_socket_is_refused(node: Node, model_csi: Command) -> None:
    outcome = model_csi("serve", "--config", node.directory / "config.yaml")
    assert outcome.code == ExitCode.BUSY
    assert node.model_csi("list").code == 0
