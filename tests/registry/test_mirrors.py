"""Mirrors by hosts.toml: who is asked, in which order, with what, and what happens when one fails."""

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from csi_driver.errors import ContentMismatch, NotFound, Unauthenticated, Unavailable, UnsupportedArtifact
from csi_driver.inflight import Deadline
from csi_driver.oci.digest import Digest
from csi_driver.registry.access import Access
from csi_driver.registry.client import Repository
from csi_driver.registry.host import Capability, Host
from csi_driver.registry.keychain import Keychain
from csi_driver.registry.message import Answer, Request
from csi_driver.registry.outages import Outages
from csi_driver.registry.redirect import ALL_HOPS_SECONDS, follow
from csi_driver.registry.retry import Retry, TooLate
from csi_driver.registry.route import Route
from csi_driver.registry.session import Session
from csi_driver.registry.tokens import Tokens
from csi_driver.registry.url import Url
from tests.fixtures.access import basic
from tests.fixtures.faults import Fault
from tests.fixtures.hosts import black_hole, mirrored, nobody, write_hosts
from tests.fixtures.registry import EmbeddedRegistry
from tests.registry.conftest import CONTENT, Client, descriptor, read_all, user

FILES = {"config.json": b"{}"}
MANIFESTS = "/v2/*/manifests/*"
BLOBS = "/v2/*/blobs/*"


@pytest.fixture
def mirror() -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry() as mirror:
        yield mirror


@pytest.fixture
def repository(client: Client, registry: EmbeddedRegistry, mirror: EmbeddedRegistry, tmp_path: Path) -> Repository:
    """A repository that registry and mirror both hold, with the mirror in front."""
    write_hosts(tmp_path, registry.host, mirrored(mirror.url))
    for each in (registry, mirror):
        each.push_model("team/model", "v1", FILES)
        each.put_blob(CONTENT)
    client.patience = 0.0
    return client.repository(registry.reference("team/model", "v1"), hosts_dir=tmp_path)


BLOB = descriptor(str(Digest.of(CONTENT)), len(CONTENT))


def test_a_mirror_in_front_is_asked_alone_and_told_for_whom(
    repository: Repository, registry: EmbeddedRegistry, mirror: EmbeddedRegistry
) -> None:
    assert repository.manifest("v1").body == registry.manifest("team/model", "v1")
    assert read_all(repository.blob(BLOB)) == CONTENT
    assert registry.requests == []
    assert [seen.query for seen in mirror.requests] == [{"ns": registry.host}] * 2


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=404),
        Fault(status=401),
        Fault(status=403),
        Fault(status=400),
        Fault(status=429, headers={"Retry-After": "9999"}),
        Fault(status=500),
        Fault(status=502, body=b"<html><title>Bad Gateway</title></html>"),
        Fault(status=200, body=b"<html>log in first</html>", headers={"Content-Type": "text/html"}),
        Fault(status=204),
        Fault(status=307, headers={"Location": "file:///etc/passwd"}),
        Fault(refuse=True),
        Fault(raw=[b"220 mail.example.com ESMTP\r\n"]),
    ],
    ids=lambda fault: str(fault.status or ("refused" if fault.refuse else "not HTTP")),
)
def test_r16_whatever_a_mirror_answers_wrongly_the_registry_answers_for_it(
    repository: Repository, registry: EmbeddedRegistry, mirror: EmbeddedRegistry, client: Client, fault: Fault
) -> None:
    mirror.faults.add(fault, path=MANIFESTS, times=9)
    assert repository.manifest("v1").body == registry.manifest("team/model", "v1")
    assert read_all(repository.blob(BLOB)) == CONTENT
    assert registry.count(path=MANIFESTS) == 1
    assert all("ns" not in seen.query for seen in registry.requests)
    assert client.sleeps == []


@pytest.mark.parametrize(
    "fault",
    [Fault(status=404), Fault(status=500), Fault(short_by=1), Fault(extra=b"x"), Fault(status=416), Fault(refuse=True)],
    ids=["404", "500", "shorter", "longer", "416", "refused"],
)
@pytest.mark.parametrize("part", [(0, None), (1000, 90_000)], ids=["whole", "part"])
def test_r16_a_mirror_without_the_right_blob_is_passed_over(
    repository: Repository,
    registry: EmbeddedRegistry,
    mirror: EmbeddedRegistry,
    fault: Fault,
    part: tuple[int, int | None],
) -> None:
    mirror.faults.add(fault, path=BLOBS, times=9)
    source = repository.blob(BLOB)
    try:
        content = read_all(source, *part)
    except Unavailable:  # found in the middle; whoever reads asks again
        content = read_all(source, *part)
    except ContentMismatch as error:
        source.distrust(error)
        content = read_all(source, *part)
    assert content == CONTENT[slice(*part)]
    assert registry.count(path=BLOBS) == 1


