"""A limit of the node's bandwidth, as the configuration file has it at the moment."""

import os
from dataclasses import replace

from csi_driver.app import Driver
from csi_driver.csi.client import Client
from csi_driver.inflight import spawn
from tests.fixtures.driver import Node, RunningDriver, content
from tests.fixtures.registry import EmbeddedRegistry


def test_a_limit_holds_pulls_back_until_the_file_lifts_it(registry: EmbeddedRegistry, node: Node) -> None:
    model = {"model.safetensors": os.urandom(300_000)}
    registry.push_model("team/model", "v1", model)
    reference = registry.reference("team/model", "v1")
    file = node.home / "config.yaml"
    file.write_text("pull_config: {bandwidth_limit: 1}\n")
    node.pull = replace(node.pull, bandwidth_limit=1)
    driver = Driver(node.config, file)
    driver.start()
    try:
        with Client(node.endpoint) as client:
            running = RunningDriver(node, client, driver)
            registry.gate.hold(at=1)
            published = spawn("publish", lambda: running.publish("pod", reference))
            registry.gate.wait_until_held()
            registry.gate.open()
            assert not published.done()
            file.write_text("pull_config: {bandwidth_limit: 0}\n")
            driver.reload()
            assert content(published.result(timeout=30)) == model
            running.unpublish("pod")
    finally:
        driver.stop(grace=10.0)
