"""What the driver counts is served under the names that dashboards know."""

import socket
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from csi_driver.errors import InvalidRequest
from csi_driver.metrics import Metrics
from csi_driver.metrics.godriver import size_label

MIB = 1 << 20


@pytest.fixture
def address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def samples(address: str, path: str = "/metrics", accept: str = "") -> dict[str, float]:
    with urlopen(f"http://{address}{path}") as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {
            f"{one.name}{','.join(f'{key}={value}' for key, value in sorted(one.labels.items()))}": one.value
            for family in families
            for one in family.samples
        }


def test_calls_are_counted_under_csis_names_and_the_go_drivers(address: str) -> None:
    metrics = Metrics()
    metrics.observe("NodePublishVolume", "OK", 0.5)
    metrics.observe("NodePublishVolume", "NOT_FOUND", 0.5)
    metrics.observe("NodePublishVolume", "UNAVAILABLE", 0.5)
    metrics.observe("Probe", "OK", 0.0)
    metrics.pulls_succeeded.inc()
    metrics.pulls_failed.labels("NotFound").inc(2)
    with metrics.serve(f"tcp://{address}"):
        told = samples(address)
    assert told["model_csi_node_op_succeed_totalop=NodePublishVolume"] == 1
    assert told["model_csi_node_op_succeedop=publish_dynamic_volume"] == 1
    assert told["model_csi_node_op_failedop=publish_dynamic_volume"] == 2
    assert told["model_csi_node_op_succeedop=pull_image"] == 1
    assert told["model_csi_node_op_failedop=pull_image"] == 2
    assert not [name for name in told if name.startswith("model_csi_node_op_succeedop=Probe")]


def test_layers_are_measured_by_their_size_as_the_go_driver_does(address: str) -> None:
    metrics = Metrics()
    metrics.observe_layer(3 * MIB, 1.5)
    with metrics.serve(address):
        told = samples(address)
    assert told["model_csi_node_pull_op_latency_in_seconds_countop=pull_layer,size_in_mb=4.0 MiB"] == 1
    assert told["model_csi_node_pull_layer_too_long"] == 0


@pytest.mark.parametrize(
    ("size", "label"),
    [(0, "1.0 MiB"), (MIB, "1.0 MiB"), (MIB + 1, "2.0 MiB"), (9 * MIB, "16 MiB"), (512 * MIB, "512 MiB"),
     (1 << 30, "1.0 GiB"), (8 << 40, "8.0 TiB"), ((8 << 40) + 1, "+Inf")],
)  # fmt: skip
def test_sizes_are_labelled_with_few_bounds(size: int, label: str) -> None:
    assert size_label(size) == label


def test_what_has_a_series_for_every_volume_is_told_only_to_who_asks_for_details(address: str) -> None:
    metrics = Metrics()
    metrics.watch_detail("model_csi_mount_item", "Volumes.", ("reference",), lambda: {("a",): 1.0})
    with metrics.serve(address):
        assert samples(address, "/metrics/detail") == {"model_csi_mount_itemreference=a": 1.0}
        assert "model_csi_mount_itemreference=a" not in samples(address)


def test_series_that_are_looked_up_come_and_go(address: str) -> None:
    metrics, values = Metrics(), {"a": 1.0}
    metrics.watch_each("model_csi_things", "Things.", "name", lambda: values)
    with metrics.serve(address):
        assert samples(address)["model_csi_thingsname=a"] == 1
        values.clear()
        assert "model_csi_thingsname=a" not in samples(address)


def test_nobody_listens_any_more_when_the_endpoint_is_closed(address: str) -> None:
    with Metrics().serve(address):
        pass
    with pytest.raises(URLError):
        urlopen(f"http://{address}/metrics")


@pytest.mark.parametrize("text", ["nowhere", "127.0.0.1:", "192.0.2.1:80"])
def test_an_address_where_nobody_can_listen_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="setting metrics_addr"):
        Metrics().serve(text)