def test_r16_a_manifest_other_than_its_digest_says_is_asked_of_the_next_host(
    repository: Repository, registry: EmbeddedRegistry, mirror: EmbeddedRegistry
) -> None:
    digest = registry.store.tags["team/model", "v1"]
    mirror.faults.add(Fault(corrupt_at=10), path=MANIFESTS)
    assert repository.manifest(digest).body == registry.manifest("team/model", "v1")
    assert registry.count(path=MANIFESTS) == 1


def test_r16_content_that_was_found_wrong_is_asked_of_the_next_host(
    repository: Repository, registry: EmbeddedRegistry, mirror: EmbeddedRegistry
) -> None:
    mirror.faults.add(Fault(corrupt_at=5), path=BLOBS, times=9)
    source = repository.blob(BLOB)
    assert read_all(source) != CONTENT
    assert source.distrust(ContentMismatch("it is not what its digest says"))
    assert read_all(source) == CONTENT
    assert mirror.count(path=BLOBS) == 1
    assert source.distrust(ContentMismatch("wrong again")), "the registry's bytes may be damaged on their way, once"
    assert not source.distrust(ContentMismatch("and again"))


def test_a_mirror_that_sent_wrong_bytes_is_left_out_for_other_blobs_too(
    repository: Repository, registry: EmbeddedRegistry, mirror: EmbeddedRegistry
) -> None:
    source = repository.blob(BLOB)
    read_all(source)
    source.distrust(ContentMismatch("it is not what its digest says"))
    assert read_all(repository.blob(BLOB)) == CONTENT
    assert (mirror.count(path=BLOBS), registry.count(path=BLOBS)) == (1, 1)


def test_a_blob_that_breaks_off_goes_on_at_the_next_host_where_it_ended(
    repository: Repository, registry: EmbeddedRegistry, mirror: EmbeddedRegistry
) -> None:
    mirror.faults.add(Fault(drop_after=400_000), path=BLOBS, times=9)
    source, content = repository.blob(BLOB), memoryview(bytearray(len(CONTENT)))
    with source.open() as body:
        here = 0
        with suppress(Unavailable):
            while count := body.readinto(content[here:]):
                here += count
    with source.open(here, None) as body:
        while here < len(CONTENT):
            here += body.readinto(content[here:])
    assert content == CONTENT
    digest = str(BLOB.digest)
    assert mirror.bytes_sent[digest] + registry.bytes_sent[digest] == len(CONTENT), "no byte came twice"
    assert mirror.count(path=BLOBS) == 1


def test_a_body_that_its_reader_ends_says_nothing_of_the_mirror(
    repository: Repository, registry: EmbeddedRegistry, mirror: EmbeddedRegistry
) -> None:
    mirror.gate.hold(at=100)
    source = repository.blob(BLOB)
    with source.open() as body:
        assert body.readinto(memoryview(bytearray(100))) == 100
        body.abort()
        with pytest.raises(Unavailable):
            body.readinto(memoryview(bytearray(100)))
    mirror.gate.open()
    assert read_all(source, 100) == CONTENT[100:]
    assert registry.requests == []


def test_hosts_toml_with_a_dead_first_mirror_costs_one_try_for_all_blobs(
    client: Client, registry: EmbeddedRegistry, mirror: EmbeddedRegistry, tmp_path: Path
) -> None:
    for each in (registry, mirror):
        each.push_model("team/model", "v1", FILES)
        each.put_blob(CONTENT)
    mirror.faults.add(Fault(status=503), times=99)
    with nobody() as dead:
        write_hosts(tmp_path, registry.host, mirrored(f"http://{dead}", mirror.url))
        repository = client.repository(registry.reference("team/model", "v1"), hosts_dir=tmp_path)
        assert repository.manifest("v1").body == registry.manifest("team/model", "v1")
        for _ in range(5):
            assert read_all(repository.blob(BLOB)) == CONTENT
    assert mirror.count() == 1
    assert registry.count(path=BLOBS) == 5
    assert client.sleeps == []


