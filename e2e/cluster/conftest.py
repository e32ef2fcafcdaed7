"""A cluster for the whole session, with registries and the driver in it; after each test nothing may be left in it."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from e2e import node
from e2e.cluster import images, installation, kubernetes, manifests, namespaces, pods, registries
from e2e.cluster.installation import Installation
from e2e.cluster.kubernetes import Kubernetes
from e2e.cluster.pods import Pod
from e2e.cluster.registries import Registries
from e2e.conftest import Program

MakePod = Callable[..., Pod]


@pytest.fixture(scope="session")
def cluster(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """A Kubernetes of one node, which has the images of the driver, its sidecars and the pods."""
    if os.getuid() != 0:
        pytest.skip("a cluster needs root")
    programs = {name: program(name) for name in (*kubernetes.PROGRAMS, *kubernetes.OF_DEBIAN, *images.SIDECARS)}
    for name in (*namespaces.NEEDED, *images.NEEDED, "helm", "docker-registry"):
        program(name)
    scratch = tmp_path_factory.mktemp("images")
    archives = {name: scratch / f"{name}.tar" for name in ("driver", "busybox", *images.SIDECARS)}
    images.driver(archives["driver"])
    images.busybox(archives["busybox"], program("busybox"))
    for name in images.SIDECARS:
        images.sidecar(archives[name], programs[name], name)
    with kubernetes.running(programs, list(archives.values()), tmp_path_factory.mktemp("cluster-logs")) as running:
        shutil.rmtree(scratch)
        yield running


@pytest.fixture(scope="session")
def registry(program: Program, cluster: Kubernetes) -> Iterator[Registries]:
    with registries.serving(program("docker-registry"), cluster.node) as serving:
        yield serving


@pytest.fixture(scope="session")
def installed(program: Program, cluster: Kubernetes, registry: Registries) -> Iterator[Installation]:
    """The driver, installed for the first time."""
    release = Installation(cluster, program("helm"), installation.values(registry.hosts))
    release.install()
    yield release
    release.command("gc", "--all")
    release.until_empty(("layers", "snapshots", "ingest", "trash"))
    release.uninstall()


@pytest.fixture
def driver(installed: Installation, registry: Registries, request: pytest.FixtureRequest) -> Iterator[Installation]:
    """The driver that all tests share, for a test that leaves nothing in the cluster."""
    yield installed
    registry.let()
    pods.delete_all(installed.cluster)
    installation.until_nothing_is_left(installed)


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    """A repository of the test's own."""
    return "models/" + re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")


@pytest.fixture
def pod(driver: Installation, request: pytest.FixtureRequest) -> MakePod:
    """Creates a pod of a name with a reference, and does not wait for it."""

    def create(name: str, reference: str, **options: object) -> Pod:
        return Pod.created(driver.cluster, manifests.pod(name, reference, **options))  # type: ignore[arg-type]

    return create


@pytest.fixture
def restricted(driver: Installation) -> str:
    """A namespace whose pods have to keep to the restricted Pod Security Standard."""
    name, labels = "restricted", {"pod-security.kubernetes.io/enforce": "restricted"}
    driver.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    return name


@pytest.fixture
def of_its_own(model: Path, repository: str, tmp_path: Path) -> Path:
    """The model with a file that no other test has: none of the layers that matter is on the node already."""
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    for shard in copy.glob("*.safetensors"):
        with shard.open("ab") as file:
            file.write(repository.encode())
    return copy


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """With a test that fails comes what the driver said and what the cluster was told."""
    report = yield
    release = getattr(item, "funcargs", {}).get("installed")
    if call.excinfo is not None and isinstance(release, Installation):
        for title, text in _evidence(release):
            report.sections.append((title, text))  # type: ignore[attr-defined]
    return report


def _evidence(release: Installation) -> Iterator[tuple[str, str]]:
    kubectl = release.cluster.kubectl
    with suppress(AssertionError, OSError, subprocess.SubprocessError):
        yield "pods", node.succeeded(kubectl("get", "pods", "--all-namespaces", "--output=wide"))
        yield "events", node.succeeded(kubectl("get", "events", "--all-namespaces"))[-6000:]
        yield "driver", release.logs()[-8000:]
