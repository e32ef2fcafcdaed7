"""The administration of a running driver."""

import threading

import pytest

from csi_driver.cache.layout import LayerId
from csi_driver.cache.pins import Pin
from csi_driver.csi.client import Client, PulledModel, PullStep, VerifyStep
from csi_driver.errors import InvalidRequest, NotFound, StillPulling, Unavailable
from csi_driver.inflight import Stop
from csi_driver.oci.digest import Digest
from csi_driver.oci.selection import Selection
from csi_driver.verifier.report import Finding, Progress, Report, Scope
from csi_driver.volumes.collector import Collected, Item
from csi_driver.volumes.inventory import CachedModel
from tests.csi.conftest import Driver
from tests.csi.fakes import PATIENCE, FakeSnapshot
from tests.csi.valid import REFERENCE


def still(fetched: int, digest: str = "") -> StillPulling:
    return StillPulling(f"{fetched} of 100", fetched=fetched, total=100, rate=7.5, manifest_digest=digest)


def test_a_pull_tells_how_far_it_is_and_what_came_of_it(driver: Driver, client: Client) -> None:
    driver.puller.outcomes = [still(10), still(60)]
    *steps, last = client.pull(REFERENCE)
    assert steps == [PullStep("10 of 100", 10, 100, 7.5), PullStep("60 of 100", 60, 100, 7.5)]
    snapshot = FakeSnapshot()
    assert last == PulledModel(REFERENCE, snapshot.manifest_digest, snapshot.size, snapshot.files)


def test_the_layers_that_are_here_are_told(driver: Driver, client: Client) -> None:
    here, gone = LayerId(Digest.of(b"a"), is_tree=True, part="models"), LayerId(Digest.of(b"b"), is_tree=False)
    driver.inventory.layers = {here}
    assert client.held([here, gone]) == [here]
    assert client.held([]) == []


def test_a_model_that_is_here_needs_no_steps(client: Client) -> None:
    assert [type(each) for each in client.pull(REFERENCE)] == [PulledModel]


def test_the_registry_is_not_asked_again_at_every_step(driver: Driver, client: Client) -> None:
    driver.puller.outcomes = [still(0), still(10, digest="sha256:abc"), still(20)]
    list(client.pull(REFERENCE))
    assert driver.puller.known == [None, None, "sha256:abc", "sha256:abc"]


def test_a_model_is_pinned_when_it_is_here_and_not_before(driver: Driver, client: Client) -> None:
    driver.puller.outcomes = [still(10), NotFound("no such tag")]
    with pytest.raises(NotFound):
        list(client.pull(REFERENCE, pin=True))
    list(client.pull(REFERENCE))
    assert driver.pins.held == set()
    list(client.pull(REFERENCE, selection=Selection(exclude_weights=True), pin=True))
    assert driver.pins.held == {Pin(REFERENCE, Selection(exclude_weights=True).key)}
    assert client.unpin(f" {REFERENCE} ") == 1
    assert client.unpin(REFERENCE) == 0


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


DAMAGE = Finding("layer sha256:1", "has become sha256:2", (REFERENCE,), ("csi-1 of pod team/server-0",))


def test_a_verification_tells_how_far_it_is_and_what_it_found(driver: Driver, client: Client) -> None:
    seen = threading.Event()

    def work(progress: Progress, _: Stop) -> None:
        progress.expect(100)
        progress.advance(40)
        progress.found(DAMAGE)
        assert seen.wait(PATIENCE)

    driver.verifier.go_on = work
    driver.verifier.report = Report(7, 2, 100, (DAMAGE,))
    steps = client.verify([f" {REFERENCE} "], max_bytes_per_second=5)
    while (step := next(steps)) != VerifyStep(40, 100, (DAMAGE,)):
        assert isinstance(step, VerifyStep)
    seen.set()
    *_, last = steps
    assert last == driver.verifier.report
    assert driver.verifier.asked == [(Scope((REFERENCE,)), 5.0)]


def test_a_verification_goes_at_the_drivers_rate_unless_another_is_named(driver: Driver, client: Client) -> None:
    list(client.verify([]))
    list(client.verify([], max_bytes_per_second=-1))
    assert driver.verifier.asked == [(Scope(), None), (Scope(), -1.0)]


def test_a_verification_that_fails_says_why(driver: Driver, client: Client) -> None:
    driver.verifier.failure = NotFound("the cache holds no model x")
    with pytest.raises(NotFound, match="holds no model x"):
        list(client.verify([]))
    with pytest.raises(InvalidRequest):
        list(client.verify(["UPPER CASE"]))


def test_a_verification_is_told_to_stop_when_its_client_leaves(driver: Driver, client: Client) -> None:
    stopped = threading.Event()

    def work(_: Progress, stop: Stop) -> None:
        assert stop.wait(PATIENCE)
        stopped.set()

    driver.verifier.go_on = work
    steps = client.verify([])
    next(steps)
    steps.close()
    assert stopped.wait(PATIENCE)
    assert driver.ended.reaches(1)


def test_what_nobody_needs_is_given_up_or_only_named(driver: Driver, client: Client) -> None:
    driver.collector.outcome = Collected(7, (Item("a", "last used", 7),), (Item("b", "mounted", 9),))
    assert client.collect(5) == driver.collector.outcome
    client.collect(dry_run=True)
    client.collect(-1)
    (some, first), (limits, second), (everything, third) = driver.collector.asked
    assert (some, limits) == (5, None)
    assert everything is not None
    assert everything > 1 << 60
    assert (first, second, third) == (False, True, False)


def test_the_models_of_the_node_are_listed(driver: Driver, client: Client) -> None:
    whole = CachedModel(
        reference=REFERENCE,
        manifest_digest="sha256:" + "a" * 64,
        selection="",
        size=5_000_000_000,
        files=12,
        volumes=2,
        last_used=1_700_000_000.25,
        pinned=True,
    )
    driver.inventory.held = [whole]
    assert client.list_models() == [whole]
