"""Every error has one status, and every status says something to its reader."""

import errno
import logging
from collections.abc import Callable, Iterator

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_driver import errors
from csi_driver.csi.client import Client
from csi_driver.csi.pb import csi_pb2, csi_pb2_grpc
from csi_driver.csi.status import LONGEST_MESSAGE, code_of, error_of, message_of, printable
from csi_driver.inflight import Dropped
from tests.csi.conftest import Driver
from tests.csi.valid import REFERENCE, publish_request

CODES = {
    errors.InvalidRequest: "INVALID_ARGUMENT",
    errors.NotFound: "NOT_FOUND",
    errors.Unauthenticated: "UNAUTHENTICATED",
    errors.AccessDenied: "PERMISSION_DENIED",
    errors.NoSpace: "RESOURCE_EXHAUSTED",
    errors.Unavailable: "UNAVAILABLE",
    errors.RangeIgnored: "UNAVAILABLE",
    errors.LayerGone: "UNAVAILABLE",
    errors.StillPulling: "DEADLINE_EXCEEDED",
    errors.Busy: "ABORTED",
    errors.Conflict: "ALREADY_EXISTS",
    errors.UnsupportedArtifact: "FAILED_PRECONDITION",
    errors.ContentMismatch: "DATA_LOSS",
    errors.Stopping: "UNAVAILABLE",
}


def every_error(kind: type[errors.DriverError] = errors.DriverError) -> Iterator[type[errors.DriverError]]:
    for subclass in kind.__subclasses__():
        if subclass.__module__ == errors.__name__:
            yield subclass
            yield from every_error(subclass)


def raising(error: BaseException) -> Callable[..., None]:
    def publish(*_: object) -> None:
        raise error

    return publish


def failure(node: csi_pb2_grpc.NodeStub) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as failed:
        node.NodePublishVolume(publish_request(), timeout=30)
    return failed.value.code().name, failed.value.details() or ""


def test_no_error_of_the_driver_is_forgotten() -> None:
    assert set(every_error()) == set(CODES)


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.__name__)
def test_each_error_has_its_status_and_keeps_its_words(
    kind: type[errors.DriverError], driver: Driver, node: csi_pb2_grpc.NodeStub
) -> None:
    driver.publisher.on_publish = raising(kind("reference x is wrong: write y"))
    assert failure(node) == (CODES[kind], "reference x is wrong: write y")
    assert driver.calls == [("NodePublishVolume", CODES[kind])]


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.__name__)
def test_a_client_gets_the_error_back(kind: type[errors.DriverError], driver: Driver, client: Client) -> None:
    told_by_code_alone = dict.fromkeys((errors.Stopping, errors.RangeIgnored, errors.LayerGone), errors.Unavailable)
    back = told_by_code_alone.get(kind, kind)
    driver.publisher.on_publish = raising(kind("why"))
    request = publish_request()
    with pytest.raises(back, match=r"\Awhy\Z") as raised:
        client.publish(request.volume_id, driver.endpoint.path, {"modelRef": REFERENCE})
    assert type(raised.value) is back


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_resource_exhausted_wherever_it_shows(
    number: int, driver: Driver, node: csi_pb2_grpc.NodeStub
) -> None:
    driver.publisher.on_publish = raising(OSError(number, "No space left on device", "/var/lib/model-csi/layers"))
    code, message = failure(node)
    assert code == "RESOURCE_EXHAUSTED"
    assert "No space left on device: /var/lib/model-csi/layers" in message


def test_an_unknown_error_is_internal_and_keeps_what_it_says_to_the_log(
    driver: Driver, node: csi_pb2_grpc.NodeStub, caplog: pytest.LogCaptureFixture
) -> None:
    driver.publisher.on_publish = raising(ValueError("password is hunter2"))
    with caplog.at_level(logging.DEBUG):
        code, message = failure(node)
    assert code == "INTERNAL"
    assert message == "NodePublishVolume failed on an internal error (ValueError); the driver's log has the details"
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert record.exc_info[0] is ValueError


def test_an_expected_failure_is_logged_without_a_traceback(
    driver: Driver, node: csi_pb2_grpc.NodeStub, caplog: pytest.LogCaptureFixture
) -> None:
    driver.publisher.on_publish = raising(errors.NotFound("no such tag"))
    with caplog.at_level(logging.DEBUG):
        failure(node)
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert not record.exc_info
    fields = record.__dict__["fields"]
    assert (fields["rpc"], fields["volume"], fields["code"]) == ("NodePublishVolume", "csi-1f0c", "NOT_FOUND")
    assert (fields["pod"], fields["reason"]) == ("team-a/server-0", "no such tag")


def test_what_the_driver_does_not_offer_is_unimplemented(driver: Driver, node: csi_pb2_grpc.NodeStub) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        node.NodeStageVolume(csi_pb2.NodeStageVolumeRequest(), timeout=30)
    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert failed.value.details() == "this driver does not offer NodeStageVolume"


def test_a_service_of_another_version_of_csi_is_unimplemented(driver: Driver, channel: grpc.Channel) -> None:
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes]  # without serializers, bytes pass as they are
    call = channel.unary_unary("/csi.v9.Node/NodePublishVolume")
    with pytest.raises(grpc.RpcError) as failed:
        call(b"", timeout=30)
    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_calls_that_succeed_are_observed_too(driver: Driver, client: Client) -> None:
    client.probe()
    client.list_models()
    list(client.pull(REFERENCE))
    assert driver.calls == [("Probe", "OK"), ("List", "OK"), ("Pull", "OK")]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\t here ", "two lines here"),
        ("a bell \x07 and \x1b[31mred", "a bell \\x07 and \\x1b[31mred"),
        ("right-to-left \u202e", "right-to-left \\u202e"),
        ("a name \udcff of bytes", "a name \\udcff of bytes"),
        ("модель 模型", "модель 模型"),
    ],
)
def test_messages_are_one_printable_line(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(exclude_categories=()), max_size=5000))
def test_any_text_becomes_a_message_that_grpc_can_carry(text: str) -> None:
    data = printable(text).encode()
    assert len(data) <= LONGEST_MESSAGE
    assert printable(data.decode()).isprintable()


def test_a_long_message_arrives_cut(driver: Driver, node: csi_pb2_grpc.NodeStub) -> None:
    driver.publisher.on_publish = raising(errors.UnsupportedArtifact("ü" * 5000 + "\n\udc80"))
    _, message = failure(node)
    assert len(message.encode()) <= LONGEST_MESSAGE
    assert message.startswith("üüü")
    assert message.endswith("…")


def test_a_caller_that_left_is_cancelled_and_a_status_without_an_error_is_still_an_error() -> None:
    assert code_of(Dropped()) is grpc.StatusCode.CANCELLED
    assert message_of(Dropped(), "NodePublishVolume") == "the caller left"
    assert type(error_of(grpc.StatusCode.INTERNAL, "x")) is errors.DriverError
    assert type(error_of(grpc.StatusCode.CANCELLED, "x")) is errors.DriverError
