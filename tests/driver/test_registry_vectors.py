"""How registries behave and misbehave, R1 to R23, each from the registry to what the pod gets or is told.

The rooms beneath test the same in more shapes: tests/registry what is sent and read, tests/transfer what becomes of it.
"""

import json
import os
import stat
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path

import pytest

from csi_driver.config import PullConfig
from csi_driver.errors import (
    ContentMismatch,
    DriverError,
    InvalidRequest,
    NoSpace,
    NotFound,
    StillPulling,
    Unauthenticated,
    Unavailable,
    UnsupportedArtifact,
)
from csi_driver.inflight import spawn
from csi_driver.oci.digest import Digest
from tests.fixtures.certificates import Authority
from tests.fixtures.driver import Node, RunningDriver, content
from tests.fixtures.faults import Fault
from tests.fixtures.hosts import mirrored, write_hosts
from tests.fixtures.registry import EmbeddedRegistry
from tests.registry.conftest import Client, authority, client

__all__ = ["authority", "client"]

WEIGHTS = os.urandom(1 << 20)
MODEL = {"weights.safetensors": WEIGHTS, "config.json": b"{}"}
DIGEST = str(Digest.of(WEIGHTS))
BLOB, MANIFESTS = f"*{DIGEST}", "/v2/*/manifests/*"
USERS = {"alice": "wonderland"}
SEVENTY = len(WEIGHTS) * 7 // 10


@pytest.fixture
def reference(registry: EmbeddedRegistry) -> str:
    """A model that everybody may have."""
    registry.push_model("team/model", "v1", MODEL)
    return registry.reference("team/model", "v1")


@pytest.fixture
def guarded() -> Iterator[EmbeddedRegistry]:
    """A registry that gives its model to Alice, for a token."""
    with EmbeddedRegistry(auth="bearer", users=USERS) as guarded:
        guarded.push_model("team/model", "v1", MODEL)
        yield guarded


def entry(user: str = "alice", password: str = "wonderland") -> dict[str, str]:
    return {"auth": b64encode(f"{user}:{password}".encode()).decode()}


def secret(**auths: object) -> dict[str, str]:
    return {".dockerconfigjson": json.dumps({"auths": auths})}


def alice(registry: EmbeddedRegistry) -> dict[str, str]:
    return secret(**{registry.host: entry()})


def arrives(driver: RunningDriver, reference: str, secrets: dict[str, str] | None = None) -> None:
    assert content(driver.publish("pod", reference, secrets=secrets)) == MODEL


def fails(
    driver: RunningDriver,
    reference: str,
    error: type[DriverError],
    match: str,
    secrets: dict[str, str] | None = None,
) -> None:
    with pytest.raises(error, match=match) as caught:
        driver.publish("pod", reference, secrets=secrets)
    assert type(caught.value) is error
    assert "wonderland" not in str(caught.value)
    assert not driver.node.target("pod").exists()
    weights = f"layers/sha256/{DIGEST[7:9]}/{DIGEST[7:]}"
    assert not any(path.startswith(("snapshots", "volumes", weights)) for path in driver.node.leftovers())


@pytest.mark.parametrize("packing", ["raw", "tar"])
def test_a_body_that_is_not_its_digest_is_data_loss(
    registry: EmbeddedRegistry, driver: RunningDriver, packing: str
) -> None:
    """R1."""
    registry.push_model("team/model", "v1", {"weights.bin": WEIGHTS}, packing=packing)
    registry.faults.add(Fault(corrupt_at=SEVENTY), path="/v2/*/blobs/*", times=9)
    fails(driver, registry.reference("team/model", "v1"), ContentMismatch, "sha256:")


def test_a_shorter_body_is_gone_on_with(registry: EmbeddedRegistry, driver: RunningDriver, reference: str) -> None:
    """R1."""
    registry.faults.add(Fault(drop_after=SEVENTY), path=BLOB)
    arrives(driver, reference)
    assert registry.bytes_sent[DIGEST] == len(WEIGHTS)


def test_a_longer_body_is_cut_at_its_first_surplus_byte(
    registry: EmbeddedRegistry, driver: RunningDriver, reference: str
) -> None:
    """R1. Without a length, so that nothing but the bytes tells."""
    registry.faults.add(Fault(endless=True), path=BLOB, times=9)
    fails(driver, reference, ContentMismatch, DIGEST)


