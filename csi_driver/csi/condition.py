"""How a volume's health is told: to today's kubelets, and in the field that those before Kubernetes 1.37 read.

CSI 1.13 took NodeGetVolumeHealth for the alpha VolumeCondition of NodeGetVolumeStats, and reserved its numbers: no
later version gives them another meaning. A kubelet of that version skips a field and a capability that it does not know
(proto3, "Unknown Fields" and open enums), csi-sanity accepts the capability, and a kubelet before it reads both where
its feature CSIVolumeHealth is on. So both are sent.
"""

from csi_driver.csi.pb import csi_pb2, model_csi_pb2
from csi_driver.volumes.volume import VolumeStats

# NodeServiceCapability.RPC.Type VOLUME_CONDITION until CSI 1.12.
VOLUME_CONDITION = 4


def add_condition(response: csi_pb2.NodeGetVolumeStatsResponse, stats: VolumeStats) -> None:
    """The response also holds the condition, as field 2."""
    condition = model_csi_pb2.VolumeStatsCondition.VolumeCondition(abnormal=stats.abnormal, message=stats.condition)
    response.MergeFromString(model_csi_pb2.VolumeStatsCondition(volume_condition=condition).SerializeToString())


def told(response: csi_pb2.NodeGetVolumeStatsResponse) -> tuple[bool, str]:
    """What `add_condition` added: whether the volume is abnormal, and the text."""
    condition = model_csi_pb2.VolumeStatsCondition.FromString(response.SerializeToString()).volume_condition
    return condition.abnormal, condition.message


def health_of(volume_id: str, stats: VolumeStats) -> csi_pb2.VolumeHealth:
    """The same for NodeGetVolumeHealth: nothing about a sound volume."""
    health = csi_pb2.VolumeHealth(volume_id=volume_id)
    if stats.damaged:
        health.health_statuses.add(status=csi_pb2.DATA_LOSS, reason="ModelDamaged", message=stats.condition)
    elif stats.abnormal:
        health.health_statuses.add(status=csi_pb2.INACCESSIBLE, reason="ModelInaccessible", message=stats.condition)
    return health
