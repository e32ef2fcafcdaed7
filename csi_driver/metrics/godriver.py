"""The Go driver's names of what this driver counts under its own, so that its dashboards and alerts go on.

Its counters lack the `_total` that Prometheus expects of a counter's name, so they are served without a type; its
operations are named otherwise than CSI names them.
"""

from collections import Counter as Sums
from collections.abc import Iterator, Mapping

from prometheus_client import Counter, Metric
from prometheus_client.core import UnknownMetricFamily
from prometheus_client.registry import Collector

OPERATIONS = {"NodePublishVolume": "publish_dynamic_volume", "NodeUnpublishVolume": "unpublish_dynamic_volume"}
"""Its names of CSI calls; an inline volume is a dynamic one there."""

PULL = "pull_image"
LAYER = "pull_layer"

_SMALLEST, _SIZES = 20, 24  # 2^20 bytes, and so many doublings: 1 MiB to 8 TiB


class Renamed(Collector):
    """The sums of `counts` by operation, and of `pulls` as one operation, under another name."""

    def __init__(self, name: str, documentation: str, counts: Counter, pulls: Counter) -> None:
        self._name = name
        self._documentation = documentation
        self._counts = counts
        self._pulls = pulls

    def collect(self) -> Iterator[Metric]:
        sums: Sums[str] = Sums({PULL: 0})
        for labels, value in _values(self._counts):
            if operation := OPERATIONS.get(labels["op"]):
                sums[operation] += int(value)
        for _, value in _values(self._pulls):
            sums[PULL] += int(value)
        family = UnknownMetricFamily(self._name, self._documentation, labels=["op"])
        for operation, value in sorted(sums.items()):
            family.add_metric([operation], value)
        yield family

    def describe(self) -> Iterator[Metric]:
        """Nothing: the registry would take the name for that of the counter."""
        return iter(())


def size_label(size: int) -> str:
    """The upper bound of a layer's size as the Go driver writes it: `1.0 MiB`, `16 MiB`, … `8.0 TiB`, `+Inf`."""
    power = max(_SMALLEST, (max(size, 1) - 1).bit_length())
    if power >= _SMALLEST + _SIZES:
        return "+Inf"
    unit, rest = divmod(power, 10)
    value = 1 << rest
    return f"{value}.0 {_UNITS[unit]}" if value < 10 else f"{value} {_UNITS[unit]}"


_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def _values(counter: Counter) -> Iterator[tuple[Mapping[str, str], float]]:
    for family in counter.collect():
        for sample in family.samples:
            if sample.name.endswith("_total"):
                yield sample.labels, sample.value
