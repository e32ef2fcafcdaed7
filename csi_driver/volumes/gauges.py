"""What the metrics tell of the volumes on this node, under the Go driver's names."""

from collections import Counter
from collections.abc import Mapping

from csi_driver.metrics import Metrics
from csi_driver.volumes.records import Records
from csi_driver.volumes.volume import Volume

_CLAIMED, _INLINE = "pvc", "inline"


def watch(records: Records, metrics: Metrics) -> None:
    """Tell which volumes there are whenever somebody asks."""
    for kind in (_CLAIMED, _INLINE):
        metrics.watch(
            f"model_csi_node_mounted_{kind}_models",
            f"Volumes on this node: those that are {'claimed' if kind == _CLAIMED else 'inline in pods'}.",
            lambda kind=kind: Counter(map(_kind, records.all()))[kind],  # type: ignore[misc]
        )
    metrics.watch(
        "model_csi_node_mounted_dynamic_models", "Always 0: models are not mounted into running volumes here.", int
    )
    metrics.watch_detail(
        "model_csi_mount_item",
        "The volumes on this node, each 1.",
        ("reference", "type", "volume_name", "mount_id"),
        lambda: _items(records),
    )


def _items(records: Records) -> Mapping[tuple[str, ...], float]:
    return {(volume.reference, _kind(volume), volume.volume_id, ""): 1.0 for volume in records.all()}


def _kind(volume: Volume) -> str:
    """The Go driver goes by the name that external-provisioner gives to volumes."""
    return _CLAIMED if volume.volume_id.startswith("pvc-") else _INLINE
