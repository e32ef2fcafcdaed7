"""Numbers that are not counted but looked up when somebody reads the metrics."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

Series = Mapping[tuple[str, ...], float]
"""Values by those of the labels."""


class Watched(Collector):
    """A gauge whose series come and go."""

    def __init__(self, name: str, documentation: str, labels: Sequence[str], values: Callable[[], Series]) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._values = values

    def collect(self) -> Iterator[Metric]:
        gauge = self._empty()
        for labels, value in self._values().items():
            gauge.add_metric(labels, value)
        yield gauge

    def describe(self) -> Iterator[Metric]:
        yield self._empty()

    def _empty(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(self._name, self._documentation, labels=self._labels)
