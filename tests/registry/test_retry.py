"""What is tried again, when, and for how long."""

import http.client
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests

from csi_driver.errors import NotFound, Stopping, Unavailable
from csi_driver.registry.retry import Retry, Transient, parse_retry_after
from csi_driver.registry.transport.failures import failure
from csi_driver.registry.url import Url
from tests.fixtures.faults import Fault
from tests.fixtures.registry import EmbeddedRegistry
from tests.registry.conftest import CONTENT, Client, descriptor, read_all


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_r14_a_busy_registry_is_asked_again(client: Client, registry: EmbeddedRegistry, status: int) -> None:
    digest = registry.push_model("team/model", "v1", {"config.json": b"{}"})
    registry.faults.add(Fault(status=status), times=2)
    assert str(client.repository(registry.reference("team/model", "v1")).manifest("v1").digest) == digest
    assert client.sleeps == [0.5, 1.0]


@pytest.mark.parametrize("status", [501, 507, 304])
def test_what_makes_no_sense_or_does_not_pass_is_unavailable_at_once(
    client: Client, registry: EmbeddedRegistry, status: int
) -> None:
    registry.faults.add(Fault(status=status))
    with pytest.raises(Unavailable, match=f"answered {status} for manifest v1 of"):
        client.repository(registry.reference("team/model", "v1")).manifest("v1")
    assert client.sleeps == []


def test_r14_blobs_are_asked_for_again_as_well(client: Client, registry: EmbeddedRegistry) -> None:
    digest = registry.put_blob(CONTENT)
    registry.faults.add(Fault(status=503), times=2)
    source = client.repository(registry.reference("team/model", "v1")).blob(descriptor(digest, len(CONTENT)))
    assert read_all(source) == CONTENT


@pytest.mark.parametrize(
    ("wish", "sleeps"), [({}, [0.5, 1.0]), ({"Retry-After": "1"}, [1.0, 1.0]), ({"Retry-After": "3"}, [])]
)
def test_who_has_another_way_waits_for_two_seconds_at_most(
    client: Client, registry: EmbeddedRegistry, wish: dict[str, str], sleeps: list[float]
) -> None:
    source = client.repository(registry.reference("team/model", "v1")).blob(
        descriptor(registry.put_blob(CONTENT), len(CONTENT))
    )
    registry.faults.add(Fault(status=503, headers=wish), times=len(sleeps))
    with source.open(0, 10, briefly=True) as body:
        assert body.readinto(memoryview(bytearray(10))) == 10
    registry.faults.add(Fault(status=503, headers=wish), times=len(sleeps) + 1)
    with pytest.raises(Unavailable, match="answered 503"):
        source.open(0, 10, briefly=True)
    assert client.sleeps == sleeps * 2


def test_a_connection_that_is_reset_is_tried_again(client: Client, registry: EmbeddedRegistry) -> None:
    digest = registry.push_model("team/model", "v1", {"config.json": b"{}"})
    blob = registry.put_blob(CONTENT)
    registry.faults.add(Fault(refuse=True), path="*/manifests/*")
    registry.faults.add(Fault(refuse=True), path="*/blobs/*")
    repository = client.repository(registry.reference("team/model", "v1"))
    assert str(repository.manifest("v1").digest) == digest
    assert read_all(repository.blob(descriptor(blob, len(CONTENT)))) == CONTENT
    assert client.sleeps == [0.5, 0.5]


def test_patience_ends_and_the_error_names_host_and_cause(client: Client) -> None:
    with EmbeddedRegistry() as registry:
        reference = registry.reference("team/model", "v1")
    with pytest.raises(
        Unavailable, match=r"127\.0\.0\.1:\d+ failed: Connection refused; gave up after 8 tries in 46 s"
    ) as caught:
        client.repository(reference).manifest("v1")
    assert not isinstance(caught.value, Transient)
    assert client.sleeps == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]


