"""The registries of the node's network: one for everybody, the same behind a gate, and one with a password."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e import distribution
from e2e.cluster import gate
from e2e.cluster.namespaces import ADDRESS, Namespaces
from e2e.distribution import DockerRegistry
from e2e.node import COMMAND, succeeded
from e2e.waiting import at_most

_FAST = 1 << 34


@dataclass(frozen=True, slots=True)
class Registries:
    """`public` and `slow` are one registry; what is fetched through `slow` comes as fast as `let` says."""

    node: Namespaces
    open_to_all: DockerRegistry
    with_password: DockerRegistry
    rate: Path
    credentials: Path

    @property
    def public(self) -> str:
        return _from_pods(self.open_to_all)

    @property
    def private(self) -> str:
        return _from_pods(self.with_password)

    @property
    def slow(self) -> str:
        return f"{ADDRESS}:5999"

    @property
    def hosts(self) -> list[str]:
        return [self.public, self.private, self.slow]

    def push(self, model: Path, repository: str, *, private: bool = False) -> None:
        """Push a model as the tag v1 of the repository."""
        registry = self.with_password if private else self.open_to_all
        port = registry.host.rpartition(":")[2]
        push: list[str | Path] = [COMMAND, "--docker-config", self.credentials, "push", model]
        command = self.node.connect(*push, f"127.0.0.1:{port}/{repository}:v1")
        succeeded(subprocess.run(command, capture_output=True, text=True, timeout=120, check=False))

    def blobs_fetched(self, repository: str) -> list[str]:
        """The blobs that were fetched of a repository, one entry for each time."""
        return self.open_to_all.requests("GET", rf"/v2/{repository}/blobs/sha256:[0-9a-f]{{64}}")

    def let(self, rate: int = _FAST) -> None:
        """So many bytes a second come through the gate from now on; with 0 none do."""
        staged = self.rate.with_suffix(".new")
        staged.write_text(str(rate), encoding="ascii")
        staged.replace(self.rate)


def size_of(model: Path) -> int:
    """The bytes of all its files."""
    return sum(path.stat().st_size for path in model.rglob("*") if path.is_file())


@contextmanager
def serving(program: Path, node: Namespaces) -> Iterator[Registries]:
    directories = [node.directory / name for name in ("registry", "private-registry")]
    for directory in directories:
        directory.mkdir()
    enter = node.connect()
    with (
        distribution.serving(program, directories[0], enter=enter, address="0.0.0.0:5000") as public,
        distribution.serving(program, directories[1], enter=enter, address="0.0.0.0:5001", private=True) as private,
    ):
        credentials = distribution.docker_config(node.directory / "credentials", "127.0.0.1:5001")
        registries = Registries(node, public, private, node.directory / "rate", credentials)
        registries.let()
        relay: list[str | Path] = [
            sys.executable,
            "-I",
            gate.__file__,
            registries.slow,
            "127.0.0.1:5000",
            registries.rate,
        ]
        process = subprocess.Popen([*enter, *relay], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            with at_most(process.kill):
                assert process.stdout.readline() == "open\n", "the gate does not open"
            yield registries
        finally:
            process.kill()
            process.communicate()


def _from_pods(registry: DockerRegistry) -> str:
    return f"{ADDRESS}:{registry.host.rpartition(':')[2]}"
