"""How far the pulls that are under way have come."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from csi_driver.cache.layout import LayerId
from csi_driver.inflight import Lock
from csi_driver.metrics import Metrics
from csi_driver.transfer.progress import Progress, Totals

_SHOWN = 20  # pulls of which the metrics tell: each is a series for Prometheus to keep


class Board:
    """The progress of every layer, by pull; a layer that several pulls wait for counts in each of them."""

    def __init__(self, metrics: Metrics) -> None:
        self._lock = Lock()
        self._pulls: dict[str, tuple[str, list[Progress]]] = {}
        self._shared: dict[LayerId, Progress] = {}
        metrics.watch_each(
            "model_csi_pull_total_bytes",
            f"Bytes that the pulls under way need in all, by reference: the {_SHOWN} largest.",
            "reference",
            lambda: {reference: total.total for reference, total in self._largest()},
        )
        metrics.watch_each(
            "model_csi_pull_fetched_bytes",
            "Bytes of those that are here.",
            "reference",
            lambda: {reference: total.fetched for reference, total in self._largest()},
        )

    @contextmanager
    def showing(self, key: str, reference: str, sizes: Mapping[LayerId, int]) -> Iterator[dict[LayerId, Progress]]:
        """Until the block ends the pull waits for layers of these sizes; the progress of each is to be counted."""
        with self._lock:
            shown = {layer: self._shared.setdefault(layer, Progress(size)) for layer, size in sizes.items()}
            self._pulls[key] = reference, list(shown.values())
        try:
            yield shown
        finally:
            with self._lock:
                del self._pulls[key]
                used = {id(progress) for _, layers in self._pulls.values() for progress in layers}
                self._shared = {layer: each for layer, each in self._shared.items() if id(each) in used}

    def totals(self, key: str) -> Totals:
        """How far the pull is; nothing of nothing before its layers are known."""
        with self._lock:
            _, layers = self._pulls.get(key, ("", []))
        return Progress.sum(layers)

    def _largest(self) -> list[tuple[str, Totals]]:
        """The references of the largest pulls, of which one may have several with different selections."""
        by_reference: dict[str, list[Progress]] = {}
        with self._lock:
            for reference, layers in self._pulls.values():
                by_reference.setdefault(reference, []).extend(layers)
        totals = [(reference, Progress.sum(layers)) for reference, layers in by_reference.items()]
        return sorted(totals, key=lambda each: -each[1].total)[:_SHOWN]
