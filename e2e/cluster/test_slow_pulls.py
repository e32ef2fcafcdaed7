"""Models that take longer than kubelet waits, and pods that do not wait for them."""

from pathlib import Path

from e2e.cluster import installation
from e2e.cluster.conftest import MakePod
from e2e.cluster.installation import Installation
from e2e.cluster.registries import Registries, size_of
from e2e.node import content
from e2e.waiting import PATIENCE

OF_KUBELET = 120  # seconds that it gives a call


def test_a_pull_that_takes_longer_than_kubelet_waits_ends_in_a_running_pod(
    pod: MakePod, driver: Installation, registry: Registries, repository: str, of_its_own: Path
) -> None:
    registry.push(of_its_own, repository)
    with driver.changed(**driver.configured(pull_config={"publish_hold_in_seconds": 110})):
        registry.let(size_of(of_its_own) // (OF_KUBELET + 5))

        reader = pod("reader", f"{registry.slow}/{repository}:v1")
        progress = reader.until_told(r"^PullingModel: .* \d+ ?%")
        reader.until_ready(patience=OF_KUBELET + PATIENCE)

        assert repository in progress
        assert "DeadlineExceeded" in reader.until_told("^FailedMount")
        assert repository in reader.until_told("^PulledModel")
        assert reader.content() == content(of_its_own)


def test_a_pod_that_is_deleted_during_its_pull_is_gone_at_once_and_the_next_has_the_model(
    pod: MakePod, driver: Installation, registry: Registries, repository: str, of_its_own: Path
) -> None:
    registry.push(of_its_own, repository)
    reference = f"{registry.slow}/{repository}:v1"
    registry.let(size_of(of_its_own) // 60)
    impatient = pod("impatient", reference)
    impatient.until_told("^PullingModel")

    impatient.delete()
    assert driver.files("volumes") == []
    assert driver.files("ingest"), "the pull goes on"
    registry.let()
    installation.until_nothing_is_left(driver)
    fetched = registry.blobs_fetched(repository)

    patient = pod("patient", reference)
    patient.until_ready()

    assert patient.content() == content(of_its_own)
    assert registry.blobs_fetched(repository) == fetched