def test_a_mirror_that_does_not_even_refuse_is_given_up_after_its_dial_timeout(
    client: Client, registry: EmbeddedRegistry, tmp_path: Path
) -> None:
    registry.push_model("team/model", "v1", FILES)
    registry.put_blob(CONTENT)
    with black_hole() as dead:
        write_hosts(tmp_path, registry.host, f'[host."http://{dead}"]\ndial_timeout = "10ms"\n')
        repository = client.repository(registry.reference("team/model", "v1"), hosts_dir=tmp_path)
        assert read_all(repository.blob(BLOB)) == CONTENT
        assert repository.manifest("v1").body == registry.manifest("team/model", "v1")


def test_when_all_fail_the_registrys_own_answer_counts_and_the_mirrors_are_told_too(
    client: Client, registry: EmbeddedRegistry, mirror: EmbeddedRegistry, tmp_path: Path
) -> None:
    mirror.faults.add(Fault(status=500, body=b"out of peers"), times=9)
    write_hosts(tmp_path, registry.host, mirrored(mirror.url))
    repository = client.repository(registry.reference("team/model", "v1"), hosts_dir=tmp_path)
    told = rf"^{registry.host} answered 404 .*; before that, {mirror.host} answered 500 \(out of peers\)"
    with pytest.raises(NotFound, match=told):
        repository.manifest("v1")
    with pytest.raises(NotFound, match=f"{mirror.host} is left out for a while: {mirror.host} answered 500"):
        repository.manifest("v1")
    registry.access.mode, registry.access.users = "basic", {"ann": "a"}
    with pytest.raises(Unauthenticated, match="nodePublishSecretRef"):
        repository.manifest("v1")


def test_while_the_registry_fails_in_passing_all_are_asked_again(
    client: Client, registry: EmbeddedRegistry, mirror: EmbeddedRegistry, tmp_path: Path
) -> None:
    registry.faults.add(Fault(status=503), times=2)
    registry.push_model("team/model", "v1", FILES)
    write_hosts(tmp_path, registry.host, mirrored(mirror.url))
    repository = client.repository(registry.reference("team/model", "v1"), hosts_dir=tmp_path)
    assert repository.manifest("v1").body == registry.manifest("team/model", "v1")
    assert (mirror.count(), registry.count()) == (3, 3)
    assert len(client.sleeps) == 2


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_r16_credentials_for_the_registry_never_reach_a_mirror(client: Client, tmp_path: Path, auth: str) -> None:
    with (
        EmbeddedRegistry(auth=auth, users={"ann": "a"}, redirect_blobs=True) as registry,  # type: ignore[arg-type]
        EmbeddedRegistry(auth=auth, users={"ann": "a"}) as mirror,  # type: ignore[arg-type]
    ):
        for each in (registry, mirror):
            each.push_model("team/model", "v1", FILES)
            each.put_blob(CONTENT)
        write_hosts(tmp_path, registry.host, mirrored(mirror.url))
        reference = registry.reference("team/model", "v1")
        repository = client.repository(reference, user("ann", "a"), hosts_dir=tmp_path)
        assert repository.manifest("v1").body == registry.manifest("team/model", "v1")
        assert read_all(repository.blob(BLOB)) == CONTENT
        assert {seen.server for seen in registry.requests} >= {"registry", "storage"}
        shown = {(seen.server, seen.headers.get("authorization")) for seen in mirror.requests}
        own = {f"Bearer {token}" for token in mirror.access.tokens}  # a mirror may give tokens to anybody
        assert {server for server, value in shown if value and value not in own} == set()
        assert ("registry", None) in shown
        assert not any("authorization" in seen.headers for seen in registry.seen(server="storage"))


