"""A hosts.toml as containerd reads it (core/remotes/docker/config/hosts.go) becomes the hosts of one registry."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from csi_driver.oci.reference import DOCKER_HUB_API
from csi_driver.registry.duration import parse_duration
from csi_driver.registry.host import ALL, Capability, Host
from csi_driver.registry.keychain.pattern import is_docker_hub
from csi_driver.registry.trust import Trust
from csi_driver.registry.url import Url

_MIRROR_CONNECT = 3.0  # seconds, if dial_timeout says nothing: a mirror is near, and there is another host to ask
_NOT_ASKED = "referrers"  # a capability of containerd's for what this driver asks of nobody
_USER = re.compile(r"(?<=//)[^/]*@|^[^/]*@")  # and password, which a text must not quote
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_OWN_BUSINESS = frozenset(
    {"accept-encoding", "connection", "content-length", "host", "range", "transfer-encoding"}
)  # headers that say how a message is read: another value would break it


def hosts_of(document: Mapping[str, Any], directory: Path, registry: str, default: Url) -> tuple[Host, ...]:
    """The hosts to ask for `registry`, in order; `default` is the root of its own API, and `directory` the file's.

    The registry itself comes last, as `server` or by default, unless it is among the others already. Raises
    `ValueError` with what is wrong.
    """
    sections = document.get("host", {})
    if not isinstance(sections, Mapping):
        raise ValueError("`host` must be a table of hosts")
    found = [_host(name, section, directory, registry, default) for name, section in sections.items()]
    server = document.get("server", "")
    if not isinstance(server, str):
        raise ValueError("`server` must be a URL")
    last = _host(server or None, document, directory, registry, default)
    if not document.keys() - {"server", "host"} and any(host.root == last.root for host in found):
        return tuple(found)
    return (*found, last)


def certificates_in(directory: Path) -> Trust:
    """What a directory in Docker's form holds: `*.crt` are authorities, `*.cert` show who this node is.

    The key of a `*.cert` is the `*.key` of the same name, or in it.
    """
    names = sorted(path for path in directory.iterdir() if path.is_file())
    keys = {path.stem: path for path in names if path.suffix == ".key"}
    clients = tuple((path, keys.get(path.stem, path)) for path in names if path.suffix == ".cert")
    return Trust(tuple(path for path in names if path.suffix == ".crt"), clients)


def _host(name: str | None, section: object, directory: Path, registry: str, default: Url) -> Host:
    """The host of one section; without a name it is the registry itself."""
    shown = f"host {_USER.sub('', name)!r}: " if name else ""
    if not isinstance(section, Mapping):
        raise ValueError(f"{shown}it must be a table of settings")
    try:
        _check_verified(section.get("skip_verify"))
        root = _root(name, override=section.get("override_path") is True) if name else default
        is_itself = root.authority == default.authority
        return Host(
            root=root,
            capabilities=_capabilities(section.get("capabilities")),
            trust=Trust(_authorities(section.get("ca"), directory), _clients(section.get("client"), directory)),
            headers=_headers(section.get("header", {})),
            namespace="" if is_itself else registry,
            connect_timeout=_seconds(section.get("dial_timeout"), default=None if is_itself else _MIRROR_CONNECT),
        )
    except ValueError as error:
        raise ValueError(f"{shown}{error}") from None


def _check_verified(skip_verify: object) -> None:
    if skip_verify not in (None, False):
        raise ValueError(
            "`skip_verify` is not honoured: certificates are always verified; name the authority that signed this "
            "host's in `ca`"
        )


def _root(name: str, *, override: bool) -> Url:
    """Where a host's API begins: /v2 behind its path, or with `override_path` the path itself."""
    url = Url.parse(name if "://" in name else f"https://{name}")
    if is_docker_hub(url.host):
        url = replace(url, host=DOCKER_HUB_API)  # containerd's own examples say `server = "https://docker.io"`
    if "?" in url.target:
        raise ValueError("its URL must not have a query")
    path = url.target.rstrip("/")
    return replace(url, target=path if override or path.endswith("/v2") else f"{path}/v2")


def _capabilities(given: object) -> frozenset[Capability]:
    if given is None or given == []:
        return ALL
    if not isinstance(given, list):
        raise ValueError("`capabilities` must be a list of pull, resolve and push")
    try:
        words = {str(word).lower() for word in given} - {_NOT_ASKED}
        return frozenset(Capability(word) for word in words)
    except ValueError:
        raise ValueError(f"`capabilities` is {given!r}: known are pull, resolve and push") from None


def _authorities(given: object, directory: Path) -> tuple[Path, ...]:
    if given is None:
        return ()
    return tuple(directory / text for text in _texts([given] if isinstance(given, str) else given, "ca"))


def _clients(given: object, directory: Path) -> tuple[tuple[Path, Path], ...]:
    """One file, a list of files with both certificate and key, or a list of pairs, of which the key may be empty."""
    if given is None:
        return ()
    found = []
    for one in [given] if isinstance(given, str) else _list(given, "client"):
        pair = [one, one] if isinstance(one, str) else _texts(one, "client")
        if len(pair) != 2:
            raise ValueError(f"`client` has {pair!r} where a pair of a certificate and its key must be")
        found.append((directory / pair[0], directory / (pair[1] or pair[0])))
    return tuple(found)


def _headers(given: object) -> dict[str, str]:
    """Header names in lower case; of the values nothing is told, as they may be secret."""
    if not isinstance(given, Mapping):
        raise ValueError("`header` must be a table of headers")
    found = {}
    for name, value in given.items():
        values = _texts([value] if isinstance(value, str) else value, f"header.{name}")
        text = ", ".join(values).strip(" \t")
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(text):
            raise ValueError(f"`header` {name!r} cannot be sent: its name or its value is not ASCII on one line")
        if name.lower() in _OWN_BUSINESS:
            raise ValueError(f"`header` {name!r} is set by the driver itself")
        found[name.lower()] = text
    return found


def _seconds(given: object, *, default: float | None) -> float | None:
    """Seconds of a duration as Go writes it; none, or no time at all, is the default."""
    if given in (None, ""):
        return default
    try:
        return parse_duration(given) or default
    except ValueError:
        raise ValueError(f"`dial_timeout` is {given!r}: it must be a duration such as 500ms or 3s") from None


def _texts(given: object, name: str) -> Sequence[str]:
    texts = _list(given, name)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"`{name}` must be text, or a list of texts")
    return texts


def _list(given: object, name: str) -> Sequence[Any]:
    if not isinstance(given, list):
        raise ValueError(f"`{name}` must be text, or a list of texts")
    return given
