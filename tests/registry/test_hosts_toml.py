"""hosts.toml files as containerd reads them: their forms, their mistakes, and their changes."""

import re
import tomllib
from pathlib import Path

import pytest

from csi_driver.errors import Unavailable
from csi_driver.registry.host import Capability, Host
from csi_driver.registry.hostsdir import HostsDirectory
from csi_driver.registry.hoststoml import hosts_of
from csi_driver.registry.trust import Trust
from csi_driver.registry.url import Url
from tests.fixtures.hosts import write_hosts

HUB = Url.parse("https://registry-1.docker.io/v2")
HERE = Path("/certs.d/docker.io")


def read(text: str) -> tuple[Host, ...]:
    return hosts_of(tomllib.loads(text), HERE, "docker.io", HUB)


def roots(text: str) -> list[str]:
    return [str(host.root) for host in read(text)]


def test_the_registry_itself_comes_last_whatever_is_said_of_it() -> None:
    assert roots("") == [str(HUB)]
    assert roots('[host."https://m.local"]') == ["https://m.local/v2", str(HUB)]
    assert roots('server = "https://other.local:5000"\n[host."https://m.local"]') == [
        "https://m.local/v2",
        "https://other.local:5000/v2",
    ]


@pytest.mark.parametrize("name", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_is_the_registry_itself_by_any_of_its_names(name: str) -> None:
    text = f'server = "https://{name}"\n[host."https://registry-1.docker.io"]\ncapabilities = ["pull", "resolve"]\n'
    (host,) = read(text)
    assert (str(host.root), host.is_mirror) == (str(HUB), False)


def test_user_and_password_in_the_url_of_a_host_are_not_repeated() -> None:
    for url in ("https://ann:hunter2@m.local", "ann:hunter2@m.local"):
        with pytest.raises(ValueError, match=r"m\.local.*skip_verify") as caught:
            read(f'[host."{url}"]\nskip_verify = true\n')
        assert "hunter2" not in str(caught.value)


def test_hosts_keep_the_order_in_which_they_are_written() -> None:
    text = '[host."https://z"]\n[host."https://a"]\n[host."https://m"]\n[host."https://a".header]\nx = "y"\n'
    assert roots(text)[:3] == ["https://z/v2", "https://a/v2", "https://m/v2"]


@pytest.mark.parametrize(
    ("name", "override", "root"),
    [
        ("m.local", False, "https://m.local/v2"),
        ("m.local:5000", False, "https://m.local:5000/v2"),
        ("http://m.local", False, "http://m.local/v2"),
        ("https://m.local/", False, "https://m.local/v2"),
        ("https://m.local/v2", False, "https://m.local/v2"),
        ("https://m.local/v2/", False, "https://m.local/v2"),
        ("https://m.local/docker", False, "https://m.local/docker/v2"),
        ("https://m.local/v2/proxy", True, "https://m.local/v2/proxy"),
        ("https://m.local/v2/proxy/", True, "https://m.local/v2/proxy"),
        ("https://[::1]:5000", False, "https://[::1]:5000/v2"),
    ],
)
def test_a_hosts_path_ends_in_v2_unless_it_is_overridden(name: str, override: bool, root: str) -> None:
    assert roots(f'[host."{name}"]\noverride_path = {str(override).lower()}')[0] == root


def test_only_other_hosts_are_mirrors_and_told_of_the_registry() -> None:
    mirror, hub = read('server = "https://registry-1.docker.io"\n[host."http://m"]\n')
    assert (mirror.namespace, hub.namespace) == ("docker.io", "")
    assert (mirror.is_mirror, hub.is_mirror) == (True, False)


def test_a_registry_without_tls_stays_itself() -> None:
    default = Url.parse("https://r.local/v2")
    [host] = hosts_of({"server": "http://r.local"}, HERE, "r.local", default)
    assert (str(host.root), host.namespace) == ("http://r.local/v2", "")


def test_a_registry_that_is_among_its_hosts_is_not_asked_twice() -> None:
    text = '[host."https://registry-1.docker.io"]\nca = "a.pem"\n[host."https://m"]\n'
    assert roots(text) == [str(HUB), "https://m/v2"]
    assert len(read('ca = "b.pem"\n' + text)) == 3, "unless more is said of it"


@pytest.mark.parametrize(
    ("given", "capabilities"),
    [
        ("[]", {"pull", "resolve", "push"}),
        ('["pull"]', {"pull"}),
        ('["Pull", "RESOLVE"]', {"pull", "resolve"}),
        ('["pull", "referrers"]', {"pull"}),
        ('["referrers"]', set()),
    ],
)
def test_a_host_is_trusted_with_what_it_is_said_to_be_capable_of(given: str, capabilities: set[str]) -> None:
    assert read(f'[host."https://m"]\ncapabilities = {given}')[0].capabilities == {Capability(c) for c in capabilities}
    assert read('[host."https://m"]')[0].capabilities == set(Capability)


@pytest.mark.parametrize(
    ("text", "trust"),
    [
        ('ca = "ca.pem"', Trust((HERE / "ca.pem",))),
        ('ca = ["a.pem", "/etc/b.pem"]', Trust((HERE / "a.pem", Path("/etc/b.pem")))),
        ('client = "both.pem"', Trust((), ((HERE / "both.pem", HERE / "both.pem"),))),
        ('client = ["a.pem", "b.pem"]', Trust((), ((HERE / "a.pem",) * 2, (HERE / "b.pem",) * 2))),
        ('client = [["a.cert", "a.key"]]', Trust((), ((HERE / "a.cert", HERE / "a.key"),))),
        ('client = [["both.pem", ""]]', Trust((), ((HERE / "both.pem", HERE / "both.pem"),))),
    ],
)
def test_certificates_are_named_in_every_form_beside_the_file(text: str, trust: Trust) -> None:
    assert read(f'[host."https://m"]\n{text}\nskip_verify = false')[0].trust == trust
    assert read(text)[-1].trust == trust, "of the registry itself"


@pytest.mark.parametrize(
    ("given", "seconds"), [("500ms", 0.5), ("3s", 3.0), ("1m30s", 90.0), ("1.5s", 1.5), ("9us", 9e-6)]
)
def test_a_mirror_has_its_own_time_to_connect(given: str, seconds: float) -> None:
    mirror, hub = read(f'[host."https://m"]\ndial_timeout = "{given}"')
    assert (mirror.connect_timeout, hub.connect_timeout) == (seconds, None)


@pytest.mark.parametrize("given", ["", "0", "0s", "0ms"])
def test_no_time_to_connect_is_the_usual_one(given: str) -> None:
    text = f'[host."https://m"]\ndial_timeout = "{given}"'
    assert read(text)[0].connect_timeout == read('[host."https://m"]')[0].connect_timeout


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[host."https://m"]\nskip_verify = true', "host 'https://m': `skip_verify` is not honoured.*name the author"),
        ("skip_verify = true", "`skip_verify` is not honoured"),
        ('[host."https://m"]\ncapabilities = ["pul"]', "known are pull, resolve and push"),
        ('[host."https://m"]\ncapabilities = "pull"', "`capabilities` must be a list"),
        ('[host."ftp://m"]', "its scheme 'ftp' is neither https nor http"),
        ('[host."https://"]', "it names no host"),
        ('[host."https://m?a=b"]', "must not have a query"),
        ("server = 5", "`server` must be a URL"),
        ("host = 5", "`host` must be a table"),
        ('[host]\n"https://m" = 5', "it must be a table"),
        ("ca = 5", "`ca` must be text"),
        ("ca = [5]", "`ca` must be text"),
        ("client = [5]", "`client` must be text"),
        ('client = [["a", "b", "c"]]', "a pair of a certificate and its key"),
        ("header = 5", "`header` must be a table"),
        ('[header]\nx = "a\\nb"', "`header` 'x' cannot be sent"),
        ('[header]\nx = "sécret"', "`header` 'x' cannot be sent"),
        ('[header]\n"x y" = "a"', "cannot be sent"),
        ('[header]\nRange = "bytes=0-1"', "'Range' is set by the driver itself"),
        ('dial_timeout = "soon"', "`dial_timeout` is 'soon'"),
        ("dial_timeout = 5", "`dial_timeout` is 5"),
    ],
)
def test_what_is_wrong_is_told_with_the_host_it_is_said_of(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        read(text)
    assert "sécret" not in str(caught.value)


def test_headers_do_not_show() -> None:
    assert "hunter2" not in repr(read('[host."https://m".header]\nAuthorization = "Basic hunter2"'))


@pytest.mark.parametrize("name", ["r.local_5000_", "r.local:5000", "_default"])
def test_a_registry_with_a_port_is_found_under_every_name_that_containerd_knows(tmp_path: Path, name: str) -> None:
    directory = HostsDirectory(lambda: tmp_path)
    default = Url.parse("https://r.local:5000/v2")
    assert directory.hosts("r.local:5000", default) == (Host(default),)
    (tmp_path / name).mkdir()
    (tmp_path / name / "hosts.toml").write_text('[host."http://m"]')
    mirror, own = directory.hosts("r.local:5000", default)
    assert (mirror.namespace, own.root) == ("r.local:5000", default)


def test_a_registrys_own_directory_goes_before_the_default_one(tmp_path: Path) -> None:
    write_hosts(tmp_path, "_default", '[host."http://everybodys"]')
    write_hosts(tmp_path, "docker.io", '[host."http://own"]')
    hosts = HostsDirectory(lambda: tmp_path).hosts
    assert [host.root.authority for host in hosts("docker.io", HUB)] == ["own", "registry-1.docker.io"]
    assert hosts("ghcr.io", HUB)[0].root.authority == "everybodys"


def test_a_mirror_for_every_registry_brings_nothing_unless_it_says_who_may_have_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The registry that would say so instead is whatever a pod names, and may say what it likes."""
    text = (
        '[host."http://one"]\ncapabilities = ["pull", "push"]\n[host."http://two"]\ncapabilities = ["pull", "resolve"]'
    )
    for name in ("_default", "docker.io"):
        write_hosts(tmp_path, name, text)
    hosts = HostsDirectory(lambda: tmp_path).hosts
    for _ in range(3):
        one, two, own = hosts("ghcr.io", HUB)
    assert one.capabilities == {Capability.PUSH}
    assert two.capabilities == {Capability.PULL, Capability.RESOLVE}
    assert own.capabilities == set(Capability)
    assert hosts("docker.io", HUB)[0].capabilities == {Capability.PULL, Capability.PUSH}
    [told] = [getattr(record, "fields", {}) for record in caplog.records]
    assert (told["hosts"], told["path"]) == (["one"], tmp_path / "_default" / "hosts.toml")


def test_a_directory_without_hosts_toml_holds_certificates_in_dockers_form(tmp_path: Path) -> None:
    place = tmp_path / "r.local"
    place.mkdir()
    for name in ("b.crt", "a.crt", "node.cert", "node.key", "notes.txt"):
        (place / name).touch()
    [host] = HostsDirectory(lambda: tmp_path).hosts("r.local", HUB)
    assert host.trust == Trust((place / "a.crt", place / "b.crt"), ((place / "node.cert", place / "node.key"),))
    assert (host.root, host.is_mirror) == (HUB, False)
    (place / "node.key").unlink()
    [host] = HostsDirectory(lambda: tmp_path).hosts("r.local", HUB)
    assert host.trust.clients == ((place / "node.cert", place / "node.cert"),), "it may hold its key"


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    hosts = HostsDirectory(lambda: tmp_path).hosts
    path = write_hosts(tmp_path, "docker.io", '[host."http://one"]')
    assert hosts("docker.io", HUB)[0].root.authority == "one"
    other = path.with_name("other")
    other.write_text('[host."http://two"]')
    other.replace(path)
    assert hosts("docker.io", HUB)[0].root.authority == "two"
    path.unlink()
    assert hosts("docker.io", HUB) == (Host(HUB),)


@pytest.mark.parametrize("content", [b"[host", b"\xff\xfe", b"a" * 5, b"skip_verify = true", b"ca = " + b"[" * 9999])
def test_a_damaged_file_is_named_and_recovers(tmp_path: Path, content: bytes) -> None:
    hosts = HostsDirectory(lambda: tmp_path).hosts
    path = write_hosts(tmp_path, "docker.io", "")
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(Unavailable, match=f"{path} cannot be used: "):
            hosts("docker.io", HUB)
    path.write_text("")
    assert hosts("docker.io", HUB) == (Host(HUB),)


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, ordinary_user: None) -> None:
    path = write_hosts(tmp_path, "docker.io", "[host]")
    path.chmod(0)
    with pytest.raises(Unavailable, match=f"{path} cannot be read: Permission denied"):
        HostsDirectory(lambda: tmp_path).hosts("docker.io", HUB)


def test_a_directory_that_may_not_be_looked_into_is_named(tmp_path: Path, ordinary_user: None) -> None:
    write_hosts(tmp_path / "closed", "docker.io", "")
    (tmp_path / "closed").chmod(0)
    with pytest.raises(Unavailable, match=f"{tmp_path}/closed.* cannot be read: Permission denied"):
        HostsDirectory(lambda: tmp_path / "closed").hosts("docker.io", HUB)
    (tmp_path / "closed").chmod(0o700)


def test_the_files_of_the_documentation_are_what_they_say() -> None:
    page = (Path(__file__).parents[2] / "docs" / "registries.md").read_text()
    recipes = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    own = Url.parse("https://registry.example.com:5000/v2")
    found = [hosts_of(tomllib.loads(text), HERE, "registry.example.com:5000", own) for text in recipes]
    assert [[str(host.root) for host in hosts if host.is_mirror] for hosts in found] == [
        ["https://mirror.example.com/v2", "http://127.0.0.1:30020/v2"],
        ["https://harbor.example.com/v2/docker-hub"],
        ["http://cache.example.com:5000/v2"],
        ["http://127.0.0.1:4001/v2"],
        ["http://127.0.0.1:30020/v2"],
    ]
    assert found[3][0].headers == {"x-dragonfly-registry": "https://registry.example.com"}
    assert all(hosts[-1].root == own for hosts in found)


def test_the_directory_may_come_go_and_change_while_the_driver_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place: list[Path | None] = [None]
    hosts = HostsDirectory(lambda: place[0]).hosts
    assert hosts("docker.io", HUB) == (Host(HUB),)
    place[0] = tmp_path / "certs.d"
    for _ in range(3):
        assert hosts("docker.io", HUB) == (Host(HUB),)
    assert [record.message for record in caplog.records] == [
        "the directory of hosts.toml files is not there; registries are asked directly"
    ]
    write_hosts(tmp_path / "certs.d", "docker.io", '[host."http://m"]')
    assert len(hosts("docker.io", HUB)) == 2