@pytest.mark.parametrize("fault", [Fault(short_by=1), Fault(extra=b"x")], ids=["shorter", "longer"])
def test_a_length_other_than_the_descriptors_is_refused_before_the_body(
    registry: EmbeddedRegistry, driver: RunningDriver, reference: str, fault: Fault
) -> None:
    """R1. What is at fault is what was pushed, or where it lies: fetching it again would not mend it."""
    registry.faults.add(fault, path=BLOB, times=9)
    told = rf"has {len(WEIGHTS) - fault.short_by + len(fault.extra)} bytes for .*descriptor says {len(WEIGHTS)}"
    fails(driver, reference, UnsupportedArtifact, told)
    assert registry.count("GET", BLOB) == 1


def test_a_manifest_that_is_not_its_digest_is_data_loss(
    registry: EmbeddedRegistry, driver: RunningDriver, reference: str
) -> None:
    """R2."""
    digest = registry.store.tags["team/model", "v1"]
    registry.faults.add(Fault(corrupt_at=5), path=MANIFESTS, times=9)
    fails(driver, registry.reference("team/model", digest), ContentMismatch, f"for manifest {digest}")


def test_beside_a_digest_a_tag_that_has_moved_means_nothing(
    registry: EmbeddedRegistry, driver: RunningDriver, reference: str
) -> None:
    """R3."""
    digest = registry.store.tags["team/model", "v1"]
    registry.push_model("team/model", "v1", {"other.bin": b"other"})
    arrives(driver, f"{reference}@{digest}")


@pytest.mark.parametrize(
    "challenges",
    [
        ['Bearer realm="{realm}",service="s",scope="repository:team/model:pull,push"'],
        ["Bearer realm={realm},service=s,scope=repository:team/model:pull"],
        ['BEARER REALM="{realm}", SERVICE="s"'],
        ['Basic realm="r"', 'Bearer realm="{realm}",service="s"'],
        ["Negotiate", 'Bearer realm="{realm}",service="s"'],
        ["Negotiate YIIabc=", 'NTLM, Bearer realm="{realm}",service="s"'],
    ],
    ids=["commas", "unquoted", "upper case", "basic first", "negotiate first", "joined"],
)
def test_odd_challenges_lead_to_a_token(
    guarded: EmbeddedRegistry, driver: RunningDriver, challenges: list[str]
) -> None:
    """R4."""
    guarded.access.challenges = lambda *_: [one.format(realm=guarded.access.realm) for one in challenges]
    arrives(driver, guarded.reference("team/model", "v1"), alice(guarded))


@pytest.mark.parametrize("realm", ["{realm}", "{realm}?account=a%20b"])
@pytest.mark.parametrize(("field", "expires_in"), [("token", None), ("access_token", None), ("access_token", 0)])
def test_a_token_service_may_say_little(
    guarded: EmbeddedRegistry, driver: RunningDriver, realm: str, field: str, expires_in: float | None
) -> None:
    """R5: no scope, a realm with a query, `access_token` alone, no `expires_in`."""
    guarded.access.challenges = lambda *_: [f'Bearer realm="{realm.format(realm=guarded.access.realm)}"']
    guarded.access.token_field, guarded.access.expires_in = field, expires_in
    arrives(driver, guarded.reference("team/model", "v1"), alice(guarded))
    assert {seen.query["scope"] for seen in guarded.seen(server="tokens")} == {"repository:team/model:pull"}


def test_a_token_that_expires_at_70_percent_of_a_blob_is_renewed_once_and_no_byte_comes_twice(
    guarded: EmbeddedRegistry, driver: RunningDriver
) -> None:
    """R6."""
    guarded.faults.add(Fault(drop_after=SEVENTY, then=guarded.access.revoke_tokens), path=BLOB)
    arrives(driver, guarded.reference("team/model", "v1"), alice(guarded))
    assert guarded.access.issued == 2
    assert guarded.bytes_sent[DIGEST] == len(WEIGHTS)
    assert guarded.seen(path=BLOB)[-1].headers["range"] == f"bytes={SEVENTY}-{len(WEIGHTS) - 1}"


def test_a_fresh_token_that_is_refused_ends_it(guarded: EmbeddedRegistry, driver: RunningDriver) -> None:
    """R7."""
    guarded.faults.add(Fault(status=401, headers={"WWW-Authenticate": "Bearer"}), path=MANIFESTS, times=99)
    fails(driver, guarded.reference("team/model", "v1"), Unauthenticated, "check that they are current", alice(guarded))
    assert guarded.access.issued <= 2
    assert guarded.count() <= 8


