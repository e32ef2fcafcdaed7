"""The docker config.json of the node: credentials of its own, and the names of programs that know some."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from csi_driver.errors import Unavailable
from csi_driver.registry.keychain.entries import Entry, entries_of, matching
from csi_driver.registry.keychain.helpers import Helpers
from csi_driver.registry.keychain.owners import NODE
from csi_driver.registry.keychain.pattern import Pattern
from csi_driver.registry.keychain.rereading import Reread
from csi_driver.registry.keychain.source import Found


@dataclass(frozen=True, slots=True)
class _Content:
    entries: tuple[Entry, ...] = ()
    helpers: tuple[tuple[Pattern, str], ...] = ()  # of `credHelpers`: for one registry each
    store: str = ""  # `credsStore`: the helper for all others

    def helper(self, host: str) -> str:
        """The helper to ask about a registry; empty if there is none."""
        return next((name for pattern, name in self.helpers if pattern.is_registry(host)), self.store)


class DockerConfig:
    """The `credHelpers`, `credsStore` and `auths` of a file, or of config.json in a directory, as of its latest change.

    A helper is asked first, and the `auths` are tried after what it knows. What is found belongs to everybody on the
    node. Raises `Unavailable` while the file is damaged.
    """

    def __init__(self, path: Path, helpers: Helpers) -> None:
        self._path = path
        self._helpers = helpers
        self._file = Reread(_parse)

    def find(self, host: str, repository: str) -> Found:
        content = self._content()
        helper = content.helper(host)
        told = self._helpers.ask(helper, host) if helper else Found()
        return Found(told.credentials + matching(content.entries, host, repository), told.troubles)

    def holder(self, _host: str, _repository: str) -> str:
        return NODE

    def plain_http(self, host: str) -> bool:
        return any(entry.plain_http and entry.matches(host, "") for entry in self._content().entries)

    def _content(self) -> _Content:
        path = self._path / "config.json" if self._path.is_dir() else self._path
        try:
            return self._file.value(path)
        except OSError as error:
            raise Unavailable(f"the node's docker config {path} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError):
            raise Unavailable(f"the node's docker config {path} is not valid JSON with an object `auths`") from None


def _parse(data: bytes | None) -> _Content:
    if data is None:
        return _Content()
    document = json.loads(data)
    if not isinstance(document, dict):
        raise ValueError("not an object")
    store = document.get("credsStore")
    return _Content(
        entries=entries_of(document.get("auths"), holder=NODE),
        helpers=_helpers(document.get("credHelpers")),
        store=store if isinstance(store, str) else "",
    )


def _helpers(given: object) -> tuple[tuple[Pattern, str], ...]:
    if not isinstance(given, Mapping):
        return ()
    pairs = ((Pattern.parse(key), name) for key, name in given.items() if isinstance(name, str))
    return tuple((pattern, name) for pattern, name in pairs if pattern is not None)
