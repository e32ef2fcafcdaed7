"""Calls that wait for models: for how long, how many, and who sends them away."""

from collections.abc import Callable

import grpc
import pytest

from csi_driver.csi.client import Client
from csi_driver.csi.pb import csi_pb2, csi_pb2_grpc
from csi_driver.csi.waiting import PLACES, patience
from csi_driver.errors import Busy, StillPulling, Unavailable
from tests.csi.conftest import Driver
from tests.csi.fakes import PATIENCE
from tests.csi.valid import publish_request

Serve = Callable[..., Driver]


def numbered(number: int) -> csi_pb2.NodePublishVolumeRequest:
    request = publish_request()
    request.volume_id = f"csi-{number}"
    return request


@pytest.mark.parametrize(
    ("remaining", "seconds"),
    [(120.0, 110.0), (112.0, 107.0), (60.0, 57.0), (20.0, 19.0), (4.0, 3.5), (0.6, 0.1), (0.2, 0.0), (None, 110.0)],
)
def test_a_call_waits_until_shortly_before_its_caller_gives_up(remaining: float | None, seconds: float) -> None:
    assert patience(110.0, remaining) == pytest.approx(seconds)


@pytest.mark.parametrize(("timeout", "least", "most"), [(60.0, 40.0, 58.0), (None, 90.0, 110.0), (600.0, 90.0, 110.0)])
def test_a_publish_knows_the_deadline_of_its_caller(
    timeout: float | None, least: float, most: float, driver: Driver, node: csi_pb2_grpc.NodeStub
) -> None:
    left: list[float] = []
    driver.publisher.on_publish = lambda _, wait: left.append(wait.deadline.remaining())
    node.NodePublishVolume(publish_request(), timeout=timeout)
    assert least <= left[0] <= most


def test_a_pull_that_takes_too_long_tells_how_far_it_is(serve: Serve) -> None:
    driver = serve(hold_seconds=0.01)
    driver.publisher.on_publish = driver.publisher.wait_in_vain
    request = publish_request()
    with Client(driver.endpoint) as client, pytest.raises(StillPulling, match=r"pulling .*: 47 %"):
        client.publish(request.volume_id, driver.endpoint.path, dict(request.volume_context))


def test_a_probe_is_answered_while_every_place_is_taken(driver: Driver, node: csi_pb2_grpc.NodeStub) -> None:
    driver.publisher.on_publish = driver.publisher.wait_in_vain
    calls = [node.NodePublishVolume.future(numbered(number), timeout=600) for number in range(PLACES)]
    assert driver.publisher.entered.reaches(PLACES)
    with Client(driver.endpoint) as client:
        assert client.probe(timeout=PATIENCE)
        with pytest.raises(Busy, match=f"{PLACES} calls already wait"):
            client.publish("csi-more", driver.endpoint.path, dict(publish_request().volume_context))
        client.unpublish("csi-0", driver.endpoint.path)
    for call in calls:
        call.cancel()
    assert driver.publisher.dropped.reaches(PLACES)


def test_a_caller_that_leaves_drops_its_wait_and_frees_its_place(serve: Serve, channel: grpc.Channel) -> None:
    driver = serve(places=1)
    node = csi_pb2_grpc.NodeStub(channel)
    driver.publisher.on_publish = driver.publisher.wait_in_vain
    call = node.NodePublishVolume.future(numbered(1), timeout=600)
    assert driver.publisher.entered.reaches(1)
    call.cancel()
    assert driver.publisher.dropped.reaches(1)
    assert driver.ended.reaches(1)
    driver.publisher.on_publish = lambda *_: None
    node.NodePublishVolume(numbered(2), timeout=PATIENCE)
    assert driver.calls == [("NodePublishVolume", "CANCELLED"), ("NodePublishVolume", "OK")]


def test_a_driver_that_stops_sends_its_callers_away_to_ask_again(driver: Driver, node: csi_pb2_grpc.NodeStub) -> None:
    driver.publisher.on_publish = driver.publisher.wait_in_vain
    calls = [node.NodePublishVolume.future(numbered(number), timeout=600) for number in range(3)]
    assert driver.publisher.entered.reaches(3)
    driver.server.stop(grace=PATIENCE)
    for call in calls:
        with pytest.raises(grpc.RpcError) as failed:
            call.result()
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
        assert (
            failed.value.details() == "the driver on this node is being restarted; the pull goes on with the next call"
        )


def test_nobody_waits_in_a_driver_that_stops(driver: Driver, client: Client) -> None:
    driver.waiting.close()
    with pytest.raises(Unavailable, match="being restarted"):
        client.publish("csi-1", driver.endpoint.path, dict(publish_request().volume_context))
    assert driver.publisher.specs == []