@pytest.mark.parametrize(
    "realm",
    ["http://169.254.169.254/latest", "https://10.0.0.1/token", "https://[fe80::1]/token", "file:///etc/passwd"],
)
def test_a_realm_inside_the_nodes_network_gets_no_credentials(
    guarded: EmbeddedRegistry, driver: RunningDriver, realm: str
) -> None:
    """R8."""
    guarded.access.challenges = lambda *_: [f'Bearer realm="{realm}",service="s"']
    fails(driver, guarded.reference("team/model", "v1"), Unauthenticated, "which is refused", alice(guarded))
    assert not any("authorization" in seen.headers for seen in guarded.requests)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_redirect_takes_the_range_along_and_leaves_the_credentials(
    driver: RunningDriver, auth: str, status: int
) -> None:
    """R9. The storage answers 400 to any `Authorization`, as S3 does."""
    with EmbeddedRegistry(auth=auth, users=USERS, redirect_blobs=True) as registry:  # type: ignore[arg-type]
        registry.push_model("team/model", "v1", MODEL)
        registry.distribution.redirect_status = status
        registry.faults.add(Fault(drop_after=SEVENTY), server="storage", path="*" + DIGEST.replace(":", "%3A"))
        arrives(driver, registry.reference("team/model", "v1"), alice(registry))
        assert registry.bytes_sent[DIGEST] == len(WEIGHTS)
        assert not any("authorization" in seen.headers for seen in registry.seen(server="storage"))


@pytest.mark.parametrize(
    ("location", "told"),
    [("/again", "redirected more than 10 times"), ("file:///etc/passwd", "'file' is neither https nor http"),
     ("", "it has no Location")],
)  # fmt: skip
def test_a_redirect_that_cannot_be_followed_is_told(
    registry: EmbeddedRegistry, driver: RunningDriver, reference: str, location: str, told: str
) -> None:
    """R9."""
    where = "/v2/team/model/manifests/v1" if location == "/again" else location
    headers = {"Location": where} if where else {}
    registry.faults.add(Fault(status=307, headers=headers), path=MANIFESTS, times=99)
    fails(driver, reference, Unavailable, told)


def test_a_signed_url_that_expires_in_the_middle_is_replaced_by_the_registry(driver: RunningDriver) -> None:
    """R10."""
    with EmbeddedRegistry(redirect_blobs=True) as registry:
        registry.push_model("team/model", "v1", MODEL)
        path = "*" + DIGEST.replace(":", "%3A")
        registry.faults.add(
            Fault(drop_after=SEVENTY, then=registry.storage.expire_signatures), server="storage", path=path
        )
        arrives(driver, registry.reference("team/model", "v1"))
        assert registry.bytes_sent[DIGEST] == len(WEIGHTS)
        assert registry.count("GET", BLOB, server="registry") == 2


@pytest.mark.parametrize(
    ("second", "sent"),
    [
        (Fault(), len(WEIGHTS)),
        (Fault(shift_range=100), None),
        (Fault(ignore_range=True), None),
        (Fault(status=416), SEVENTY + len(WEIGHTS)),
    ],
    ids=["206", "206 of another range", "200", "416"],
)
def test_what_broke_off_is_gone_on_with_as_the_server_allows(
    registry: EmbeddedRegistry, driver: RunningDriver, reference: str, second: Fault, sent: int | None
) -> None:
    """R11."""
    registry.faults.add(Fault(drop_after=SEVENTY), path=BLOB)
    registry.faults.add(second, path=BLOB)
    arrives(driver, reference)
    assert sent is None or registry.bytes_sent[DIGEST] == sent


def test_a_blob_in_an_encoding_nobody_asked_for_is_refused(
    registry: EmbeddedRegistry, driver: RunningDriver, reference: str
) -> None:
    """R12."""
    registry.faults.add(Fault(headers={"Content-Encoding": "gzip"}), path=BLOB, times=99)
    fails(driver, reference, UnsupportedArtifact, "whatever compresses blobs on their way must be told not to")
    assert {seen.headers["accept-encoding"] for seen in registry.requests} == {"identity"}


@pytest.mark.parametrize(
    ("wish", "waits"),
    [
        ("2", [2.0]),
        (format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True), [0.25]),
        ("99999", [60.0]),
        ("", [0.5]),
    ],
    ids=["seconds", "date", "capped", "none"],
)
def test_a_busy_registry_is_asked_again_when_it_wishes_within_limits(
    registry: EmbeddedRegistry, client: Client, reference: str, wish: str, waits: list[float]
) -> None:
    """R13. The pauses are recorded here, and not slept."""
    registry.faults.add(Fault(status=429, headers={"Retry-After": wish} if wish else {}), path=MANIFESTS)
    client.repository(reference).manifest("v1")
    assert client.sleeps == waits


