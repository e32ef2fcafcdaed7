"""What the metrics tell of the cache."""

from collections.abc import Mapping

from csi_driver import log
from csi_driver.cache.gc import Plan
from csi_driver.cache.store import Cache
from csi_driver.metrics import Metrics


def watch(cache: Cache, metrics: Metrics) -> None:
    """Tell how much the cache holds whenever somebody asks."""
    metrics.watch(
        "model_csi_node_cache_size_in_bytes", "Bytes of disk that the cache takes.", lambda: cache.inventory().bytes
    )
    metrics.watch_each(
        "model_csi_cache_bytes",
        "Bytes of disk that the cache takes: kept, as it is mounted, leased or pinned; idle, to be given up for room; "
        "and promised, still to be written by pulls under way.",
        "state",
        lambda: _by_state(cache),
    )


def count_evicted(plan: Plan, metrics: Metrics) -> None:
    """Count and log what was given up."""
    for kind, count in (
        ("snapshot", len(plan.snapshots)),
        ("layer", len(plan.layers)),
        ("unfinished", len(plan.ingests)),
    ):
        metrics.evicted.labels(kind).inc(count)
    metrics.evicted_bytes.inc(plan.room.bytes)
    log.event("evicted", freed_bytes=plan.room.bytes, snapshots=len(plan.snapshots), layers=len(plan.layers))


def _by_state(cache: Cache) -> Mapping[str, float]:
    inventory = cache.inventory()
    kept = inventory.room_in_use.bytes
    return {"kept": kept, "idle": inventory.bytes - kept, "promised": cache.promised()}
