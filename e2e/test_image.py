"""The image from the project's Dockerfile: what is in it, and what it does for those who are not root."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csi_driver import __version__
from e2e.cluster import images
from e2e.cluster.images import buildah
from e2e.conftest import Program
from e2e.distribution import DockerRegistry

NOBODY = "65534:65534"
LARGEST = 150 << 20  # of what the Dockerfile puts on its base

# Runs a command in the image as a user, without the base's own privileges; what it said.
Run = Callable[..., str]


@pytest.fixture(scope="module")
def built(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A container of the image, by its name in buildah."""
    if os.getuid() != 0:
        pytest.skip("images are built by root here")
    for name in images.NEEDED:
        program(name)
    images.driver(tmp_path_factory.mktemp("image") / "driver.tar")
    container = buildah("from", "--pull-never", f"{images.DRIVER}:{images.TAG}").strip()
    yield container
    buildah("rm", container)


@pytest.fixture(scope="module")
def run(built: str) -> Run:
    def run(*command: str, user: str = NOBODY, mounts: tuple[str, ...] = ()) -> str:
        options = [f"--user={user}", "--isolation=chroot", *(f"--volume={mount}" for mount in mounts)]
        return buildah("run", *options, built, "--", *command)

    return run


def test_it_says_what_it_is(built: str) -> None:
    config = json.loads(buildah("inspect", built))["OCIv1"]["config"]

    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert labels["title"] == "model-csi-driver"
    assert labels["version"] == __version__
    assert labels["licenses"] == "Apache-2.0"
    assert labels["base.name"]
    assert config["Entrypoint"] == ["model-csi"]


def test_anybody_may_run_it(run: Run) -> None:
    assert run("model-csi", "--version") == f"model-csi {__version__}\n"
    assert "Usage: model-csi" in run("model-csi", "--help")


def test_anybody_may_push_and_inspect_a_model(run: Run, docker_registry: DockerRegistry, tmp_path: Path) -> None:
    reference = f"{docker_registry.host}/models/of-the-image:v1"
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(bytes(1000))
    model.chmod(0o755)

    run("model-csi", "push", "/model", reference, mounts=(f"{model}:/model:ro",))

    assert "model.safetensors" in run("model-csi", "inspect", reference)


def test_it_has_nothing_to_install_or_compile_with(run: Run) -> None:
    found = run("sh", "-c", "ls /opt/model-csi/bin; for name in gcc cc make; do command -v $name; done; true")

    assert {"model-csi", "python"} <= set(found.split())
    assert not {"pip", "pip3", "gcc", "cc", "make"} & {Path(name).name for name in found.split()}


def test_what_is_put_on_the_base_is_small(run: Run) -> None:
    kibibytes = int(run("du", "-sk", "/opt/model-csi").split()[0])

    assert kibibytes << 10 < LARGEST
