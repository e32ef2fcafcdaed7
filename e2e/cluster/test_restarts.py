"""Drivers, kubelets and nodes that go down and come back, while models are pulled and while pods read them."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.chart import CHART
from e2e.cluster import images
from e2e.cluster.conftest import MakePod
from e2e.cluster.installation import Installation
from e2e.cluster.reboot import reboot
from e2e.cluster.registries import Registries, size_of
from e2e.node import content, succeeded
from e2e.waiting import PATIENCE, until

Interrupt = Callable[[Installation], None]


def restarted(driver: Installation) -> None:
    driver.restart()


def upgraded_and_rolled_back(driver: Installation) -> None:
    """To the next version of chart and driver, and by Helm back to this one."""
    driver.cluster.name_image(f"{images.DRIVER}:{images.TAG}", f"{images.DRIVER}:next")
    with tempfile.TemporaryDirectory() as directory:
        chart = shutil.copytree(CHART, Path(directory, CHART.name))
        described = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
        described |= {"version": "99.0.0", "appVersion": "next"}
        (chart / "Chart.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
        driver.install(chart, image={"repository": images.DRIVER})
    assert driver.image() == f"{images.DRIVER}:next"
    driver.roll_back()
    assert driver.image() == f"{images.DRIVER}:{images.TAG}"


def killed(driver: Installation) -> None:
    driver.kill()


def kubelet_restarted(driver: Installation) -> None:
    driver.cluster.node.daemons["kubelet"].stop()
    driver.cluster.start_kubelet()
    # It serves before it has heard of its pods.
    driver.cluster.until("kubelet", lambda: '"reader"' in driver.cluster.ask_kubelet("pods"))


WAYS = pytest.mark.parametrize("interrupt", [restarted, upgraded_and_rolled_back, killed, kubelet_restarted])


@WAYS
def test_pods_keep_their_models(
    pod: MakePod, driver: Installation, registry: Registries, repository: str, of_its_own: Path, interrupt: Interrupt
) -> None:
    registry.push(of_its_own, repository)
    reference = f"{registry.public}/{repository}:v1"
    reader = pod("reader", reference)
    reader.until_ready()
    # A file that stays open all the time, as a model server has it.
    assert reader.sh("sleep 600 3</model/config.json >/tmp/log 2>&1 & echo $! > /tmp/pid").returncode == 0
    fetched = registry.blobs_fetched(repository)

    interrupt(driver)

    assert reader.content() == content(of_its_own)
    assert reader.sh("cat /proc/$(cat /tmp/pid)/fd/3").stdout == (of_its_own / "config.json").read_text(
        encoding="utf-8"
    )
    assert reader.is_ready()
    assert reader.restarts() == 0
    late = pod("late", reference)
    late.until_ready()
    assert late.content() == content(of_its_own)
    assert registry.blobs_fetched(repository) == fetched


@WAYS
def test_pulls_go_on(
    pod: MakePod, driver: Installation, registry: Registries, repository: str, of_its_own: Path, interrupt: Interrupt
) -> None:
    registry.push(of_its_own, repository)
    registry.let(1 << 20)
    reader = pod("reader", f"{registry.slow}/{repository}:v1")
    reader.until_told("^PullingModel")
    registry.let(1 << 17)

    interrupt(driver)
    registry.let()
    reader.until_ready(patience=2 * PATIENCE)

    assert reader.content() == content(of_its_own)
    if interrupt is not kubelet_restarted:
        assert driver.fetched(repository) < size_of(of_its_own), "what had arrived is not fetched again"


def test_pods_of_a_node_that_was_rebooted_have_their_models_without_a_download(
    pod: MakePod, driver: Installation, registry: Registries, repository: str, of_its_own: Path
) -> None:
    registry.push(of_its_own, repository)
    reader = pod("reader", f"{registry.public}/{repository}:v1")
    reader.until_ready()
    fetched = registry.blobs_fetched(repository)

    reboot(driver.cluster)
    driver.wait()
    reader.until_restarted()

    assert reader.content() == content(of_its_own)
    assert registry.blobs_fetched(repository) == fetched


@pytest.fixture
def taint(driver: Installation) -> Iterator[str]:
    """A key of the test's own; whatever becomes of the test, the node has no such taint afterwards."""
    key = "model.csi.modelpack.org/agent-not-ready"
    yield key
    driver.cluster.kubectl("taint", "node", "node1", f"{key}-")


def test_pods_come_to_a_node_only_when_its_driver_serves(
    pod: MakePod, driver: Installation, registry: Registries, repository: str, model: Path, taint: str
) -> None:
    registry.push(model, repository)
    taint_node = ("taint", "node", "node1", f"{taint}=:NoSchedule")
    succeeded(driver.cluster.kubectl(*taint_node))
    with driver.changed(**driver.configured(kubernetes={"startup_taint": taint})):
        until(lambda: not taints(driver), "the driver takes the taint off")  # and after that no more in its life
        succeeded(driver.cluster.kubectl(*taint_node))
        early = pod("early", f"{registry.public}/{repository}:v1")
        early.until_told("^FailedScheduling: .*untolerated taint")

        driver.restart()
        early.until_ready()

        assert early.content() == content(model)
        assert not taints(driver)


def taints(driver: Installation) -> Any:
    return driver.cluster.get("node/node1")["spec"].get("taints")