def test_a_quota_that_is_used_up_is_told_with_the_registrys_words_and_wish(
    registry: EmbeddedRegistry, driver: RunningDriver, reference: str
) -> None:
    """R13."""
    body = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": "You have reached your pull rate limit"}]})
    registry.faults.add(Fault(status=429, headers={"Retry-After": "3600"}, body=body.encode()), times=99)
    told = r"TOOMANYREQUESTS: You have reached your pull rate limit.*wants to be asked again after 3600 s"
    fails(driver, reference, Unavailable, told)


def test_a_registry_that_is_down_for_a_moment_is_asked_again(
    registry: EmbeddedRegistry, client: Client, reference: str
) -> None:
    """R14."""
    registry.faults.add(Fault(status=503), path=MANIFESTS, times=2)
    assert client.repository(reference).manifest("v1").body == registry.manifest("team/model", "v1")
    assert len(client.sleeps) == 2


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (404, NotFound, "check the name, the tag and the digest"),
        (410, NotFound, "check the name"),
        (400, UnsupportedArtifact, "answered 400"),
        (405, UnsupportedArtifact, "answered 405"),
        (500, Unavailable, "answered 500"),
        (501, Unavailable, "answered 501"),
    ],
)
def test_what_no_other_try_can_help_is_told_at_once(
    registry: EmbeddedRegistry,
    driver: RunningDriver,
    reference: str,
    status: int,
    error: type[DriverError],
    told: str,
) -> None:
    """R14."""
    registry.faults.add(Fault(status=status), path=MANIFESTS, times=99)
    fails(driver, reference, error, told)
    assert registry.count() == 1


@pytest.mark.parametrize("status", [401, 403, 404, 405, 500])
def test_a_registry_that_refuses_head_is_no_worse(
    registry: EmbeddedRegistry, driver: RunningDriver, reference: str, status: int
) -> None:
    """R15."""
    registry.faults.add(Fault(status=status), method="HEAD", times=99)
    arrives(driver, reference)
    assert registry.count("HEAD") == 0


@pytest.mark.parametrize(
    "fault", [Fault(status=404), Fault(status=500), Fault(corrupt_at=7)], ids=["404", "500", "garbage"]
)
def test_what_a_mirror_lacks_or_spoils_comes_from_the_registry(
    registry: EmbeddedRegistry, node: Node, reference: str, fault: Fault, tmp_path: Path
) -> None:
    """R16. Its credentials stay with it: tests/driver/test_mirrors.py."""
    node.pull = replace(node.pull, hosts_dir=str(tmp_path / "certs.d"))
    with EmbeddedRegistry() as mirror, node.driver() as driver:
        mirror.push_model("team/model", "v1", MODEL)
        mirror.faults.add(fault, path=BLOB, times=99)
        write_hosts(tmp_path / "certs.d", registry.host, mirrored(mirror.url))
        arrives(driver, reference)
        assert all(seen.query == {"ns": registry.host} for seen in mirror.requests)
        assert all(seen.query == {} for seen in registry.requests)


@pytest.mark.parametrize(
    ("certificate", "told"),
    [("unknown", "is not trusted.*never accepted unverified"), ("expired", "expired"), ("none", "does not speak TLS")],
)
def test_a_registry_without_a_certificate_that_can_be_trusted_is_refused(
    node: Node, authority: Authority, tmp_path: Path, certificate: str, told: str
) -> None:
    """R17. Never is TLS given up for plain HTTP."""
    certs = tmp_path / "certs.d"
    known = certificate != "unknown"
    node.pull = PullConfig(
        retry_patience_in_seconds=0.0,
        hosts_dir=str(certs),
        ca_file=str(authority.ca_file) if known else "",
    )
    tls = None if certificate == "none" else authority.server(days=-1 if certificate == "expired" else 2)
    with EmbeddedRegistry(tls=tls) as registry, node.driver() as driver:
        registry.push_model("team/model", "v1", MODEL)
        write_hosts(certs, registry.host, f'server = "https://{registry.host}"')
        fails(driver, registry.reference("team/model", "v1"), Unavailable, told)
        assert registry.count() == 0


