"""What other projects' tools make of a model is mounted as the directory they made it from."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.conftest import Program
from e2e.distribution import DockerRegistry
from e2e.node import Node, content, succeeded

Tool = Callable[..., str]


@pytest.fixture
def tool(program: Program, tmp_path: Path) -> Tool:
    """Runs a program in a directory of its own, without any configuration; what it prints."""

    def run(name: str, *arguments: str | Path, directory: Path | None = None) -> str:
        environment = {**os.environ, "HOME": str(tmp_path)}
        command: list[str | Path] = [program(name), *arguments]
        done = subprocess.run(
            command,
            cwd=directory or tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return succeeded(done)

    return run


@pytest.fixture
def image(tool: Tool, tmp_path: Path) -> Path:
    """An image with something of an operating system, as umoci keeps it."""
    (tmp_path / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
    layout = tmp_path / "image"
    tool("umoci", "init", "--layout", layout)
    tool("umoci", "new", "--image", f"{layout}:v1")
    tool("umoci", "insert", "--image", f"{layout}:v1", tmp_path / "passwd", "/etc/passwd")
    return layout


def push(tool: Tool, layout: str, reference: str) -> None:
    """Send an OCI layout to a registry as it is."""
    tool("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", f"oci:{layout}", f"docker://{reference}")


def bytes_of(directory: Path) -> dict[str, str]:
    """The SHA-256 of every file: ORAS and olot keep no modes."""
    return {path: digest for path, (digest, _) in content(directory).items()}


def test_files_and_a_directory_that_oras_pushed(
    tool: Tool, driver: Node, docker_registry: DockerRegistry, model: Path
) -> None:
    reference = f"{docker_registry.host}/oras/model:v1"
    names = sorted(path.name for path in model.iterdir())
    kind = "application/vnd.acme.model"
    tool("oras", "push", "--plain-http", "--artifact-type", kind, reference, *names, directory=model)
    assert bytes_of(driver.mount(reference, "pod")) == bytes_of(model)
    driver.umount("pod")


def test_an_image_with_a_model_in_it(
    tool: Tool, driver: Node, docker_registry: DockerRegistry, model: Path, image: Path
) -> None:
    reference = f"{docker_registry.host}/umoci/car:v1"
    tool("umoci", "insert", "--image", f"{image}:v1", model, "/models")
    push(tool, f"{image}:v1", reference)
    assert content(driver.mount(reference, "pod")) == content(model)
    driver.umount("pod")


def test_an_image_whose_later_layers_remove_and_replace(
    tool: Tool, driver: Node, docker_registry: DockerRegistry, model: Path, image: Path, tmp_path: Path
) -> None:
    reference = f"{docker_registry.host}/umoci/changed:v1"
    (tmp_path / "new").write_bytes(b"another README")
    tool("umoci", "insert", "--image", f"{image}:v1", model, "/models")
    tool("umoci", "insert", "--image", f"{image}:v1", "--whiteout", "/models/LICENSE")
    tool("umoci", "insert", "--image", f"{image}:v1", tmp_path / "new", "/models/README.md")
    tool("umoci", "insert", "--image", f"{image}:v1", "--opaque", model / "onnx" / "int8", "/models/onnx")
    push(tool, f"{image}:v1", reference)
    expected = {**content(model), "README.md": content(tmp_path)["new"]}
    del expected["LICENSE"]
    expected["onnx/model.onnx"] = expected.pop("onnx/int8/model.onnx")
    assert content(driver.mount(reference, "pod")) == expected
    driver.umount("pod")


def test_a_modelcar_that_olot_made(
    tool: Tool, driver: Node, docker_registry: DockerRegistry, model: Path, image: Path, tmp_path: Path
) -> None:
    reference = f"{docker_registry.host}/olot/car:v1"
    shutil.copytree(model, tmp_path / "model")
    olot = Path(sys.executable).with_name("olot")
    files = [path for path in sorted((tmp_path / "model").rglob("*")) if path.is_file()]
    subprocess.run(
        [olot, "--root-dir", tmp_path / "model", image, *files], check=True, capture_output=True, timeout=120
    )
    push(tool, str(image), reference)
    assert bytes_of(driver.mount(reference, "pod")) == bytes_of(model)
    driver.umount("pod")
