"""The services as an orchestrator sees them."""

from pathlib import Path

import grpc
import pytest

from csi_driver import __version__
from csi_driver.csi.client import Client, Usage
from csi_driver.csi.pb import csi_pb2, csi_pb2_grpc
from csi_driver.errors import InvalidRequest, NotFound
from csi_driver.inflight import Wait
from csi_driver.oci.reference import Reference
from csi_driver.volumes.volume import Pod, PublishSpec, VolumeStats
from tests.csi.conftest import SERVICE_NAME, Driver
from tests.csi.fakes import STATS
from tests.csi.valid import PREFIX, REFERENCE, publish_request

TARGET = Path("/pods/9a7d/mount")
MODEL = {"modelRef": REFERENCE}


def test_the_driver_says_who_it_is(client: Client) -> None:
    assert client.name() == (SERVICE_NAME, __version__)


def test_a_driver_that_still_starts_is_healthy_but_not_ready(driver: Driver, client: Client) -> None:
    driver.ready = False
    assert client.probe() is False
    driver.ready = True
    assert client.probe() is True


def test_no_capability_is_claimed_that_needs_a_controller(driver: Driver, channel: grpc.Channel) -> None:
    identity = csi_pb2_grpc.IdentityStub(channel)
    assert not identity.GetPluginCapabilities(csi_pb2.GetPluginCapabilitiesRequest()).capabilities
    controller = csi_pb2_grpc.ControllerStub(channel)
    assert not controller.ControllerGetCapabilities(csi_pb2.ControllerGetCapabilitiesRequest()).capabilities
    with pytest.raises(grpc.RpcError) as failed:
        controller.CreateVolume(csi_pb2.CreateVolumeRequest())
    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_node_has_its_name_and_no_limits(node: csi_pb2_grpc.NodeStub) -> None:
    assert node.NodeGetInfo(csi_pb2.NodeGetInfoRequest()) == csi_pb2.NodeGetInfoResponse(node_id="node-1")


def test_the_node_tells_statistics_and_health(node: csi_pb2_grpc.NodeStub) -> None:
    response = node.NodeGetCapabilities(csi_pb2.NodeGetCapabilitiesRequest())
    kinds = csi_pb2.NodeServiceCapability.RPC
    before_csi_1_13 = 4  # VOLUME_CONDITION
    assert [each.rpc.type for each in response.capabilities] == [
        kinds.GET_VOLUME_STATS, before_csi_1_13, kinds.GET_VOLUME_HEALTH
    ]  # fmt: skip


def test_a_publish_arrives_as_it_was_asked_for(driver: Driver, client: Client) -> None:
    pod = Pod("team-a", "server-0", "9a7d", "default")
    client.publish("csi-1", TARGET, MODEL, secrets={"username": "ann", "password": "hunter2"}, pod=pod)
    (spec,) = driver.publisher.specs
    assert (spec.volume_id, spec.target_path, spec.pod) == ("csi-1", TARGET, pod)
    assert spec.reference == Reference.parse(REFERENCE)
    assert spec.keychain is not None


def test_a_bad_request_never_reaches_the_publisher(driver: Driver, client: Client) -> None:
    with pytest.raises(InvalidRequest, match="names no model"):
        client.publish("csi-1", TARGET, {})
    with pytest.raises(InvalidRequest, match="mount-id"):
        client.publish("csi-1", TARGET, {**MODEL, f"{PREFIX}/mount-id": "m"})
    assert driver.publisher.specs == []


def test_an_unpublish_names_volume_and_path(driver: Driver, client: Client) -> None:
    gone: list[tuple[str, Path]] = []
    driver.publisher.on_unpublish = lambda *volume: gone.append(volume)
    client.unpublish("csi-1", TARGET)
    assert gone == [("csi-1", TARGET)]


def test_a_volume_is_full_of_its_model(driver: Driver, client: Client, node: csi_pb2_grpc.NodeStub) -> None:
    assert client.stats("csi-1", TARGET) == Usage(988_097_824, 11, abnormal=False, condition="mounted")
    request = csi_pb2.NodeGetVolumeStatsRequest(volume_id="csi-1", volume_path=str(TARGET))
    usage = node.NodeGetVolumeStats(request).usage
    assert [(each.unit, each.total, each.used, each.available) for each in usage] == [
        (csi_pb2.VolumeUsage.BYTES, 988_097_824, 988_097_824, 0),
        (csi_pb2.VolumeUsage.INODES, 11, 11, 0),
    ]


def test_the_volume_that_is_asked_about_must_be_published(driver: Driver, client: Client) -> None:
    def missing(volume_id: str, path: Path | None) -> VolumeStats:
        raise NotFound(f"volume {volume_id} is not published at {path}")

    driver.publisher.stats_of = missing
    with pytest.raises(NotFound, match="volume csi-1 is not published at /pods/9a7d/mount"):
        client.stats("csi-1", TARGET)


def test_a_sound_volume_has_nothing_to_report(node: csi_pb2_grpc.NodeStub) -> None:
    request = csi_pb2.NodeGetVolumeHealthRequest(volume_id="csi-1", volume_publish_path=str(TARGET))
    health = node.NodeGetVolumeHealth(request).volume_health
    assert health == csi_pb2.VolumeHealth(volume_id="csi-1")


def test_the_health_of_a_volume_may_be_asked_for_without_a_path(driver: Driver, node: csi_pb2_grpc.NodeStub) -> None:
    asked: list[Path | None] = []

    def stats(_: str, path: Path | None) -> VolumeStats:
        asked.append(path)
        return STATS

    driver.publisher.stats_of = stats
    node.NodeGetVolumeHealth(csi_pb2.NodeGetVolumeHealthRequest(volume_id="csi-1"))
    assert asked == [None]


def test_a_broken_volume_says_what_is_wrong(driver: Driver, node: csi_pb2_grpc.NodeStub) -> None:
    driver.publisher.stats_of = lambda *_: VolumeStats(0, 0, abnormal=True, condition="no longer mounted")
    request = csi_pb2.NodeGetVolumeHealthRequest(volume_id="csi-1", volume_publish_path=str(TARGET))
    (status,) = node.NodeGetVolumeHealth(request).volume_health.health_statuses
    assert (status.status, status.reason, status.message) == (
        csi_pb2.INACCESSIBLE,
        "ModelInaccessible",
        "no longer mounted",
    )


def test_a_request_as_large_as_the_largest_secret_is_read(driver: Driver, node: csi_pb2_grpc.NodeStub) -> None:
    seen: list[int] = []

    def publish(spec: PublishSpec, wait: Wait) -> None:
        seen.append(len(spec.volume_id))

    driver.publisher.on_publish = publish
    request = publish_request()
    request.secrets.update({"username": "ann", "password": "p" * (1024 * 1024 - 100)})
    node.NodePublishVolume(request)
    assert seen == [len(request.volume_id)]
