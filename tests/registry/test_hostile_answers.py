"""Registries and token services that mean harm: each exchange ends, in time, in bounds and with the right words."""

import itertools
import json
import math
import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from csi_driver.errors import ContentMismatch, DriverError, Unavailable, UnsupportedArtifact
from csi_driver.inflight import Deadline
from csi_driver.oci.digest import Digest
from csi_driver.registry.access import Access
from csi_driver.registry.client import Repository
from csi_driver.registry.credential import Credential
from csi_driver.registry.host import Host
from csi_driver.registry.keychain import Keychain
from csi_driver.registry.message import Answer, Payload, Request
from csi_driver.registry.retry import Retry, Transient
from csi_driver.registry.session import Session
from csi_driver.registry.tokens import Tokens
from csi_driver.registry.transport import Transport
from csi_driver.registry.url import Url
from tests.fixtures.faults import Fault
from tests.fixtures.proxy import forward_proxy
from tests.fixtures.registry import EmbeddedRegistry
from tests.registry.conftest import CONTENT, TLS, Client, descriptor, read_all, user

MANIFESTS = "/v2/*/manifests/*"
BLOBS = "/v2/*/blobs/*"
EXCHANGE = 0.25  # seconds; what drips below would take a hundred times as long
TOO_SLOW = r"the answer of 127\.0\.0\.1:\d+ was not complete after 0\.25 s: it comes too slowly"
TOO_LONG = "failed: its answer has longer or more headers than any that makes sense"
BODY = b'{"schemaVersion": 2}'


@pytest.fixture(autouse=True)
def one_try(client: Client) -> None:
    client.patience = 0.0


def repository_of(client: Client, registry: EmbeddedRegistry) -> Repository:
    registry.push_model("team/model", "v1", {"config.json": b"{}"})
    return client.repository(registry.reference("team/model", "v1"), exchange_timeout=EXCHANGE)


