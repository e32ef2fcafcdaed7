"""The CSI project's own conformance tests, csi-sanity, against the running driver."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e import stand_in
from e2e.conftest import Program
from e2e.distribution import DockerRegistry
from e2e.node import Node, succeeded

CONTROLLER_SPECS = r"\[Controller Server\]"
PUBLISHING_SPECS = {
    "NodeUnpublishVolume should remove target path",
    "NodeGetVolumeStats should fail when volume does not exist on the specified path",
    "NodeGetVolumeHealth should return health for a valid volume",
}
WALKS = {"should work", "should be idempotent"}  # publish, stats, unpublish; the latter publishes ten times
# What a driver without these capabilities is not asked to do; each spec says so itself when it is skipped.
NOT_OURS = (
    "NodeStageVolume",
    "NodeUnstageVolume",
    "NodeExpandVolume",
    "NodeGetStorageHealth",
    "GroupController",
    "single node multi writer",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the specs ended, by their full names; `said` is what csi-sanity and the driver had to say."""

    passed: frozenset[str]
    failed: frozenset[str]
    skipped: frozenset[str]
    said: str


@pytest.fixture
def attributes(driver: Node, docker_registry: DockerRegistry, model: Path) -> dict[str, str]:
    """The attributes of a volume whose model is in the registry."""
    reference = f"{docker_registry.host}/sanity/model:v1"
    succeeded(driver.model_csi("push", model, reference))
    return {"modelRef": reference}


@pytest.fixture
def controller(driver: Node, attributes: dict[str, str]) -> Iterator[str]:
    with stand_in.beside(driver.endpoint, driver.directory / "controller.sock", attributes) as endpoint:
        yield endpoint


def test_the_driver_passes_every_identity_and_node_spec(program: Program, driver: Node, controller: str) -> None:
    outcome = sanity(program, driver, f"--csi.endpoint={driver.endpoint}", f"--csi.controllerendpoint={controller}")

    assert not outcome.failed, outcome.said
    assert missing(PUBLISHING_SPECS, outcome) == set()
    expected = (*NOT_OURS, *WALKS)
    assert [name for name in outcome.skipped if not any(word in name for word in expected)] == []
    assert driver.mounts() == []


def test_a_volume_is_published_ten_times_over_as_once(program: Program, driver: Node, controller: str) -> None:
    focus = r"--ginkgo.focus=Node Service should (work|be idempotent)"
    outcome = sanity(program, driver, f"--csi.endpoint={controller}", focus)

    assert not outcome.failed, outcome.said
    assert missing(WALKS, outcome) == set()
    assert driver.mounts() == []


def missing(wanted: set[str], outcome: Outcome) -> set[str]:
    return {end for end in wanted if not any(name.endswith(end) for name in outcome.passed)}


def sanity(program: Program, driver: Node, *options: str) -> Outcome:
    """Run csi-sanity among the node's mounts: it looks at the targets itself."""
    report = driver.directory / "sanity.json"
    process = driver.inside(
        program("csi-sanity"),
        f"--csi.mountdir={driver.directory}/mount",
        f"--csi.stagingdir={driver.directory}/staging",
        f"--ginkgo.skip={CONTROLLER_SPECS}",
        f"--ginkgo.json-report={report}",
        "--ginkgo.no-color",
        *options,
        timeout=300,
    )
    assert report.exists(), f"{process.stdout}{process.stderr}"
    states: dict[str, set[str]] = {"passed": set(), "skipped": set()}
    for spec in json.loads(report.read_text(encoding="utf-8"))[0]["SpecReports"]:
        filtered_out = not spec["RunTime"]
        if spec["LeafNodeType"] == "It" and not filtered_out:
            name = " ".join([*spec["ContainerHierarchyTexts"], spec["LeafNodeText"]])
            states.setdefault(spec["State"], set()).add(name)
    passed, skipped = frozenset(states.pop("passed")), frozenset(states.pop("skipped"))
    said = f"{process.stdout}\n{(driver.directory / 'driver.log').read_text(encoding='utf-8')}"
    return Outcome(passed, frozenset().union(*states.values()), skipped, said)