def test_a_registry_with_a_certificate_that_is_trusted_is_served_from(
    node: Node, authority: Authority, tmp_path: Path
) -> None:
    """R17."""
    certs = tmp_path / "certs.d"
    node.pull = replace(node.pull, hosts_dir=str(certs), ca_file=str(authority.ca_file))
    with EmbeddedRegistry(tls=authority.server(), redirect_blobs=True) as registry:
        registry.push_model("team/model", "v1", MODEL)
        write_hosts(certs, registry.host, f'server = "https://{registry.host}"')
        with node.driver() as driver:
            arrives(driver, registry.reference("team/model", "v1"))


Auths = Callable[[str], dict[str, object]]


@pytest.mark.parametrize(
    "auths",
    [
        lambda host: {host: entry()},
        lambda host: {f"https://{host}/v1/": entry()},
        lambda host: {f"{host}/team": entry(), host: entry("bob", "builder")},
        lambda host: {f"*.0.0.{host.rpartition('.')[2]}": entry()},
        lambda host: {f"{host}/team": entry("alice", "looking glass"), host: entry()},
        lambda host: {f"{host}/team/model": {"auth": "&&& no base64"}, host: entry()},
        lambda host: {host: {"username": "alice", "password": "wonderland"}},
    ],
    ids=["exact", "URL", "path", "glob", "first wrong", "bad base64", "in words"],
)
def test_credentials_of_a_secret_are_found_as_kubelet_finds_them(
    guarded: EmbeddedRegistry, driver: RunningDriver, auths: Auths
) -> None:
    """R18."""
    arrives(driver, guarded.reference("team/model", "v1"), secret(**auths(guarded.host)))


@pytest.mark.parametrize(
    "auths",
    [
        lambda host: {host.partition(":")[0]: entry()},
        lambda host: {f"{host}/other": entry()},
        lambda host: {f"*.{host}": entry()},
    ],
    ids=["no port", "another path", "a label too many"],
)
def test_credentials_that_are_for_something_else_are_not_used(
    guarded: EmbeddedRegistry, driver: RunningDriver, auths: Auths
) -> None:
    """R18."""
    fails(
        driver,
        guarded.reference("team/model", "v1"),
        Unauthenticated,
        "wants credentials",
        secret(**auths(guarded.host)),
    )


