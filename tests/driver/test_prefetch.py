"""Models that are pulled ahead of their pods: in the background, kept, and in nobody's way."""

import os
from dataclasses import replace

import pytest

from csi_driver.csi.client import PullStep
from csi_driver.errors import InvalidRequest, StillPulling
from csi_driver.inflight import spawn
from tests.driver.test_metrics import free_address, numbers
from tests.fixtures.driver import Node, RunningDriver, content, eventually
from tests.fixtures.registry import EmbeddedRegistry, went_on_at

LARGE = {"weights.safetensors": os.urandom(8_000_000), "config.json": b"{}"}
SMALL = {"model.gguf": os.urandom(100_000)}
SOON = 60.0
HELD = 7_000_000  # bytes of a large model that have arrived when the gate holds it; small ones pass


def listed(*references: str) -> str:
    return f"prefetch: [{', '.join(references)}]\n"


@pytest.fixture
def large(registry: EmbeddedRegistry) -> str:
    registry.push_model("team/large", "v1", LARGE)
    return registry.reference("team/large", "v1")


@pytest.fixture
def small(registry: EmbeddedRegistry) -> str:
    registry.push_model("team/small", "v1", SMALL)
    return registry.reference("team/small", "v1")


def test_what_the_configuration_lists_is_there_before_any_pod_asks(
    registry: EmbeddedRegistry, node: Node, large: str, small: str
) -> None:
    node.file.write_text(f"prefetch:\n- {small}\n- reference: {large}\n  exclude_model_weights: true\n")
    node.metrics_addr = free_address()
    with node.driver() as driver:
        eventually(lambda: driver.models() == {large, small})
        eventually(lambda: numbers(node.metrics_addr)['model_csi_prefetch_models{state="ready"}'] == 2)
        assert sum(registry.bytes_sent.values()) < 200_000
        registry.forget_requests()
        assert content(driver.publish("a", small)) == SMALL
        assert registry.count("GET", "*/blobs/*") == 0


def test_a_change_of_the_list_is_followed_and_what_it_names_no_more_is_not_kept(
    registry: EmbeddedRegistry, node: Node, large: str, small: str
) -> None:
    node.file.write_text(listed(small))
    with node.driver() as driver:
        eventually(lambda: driver.models() == {small})
        driver.configure(listed(small, large))
        eventually(lambda: driver.models() == {small, large})
        driver.configure(listed(large) + "features: {disk_usage_limit: 8050kB}\n")
        eventually(lambda: driver.models() == {large})


def test_a_pods_pull_takes_the_place_of_one_ahead_which_then_goes_on_where_it_was(
    registry: EmbeddedRegistry, node: Node, large: str, small: str
) -> None:
    node.pull = replace(node.pull, concurrency=1)
    node.file.write_text(listed(large))
    registry.gate.hold(at=HELD)
    with node.driver() as driver:
        registry.gate.wait_until_held()
        assert content(driver.publish("a", small)) == SMALL
        registry.gate.open()
        eventually(lambda: large in driver.models())
        assert content(driver.publish("b", large)) == LARGE
    *_, last = went_on_at(registry, LARGE["weights.safetensors"])
    assert 0 < last <= HELD


def test_nothing_is_pulled_ahead_while_a_pod_waits(
    registry: EmbeddedRegistry, driver: RunningDriver, large: str, small: str
) -> None:
    registry.gate.hold(at=HELD)
    waiting = spawn("pod", lambda: driver.publish("a", large))
    registry.gate.wait_until_held()
    steps = driver.client.pull(small)
    step = next(steps)
    assert isinstance(step, PullStep)
    assert step.message == f"pulling {small}: waiting until all pods have the models that they wait for"
    assert registry.count("GET", "/v2/team/small/blobs/*") == 0
    registry.gate.open()
    assert content(waiting.result(SOON)) == LARGE
    assert list(steps)
    assert driver.models() == {large, small}


def test_a_pod_that_wants_what_is_pulled_ahead_joins_it_and_makes_it_urgent(
    registry: EmbeddedRegistry, node: Node, large: str, small: str
) -> None:
    node.metrics_addr = free_address()
    node.file.write_text(listed(large, small))
    registry.gate.hold(at=HELD)
    with node.driver() as driver:
        registry.gate.wait_until_held()
        assert numbers(node.metrics_addr)['model_csi_pulls_under_way{priority="ahead"}'] == 1
        with pytest.raises(StillPulling, match=r"team/large:v1: \d+ %"):
            driver.publish("a", large, timeout=1.0)
        assert numbers(node.metrics_addr)['model_csi_pulls_under_way{priority="pod"}'] == 1
        assert content(driver.publish("b", small)) == SMALL
        registry.gate.open()
        assert content(driver.publish("a", large)) == LARGE
    assert max(registry.bytes_sent.values()) == 8_000_000


def test_a_model_that_cannot_be_had_holds_up_no_other_and_is_counted(
    registry: EmbeddedRegistry, node: Node, small: str
) -> None:
    node.metrics_addr = free_address()
    node.file.write_text(listed(registry.reference("team/missing", "v1"), small))
    with node.driver() as driver:
        eventually(lambda: driver.models() == {small})
        eventually(lambda: numbers(node.metrics_addr)['model_csi_prefetch_models{state="ready"}'] == 1)
        told = numbers(node.metrics_addr)
    assert told['model_csi_prefetch_models{state="failed"}'] == 1
    assert told['model_csi_prefetch_failures_total{reason="NotFound"}'] == 1


def test_what_a_command_pulls_goes_on_when_the_command_is_interrupted(
    registry: EmbeddedRegistry, driver: RunningDriver, large: str, small: str
) -> None:
    registry.gate.hold(at=HELD)
    steps = driver.client.pull(large)
    next(steps)
    registry.gate.wait_until_held()
    steps.close()
    assert content(driver.publish("a", small)) == SMALL  # which makes the other one give way
    registry.gate.open()
    driver.configure("log_level: warning\n")
    eventually(lambda: large in driver.models())


def test_a_model_that_was_pinned_by_hand_stays_until_it_is_unpinned(
    registry: EmbeddedRegistry, node: Node, large: str, small: str
) -> None:
    with node.driver() as driver:
        list(driver.client.pull(small, pin=True))
        list(driver.client.pull(large))
        assert {model.reference for model in driver.client.list_models() if model.pinned} == {small}
    node.file.write_text("features: {disk_usage_limit: 1}\n")
    with node.driver() as driver:
        driver.configure("features: {disk_usage_limit: 2}\n")
        assert driver.models() == {small}
        assert driver.client.unpin(small) == 1
        driver.configure("features: {disk_usage_limit: 3}\n")
        assert driver.models() == set()
        driver.configure(f"cache: {{pins: [{small}]}}\n")
        with pytest.raises(InvalidRequest, match="pinned by the driver's configuration"):
            driver.client.unpin(small)
