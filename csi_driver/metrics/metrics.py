"""What the driver counts, under the names that dashboards of the Go driver know and a few more."""

from collections.abc import Callable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from csi_driver.metrics.endpoint import Endpoint
from csi_driver.metrics.godriver import LAYER, Renamed, size_label
from csi_driver.metrics.watched import Series, Watched

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
        self.saved_bytes = Counter(
            "model_csi_saved_bytes", "Bytes of models asked for that the node held already and did not fetch.",
            registry=self.registry,
        )  # fmt: skip
        self.cache_hits = Counter(
            "model_csi_cache_hits", "Models asked for that the node already held.", registry=self.registry
        )
        self.cache_misses = Counter(
            "model_csi_cache_misses", "Models asked for that had to be pulled.", registry=self.registry
        )
        self.pulls_succeeded = Counter(
            "model_csi_pulls_succeeded", "Pulls that brought their model.", registry=self.registry
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
        self.evicted = Counter(
            "model_csi_evictions", "What was given up for its room: snapshots, layers and unfinished layers.", ["kind"],
            registry=self.registry,
        )  # fmt: skip
        self.evicted_bytes = Counter(
            "model_csi_evicted_bytes", "Bytes of disk that were given up for their room.", registry=self.registry
        )
        self._recovered = Counter(
            "model_csi_recovered", "What the driver found at its start, by what became of it.", ["outcome"],
            registry=self.registry,
        )  # fmt: skip
        self.publish_latency = Histogram(
            "model_csi_publish_latency_seconds", "Time from the first call for a volume until it was mounted.",
            buckets=_LATENCY_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self._layer_latency = Histogram(
            "model_csi_node_pull_op_latency_in_seconds", "Time that the transfer of a layer took, by its size at most.",
            ["op", "size_in_mb"], buckets=_LATENCY_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self.detail = CollectorRegistry(auto_describe=True)
        self._begin_at_zero()
        self._serve_go_drivers_names()

    def _begin_at_zero(self) -> None:
        """Alerts ask whether these have grown, which a series that begins with its first event never has."""
        for code in ("DATA_LOSS", "RESOURCE_EXHAUSTED"):
            self._failed.labels("NodePublishVolume", code)
        for kind in ("layer", "snapshot"):
            self.verification_failures.labels(kind)

    def observe(self, operation: str, code: str, seconds: float) -> None:
        """Count one CSI call; `code` is the name of its gRPC status."""
        if code == "OK":
            self._succeeded.labels(operation).inc()
        else:
            self._failed.labels(operation, code).inc()
        self._latency.labels(operation).observe(seconds)

    def observe_layer(self, size: int, seconds: float) -> None:
        """Count one layer of so many bytes that has come."""
        self._layer_latency.labels(LAYER, size_label(size)).observe(seconds)

    def count_recovered(self, outcomes: Mapping[str, int]) -> None:
        """Count what the driver found at its start, by what became of it."""
        for outcome, count in outcomes.items():
            self._recovered.labels(outcome).inc(count)

    def watch(self, name: str, documentation: str, value: Callable[[], float]) -> None:
        """Offer a number that is asked for whenever the metrics are read."""
        self.registry.register(Watched(name, documentation, (), lambda: {(): value()}))

    def watch_each(self, name: str, documentation: str, label: str, values: Callable[[], Mapping[str, float]]) -> None:
        """Offer numbers that are asked for whenever the metrics are read, one for each value of `label`."""
        self.registry.register(
            Watched(name, documentation, (label,), lambda: {(key,): value for key, value in values().items()})
        )

    def watch_detail(self, name: str, documentation: str, labels: Sequence[str], values: Callable[[], Series]) -> None:
        """Offer numbers of which there may be many, to those alone who ask for the details."""
        self.detail.register(Watched(name, documentation, labels, values))

    def serve(self, address: str) -> Endpoint:
        """Serve /metrics and /metrics/detail at `address` (`host:port`) until the endpoint is closed."""
        return Endpoint(address, metrics=self.registry, detail=self.detail)

    def _serve_go_drivers_names(self) -> None:
        succeeded, failed = "model_csi_node_op_succeed", "model_csi_node_op_failed"
        for name, counts, pulls in (
            (succeeded, self._succeeded, self.pulls_succeeded),
            (failed, self._failed, self.pulls_failed),
        ):
            self.registry.register(Renamed(name, f"{name}_total by the operations of the Go driver.", counts, pulls))
        self.watch("model_csi_node_pull_layer_too_long", "Always 0, as in the Go driver.", int)
