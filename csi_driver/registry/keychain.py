"""Which credentials to try for a repository, and in which order."""

import hashlib
import hmac
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

from csi_driver.errors import InvalidRequest, Unavailable
from csi_driver.registry.credential import Credential

_DOCKER_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_CONFIG_KEY, _LEGACY_KEY = ".dockerconfigjson", ".dockercfg"  # Kubernetes' Secret types dockerconfigjson and dockercfg


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A key of `auths`, matched the way kubelet does (pkg/credentialprovider keyring.go).

    Host labels are globs that each match one label, the port must be equal, the path is a prefix of the repository.
    """

    host: str
    port: str
    path: str

    @classmethod
    def parse(cls, key: str) -> Self | None:
        rest = key.partition("://")[2] if "://" in key else key
        authority, slash, path = rest.partition("/")
        path = slash + path
        if path in ("/v1", "/v2") or path.startswith(("/v1/", "/v2/")):
            path = path[3:]
        host, port = _split_port(authority.lower())
        return cls(host, port, path if path != "/" else "") if host else None

    def matches(self, host: str, repository: str) -> bool:
        name, port = _split_port(host.lower())
        if name in _DOCKER_HUB:
            return any(self._matches(alias, port, repository) for alias in _DOCKER_HUB)
        return self._matches(name, port, repository)

    def _matches(self, name: str, port: str, repository: str) -> bool:
        if port != self.port or not f"/{repository}".startswith(self.path):
            return False
        if name == self.host:
            return True
        globs, labels = self.host.split("."), name.split(".")
        return len(globs) == len(labels) and all(map(fnmatchcase, labels, globs))

    @property
    def precedence(self) -> str:
        """Kubelet tries keys in the reverse order of these, so that longer paths come first."""
        return f"{self.host}:{self.port}{self.path}" if self.port else f"{self.host}{self.path}"


@dataclass(frozen=True, slots=True)
class _Entry:
    pattern: _Pattern | None  # None matches everything
    credential: Credential | None
    plain_http: bool = False

    def matches(self, host: str, repository: str) -> bool:
        return self.pattern is None or self.pattern.matches(host, repository)


_Source = Callable[[], tuple[_Entry, ...]]


class Keychain:
    """Credentials by registry and repository. Nothing of them shows in a `repr`."""

    def __init__(self, sources: tuple[_Source, ...]) -> None:
        self._sources = sources

    @classmethod
    def anonymous(cls) -> Self:
        """No credentials at all."""
        return cls(())

    @classmethod
    def from_docker_config(cls, path: Path) -> Self:
        """The `auths` of a docker config.json, or of the one in the directory `path`; read again when it changes.

        A file that does not exist holds none; one that is no JSON makes every use raise `Unavailable`.
        Credential helpers are not run. The entry `serverscheme: http` makes `plain_http` true.
        """
        return cls((_DockerConfig(path).entries,))

    @classmethod
    def from_secrets(cls, secrets: Mapping[str, str]) -> Self:
        """What CSI secrets hold: `.dockerconfigjson`, `.dockercfg`, or `username` and `password`.

        User name and password are meant for whatever registry the volume's reference names. No secrets at all are an
        anonymous keychain. Raises `InvalidRequest`, whose text never quotes a value.
        """
        if not secrets:
            return cls.anonymous()
        entries: list[_Entry] = []
        if _CONFIG_KEY in secrets:
            entries += _entries(_auths(_parse_secret(secrets, _CONFIG_KEY)))
        if _LEGACY_KEY in secrets:
            entries += _entries(_parse_secret(secrets, _LEGACY_KEY))
        if "username" in secrets or "password" in secrets:
            entries.append(_user(secrets))
        if not {_CONFIG_KEY, _LEGACY_KEY, "username", "password"} & secrets.keys():
            raise InvalidRequest(
                f"the volume's Secret has none of the keys {_CONFIG_KEY}, {_LEGACY_KEY}, or username and password: "
                "create it with `kubectl create secret docker-registry`"
            )
        # Only the node's own file decides about plain HTTP: a Secret must not switch TLS off.
        fixed = tuple(_Entry(entry.pattern, entry.credential) for entry in entries)
        return cls((lambda: fixed,))

    def then(self, other: "Keychain") -> "Keychain":
        """This keychain's credentials first, then those of `other`."""
        return Keychain(self._sources + other._sources)

    def credentials(self, host: str, repository: str) -> tuple[Credential, ...]:
        """Those that match, in the order in which they are to be tried."""
        found = [
            entry.credential
            for source in self._sources
            for entry in source()
            if entry.credential is not None and entry.matches(host, repository)
        ]
        return tuple(dict.fromkeys(found))

    def plain_http(self, host: str) -> bool:
        """Whether the node's docker config says that this registry speaks plain HTTP."""
        return any(entry.plain_http and entry.matches(host, "") for source in self._sources for entry in source())

    def fingerprint(self, host: str, repository: str, key: bytes) -> str:
        """What tells these credentials from others without giving them away: a hash that needs `key` to be guessed."""
        parts = [
            [one.username, one.password, one.identity_token, one.registry_token]
            for one in self.credentials(host, repository)
        ]
        return hmac.new(key, json.dumps(parts).encode(), hashlib.sha256).hexdigest()