@pytest.mark.parametrize(
    ("error", "again", "told"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), False, "the name of r.io cannot be resolved"),
        (
            socket.gaierror(socket.EAI_AGAIN, "Temporary failure"),
            True,
            "the name of r.io cannot be resolved: Temporary",
        ),
        (requests.ConnectionError("secret", requests.Timeout("secret")), True, "nothing came from r.io for too long"),
        (requests.ConnectionError("https://r.io/x?secret"), True, "the connection to r.io failed: ConnectionError"),
        (http.client.RemoteDisconnected("secret"), True, "failed: it was closed without an answer"),
        (http.client.IncompleteRead(b"secret"), True, "failed: it ended in the middle of an answer"),
        (http.client.BadStatusLine("secret"), True, "failed: the answer is not HTTP"),
        (
            UnicodeError("label too long"),
            False,
            "the name of r.io cannot be resolved: a part of it is empty, or longer",
        ),
        (UnicodeDecodeError("utf-8", b"secret", 0, 1, "x"), False, "r.io redirects to what is no URL"),
    ],
)
def test_a_failure_is_told_by_its_first_cause_without_urls(error: Exception, again: bool, told: str) -> None:
    outer = requests.RequestException("https://r.io/x?signature=secret", error)
    outer.__context__ = error
    found = failure(outer, Url.parse("https://r.io/x?signature=secret"), None)
    assert told in str(found)
    assert "secret" not in str(found)
    assert isinstance(found, Transient) is again


@pytest.mark.parametrize(
    ("retry_after", "slept"),
    [
        ("2", [2.0, 2.0]),
        ("0", [0.25, 0.5]),
        ("99999", [60.0]),
        ("", [0.5, 1.0]),
        ("soon", [0.5, 1.0]),
    ],
)
def test_r13_the_registrys_wish_is_kept_within_limits(
    client: Client, registry: EmbeddedRegistry, retry_after: str, slept: list[float]
) -> None:
    digest = registry.push_model("team/model", "v1", {"config.json": b"{}"})
    registry.faults.add(Fault(status=429, headers={"Retry-After": retry_after}), times=len(slept))
    assert str(client.repository(registry.reference("team/model", "v1")).manifest("v1").digest) == digest
    assert client.sleeps == slept


def test_r13_a_wish_beyond_patience_is_reported(client: Client, registry: EmbeddedRegistry) -> None:
    client.patience = 10.0
    registry.faults.add(Fault(status=429, headers={"Retry-After": "3600"}), times=9)
    with pytest.raises(Unavailable, match="wants to be asked again after 3600 s") as caught:
        client.repository(registry.reference("team/model", "v1")).manifest("v1")
    assert caught.value.retry_after == 3600
    assert client.sleeps == []


def test_r13_the_wish_may_be_a_date() -> None:
    seconds = parse_retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True))
    assert seconds is not None
    assert 90 < seconds <= 100
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert parse_retry_after(None) is None
    assert parse_retry_after("9" * 400) == 999_999_999.0
    assert parse_retry_after("Fri, 31 Dec 1999 23:59:59 +99999999999999999999") is None


def test_pauses_vary_so_that_nodes_do_not_come_back_together() -> None:
    pauses: list[float] = []
    jitter = iter([0.0, 0.5, 1.0])

    def attempt() -> None:
        if len(pauses) < 3:
            raise Transient("busy")

    Retry(sleep=pauses.append, jitter=lambda: next(jitter)).run(attempt)
    assert pauses == [0.25, 0.75, 2.0]


def test_what_is_final_is_not_tried_again() -> None:
    calls: list[int] = []

    def attempt() -> None:
        calls.append(1)
        raise NotFound("gone")

    with pytest.raises(NotFound):
        Retry().run(attempt)
    assert len(calls) == 1


def test_a_driver_that_stops_does_not_wait_for_a_registry() -> None:
    def attempt() -> None:
        raise Transient("busy")

    with pytest.raises(Stopping):
        Retry(sleep=lambda _: True).run(attempt)
