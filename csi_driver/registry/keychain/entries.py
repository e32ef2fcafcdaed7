"""The entries of a docker config.json: patterns with credentials, in the order in which they are tried."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from csi_driver.registry.credential import Credential
from csi_driver.registry.keychain.pattern import Pattern
from csi_driver.registry.keychain.source import Found


@dataclass(frozen=True, slots=True)
class Entry:
    """What one key of `auths` says."""

    pattern: Pattern
    credential: Credential | None
    plain_http: bool = False

    def matches(self, host: str, repository: str) -> bool:
        return self.pattern.matches(host, repository)


class Entries:
    """A source whose entries do not change. Whatever they say of plain HTTP, a Secret must not switch TLS off."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = tuple(entries)

    def find(self, host: str, repository: str) -> Found:
        return Found(matching(self._entries, host, repository))

    def holder(self, _host: str, _repository: str) -> None:
        return None

    def plain_http(self, _host: str) -> bool:
        return False


def matching(entries: Iterable[Entry], host: str, repository: str) -> tuple[Credential, ...]:
    """The credentials of the entries that match, in their order."""
    return tuple(entry.credential for entry in entries if entry.credential and entry.matches(host, repository))


def entries_of(auths: object, *, holder: str = "") -> tuple[Entry, ...]:
    """The usable entries in kubelet's order; a malformed one is skipped, so that it does not take the others along."""
    if not isinstance(auths, dict):
        return ()
    found: list[tuple[str, Entry]] = []
    for key, value in auths.items():
        pattern = Pattern.parse(key) if isinstance(key, str) else None
        if pattern is None or not isinstance(value, dict):
            continue
        credential = Credential.of_entry(value)
        plain_http = value.get("serverscheme") == "http"
        if credential is not None or plain_http:
            held = credential and replace(credential, holder=holder)
            found.append((pattern.precedence, Entry(pattern, held, plain_http)))
    found.sort(key=lambda pair: pair[0], reverse=True)
    return tuple(entry for _, entry in found)