def test_a_mirror_gets_the_nodes_credentials_for_its_own_name(client: Client, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    with (
        EmbeddedRegistry(auth="basic", users={"ann": "a"}) as registry,
        EmbeddedRegistry(auth="basic", users={"node": "n"}) as mirror,
    ):
        mirror.push_model("team/model", "v1", FILES)
        write_hosts(tmp_path, registry.host, mirrored(mirror.url))
        config.write_text(json.dumps({"auths": {mirror.host: {"username": "node", "password": "n"}}}))
        node = Keychain.from_docker_config(config)
        reference = registry.reference("team/model", "v1")
        repository = client.repository(reference, user("ann", "a"), node_keychain=node, hosts_dir=tmp_path)
        assert repository.manifest("v1").body == mirror.manifest("team/model", "v1")
        assert {seen.headers.get("authorization") for seen in mirror.requests} == {None, basic("node", "n")}
        assert registry.requests == []


def test_a_mirror_that_may_not_resolve_brings_only_what_the_registry_gives_to_the_caller(
    client: Client, registry: EmbeddedRegistry, mirror: EmbeddedRegistry, tmp_path: Path
) -> None:
    registry.push_model("team/model", "v1", FILES)
    registry.put_blob(CONTENT)
    private = mirror.put_blob(b"a private layer of somebody else")
    mirror.put_blob(CONTENT)
    write_hosts(tmp_path, registry.host, mirrored(mirror.url, capabilities=["pull"]))
    repository = client.repository(registry.reference("team/model", "v1"), hosts_dir=tmp_path)
    assert repository.manifest("v1").body == registry.manifest("team/model", "v1")
    assert mirror.requests == []
    source = repository.blob(BLOB)
    assert read_all(source, 0, 1000) + read_all(source, 1000) == CONTENT
    assert mirror.count("GET", BLOBS) == 2
    assert (registry.count("GET", BLOBS), registry.count("HEAD", BLOBS)) == (0, 1)
    with pytest.raises(NotFound):
        repository.blob(descriptor(private, 32)).open()
    assert mirror.count("GET", f"*{private}") == 0


def test_a_push_goes_to_the_first_host_that_may_be_pushed_to(
    client: Client, registry: EmbeddedRegistry, mirror: EmbeddedRegistry, tmp_path: Path
) -> None:
    reference = registry.reference("team/model", "v1")
    write_hosts(tmp_path, registry.host, mirrored(mirror.url))
    client.repository(reference, hosts_dir=tmp_path).push_manifest("v1", b"{}", "text/plain")
    write_hosts(tmp_path, registry.host, mirrored(mirror.url, capabilities=["push", "pull", "resolve"]))
    client.repository(reference, hosts_dir=tmp_path).push_manifest("v2", b"{}", "text/plain")
    assert (set(registry.store.tags), set(mirror.store.tags)) == ({("team/model", "v1")}, {("team/model", "v2")})


def test_headers_and_a_path_of_a_mirror_go_to_it_and_no_further(
    client: Client, registry: EmbeddedRegistry, tmp_path: Path
) -> None:
    with EmbeddedRegistry(redirect_blobs=True) as mirror:
        mirror.push_model("cache/team/model", "v1", FILES)
        mirror.put_blob(CONTENT)
        write_hosts(
            tmp_path,
            registry.host,
            f'[host."{mirror.url}/v2/cache"]\noverride_path = true\n'
            f'[host."{mirror.url}/v2/cache".header]\nX-Team = ["a", "b"]\nauthorization = "Basic bWU6"\n',
        )
        repository = client.repository(registry.reference("team/model", "v1"), user("ann", "a"), hosts_dir=tmp_path)
        assert repository.manifest("v1").body == mirror.manifest("cache/team/model", "v1")
        assert read_all(repository.blob(BLOB)) == CONTENT
        names = ("x-team", "authorization")
        told = {(seen.server, *(seen.headers.get(name) for name in names)) for seen in mirror.requests}
        assert told == {("registry", "a, b", "Basic bWU6"), ("storage", None, None)}
        assert registry.requests == []


def test_headers_that_a_mirror_echoes_are_told_when_they_are_too_short_for_secrets(
    client: Client, registry: EmbeddedRegistry, mirror: EmbeddedRegistry, tmp_path: Path
) -> None:
    headers = 'authorization = "Basic bWU6"\nX-Key = "k3y-0f-me"\nX-Cache = "true"\n'
    write_hosts(tmp_path, registry.host, f'[host."{mirror.url}".header]\n{headers}')
    repository = client.repository(registry.reference("team/model", "v1"), hosts_dir=tmp_path)
    mirror.faults.add(Fault(status=400, body=b"it is true: neither Basic bWU6, bWU6 nor k3y-0f-me"), path=MANIFESTS)
    with pytest.raises(NotFound, match=r"answered 400 \(it is true: neither \*\*\*, \*\*\* nor \*\*\*\)"):
        repository.manifest("v1")


def test_another_server_takes_the_registrys_place_and_has_all_its_tries(
    client: Client, registry: EmbeddedRegistry, mirror: EmbeddedRegistry, tmp_path: Path
) -> None:
    mirror.push_model("team/model", "v1", FILES)
    mirror.faults.add(Fault(status=503), times=2)
    write_hosts(tmp_path, "docker.io", f'server = "{mirror.url}"\n')
    repository = client.repository("docker.io/team/model:v1", user("ann", "a"), hosts_dir=tmp_path)
    assert repository.manifest("v1").body == mirror.manifest("team/model", "v1")
    assert [seen.query for seen in mirror.requests] == [{"ns": "docker.io"}] * 3
    assert not any("authorization" in seen.headers for seen in mirror.requests)


def test_a_registry_that_is_among_its_hosts_keeps_its_credentials_and_its_place(
    client: Client, mirror: EmbeddedRegistry, tmp_path: Path
) -> None:
    with EmbeddedRegistry(auth="basic", users={"ann": "a"}) as registry:
        registry.push_model("team/model", "v1", FILES)
        write_hosts(tmp_path, registry.host, f'server = "{registry.url}"\n' + mirrored(registry.url, mirror.url))
        repository = client.repository(
            registry.reference("team/model", "v1"), user("ann", "a"), hosts_dir=tmp_path, loopback_plain_http=True
        )
        assert repository.manifest("v1").body == registry.manifest("team/model", "v1")
        assert all("ns" not in seen.query for seen in registry.requests)
        assert mirror.requests == []


def test_nobody_may_resolve_is_told_as_such(client: Client, registry: EmbeddedRegistry, tmp_path: Path) -> None:
    write_hosts(tmp_path, registry.host, 'capabilities = ["push"]\n')
    repository = client.repository(registry.reference("team/model", "v1"), hosts_dir=tmp_path)
    with pytest.raises(Unavailable, match=f"no host is trusted to resolve {registry.host}/team/model: add the word"):
        repository.manifest("v1")


def test_a_manifest_larger_than_any_is_asked_of_the_next_host(
    repository: Repository, registry: EmbeddedRegistry, mirror: EmbeddedRegistry
) -> None:
    mirror.faults.add(Fault(endless=True), path=MANIFESTS)
    registry.faults.add(Fault(endless=True), path=MANIFESTS, skip=1)
    assert repository.manifest("v1").body == registry.manifest("team/model", "v1")
    mirror.faults.add(Fault(endless=True), path=MANIFESTS)
    with pytest.raises(UnsupportedArtifact):
        repository.manifest("v1")


def test_a_request_that_is_too_late_says_nothing_of_the_mirror(
    repository: Repository, registry: EmbeddedRegistry, mirror: EmbeddedRegistry
) -> None:
    with pytest.raises(Unavailable, match="no time is left to ask"):
        repository.manifest("v1", Deadline(0.0))
    assert repository.manifest("v1").body == mirror.manifest("team/model", "v1")
    assert registry.requests == []


def test_a_mirror_that_uses_up_the_time_of_one_try_is_left_out_for_a_while() -> None:
    """As with a slow token service: else each range of each layer would wait for it again, two minutes long."""
    asked: list[str] = []

    def send(request: Request) -> Answer:
        asked.append(request.url.authority)
        if request.url.authority == "mirror.example":
            raise TooLate("no time is left to ask tokens.example")
        return Answer(request.url, 200, {})

    def session(host: Host) -> Session:
        tokens = Tokens(send=send)
        access = Access(host=host, repository="m", actions="pull", credentials=[], renewed=list, tokens=tokens)
        return Session(send=send, retry=Retry(), access=access, host=host, repository="m", name="r.example/m")

    mirror = Host(Url.parse("https://mirror.example/v2"), namespace="r.example")
    sessions = [session(mirror), session(Host(Url.parse("https://r.example/v2")))]
    route = Route(sessions=sessions, outages=Outages(), retry=Retry(), name="r.example/m")
    for _ in range(2):
        route.ask(Capability.PULL, lambda one: one.send(Request("GET", one.url("blobs/x")), "a blob"))
    assert asked == ["mirror.example", "r.example", "r.example"]


def test_redirects_share_one_deadline(client: Client, registry: EmbeddedRegistry) -> None:
    """Each hop may take as long as an exchange may; eleven of them together may not."""
    asked: list[Request] = []

    def send(request: Request) -> Answer:
        asked.append(request)
        return Answer(request.url, 307, {"location": "/next"})

    with pytest.raises(Unavailable, match="more than 10 times"):
        follow(send, Request("GET", Url.parse("https://r.example/v2/")))
    first, *others = asked
    assert first.deadline.remaining() == math.inf
    assert len({request.deadline.at for request in others}) == 1
    assert others[0].deadline.remaining() <= ALL_HOPS_SECONDS
