"""Which registries and repositories a key of `auths`, or an entry of `matchImages`, is about."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Self

_DOCKER_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


@dataclass(frozen=True, slots=True)
class Pattern:
    """A registry, and perhaps a path in it, matched the way kubelet does (pkg/credentialprovider keyring.go).

    Host labels are globs that each match one label, the port must be equal, the path is a prefix of the repository.
    """

    host: str
    port: str
    path: str

    @classmethod
    def parse(cls, key: str) -> Self | None:
        """The pattern that `key` spells; None if it names no host."""
        rest = key.partition("://")[2] if "://" in key else key
        authority, slash, path = rest.partition("/")
        path = slash + path
        if path in ("/v1", "/v2") or path.startswith(("/v1/", "/v2/")):
            path = path[3:]
        host, port = split_port(authority.lower())
        return cls(host, port, path if path != "/" else "") if host else None

    @classmethod
    def of(cls, registry: str) -> Self:
        """The pattern of all that is at this registry, `host` or `host:port`."""
        host, port = split_port(registry.lower())
        return cls(host, port, "")

    def matches(self, host: str, repository: str) -> bool:
        """Whether `repository` at `host` (which may have a port) is meant."""
        name, port = split_port(host.lower())
        if name in _DOCKER_HUB:
            return any(self._matches(alias, port, repository) for alias in _DOCKER_HUB)
        return self._matches(name, port, repository)

    def is_registry(self, host: str) -> bool:
        """Whether this names the registry `host` itself, without a glob and without a path."""
        name, port = split_port(host.lower())
        same = self.host == name or {self.host, name} <= _DOCKER_HUB
        return same and port == self.port and not self.path

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


def is_docker_hub(host: str) -> bool:
    """Whether this is one of the names of Docker Hub."""
    return host.lower() in _DOCKER_HUB


def split_port(authority: str) -> tuple[str, str]:
    """Host and port of `host:port` or `[v6]:port`; the port may be empty."""
    if authority.startswith("["):
        host, bracket, port = authority.partition("]")
        return host + bracket, port.removeprefix(":")
    host, _, port = authority.partition(":")
    return host, port