@contextmanager
def memory_below(limit: int) -> Iterator[None]:
    """The most that Python allocates within is less than `limit` bytes, the embedded registry included."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(drip=0.1),
        Fault(drip_body=0.1),
        Fault(drip_body=0.1, chunked=True),
        Fault(drip_body=0.1, status=404, body=b"x" * 1000),
        Fault(drip=0.001, raw=[b"HTTP/1.1 200 OK\r\n", b"X: " + b"x" * 60_000]),
        Fault(drip=0.001, raw=itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n")),
        Fault(drip=0.001, raw=itertools.chain([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
                                              itertools.repeat(b"1\r\n \r\n"))),
        Fault(drip=0.001, raw=itertools.chain([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"],
                                              itertools.repeat(b"x"))),
    ],
    ids=["status line", "body", "chunks", "error", "header", "interim", "many chunks", "chunk extension"],
)  # fmt: skip
def test_a_manifest_that_drips_ends_at_the_deadline(client: Client, registry: EmbeddedRegistry, fault: Fault) -> None:
    registry.faults.add(fault, path=MANIFESTS)
    with pytest.raises(Unavailable, match=TOO_SLOW):
        repository_of(client, registry).manifest("v1")


def test_an_exchange_that_was_cut_leaves_nothing_behind_for_the_next(
    client: Client, registry: EmbeddedRegistry
) -> None:
    repository = repository_of(client, registry)
    good = repository.manifest("v1")
    registry.faults.add(Fault(drip_body=0.1), path=MANIFESTS)
    with pytest.raises(Unavailable, match=TOO_SLOW):
        repository.manifest("v1")
    for _ in range(3):
        assert repository.manifest("v1").digest == good.digest
    assert registry.connections() == 2


def test_the_deadline_begins_anew_with_each_request_of_a_connection(client: Client, registry: EmbeddedRegistry) -> None:
    registry.put_manifest("team/model", "v1", BODY, "application/json")
    repository = client.repository(registry.reference("team/model", "v1"), exchange_timeout=1.0)
    registry.faults.add(Fault(drip_body=0.3 / len(BODY)), path=MANIFESTS, times=9)
    for _ in range(4):
        assert repository.manifest("v1").body == BODY
    assert registry.connections() == 1


def test_tokens_heads_and_uploads_have_the_deadline_too(client: Client) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}) as registry:
        registry.push_model("team/model", "v1", {"config.json": b"{}"})
        repository = client.repository(
            registry.reference("team/model", "v1"), user("ann", "a"), exchange_timeout=EXCHANGE
        )
        token = registry.faults.add(Fault(drip_body=0.1), server="tokens")
        with pytest.raises(Unavailable, match=TOO_SLOW):
            repository.manifest("v1")
        token.resume.set()
        digest = Digest.of(CONTENT)
        registry.faults.add(Fault(drip=0.1), method="HEAD", path=BLOBS)
        with pytest.raises(Unavailable, match=TOO_SLOW):
            repository.has_blob(digest)
        registry.faults.add(Fault(drip=0.1), method="POST", path=BLOBS)
        with pytest.raises(Unavailable, match=TOO_SLOW):
            repository.push_blob(digest, 0, lambda: pytest.fail("nothing is to be sent"))
        registry.faults.add(Fault(drip=0.1, status=201), method="PUT", path=MANIFESTS)
        with pytest.raises(Unavailable, match=TOO_SLOW):
            repository.push_manifest("v2", BODY, "text/plain")


@pytest.mark.parametrize("fault", [Fault(drip=0.1), Fault(raw=itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"))])
def test_the_headers_of_a_blob_do_not_drip_for_ever(client: Client, registry: EmbeddedRegistry, fault: Fault) -> None:
    blob = registry.put_blob(CONTENT)
    registry.faults.add(fault, path=BLOBS)
    with pytest.raises(Unavailable, match=f"{TOO_SLOW}|{TOO_LONG}"):
        repository_of(client, registry).blob(descriptor(blob, len(CONTENT))).open()


def test_a_refused_blob_is_told_by_what_came_of_the_refusal(client: Client, registry: EmbeddedRegistry) -> None:
    blob = registry.put_blob(CONTENT)
    registry.faults.add(Fault(drip_body=0.1, status=400, body=b"no" * 500), path=BLOBS)
    with pytest.raises(UnsupportedArtifact, match="answered 400"):
        repository_of(client, registry).blob(descriptor(blob, len(CONTENT))).open()


def test_the_content_of_a_blob_may_take_longer_than_the_deadline(client: Client, registry: EmbeddedRegistry) -> None:
    content = b"x" * 50
    blob = registry.put_blob(content)
    registry.faults.add(Fault(drip_body=2 * EXCHANGE / 50), path=BLOBS)
    assert read_all(repository_of(client, registry).blob(descriptor(blob, 50)), step=1) == content


def test_an_upload_may_be_stored_for_as_long_as_its_request_says(registry: EmbeddedRegistry) -> None:
    registry.faults.add(Fault(drip=0.002, status=201), method="PUT")
    transport = Transport(tls=TLS, exchange_timeout=0.01)
    url = Url.parse(f"{registry.url}/v2/m/blobs/uploads/1")
    upload = Request("PUT", url, body=Payload(1, lambda: iter([b"x"])), timeout=60.0)
    assert transport.send(upload).status == 201
    registry.faults.add(Fault(drip=0.1, status=201), method="PUT")
    with pytest.raises(Transient, match=r"not complete after 0\.01 s"):
        transport.send(Request("PUT", url, body=Payload(1, lambda: iter([b"x"]))))
    transport.close()


@pytest.mark.parametrize("bulk", [False, True])
def test_a_proxy_that_drips_is_given_up_as_well(client: Client, bulk: bool) -> None:
    with EmbeddedRegistry() as registry, forward_proxy(registry.host) as proxy:
        proxy.fault = Fault(drip=0.1, status=200)
        repository = client.repository("registry.test/team/model", proxy_url=proxy.url, exchange_timeout=EXCHANGE)
        with pytest.raises(Unavailable, match=r"registry\.test through the proxy .* not complete after 0\.25 s"):
            repository.blob(descriptor("sha256:" + "0" * 64, 5)).open() if bulk else repository.manifest("v1")
        proxy.fault.resume.set()


def test_what_a_slow_try_took_counts_as_waiting() -> None:
    sleeps: list[float] = []
    tries = 0

    def attempt() -> None:
        nonlocal tries
        tries += 1
        raise Transient("too slow", waited=20.0)

    with pytest.raises(Unavailable, match=r"too slow; gave up after 3 tries in 62 s"):
        Retry(patience=60.0, sleep=sleeps.append, jitter=lambda: 1.0).run(attempt)
    assert (tries, sleeps) == (3, [0.5, 1.0])


def raw(*pieces: bytes) -> Iterable[bytes]:
    return [b"HTTP/1.1 200 OK\r\n", *pieces]


@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        (raw(b"X: " + b"x" * 70_000 + b"\r\n\r\n"), TOO_LONG),
        (raw(*[b"X%d: y\r\n" % number for number in range(10_000)], b"\r\n"), TOO_LONG),
        (itertools.chain(raw(), itertools.repeat(b"X: " + b"x" * 60_000 + b"\r\n")), TOO_LONG),
        (itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"), TOO_LONG),
        (itertools.repeat(b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 999 + b"\r\n\r\n"), TOO_LONG),
        ([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"], "failed: the answer is not HTTP"),
        (itertools.repeat(b"x" * 65536), "failed: its answer has longer|failed: the answer is not HTTP"),
        ([b"HTTP/1.1 1000 What\r\n\r\n"], "failed: the answer is not HTTP"),
        ([b"SSH-2.0-OpenSSH_9.6\r\n"], "failed: the answer is not HTTP"),
        ([b"HTTP/2.0 200 OK\r\n\r\n"], "failed: the answer is not HTTP"),
        (raw(b"Content-Length: 10\r\n\r\n", b"short"), "failed: it ended in the middle of an answer"),
        (raw(b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\n"), "failed"),
        (raw(b"Transfer-Encoding: chunked\r\n\r\n", b"-5\r\n", b"hello"), "failed"),
        (itertools.chain(raw(b"Transfer-Encoding: chunked\r\n\r\n1;"), itertools.repeat(b"x" * 65536)), "failed"),
        (itertools.chain(raw(b"Transfer-Encoding: chunked\r\n\r\n0\r\n"),
                         itertools.repeat(b"X: " + b"y" * 8000 + b"\r\n")), TOO_LONG),
        (itertools.chain(raw(b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: "), itertools.repeat(b"y" * 65536)),
         "failed"),
    ],
    ids=["long header", "10k headers", "long headers", "100 for ever", "103 for ever", "101", "endless status line",
         "status 1000", "ssh", "http 2", "short", "no chunk",
         "negative chunk", "endless chunk extension", "endless trailers",
         "endless trailer"],
)  # fmt: skip
def test_what_is_not_an_answer_is_told_as_such(
    client: Client, registry: EmbeddedRegistry, pieces: Iterable[bytes], told: str
) -> None:
    registry.faults.add(Fault(raw=pieces), path=MANIFESTS)
    registry.push_model("team/model", "v1", {"config.json": b"{}"})
    repository = client.repository(registry.reference("team/model", "v1"), exchange_timeout=30.0)
    with memory_below(64 << 20), pytest.raises(Unavailable, match=told):
        repository.manifest("v1")


def test_a_blob_in_chunks_of_less_than_nothing_is_broken(client: Client, registry: EmbeddedRegistry) -> None:
    blob = registry.put_blob(b"abc")
    registry.faults.add(Fault(raw=raw(b"Transfer-Encoding: chunked\r\n\r\n-5\r\n", b"x" * 100)), path=BLOBS)
    with pytest.raises(Unavailable, match="failed: the answer is not HTTP"):
        read_all(repository_of(client, registry).blob(descriptor(blob, 3)))


def test_interim_answers_are_skipped_and_not_taken_for_the_next_answer(
    client: Client, registry: EmbeddedRegistry
) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
    blob = registry.put_blob(BODY)
    repository = repository_of(client, registry)
    registry.faults.add(Fault(raw=[interim + interim + final]), times=2)
    assert repository.manifest("v1").body == BODY
    assert read_all(repository.blob(descriptor(blob, len(BODY)))) == BODY


def test_a_status_that_nobody_defined_is_unavailable(client: Client, registry: EmbeddedRegistry) -> None:
    registry.faults.add(Fault(raw=[b"HTTP/1.1 999 Request denied\r\nContent-Length: 0\r\n\r\n"]), path=MANIFESTS)
    with pytest.raises(Unavailable, match="answered 999 for manifest v1"):
        repository_of(client, registry).manifest("v1")


def test_headers_that_are_smuggled_into_others_change_nothing(client: Client, registry: EmbeddedRegistry) -> None:
    answer = [b"HTTP/1.1 307 Temporary\r\nLocation: /v2/x%0d%0aAuthorization:%20Basic%20x\r\nContent-Length: 0\r\n\r\n"]
    registry.faults.add(Fault(raw=answer), path=MANIFESTS)
    with pytest.raises(DriverError):
        repository_of(client, registry).manifest("v1")
    assert all("authorization" not in seen.headers for seen in registry.requests)


@pytest.mark.parametrize("length", [b"5", b"-5", b"what", b"99999999999999999999"])
def test_a_manifest_whose_length_is_a_lie_is_not_taken_for_the_true_one(
    client: Client, registry: EmbeddedRegistry, length: bytes
) -> None:
    digest = registry.put_manifest("team/model", "v1", BODY, "application/json")
    registry.faults.add(Fault(raw=raw(b"Content-Length: " + length + b"\r\n\r\n", BODY[:10])), path=MANIFESTS)
    with pytest.raises((ContentMismatch, Unavailable)):
        client.repository(registry.reference("team/model", digest)).manifest(digest)


def test_two_manifests_that_redirect_to_each_other_end(client: Client, registry: EmbeddedRegistry) -> None:
    for name, other in (("v1", "v2"), ("v2", "v1")):
        location = {"Location": f"{registry.url}/v2/team/model/manifests/{other}"}
        registry.faults.add(Fault(status=307, headers=location), path=f"*/{name}", times=99)
    with pytest.raises(Unavailable, match="redirected more than 10 times"):
        repository_of(client, registry).manifest("v1")
    assert registry.count() == 11


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault(status=200, body=b"<html><title>Log in</title></html>"), "answered without a token"),
        (Fault(status=200, body=b"{}"), "answered without a token"),
        (Fault(status=200, body=b'{"token": ["x"]}'), "answered without a token"),
        (Fault(status=200, body=b'{"token": "x\\r\\nHost: evil"}'), "answered without a token"),
        (Fault(status=200, body=bytes(range(256)) * 100), "answered without a token"),
        (Fault(status=200, body=b"[" * 100_000), "answered without a token"),
        (Fault(status=200), "answered without a token"),
        (Fault(raw=itertools.chain(raw(b"\r\n"), itertools.repeat(b'{"token": ' * 9999))), "answered without a token"),
        (Fault(status=999), "answered 999"),
    ],
    ids=["html", "none", "list", "injection", "garbage", "deep", "empty", "endless", "999"],
)
def test_a_token_service_that_lies_is_told(client: Client, fault: Fault, told: str) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}) as registry:
        registry.faults.add(fault, server="tokens", times=9)
        repository = client.repository(registry.reference("team/model", "v1"), user("ann", "a"))
        with memory_below(64 << 20), pytest.raises(Unavailable, match=told):
            repository.manifest("v1")
        assert registry.count(server="tokens") == 1


def test_a_token_service_that_takes_its_time_with_each_of_many_credentials_gets_no_more_than_there_is(
    client: Client,
) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "a"}) as registry:
        address, _, port = registry.host.partition(":")
        hosts = [f"{address[:count]}{'*' * count}{address[count:]}:{port}" for count in range(4)]
        auths = {
            f"{host}{path}": {"username": f"{host}{path}", "password": "x"} for host in hosts for path in ("", "/t")
        }
        keychain = Keychain.from_secrets({".dockerconfigjson": json.dumps({"auths": auths})}, registry.host)
        registry.faults.add(Fault(drip=0.002, status=401), server="tokens", times=99)
        repository = client.repository(registry.reference("team/model", "v1"), keychain)
        assert len(repository.credentials) == 8
        with pytest.raises(
            Unavailable, match=r"no time is left to ask 127\.0\.0\.1:\d+: the requests before took too long"
        ):
            repository.manifest("v1", Deadline.after(EXCHANGE))
        assert registry.count(server="tokens") < 8


def test_one_try_has_two_minutes_with_all_the_tokens_that_it_takes_but_for_what_it_uploads() -> None:
    """Also the try at a layer, which has no deadline of its own, but holds a place that others wait for."""
    asked: list[Request] = []

    def send(request: Request) -> Answer:
        asked.append(request)
        if "/token" in request.url.target:
            return Answer(request.url, 200, {}, b'{"token": "x"}')
        challenge = {"www-authenticate": 'Bearer realm="https://r.example/token"'}
        return Answer(request.url, 200 if request.authorization else 401, challenge)

    host = Host(Url.parse("https://r.example/v2"))
    for body in (None, Payload(1, lambda: iter([b"x"]))):
        access = Access(
            host=host,
            repository="m",
            actions="pull",
            credentials=[Credential("ann", "a")],
            renewed=list,
            tokens=Tokens(send=send),
        )
        session = Session(send=send, retry=Retry(), access=access, host=host, repository="m", name="r.example/m")
        session.send(Request("GET", host.root.below("m/blobs/x"), body=body), "a blob")
    first, token, again, upload, its_token, _ = asked
    assert first.deadline.at == token.deadline.at == again.deadline.at
    assert 0 < first.deadline.remaining() <= 120.0
    assert upload.deadline.remaining() == math.inf
    assert its_token.deadline.remaining() <= 120.0
