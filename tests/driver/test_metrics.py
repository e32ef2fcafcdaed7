"""What an operator's dashboard sees of a driver at work."""

import os
import re
import socket
from urllib.request import urlopen

import pytest

from csi_driver.errors import StillPulling
from tests.fixtures.driver import Node
from tests.fixtures.registry import EmbeddedRegistry


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def numbers(address: str) -> dict[str, float]:
    with urlopen(f"http://{address}/metrics") as answer:
        return {name: float(value) for name, value in re.findall(r"(?m)^([^# ]+) (.+)$", answer.read().decode())}


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