class _DockerConfig:
    """The entries of a file, as of its latest change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[tuple[int, ...], tuple[_Entry, ...]] = ((), ())

    def entries(self) -> tuple[_Entry, ...]:
        path = self._path / "config.json" if self._path.is_dir() else self._path
        try:
            status = os.stat(path)
            identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if identity != self._read[0]:
                self._read = (identity, _entries(_auths(json.loads(path.read_bytes()))))
        except (FileNotFoundError, NotADirectoryError):
            self._read = ((), ())
        except OSError as error:
            raise Unavailable(f"the node's docker config {path} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError):
            raise Unavailable(f"the node's docker config {path} is not valid JSON with an object `auths`") from None
        return self._read[1]


def _parse_secret(secrets: Mapping[str, str], key: str) -> object:
    try:
        document: object = json.loads(secrets[key])
        if isinstance(document, dict):
            return document
    except (ValueError, RecursionError):
        pass
    raise InvalidRequest(f"the key {key} of the volume's Secret is not a JSON object")


def _auths(document: object) -> object:
    if not isinstance(document, dict):
        raise ValueError("not an object")
    return document.get("auths")


def _entries(auths: object) -> tuple[_Entry, ...]:
    """The usable entries in kubelet's order; a malformed one is skipped, so that it does not take the others along."""
    if not isinstance(auths, dict):
        return ()
    found: list[tuple[str, _Entry]] = []
    for key, value in auths.items():
        pattern = _Pattern.parse(key)
        if pattern is None or not isinstance(value, dict):
            continue
        credential = Credential.of_entry(value)
        plain_http = value.get("serverscheme") == "http"
        if credential is not None or plain_http:
            found.append((pattern.precedence, _Entry(pattern, credential, plain_http)))
    found.sort(key=lambda pair: pair[0], reverse=True)
    return tuple(entry for _, entry in found)


def _user(secrets: Mapping[str, str]) -> _Entry:
    username, password = secrets.get("username", ""), secrets.get("password", "")
    if not username or not password:
        raise InvalidRequest("the volume's Secret must hold both username and password, and neither may be empty")
    return _Entry(None, Credential.of_entry({"username": username, "password": password}))


def _split_port(authority: str) -> tuple[str, str]:
    """Host and port of `host:port` or `[v6]:port`; the port may be empty."""
    if authority.startswith("["):
        host, bracket, port = authority.partition("]")
        return host + bracket, port.removeprefix(":")
    host, _, port = authority.partition(":")
    return host, port