def test_a_secret_names_no_program_that_is_run(
    guarded: EmbeddedRegistry, driver: RunningDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R18."""
    program, ran = tmp_path / "docker-credential-evil", tmp_path / "ran"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for helper in ("evil", "../../evil"):
        config = {"auths": {}, "credsStore": helper, "credHelpers": {guarded.host: helper}}
        secrets = {".dockerconfigjson": json.dumps(config)}
        fails(driver, guarded.reference("team/model", "v1"), Unauthenticated, "wants credentials", secrets)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("127.0.0.1:1/M", "lower case"),
        ("127.0.0.1:1/m:", "tag"),
        ("127.0.0.1:1//m", "127.0.0.1:1//m"),
        ("a" * 64, "64 hex digits"),
        ("http://127.0.0.1:1/m", "without a scheme"),
        ("127.0.0.1:1/" + "a" * 256, "255"),
        ("127.0.0.1:1/m:" + "t" * 129, "tag"),
        ("127.0.0.1:1/m@sha256:ABC", "digest"),
        ("127.0.0.1:1/m@md5:" + "a" * 32, "digest"),
        ("user:wonderland@127.0.0.1:1/m", "invalid"),
        ("127.0.0.1:1/m?x=y", "invalid"),
        ("127.0.0.1:1/m n", "white space"),
    ],
    ids=lambda text: text[:20],
)
def test_a_reference_that_is_none_is_refused_before_anything_is_asked(
    driver: RunningDriver, reference: str, told: str
) -> None:
    """R19. Port 1 is nobody's: an attempt to ask would be told as such."""
    fails(driver, reference, InvalidRequest, told)


def test_references_mean_what_they_mean_to_docker(
    registry: EmbeddedRegistry, driver: RunningDriver, reference: str
) -> None:
    """R19: a port, a digest beside a tag, sha512, no tag, and a scheme of OCI tools."""
    digest = registry.store.tags["team/model", "v1"]
    body = registry.manifest("team/model", "v1")
    long = str(Digest.of(body, "sha512"))
    registry.store.manifests["team/model", long] = registry.store.manifest("team/model", "v1")
    registry.push_model("team/model", "latest", MODEL)
    name = f"{registry.host}/team/model"
    for number, text in enumerate(
        [f"{name}@{digest}", f"{name}:v9@{digest}", f"{name}@{long}", name, f"oci://{name}:v1"]
    ):
        assert content(driver.publish(f"pod{number}", text)) == MODEL


def test_two_pods_share_a_download_and_one_that_leaves_does_not_end_it(
    registry: EmbeddedRegistry, driver: RunningDriver, reference: str
) -> None:
    """R20."""
    registry.gate.hold(at=SEVENTY)
    one, two = (spawn(pod, partial(driver.publish, pod, reference)) for pod in ("one", "two"))
    registry.gate.wait_until_held()
    driver.unpublish("one")
    with pytest.raises(StillPulling):
        one.result(30.0)
    registry.gate.open()
    assert content(two.result(30.0)) == MODEL
    assert registry.bytes_sent[DIGEST] == len(WEIGHTS)


def test_a_driver_that_ends_in_the_middle_leaves_a_layer_to_go_on_with_and_no_half_model(
    registry: EmbeddedRegistry, node: Node, reference: str
) -> None:
    """R21. Deaths at every single step: e2e/crash."""
    registry.gate.hold(at=SEVENTY)
    with node.driver() as driver:
        waiting = spawn("pod", lambda: driver.publish("pod", reference))
        registry.gate.wait_until_held()
    assert waiting.exception(30.0) is not None
    assert not any(path.startswith(("snapshots", "volumes")) for path in node.leftovers())
    registry.gate.open()
    with node.driver() as driver:
        arrives(driver, reference)


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_a_disk_that_takes_nothing_more_publishes_nothing(
    registry: EmbeddedRegistry, node: Node, reference: str, trouble: str
) -> None:
    """R21."""

    def mount(*arguments: str) -> None:
        subprocess.run(["mount", *arguments, str(node.root)], check=True)

    node.root.mkdir()
    mount("-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs")
    filler = node.root / "filler"
    with node.driver() as driver:
        if trouble == "full":
            filler.write_bytes(bytes(7 << 20))
        else:
            mount("-o", "remount,bind,ro")
        with pytest.raises(DriverError) as caught:
            driver.publish("pod", reference)
        assert type(caught.value) is NoSpace or "Read-only file system" in str(caught.value)
        assert not node.target("pod").exists()
        assert node.leftovers() == []
        mount("-o", "remount,bind,rw")
        filler.unlink(missing_ok=True)
        arrives(driver, reference)
    node.unmount_all()
    subprocess.run(["umount", str(node.root)], check=True)


def test_small_blobs_and_many_of_them_use_few_connections(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    """R22. An empty blob is not even asked for."""
    files = {f"part-{number:03}.bin": bytes([number % 256]) * (number % 7) for number in range(300)}
    registry.push_model("team/model", "v1", files)
    assert content(driver.publish("pod", registry.reference("team/model", "v1"))) == files
    assert registry.count(path=f"*{Digest.of(b'')}") == 0
    assert registry.connections() <= 16


def test_warnings_are_logged_once_and_pages_for_people_are_told_by_their_title(
    registry: EmbeddedRegistry, driver: RunningDriver, reference: str, caplog: pytest.LogCaptureFixture
) -> None:
    """R23."""
    registry.faults.add(Fault(headers={"Warning": '299 - "this registry moves in May"'}, chunked=True), path=MANIFESTS)
    arrives(driver, reference)
    assert [record.message for record in caplog.records].count("the registry warns") == 1
    driver.unpublish("pod")
    page = b"<!DOCTYPE html><html><head><title>Sorry, we are closed</title></head>" + b"<p>filler</p>" * 9999
    registry.faults.add(Fault(status=502, body=page, headers={"Content-Type": "text/html"}), path=MANIFESTS, times=9)
    with pytest.raises(Unavailable, match=r"answered 502 \(Sorry, we are closed\) for manifest v2") as caught:
        driver.publish("pod", registry.reference("team/model", "v2"))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("fault", [Fault(refuse=True), Fault(raw=[b"SSH-2.0-OpenSSH_9.2\r\n"]), Fault(drop_after=10)])
def test_connections_that_end_badly_are_told_by_host_and_cause(
    registry: EmbeddedRegistry, driver: RunningDriver, reference: str, fault: Fault
) -> None:
    """Resets, other protocols, and answers that end early, for as long as they last."""
    registry.faults.add(fault, path=MANIFESTS, times=99)
    fails(driver, reference, Unavailable, f"the connection to {registry.host} failed: ")
