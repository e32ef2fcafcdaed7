"""Which hosts serve a registry, by a directory in containerd's form (containerd, docs/hosts.md)."""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from csi_driver import log
from csi_driver.errors import Unavailable
from csi_driver.inflight import Lock
from csi_driver.registry.host import Capability, Host
from csi_driver.registry.hoststoml import certificates_in, hosts_of
from csi_driver.registry.url import Url

_FOR_ANY = "_default"  # the directory for all registries that have none of their own


@dataclass(frozen=True, slots=True)
class _Read:
    identity: tuple[int, ...]
    document: Mapping[str, Any]


class HostsDirectory:
    """The files below `directory`, each as of its latest change; without a directory registries serve themselves."""

    def __init__(self, directory: Callable[[], Path | None] = lambda: None) -> None:
        self._directory = directory
        self._lock = Lock()
        self._read: dict[Path, _Read] = {}
        self._missed: Path | None = None
        self._unused: list[str] = []

    def hosts(self, registry: str, default: Url) -> tuple[Host, ...]:
        """The hosts of `registry` (`host` or `host:port`) in the order in which they are asked, at least one.

        `default` is the root of the registry's own API. Raises `Unavailable` with the file and what is wrong in it.
        """
        path = Path(registry)
        try:
            directory = self._find(registry)
            if directory is None:
                return (Host(default),)
            path = directory / "hosts.toml"
            document = self._document(path)
            if document is None:
                return (Host(default, trust=certificates_in(directory)),)
            hosts = hosts_of(document, directory, registry, default)
            return self._believed(hosts, path) if directory.name == _FOR_ANY else hosts
        except OSError as error:
            raise Unavailable(f"{error.filename or path} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:  # those of tomllib and UTF-8 included
            raise Unavailable(f"{path} cannot be used: {str(error) or type(error).__name__}") from None

    def _find(self, registry: str) -> Path | None:
        """The registry's own directory, or `_default`: `host:port` may be written `host_port_`, as containerd does."""
        root = self._directory()
        if root is None:
            return None
        if not root.is_dir():
            if self._missed != root:
                log.warning("the directory of hosts.toml files is not there; registries are asked directly", path=root)
            self._missed = root
            return None
        self._missed = None
        host, colon, port = registry.rpartition(":")
        names = [f"{host}_{port}_"] if colon and host else []
        return next((root / name for name in (*names, registry, _FOR_ANY) if (root / name).is_dir()), None)

    def _believed(self, hosts: tuple[Host, ...], path: Path) -> tuple[Host, ...]:
        """The hosts for a registry that is not named here, of which the mirrors that cannot tell who may have what they
        bring are to bring nothing.

        In their stead the registry would be asked, which is whatever a pod names: its author may run it himself, and
        have it say of every blob that it holds it.
        """
        unused = [each for each in hosts if each.is_mirror and Capability.RESOLVE not in each.capabilities]
        names = [each.root.authority for each in unused if Capability.PULL in each.capabilities]
        if names and names != self._unused:
            log.warning(
                "mirrors for all registries bring nothing unless they may resolve; name those that they are for",
                hosts=names,
                path=path,
            )
        self._unused = names
        return tuple(
            replace(each, capabilities=each.capabilities - {Capability.PULL}) if each in unused else each
            for each in hosts
        )

    def _document(self, path: Path) -> Mapping[str, Any] | None:
        """What the file holds; None if there is none, or nothing in it."""
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return None
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        with self._lock:
            known = self._read.get(path)
        if known is None or known.identity != identity:
            known = _Read(identity, tomllib.loads(path.read_text(encoding="utf-8")))
            with self._lock:
                self._read[path] = known
        return known.document or None
