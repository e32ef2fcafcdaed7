"""How long a pod waits for its volume is measured over all the calls that kubelet makes for it."""

from csi_driver.metrics import Metrics
from csi_driver.volumes.latency import Latency


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def measured(metrics: Metrics) -> tuple[float | None, float | None]:
    """How many volumes, and how many seconds in all."""
    value = metrics.registry.get_sample_value
    name = "model_csi_publish_latency_seconds"
    return value(f"{name}_count"), value(f"{name}_sum")


def test_the_time_counts_from_the_first_call() -> None:
    metrics, clock = Metrics(), Clock()
    latency = Latency(metrics, clock=clock)
    for _ in range(3):
        latency.asked("a")
        clock.now += 100
    latency.mounted("a")
    latency.mounted("a")
    assert measured(metrics) == (1, 300)


def test_a_volume_that_is_unpublished_and_asked_for_again_begins_anew() -> None:
    metrics, clock = Metrics(), Clock()
    latency = Latency(metrics, clock=clock)
    latency.asked("a")
    clock.now += 100
    latency.forget("a")
    latency.asked("a")
    clock.now += 5
    latency.mounted("a")
    assert measured(metrics) == (1, 5)


def test_volumes_that_nobody_comes_back_for_are_forgotten_at_last() -> None:
    metrics = Metrics()
    latency = Latency(metrics)
    for number in range(10_001):
        latency.asked(str(number))
    latency.mounted("0")
    assert measured(metrics) == (0, 0)
