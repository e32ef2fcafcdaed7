"""Certificates are always verified, TLS is never dropped, and proxies carry what they are meant to."""

import base64
import io
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from csi_driver.errors import InvalidRequest, Unavailable
from csi_driver.oci.digest import Digest
from csi_driver.registry.keychain import Keychain
from csi_driver.registry.transport import tls_context
from csi_driver.registry.transport.proxies import Proxies
from csi_driver.registry.url import Url
from tests.fixtures.certificates import Authority
from tests.fixtures.faults import Fault
from tests.fixtures.proxy import forward_proxy
from tests.fixtures.registry import EmbeddedRegistry
from tests.registry.conftest import CONTENT, Client, descriptor, read_all, user

FILES = {"config.json": b"{}"}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def trusting(authority: Authority) -> ssl.SSLContext:
    return tls_context(authority.ca_file)


def test_a_registry_with_a_trusted_certificate_is_spoken_to_in_tls(client: Client, authority: Authority) -> None:
    with EmbeddedRegistry(tls=authority.server(), auth="bearer", users={"ann": "a"}, redirect_blobs=True) as registry:
        digest = registry.push_model("team/model", "v1", FILES)
        blob = registry.put_blob(CONTENT)
        repository = client.repository(
            registry.reference("team/model", "v1"),
            user("ann", "a"),
            loopback_plain_http=False,
            tls=trusting(authority),
        )
        assert str(repository.manifest("v1").digest) == digest
        assert read_all(repository.blob(descriptor(blob, len(CONTENT)))) == CONTENT
        repository.push_manifest("v2", b"{}", "text/plain")


def test_an_abort_from_another_thread_ends_a_waiting_read_of_tls(client: Client, authority: Authority) -> None:
    with EmbeddedRegistry(tls=authority.server()) as registry:
        blob = registry.put_blob(CONTENT)
        repository = client.repository(
            registry.reference("team/model", "v1"), loopback_plain_http=False, tls=trusting(authority), stall_timeout=60
        )
        registry.gate.hold(at=1000)
        with repository.blob(descriptor(blob, len(CONTENT))).open() as body:
            buffer = memoryview(bytearray(1000))
            assert body.readinto(buffer) == 1000

            def abort() -> None:
                registry.gate.wait_until_held()
                body.abort()

            thread = threading.Thread(target=abort)
            thread.start()
            with pytest.raises(Unavailable):
                body.readinto(buffer)
            thread.join()


@pytest.mark.parametrize("fault", [Fault(drip=0.1), Fault(drip_body=0.1)])
def test_what_drips_in_tls_is_given_up_at_the_deadline(client: Client, authority: Authority, fault: Fault) -> None:
    client.patience = 0.0
    with EmbeddedRegistry(tls=authority.server()) as registry:
        registry.push_model("team/model", "v1", FILES)
        blob = registry.put_blob(CONTENT)
        repository = client.repository(
            registry.reference("team/model", "v1"),
            loopback_plain_http=False,
            tls=trusting(authority),
            exchange_timeout=0.25,
        )
        registry.faults.add(fault, path="*/manifests/*")
        with pytest.raises(Unavailable, match=r"not complete after 0\.25 s"):
            repository.manifest("v1")
        registry.faults.add(Fault(drip=0.1), path="*/blobs/*")
        with pytest.raises(Unavailable, match=r"not complete after 0\.25 s"):
            repository.blob(descriptor(blob, len(CONTENT))).open()
        assert repository.manifest("v1").body


def test_r17_a_certificate_of_unknown_origin_is_refused_at_once(client: Client, authority: Authority) -> None:
    with EmbeddedRegistry(tls=authority.server()) as registry:
        blob = registry.put_blob(CONTENT)
        repository = client.repository(registry.reference("team/model", "v1"), loopback_plain_http=False)
        told = rf"the TLS certificate of {registry.host} is not trusted: .*never accepted unverified"
        with pytest.raises(Unavailable, match=told):
            repository.manifest("v1")
        with pytest.raises(Unavailable, match=told):
            repository.blob(descriptor(blob, len(CONTENT))).open()
        assert registry.count() == 0
    assert client.sleeps == []


def test_r17_an_expired_certificate_is_refused(client: Client, authority: Authority) -> None:
    with EmbeddedRegistry(tls=authority.server(days=-1)) as registry:
        repository = client.repository(
            registry.reference("team/model", "v1"), loopback_plain_http=False, tls=trusting(authority)
        )
        with pytest.raises(Unavailable, match="certificate has expired"):
            repository.manifest("v1")


def test_r17_a_certificate_for_another_name_is_refused(client: Client, authority: Authority) -> None:
    with EmbeddedRegistry(tls=authority.server()) as registry:
        port = registry.host.rpartition(":")[2]
        repository = client.repository(
            f"127.0.0.2:{port}/team/model", loopback_plain_http=False, tls=trusting(authority)
        )
        with pytest.raises(Unavailable, match=r"IP address mismatch|refused"):
            repository.manifest("v1")


def test_r17_a_registry_without_tls_is_not_spoken_to_unless_configured(
    client: Client, registry: EmbeddedRegistry
) -> None:
    blob = registry.put_blob(CONTENT)
    registry.push_model("team/model", "v1", FILES)
    reference = registry.reference("team/model", "v1")
    repository = client.repository(reference, loopback_plain_http=False)
    for ask in (lambda: repository.manifest("v1"), lambda: repository.blob(descriptor(blob, len(CONTENT))).open()):
        with pytest.raises(Unavailable, match="does not speak TLS on that port"):
            ask()
    assert registry.count() == 0
    for host in (registry.host, "127.0.0.1"):
        client.repository(reference, loopback_plain_http=False, plain_http_hosts=[host]).manifest("v1")


