"""Models go both ways between this driver and modctl, the ModelPack project's own tool, through a real registry."""

import os
import subprocess
from pathlib import Path

import pytest

from e2e.conftest import Program
from e2e.distribution import DockerRegistry
from e2e.node import Node, content, succeeded


class Modctl:
    """modctl with a storage and a home of its own."""

    def __init__(self, program: Path, scratch: Path) -> None:
        self._program = program
        self.scratch = scratch

    def __call__(self, *arguments: str | Path) -> str:
        command: list[str | Path] = [
            self._program,
            *arguments,
            "--no-progress",
            f"--storage-dir={self.scratch}/storage",
        ]
        environment = {**os.environ, "HOME": str(self.scratch)}
        return succeeded(
            subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        )


@pytest.fixture
def modctl(program: Program, tmp_path: Path) -> Modctl:
    return Modctl(program("modctl"), tmp_path)


@pytest.mark.parametrize("raw", [True, False], ids=["raw layers", "tar layers"])
def test_a_model_that_modctl_built_and_pushed_mounts_byte_identical(
    modctl: Modctl, driver: Node, docker_registry: DockerRegistry, model: Path, *, raw: bool
) -> None:
    reference = f"{docker_registry.host}/modctl/built-{'raw' if raw else 'tar'}:v1"
    modctl("modelfile", "generate", model, "--output", modctl.scratch)
    modctl(
        "build", "--target", reference, "--modelfile", modctl.scratch / "Modelfile", f"--raw={str(raw).lower()}", model
    )
    modctl("push", "--plain-http", reference)

    extracted = modctl.scratch / "extracted"
    modctl("pull", "--plain-http", "--extract-from-remote", "--extract-dir", extracted, reference)

    mounted = driver.mount(reference, "pod")

    assert content(mounted) == content(model)
    # To the nanosecond from an annotation, to the second from a tar header: as modctl itself restores them.
    assert modification_times(mounted) == modification_times(extracted)
    driver.umount("pod")


def test_a_model_that_this_command_pushed_is_extracted_by_modctl_byte_identical(
    modctl: Modctl, driver: Node, docker_registry: DockerRegistry, model: Path
) -> None:
    reference = f"{docker_registry.host}/modctl/pushed:v1"
    succeeded(driver.model_csi("push", model, reference))
    extracted = modctl.scratch / "extracted"

    modctl("pull", "--plain-http", "--extract-from-remote", "--extract-dir", extracted, reference)

    assert content(extracted) == content(model)
    assert modification_times(extracted) == modification_times(model)


def test_modctl_reads_the_configuration_that_this_command_wrote(
    modctl: Modctl, driver: Node, docker_registry: DockerRegistry, model: Path
) -> None:
    reference = f"{docker_registry.host}/modctl/inspected:v1"
    succeeded(driver.model_csi("push", model, reference))

    told = modctl("inspect", "--remote", "--plain-http", reference)

    assert all(name in told for name in content(model))


def modification_times(directory: Path) -> dict[str, int]:
    """When each file was last changed, in nanoseconds since the epoch."""
    return {name: (directory / name).stat().st_mtime_ns for name in content(directory)}
