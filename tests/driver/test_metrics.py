"""What an operator's dashboard sees of a driver at work."""

import os
import re
import socket
from urllib.request import urlopen

import pytest

from csi_driver.errors import StillPulling
from csi_driver.inflight import spawn
from tests.fixtures.driver import Node, eventually
from tests.fixtures.registry import EmbeddedRegistry


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def numbers(address: str) -> dict[str, float]:
    with urlopen(f"http://{address}/metrics") as answer:
        return {name: float(value) for name, value in re.findall(r"(?m)^([^#].*) (\S+)$", answer.read().decode())}


def test_a_pull_counts_once_however_often_it_is_asked_for(registry: EmbeddedRegistry, node: Node) -> None:
    registry.push_model("team/model", "v1", {"model.safetensors": os.urandom(2_000_000)})
    reference = registry.reference("team/model", "v1")
    node.metrics_addr = free_address()
    registry.gate.hold(at=500_000)
    with node.driver() as driver:
        for _ in range(2):
            with pytest.raises(StillPulling):
                driver.publish("a", reference, timeout=1.0)
        assert numbers(node.metrics_addr)['model_csi_pulls_under_way{priority="pod"}'] == 1
        registry.gate.open()
        driver.publish("a", reference)
        driver.publish("b", reference)
        told = numbers(node.metrics_addr)
    assert told["model_csi_cache_misses_total"] == 1
    assert told["model_csi_cache_hits_total"] >= 1
    assert told["model_csi_fetched_bytes_total"] == 2_000_000
    assert told['model_csi_pulls_under_way{priority="pod"}'] == 0
    assert told['model_csi_node_op_succeed_total{op="NodePublishVolume"}'] == 2
    assert told['model_csi_node_op_failed_total{code="DEADLINE_EXCEEDED",op="NodePublishVolume"}'] == 2


def test_everything_that_happens_to_models_is_told_in_numbers(registry: EmbeddedRegistry, node: Node) -> None:
    registry.push_model("team/model", "v1", {"model.safetensors": os.urandom(2_000_000), "config.json": b"{}"})
    registry.push_model("team/model", "v2", {"model.safetensors": os.urandom(1_000_000), "config.json": b"{}"})
    node.metrics_addr = free_address()
    with node.driver() as driver:
        driver.publish("a", registry.reference("team/model", "v1"))
        driver.publish("b", registry.reference("team/model", "v1"))
        driver.publish("c", registry.reference("team/model", "v2"))
        driver.unpublish("c")
        told = numbers(node.metrics_addr)
        with urlopen(f"http://{node.metrics_addr}/metrics/detail") as answer:
            detail = answer.read().decode()
        driver.configure("features: {disk_usage_limit: 2100kB}\n")
        after = numbers(node.metrics_addr)
    assert told["model_csi_node_cache_size_in_bytes"] > 3_000_000
    assert told['model_csi_cache_bytes{state="idle"}'] >= 1_000_000
    assert told['model_csi_cache_bytes{state="kept"}'] >= 2_000_000
    assert told["model_csi_fetched_bytes_total"] == 3_000_002
    assert told["model_csi_saved_bytes_total"] == 2_000_002 + 2  # the whole of one model, and what two of them share
    assert told["model_csi_pulls_succeeded_total"] == 2
    assert told["model_csi_publish_latency_seconds_count"] == 3
    assert told["model_csi_node_mounted_inline_models"] == 2
    assert told["model_csi_node_mounted_pvc_models"] == 0
    assert told["model_csi_node_not_ready"] == 0
    assert told['model_csi_node_op_succeed{op="publish_dynamic_volume"}'] == 3
    assert told['model_csi_recovered_total{outcome="volumes"}'] == 0
    assert after['model_csi_evictions_total{kind="snapshot"}'] == 1
    assert after['model_csi_evictions_total{kind="layer"}'] == 1
    assert after["model_csi_evicted_bytes_total"] >= 1_000_000
    assert detail.count("model_csi_mount_item{") == 2


def test_the_progress_of_a_pull_is_told_while_it_goes_on(registry: EmbeddedRegistry, node: Node) -> None:
    registry.push_model("team/model", "v1", {"model.safetensors": os.urandom(8_000_000)})
    reference = registry.reference("team/model", "v1")
    node.metrics_addr = free_address()
    registry.gate.hold(at=7_000_000)
    with node.driver() as driver:
        waiting = spawn("pod", lambda: driver.publish("a", reference))
        registry.gate.wait_until_held()
        fetched = f'model_csi_pull_fetched_bytes{{reference="{reference}"}}'
        eventually(lambda: numbers(node.metrics_addr)[fetched] > 0)
        during = numbers(node.metrics_addr)
        registry.gate.open()
        waiting.result(60.0)
        after = numbers(node.metrics_addr)
    assert during[f'model_csi_pull_total_bytes{{reference="{reference}"}}'] == 8_000_000
    assert during[fetched] <= 7_000_000
    assert f'model_csi_pull_total_bytes{{reference="{reference}"}}' not in after
    assert after['model_csi_node_pull_op_latency_in_seconds_count{op="pull_layer",size_in_mb="8.0 MiB"}'] == 1
