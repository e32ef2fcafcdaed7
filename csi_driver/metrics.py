"""What the driver counts, under the names that dashboards of the Go driver know and a few more."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from csi_driver.errors import InvalidRequest

_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.1, 0.25, *(2.0**n for n in range(16)))  # 1..32768 s as in the Go driver


class Metrics:
    """All metrics of one driver, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._succeeded = Counter(
            "model_csi_node_op_succeed", "CSI calls that succeeded, by operation.", ["op"], registry=self.registry
        )
        self._failed = Counter(
            "model_csi_node_op_failed", "CSI calls that failed, by operation and gRPC code.", ["op", "code"],
            registry=self.registry,
        )  # fmt: skip
        self._latency = Histogram(
            "model_csi_node_op_latency_in_seconds", "Time that CSI calls took, by operation.", ["op"],
            buckets=_LATENCY_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self.fetched_bytes = Counter(
            "model_csi_fetched_bytes", "Bytes of layers received from registries.", registry=self.registry
        )
        self.cache_hits = Counter(
            "model_csi_cache_hits", "Models asked for that the node already held.", registry=self.registry
        )
        self.cache_misses = Counter(
            "model_csi_cache_misses", "Models asked for that had to be pulled.", registry=self.registry
        )
        self.pulls_failed = Counter(
            "model_csi_pulls_failed", "Pulls that failed, by the kind of error.", ["reason"], registry=self.registry
        )
        self.verified_bytes = Counter(
            "model_csi_verified_bytes", "Bytes of cached layers that were read to prove them.", registry=self.registry
        )
        self.verification_failures = Counter(
            "model_csi_verification_failures", "Layers and snapshots in the cache that were found damaged.", ["kind"],
            registry=self.registry,
        )  # fmt: skip
        self.prefetch_failures = Counter(
            "model_csi_prefetch_failures", "Models that could not be prefetched, by the kind of error.", ["reason"],
            registry=self.registry,
        )  # fmt: skip

    def observe(self, operation: str, code: str, seconds: float) -> None:
        """Count one CSI call; `code` is the name of its gRPC status."""
        if code == "OK":
            self._succeeded.labels(operation).inc()
        else:
            self._failed.labels(operation, code).inc()
        self._latency.labels(operation).observe(seconds)

    def watch(self, name: str, documentation: str, value: Callable[[], float]) -> None:
        """Offer a number that is asked for whenever the metrics are read."""
        self.watch_each(name, documentation, "", lambda: {"": value()})

    def watch_each(self, name: str, documentation: str, label: str, values: Callable[[], Mapping[str, float]]) -> None:
        """Offer numbers that are asked for whenever the metrics are read, one for each value of `label`."""
        self.registry.register(_Watched(name, documentation, label, values))

    def serve(self, address: str) -> None:
        """Serve /metrics at `address` (`host:port`, with or without `tcp://`) in a thread of its own."""
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        if not port.isdecimal():
            raise InvalidRequest(f"setting metrics_addr is {address!r}: must be host:port, such as 0.0.0.0:5244")
        try:
            start_http_server(int(port), addr=host.strip("[]") or "0.0.0.0", registry=self.registry)  # noqa: S104
        except OSError as error:
            raise InvalidRequest(f"setting metrics_addr is {address!r}: cannot listen there: {error}") from error


class _Watched(Collector):
    """A gauge whose series come and go."""

    def __init__(self, name: str, documentation: str, label: str, values: Callable[[], Mapping[str, float]]) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = (label,) if label else ()
        self._values = values

    def collect(self) -> Iterator[Metric]:
        gauge = self._empty()
        for key, value in self._values().items():
            gauge.add_metric((key,) if self._labels else (), value)
        yield gauge

    def describe(self) -> Iterator[Metric]:
        yield self._empty()

    def _empty(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(self._name, self._documentation, labels=self._labels)
