"""One suite against every real registry that can be had: in plain HTTP, in TLS, with passwords and with tokens."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from csi_driver.cli.exits import ExitCode
from e2e import distribution, node, programs, tokens
from e2e.conftest import Program
from e2e.node import Node, content, succeeded
from e2e.waiting import until
from tests.fixtures.certificates import Authority
from tests.fixtures.hosts import mirrored, nobody, write_hosts


@dataclass(frozen=True, slots=True)
class Shop:
    """A registry at `host`, and what its customers need: the directories of a config.json and of hosts.toml files."""

    host: str
    credentials: Path | None = None
    hosts_dir: Path | None = None

    def arguments(self) -> list[str | Path]:
        """What the command line is told."""
        told: list[str | Path] = []
        if self.credentials:
            told += ["--docker-config", self.credentials]
        if self.hosts_dir:
            told += ["--hosts-dir", self.hosts_dir]
        return told


Opens = Callable[[Program, Path], AbstractContextManager[Shop]]


@contextmanager
def with_passwords(program: Program, scratch: Path) -> Iterator[Shop]:
    """Debian's docker-registry with htpasswd."""
    with distribution.serving(program("docker-registry"), scratch, private=True) as registry:
        yield Shop(registry.host, distribution.docker_config(scratch / "docker", registry.host))


@contextmanager
def with_tls(program: Program, scratch: Path) -> Iterator[Shop]:
    """Debian's docker-registry with a certificate of its own authority, for nodes that show one as well."""
    program("openssl")
    authority = Authority(scratch)
    (certificate, key), (shown, its_key) = authority.certificate("registry"), authority.certificate("node")
    tls = {"certificate": str(certificate), "key": str(key), "clientcas": [str(authority.ca_file)]}
    more = {"http": {"tls": tls}}
    with distribution.serving(program("docker-registry"), scratch, more=more) as registry:
        toml = f'server = "https://{registry.host}"\nca = "{authority.ca_file}"\nclient = [["{shown}", "{its_key}"]]\n'
        write_hosts(scratch / "certs.d", registry.host, toml)
        yield Shop(registry.host, hosts_dir=scratch / "certs.d")


@contextmanager
def with_tokens(program: Program, scratch: Path) -> Iterator[Shop]:
    """Debian's docker-registry with a token service."""
    program("openssl")
    with (
        tokens.serving(scratch) as service,
        distribution.serving(program("docker-registry"), scratch, more=service.settings) as registry,
    ):
        yield Shop(registry.host, distribution.docker_config(scratch / "docker", registry.host))


@contextmanager
def of_another_make(program: Program, scratch: Path) -> Iterator[Shop]:
    """The registry of go-containerregistry, which keeps all in memory."""
    log = scratch / "registry.log"
    with log.open("wb") as output:
        process = subprocess.Popen([program("registry"), "-port", "0"], stderr=output)
    try:

        def port() -> str:
            said = log.read_text(encoding="utf-8")
            assert process.poll() is None, said
            return "".join(re.findall(r"serving on port (\d+)", said))

        yield Shop(f"localhost:{until(port, 'the registry of go-containerregistry serves')}")
    finally:
        programs.end(process)


@contextmanager
def behind_mirrors(program: Program, scratch: Path) -> Iterator[Shop]:
    """Debian's docker-registry behind another one that caches it, behind a mirror that is not there."""
    for name in ("origin", "cache"):
        (scratch / name).mkdir()
    docker_registry = program("docker-registry")
    with distribution.serving(docker_registry, scratch / "origin") as origin, nobody() as dead:
        more = {"proxy": {"remoteurl": f"http://{origin.host}"}}
        with distribution.serving(docker_registry, scratch / "cache", more=more) as cache:
            toml = mirrored(f"http://{dead}", f"http://{cache.host}")
            write_hosts(scratch / "certs.d", origin.host, toml)
            yield Shop(origin.host, hosts_dir=scratch / "certs.d")
            assert cache.requests("GET", "/v2/.*/blobs/.*"), "the mirror was of use"


@pytest.fixture(
    scope="module",
    params=[with_passwords, with_tls, with_tokens, of_another_make, behind_mirrors],
    ids=lambda opens: opens.__name__,
)
def shop(request: pytest.FixtureRequest, program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    opens: Opens = request.param
    with opens(program, tmp_path_factory.mktemp("registry")) as shop:
        yield shop


@pytest.fixture(scope="module")
def customer(shop: Shop, program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that knows of the registry what there is to know, and none of its passwords."""
    program("unshare")
    with node.running(tmp_path_factory.mktemp("node"), hosts_dir=shop.hosts_dir) as running:
        yield running


def secret(shop: Shop) -> list[str | Path]:
    """What a pod brings."""
    return ["--secret", shop.credentials / "config.json"] if shop.credentials else []


def test_a_model_that_was_pushed_is_mounted_as_it_was(customer: Node, shop: Shop, model: Path) -> None:
    reference = f"{shop.host}/models/whole:v1"
    succeeded(customer.model_csi(*shop.arguments(), "push", model, reference))

    assert content(customer.mount(reference, "whole", *secret(shop))) == content(model)
    assert "model-00001-of-00002.safetensors" in succeeded(customer.model_csi(*shop.arguments(), "inspect", reference))


def test_a_model_comes_by_its_digest(customer: Node, shop: Shop, model: Path) -> None:
    reference = f"{shop.host}/models/digest:v1"
    answer = succeeded(customer.model_csi(*shop.arguments(), "push", "--output", "json", model, reference))

    mounted = customer.mount(f"{shop.host}/models/digest@{json.loads(answer)['digest']}", "digest", *secret(shop))

    assert content(mounted) == content(model)


def test_what_is_not_there_is_not_found(customer: Node, shop: Shop, model: Path) -> None:
    succeeded(customer.model_csi(*shop.arguments(), "push", model, f"{shop.host}/models/known:v1"))
    target = customer.target("missing")

    refused = customer.model_csi("mount", f"{shop.host}/models/known:v2", target, *secret(shop))

    assert refused.returncode == ExitCode.NOT_FOUND, refused.stderr
    assert "models/known" in refused.stderr
    assert not target.exists()


def test_who_knows_no_password_gets_what_is_for_everybody(customer: Node, shop: Shop, model: Path) -> None:
    reference = f"{shop.host}/models/private:v1"
    succeeded(customer.model_csi(*shop.arguments(), "push", model, reference))
    customer.mount(reference, "owner", *secret(shop))

    answer = customer.model_csi("mount", reference, customer.target("stranger"))

    assert answer.returncode == (ExitCode.DENIED if shop.credentials else 0), answer.stderr
    assert distribution.PASSWORD not in answer.stderr
