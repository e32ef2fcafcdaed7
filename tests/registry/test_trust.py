"""Authorities and client certificates for one host or for all, and proxies that are spoken to in TLS."""

import base64
import shutil
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from csi_driver.errors import Unavailable
from csi_driver.inflight import spawn
from csi_driver.registry.client import Repository
from csi_driver.registry.message import Request
from csi_driver.registry.retry import Transient
from csi_driver.registry.transport import Transport, tls_context
from csi_driver.registry.trust import Trust
from csi_driver.registry.url import Url
from tests.fixtures.certificates import Authority
from tests.fixtures.hosts import write_hosts
from tests.fixtures.proxy import forward_proxy
from tests.fixtures.registry import EmbeddedRegistry
from tests.registry.conftest import CONTENT, TLS, Client, descriptor, read_all, user

FILES = {"config.json": b"{}"}

# In TLS 1.3 a server says so after the client has begun to talk, and whether the client hears it before the connection
# is gone is a matter of chance (RFC 8446, section 4.4.2.4).
UNKNOWN = r"wants another client certificate, or any .*`client` of its hosts\.toml|the connection to .* failed"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def works(repository: Repository, registry: EmbeddedRegistry) -> None:
    """Small exchanges and blobs alike."""
    registry.push_model("team/model", "v1", FILES)
    blob = registry.put_blob(CONTENT)
    assert repository.manifest("v1").body == registry.manifest("team/model", "v1")
    assert read_all(repository.blob(descriptor(blob, len(CONTENT)))) == CONTENT


def test_the_authority_of_one_registry_is_named_in_its_hosts_toml(
    client: Client, authority: Authority, tmp_path: Path
) -> None:
    with EmbeddedRegistry(tls=authority.server(), auth="bearer", users={"ann": "a"}, redirect_blobs=True) as registry:
        write_hosts(tmp_path, registry.host, f'ca = "{authority.ca_file}"\n')
        reference = registry.reference("team/model", "v1")
        works(
            client.repository(reference, user("ann", "a"), hosts_dir=tmp_path, loopback_plain_http=False),
            registry,
        )
        other = registry.host.replace("127.0.0.1", "localhost")
        with pytest.raises(Unavailable, match=r"not trusted.*pull_config\.ca_file, or in `ca` of its hosts\.toml"):
            client.repository(f"{other}/team/model:v1", hosts_dir=tmp_path, loopback_plain_http=False).manifest("v1")


