"""What kubelets of before CSI 1.13 and after it read of a volume's condition, byte by byte."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from csi_driver.csi.condition import add_condition, told
from csi_driver.csi.pb import csi_pb2, csi_pb2_grpc
from csi_driver.volumes.volume import VolumeStats
from tests.csi.conftest import Driver

DAMAGED = VolumeStats(10, 1, abnormal=True, condition="team/model was found damaged", damaged=True)
GONE = VolumeStats(10, 1, abnormal=True, condition="team/model is no longer mounted")
SOUND = VolumeStats(10, 1, abnormal=False, condition="team/model is mounted")


def response_of_csi_1_9() -> Any:
    """NodeGetVolumeStatsResponse as kubelets of Kubernetes 1.36 and before know it (csi.proto of v1.9.0)."""
    kind = FieldDescriptorProto
    usage = DescriptorProto(name="VolumeUsage")
    for number, name in enumerate(("available", "total", "used", "unit"), 1):
        usage.field.add(name=name, number=number, type=kind.TYPE_INT64, label=kind.LABEL_OPTIONAL)
    condition = DescriptorProto(name="VolumeCondition")
    condition.field.add(name="abnormal", number=1, type=kind.TYPE_BOOL, label=kind.LABEL_OPTIONAL)
    condition.field.add(name="message", number=2, type=kind.TYPE_STRING, label=kind.LABEL_OPTIONAL)
    response = DescriptorProto(name="NodeGetVolumeStatsResponse")
    response.field.add(
        name="usage", number=1, type=kind.TYPE_MESSAGE, type_name=".old.VolumeUsage", label=kind.LABEL_REPEATED
    )
    response.field.add(
        name="volume_condition", number=2, type=kind.TYPE_MESSAGE, type_name=".old.VolumeCondition",
        label=kind.LABEL_OPTIONAL,
    )  # fmt: skip
    pool = DescriptorPool()
    pool.Add(
        FileDescriptorProto(name="old.proto", package="old", syntax="proto3", message_type=[usage, condition, response])
    )
    return GetMessageClass(pool.FindMessageTypeByName("old.NodeGetVolumeStatsResponse"))


@pytest.mark.parametrize("stats", [DAMAGED, GONE, SOUND])
def test_an_old_kubelet_reads_the_condition_and_a_new_one_skips_it(stats: VolumeStats) -> None:
    response = csi_pb2.NodeGetVolumeStatsResponse(usage=[csi_pb2.VolumeUsage(unit=csi_pb2.VolumeUsage.BYTES, used=10)])
    add_condition(response, stats)
    wire = response.SerializeToString()
    old = response_of_csi_1_9().FromString(wire)
    assert (old.volume_condition.abnormal, old.volume_condition.message) == (stats.abnormal, stats.condition)
    assert [usage.used for usage in old.usage] == [10]
    new = csi_pb2.NodeGetVolumeStatsResponse.FromString(wire)
    assert [usage.used for usage in new.usage] == [10]
    assert told(new) == (stats.abnormal, stats.condition)
    new.DiscardUnknownFields()
    assert told(new) == (False, "")


def test_the_condition_comes_over_the_socket(driver: Driver, node: csi_pb2_grpc.NodeStub) -> None:
    driver.publisher.stats_of = lambda volume_id, path: DAMAGED
    request = csi_pb2.NodeGetVolumeStatsRequest(volume_id="csi-1", volume_path="/pods/a")
    old = response_of_csi_1_9().FromString(node.NodeGetVolumeStats(request).SerializeToString())
    assert (old.volume_condition.abnormal, old.volume_condition.message) == (True, DAMAGED.condition)


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        (DAMAGED, [(csi_pb2.DATA_LOSS, "ModelDamaged")]),
        (GONE, [(csi_pb2.INACCESSIBLE, "ModelInaccessible")]),
        (SOUND, []),
    ],
)
def test_health_tells_damage_from_a_mount_that_is_gone(
    driver: Driver, node: csi_pb2_grpc.NodeStub, stats: VolumeStats, expected: list[tuple[int, str]]
) -> None:
    asked: list[Path | None] = []
    driver.publisher.stats_of = lambda volume_id, path: asked.append(path) or stats  # type: ignore[func-returns-value]
    request = csi_pb2.NodeGetVolumeHealthRequest(volume_id="csi-1")
    health = node.NodeGetVolumeHealth(request).volume_health
    assert [(each.status, each.reason) for each in health.health_statuses] == expected
    assert asked == [None]