def test_the_nodes_docker_config_may_say_that_a_registry_has_no_tls(
    client: Client, registry: EmbeddedRegistry, tmp_path: Path
) -> None:
    registry.push_model("team/model", "v1", FILES)
    (tmp_path / "config.json").write_text(f'{{"auths": {{"{registry.host}": {{"serverscheme": "http"}}}}}}')
    reference = registry.reference("team/model", "v1")
    node = Keychain.from_docker_config(tmp_path / "config.json")
    client.repository(reference, loopback_plain_http=False, node_keychain=node).manifest("v1")


def test_r9_content_is_not_uploaded_without_tls_to_what_has_it(client: Client, authority: Authority) -> None:
    with EmbeddedRegistry(tls=authority.server()) as registry:
        location = {"Location": f"http://{registry.host}/upload"}
        registry.faults.add(Fault(status=202, headers=location), method="POST")
        repository = client.repository(
            registry.reference("team/model", "v1"), loopback_plain_http=False, tls=trusting(authority)
        )
        with pytest.raises(Unavailable, match="X-Forwarded-Proto"):
            repository.push_blob(Digest.of(b"x"), 1, lambda: io.BytesIO(b"x"))


def test_a_proxy_passes_plain_requests_on(client: Client) -> None:
    with EmbeddedRegistry(auth="basic", users={"ann": "a"}) as registry, forward_proxy(registry.host) as proxy:
        digest = registry.push_model("team/model", "v1", FILES)
        blob = registry.put_blob(CONTENT)
        repository = client.repository(
            "registry.test/team/model", user("ann", "a"), plain_http_hosts=["registry.test"], proxy_url=proxy.url
        )
        assert str(repository.manifest("v1").digest) == digest
        assert read_all(repository.blob(descriptor(blob, len(CONTENT)))) == CONTENT
        assert {target.partition("/v2/")[0] for _, target, _ in proxy.seen} == {"http://registry.test"}
        assert registry.requests[-1].headers["host"] == "registry.test"


def test_a_proxy_sees_nothing_of_tls(client: Client, authority: Authority) -> None:
    with (
        EmbeddedRegistry(tls=authority.server(), auth="basic", users={"ann": "a"}) as registry,
        forward_proxy(registry.host, authorization="Basic " + base64.b64encode(b"me:p@ss").decode()) as proxy,
    ):
        digest = registry.push_model("team/model", "v1", FILES)
        blob = registry.put_blob(CONTENT)
        repository = client.repository(
            "registry.test/team/model",
            user("ann", "a"),
            tls=trusting(authority),
            proxy_url=f"http://me:p%40ss@{proxy.host}",
        )
        assert str(repository.manifest("v1").digest) == digest
        assert read_all(repository.blob(descriptor(blob, len(CONTENT)))) == CONTENT
        assert set(proxy.seen) == {("CONNECT", "registry.test:443", None)}
        assert not any("proxy-authorization" in seen.headers for seen in registry.requests)


def test_a_proxy_that_refuses_is_named_without_its_password(client: Client, registry: EmbeddedRegistry) -> None:
    with forward_proxy(registry.host, authorization="Basic other") as proxy:
        repository = client.repository("registry.test/team/model", proxy_url=f"http://me:hunter2@{proxy.host}")
        for ask in (
            lambda: repository.manifest("v1"),
            lambda: repository.blob(descriptor("sha256:" + "0" * 64, 5)).open(),
        ):
            told = rf"registry\.test through the proxy {proxy.host} failed.*407"
            with pytest.raises(Unavailable, match=told) as caught:
                ask()
            assert "hunter2" not in str(caught.value)


def test_the_environment_names_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://secure:1")
    monkeypatch.setenv("http_proxy", "plain:2")
    monkeypatch.setenv("NO_PROXY", "r.local,10.0.0.0/8")
    proxies = Proxies()

    def chosen(url: str) -> str | None:
        proxy = proxies.choose(Url.parse(url))
        return proxy.url.authority if proxy else None

    assert chosen("https://ghcr.io/v2/") == "secure:1"
    assert chosen("http://ghcr.io/v2/") == "plain:2"
    assert chosen("https://a.r.local/v2/") is None
    assert chosen("https://10.1.2.3/v2/") is None
    assert chosen("https://localhost/v2/") is None
    assert chosen("http://127.0.0.1:5000/v2/") is None


def test_a_configured_proxy_goes_before_the_environment_and_after_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://secure:1")
    monkeypatch.setenv("NO_PROXY", "r.local")
    proxies = Proxies("http://configured:3")
    chosen = proxies.choose(Url.parse("https://ghcr.io/"))
    assert chosen
    assert chosen.url.authority == "configured:3"
    assert proxies.choose(Url.parse("https://r.local/")) is None
    assert proxies.choose(Url.parse("https://127.0.0.1/")) is None


@pytest.mark.parametrize(
    "proxy_url", ["socks5://me:hunter2@p:1", "SOCKS5H://me:hunter2@p:1", "ftp://p", "http://", "http://me:hunter2@p:x"]
)
def test_a_proxy_of_no_use_is_refused_without_its_password(proxy_url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Proxies(proxy_url)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(Proxies("http://me:hunter2@p:1").choose(Url.parse("https://r.io/")))


def test_requests_is_not_imported_before_the_first_request() -> None:
    program = (
        "import sys, csi_driver.app; from csi_driver.registry.transport import Transport; Transport(); "
        "sys.exit(bool({'requests', 'urllib3'} & sys.modules.keys()))"
    )
    surroundings = {"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": "*"}
    assert subprocess.run([sys.executable, "-c", program], check=False, env=surroundings).returncode == 0