def test_a_registry_that_wants_to_know_the_node_is_shown_its_certificate(
    client: Client, authority: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.certificate("node")
    with EmbeddedRegistry(tls=authority.server(wants_client=True)) as registry:
        reference = registry.reference("team/model", "v1")
        write_hosts(tmp_path, registry.host, f'ca = "{authority.ca_file}"\nclient = [["{certificate}", "{key}"]]\n')
        works(client.repository(reference, hosts_dir=tmp_path, loopback_plain_http=False), registry)
        write_hosts(tmp_path, registry.host, f'ca = "{authority.ca_file}"\n')
        stranger = client.repository(reference, hosts_dir=tmp_path, loopback_plain_http=False)
        client.patience = 0.0
        with pytest.raises(
            Unavailable, match=r"wants another client certificate, or any .*`client` of its hosts\.toml"
        ):
            stranger.manifest("v1")


@pytest.mark.parametrize("bulk", [False, True])
def test_a_refusal_in_tls_that_is_there_before_the_request_is_understood(authority: Authority, bulk: bool) -> None:
    """In TLS 1.3 a client has shaken hands before the server looks at its certificate, and may find its wire closed."""
    refused = Event()

    class Late(ssl.SSLContext):
        def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
            wire = super().wrap_socket(*args, **options)
            assert refused.wait(30)
            return wire

    def serve() -> None:
        with suppress(ssl.SSLError):
            authority.server(wants_client=True).wrap_socket(listener.accept()[0], server_side=True)
        refused.set()

    tls = Late(ssl.PROTOCOL_TLS_CLIENT)
    tls.load_verify_locations(authority.ca_file)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = spawn("test", serve)
        transport = Transport(tls=tls)
        with pytest.raises(Unavailable, match="wants another client certificate, or any") as caught:
            transport.send(Request("GET", Url.parse(f"https://127.0.0.1:{listener.getsockname()[1]}/"), bulk=bulk))
        serving.result(30)
        transport.close()
    assert not isinstance(caught.value, Transient)


def test_a_certificate_and_its_key_may_share_a_file(client: Client, authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.certificate("both")
    (tmp_path / "both.pem").write_bytes(key.read_bytes() + certificate.read_bytes())
    with EmbeddedRegistry(tls=authority.server(wants_client=True)) as registry:
        place = write_hosts(tmp_path, registry.host, 'ca = "ca.pem"\nclient = "../both.pem"\n').parent
        shutil.copy(authority.ca_file, place / "ca.pem")
        works(
            client.repository(registry.reference("team/model", "v1"), hosts_dir=tmp_path, loopback_plain_http=False),
            registry,
        )


def test_the_nodes_certificate_is_not_shown_to_whom_the_registry_redirects(
    client: Client, authority: Authority, tmp_path: Path
) -> None:
    """The storage of this registry wants a certificate, too; the node has one, and does not show it there."""
    certificate, key = authority.certificate("node")
    with EmbeddedRegistry(tls=authority.server(wants_client=True), redirect_blobs=True) as registry:
        write_hosts(tmp_path, registry.host, f'ca = "{authority.ca_file}"\nclient = [["{certificate}", "{key}"]]\n')
        client.patience = 0.0
        repository = client.repository(
            registry.reference("team/model", "v1"), hosts_dir=tmp_path, loopback_plain_http=False
        )
        with pytest.raises(Unavailable, match=UNKNOWN):
            repository.blob(descriptor(registry.put_blob(CONTENT), len(CONTENT))).open()
        assert registry.count(server="storage") == 0


def test_authorities_for_all_registries_are_named_in_the_configuration_and_may_change(
    client: Client, authority: Authority, tmp_path: Path
) -> None:
    ca_file = tmp_path / "ca.pem"
    place: list[Path] = []
    with EmbeddedRegistry(tls=authority.server()) as registry:
        repository = client.repository(
            registry.reference("team/model", "v1"),
            loopback_plain_http=False,
            ca_file=lambda: place[0] if place else None,
        )
        with pytest.raises(Unavailable, match="not trusted"):
            works(repository, registry)
        place.append(ca_file)
        with pytest.raises(Unavailable, match=f"{ca_file} must be a file in PEM form: No such file or directory"):
            works(repository, registry)
        ca_file.write_text("no certificate")
        with pytest.raises(Unavailable, match=f"{ca_file} must be certificates of authorities in PEM form"):
            works(repository, registry)
        shutil.copy(authority.ca_file, ca_file)
        works(repository, registry)


def test_a_replaced_file_brings_new_connections_and_the_old_ones_are_closed(
    authority: Authority, tmp_path: Path
) -> None:
    ca_file = tmp_path / "ca.pem"
    shutil.copy(authority.ca_file, ca_file)
    with EmbeddedRegistry(tls=authority.server()) as registry:
        transport = Transport(tls=TLS)
        blob = Url.parse(f"{registry.url}/v2/m/blobs/{registry.put_blob(CONTENT)}")
        ask = Request("GET", blob, trust=Trust((ca_file,)), most=len(CONTENT))
        assert [transport.send(ask).body for _ in range(2)] == [CONTENT] * 2
        assert registry.connections() == 1
        under_way = transport.send(Request("GET", blob, trust=Trust((ca_file,)), bulk=True)).stream
        assert under_way
        (tmp_path / "other.pem").write_bytes(authority.ca_file.read_bytes() + b"\n")
        (tmp_path / "other.pem").replace(ca_file)
        assert transport.send(ask).body == CONTENT
        assert registry.connections() == 3
        buffer, held = memoryview(bytearray(len(CONTENT))), 0
        while count := under_way.readinto(buffer[held:]):
            held += count
        assert buffer == CONTENT, "what is under way goes on"
        under_way.close()
        transport.close()


@pytest.mark.parametrize("damage", ["no certificate", "other key"])
def test_a_client_certificate_of_no_use_is_named(authority: Authority, tmp_path: Path, damage: str) -> None:
    certificate, key = authority.certificate("one")
    _, other = authority.certificate("other")
    (tmp_path / "text").write_text("nothing")
    pair = (tmp_path / "text", key) if damage == "no certificate" else (certificate, other)
    with pytest.raises(Unavailable, match=f"{pair[0]} must be a certificate with its key {pair[1]}, both in PEM form"):
        tls_context(clients=[pair])


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_password(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.certificate("one")
    authority.openssl("pkcs8", "-topk8", "-in", str(key), "-out", str(tmp_path / "key"), "-passout", "pass:hunter2")
    with pytest.raises(Unavailable, match="the key is encrypted"):
        tls_context(clients=[(certificate, tmp_path / "key")])


def test_of_several_client_certificates_of_one_kind_the_first_is_shown(
    client: Client, authority: Authority, tmp_path: Path
) -> None:
    client.patience = 0.0
    (tmp_path / "others").mkdir()
    known, unknown = authority.certificate("known"), Authority(tmp_path / "others").certificate("unknown")
    with EmbeddedRegistry(tls=authority.server(wants_client=True)) as registry:
        reference = registry.reference("team/model", "v1")
        for pairs, is_known in (([known, unknown], True), ([unknown, known], False)):
            shown = ", ".join(f'["{certificate}", "{key}"]' for certificate, key in pairs)
            write_hosts(tmp_path, registry.host, f'ca = "{authority.ca_file}"\nclient = [{shown}]\n')
            repository = client.repository(reference, hosts_dir=tmp_path, loopback_plain_http=False)
            if is_known:
                works(repository, registry)
            else:
                with pytest.raises(Unavailable, match=UNKNOWN):
                    repository.manifest("v1")


@pytest.mark.parametrize("tls", [False, True], ids=["plain registry", "TLS within TLS"])
def test_a_proxy_may_be_spoken_to_in_tls(client: Client, authority: Authority, tls: bool) -> None:
    known = "Basic " + base64.b64encode(b"me:p@ss").decode()
    with (
        EmbeddedRegistry(tls=authority.server() if tls else None, auth="basic", users={"ann": "a"}) as registry,
        forward_proxy(registry.host, authorization=known, tls=authority.server()) as proxy,
    ):
        repository = client.repository(
            "registry.test/team/model",
            user("ann", "a"),
            plain_http_hosts=[] if tls else ["registry.test"],
            tls=tls_context(authority.ca_file),
            proxy_url=f"https://me:p%40ss@{proxy.host}",
        )
        works(repository, registry)
        method = "CONNECT" if tls else "GET"
        assert {(seen[0], seen[1].partition("/v2/")[0]) for seen in proxy.seen} == {
            (method, "registry.test:443" if tls else "http://registry.test")
        }
        assert not any("proxy-authorization" in seen.headers for seen in registry.requests)


@pytest.mark.parametrize("bulk", [False, True])
def test_a_proxy_in_tls_that_nobody_vouches_for_is_refused(client: Client, authority: Authority, bulk: bool) -> None:
    with EmbeddedRegistry() as registry, forward_proxy(registry.host, tls=authority.server()) as proxy:
        repository = client.repository("registry.test/team/model", proxy_url=f"https://{proxy.host}")
        with pytest.raises(Unavailable, match=f"registry.test through the proxy {proxy.host} is not trusted"):
            repository.blob(descriptor("sha256:" + "0" * 64, 5)).open() if bulk else repository.manifest("v1")
        assert proxy.seen == []


def test_an_abort_ends_a_waiting_read_of_tls_within_tls(client: Client, authority: Authority) -> None:
    with (
        EmbeddedRegistry(tls=authority.server()) as registry,
        forward_proxy(registry.host, tls=authority.server()) as proxy,
    ):
        blob = registry.put_blob(CONTENT)
        registry.gate.hold(at=100)
        repository = client.repository(
            "registry.test/team/model", tls=tls_context(authority.ca_file), proxy_url=f"https://{proxy.host}"
        )
        with repository.blob(descriptor(blob, len(CONTENT))).open() as body:
            assert body.readinto(memoryview(bytearray(100))) == 100
            registry.gate.wait_until_held()
            body.abort()
            with pytest.raises(Unavailable):
                body.readinto(memoryview(bytearray(100)))


def test_a_proxy_in_tls_is_vouched_for_by_the_authorities_for_all_and_not_by_those_of_one_registry(
    client: Client, authority: Authority, tmp_path: Path
) -> None:
    with (
        EmbeddedRegistry(tls=authority.server()) as registry,
        forward_proxy(registry.host, tls=authority.server()) as proxy,
    ):
        write_hosts(tmp_path, "registry.test", f'ca = "{authority.ca_file}"\n')
        reference, url = "registry.test/team/model:v1", f"https://{proxy.host}"
        with pytest.raises(Unavailable, match=f"through the proxy {proxy.host} is not trusted"):
            works(client.repository(reference, hosts_dir=tmp_path, proxy_url=url), registry)
        everybodys = client.repository(reference, hosts_dir=tmp_path, proxy_url=url, ca_file=lambda: authority.ca_file)
        works(everybodys, registry)
