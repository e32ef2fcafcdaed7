"""The administration of a running driver."""

import pytest

from csi_driver.csi.client import Client, PulledModel, PullStep
from csi_driver.errors import NotFound, StillPulling, Unavailable
from csi_driver.volumes.inventory import CachedModel
from tests.csi.conftest import Driver
from tests.csi.fakes import FakeSnapshot
from tests.csi.valid import REFERENCE


def still(fetched: int, digest: str = "") -> StillPulling:
    return StillPulling(f"{fetched} of 100", fetched=fetched, total=100, rate=7.5, manifest_digest=digest)


def test_a_pull_tells_how_far_it_is_and_what_came_of_it(driver: Driver, client: Client) -> None:
    driver.puller.outcomes = [still(10), still(60)]
    *steps, last = client.pull(REFERENCE)
    assert steps == [PullStep("10 of 100", 10, 100, 7.5), PullStep("60 of 100", 60, 100, 7.5)]
    snapshot = FakeSnapshot()
    assert last == PulledModel(REFERENCE, snapshot.manifest_digest, snapshot.size, snapshot.files)


def test_a_model_that_is_here_needs_no_steps(client: Client) -> None:
    assert [type(each) for each in client.pull(REFERENCE)] == [PulledModel]


def test_the_registry_is_not_asked_again_at_every_step(driver: Driver, client: Client) -> None:
    driver.puller.outcomes = [still(0), still(10, digest="sha256:abc"), still(20)]
    list(client.pull(REFERENCE))
    assert driver.puller.known == [None, None, "sha256:abc", "sha256:abc"]


def test_a_pull_that_fails_says_why(driver: Driver, client: Client) -> None:
    driver.puller.outcomes = [still(10), NotFound("no such tag: v9")]
    pull = client.pull(REFERENCE)
    assert isinstance(next(pull), PullStep)
    with pytest.raises(NotFound, match="no such tag: v9"):
        next(pull)
    assert driver.calls == [("Pull", "NOT_FOUND")]


def test_a_client_that_leaves_is_not_reported_to_any_more(driver: Driver, client: Client) -> None:
    driver.puller.outcomes = [still(10)] * 100_000
    pull = client.pull(REFERENCE)
    next(pull)
    pull.close()
    assert driver.ended.reaches(1)
    assert driver.puller.outcomes


def test_a_driver_that_stops_ends_the_report(driver: Driver, client: Client) -> None:
    driver.puller.outcomes = [still(10)] * 100_000
    pull = client.pull(REFERENCE)
    next(pull)
    driver.waiting.close()
    with pytest.raises(Unavailable, match="being restarted"):
        list(pull)


def test_the_models_of_the_node_are_listed(driver: Driver, client: Client) -> None:
    whole = CachedModel(
        reference=REFERENCE,
        manifest_digest="sha256:" + "a" * 64,
        selection="",
        size=5_000_000_000,
        files=12,
        volumes=2,
        last_used=1_700_000_000.25,
    )
    driver.inventory.held = [whole]
    assert client.list_models() == [whole]
