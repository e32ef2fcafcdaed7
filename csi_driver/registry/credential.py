"""One way to prove who is asking, as an entry of a docker config.json holds it."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

_IDENTITY_USER = "<token>"  # what docker login and credential helpers write as the user of an identity token
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Credential:
    """What is known to one registry; no part of it is ever shown.

    In the order of use: `registry_token` is sent to the registry as it is, `identity_token` is exchanged for one at
    the token service, and so are user name and password, which Basic authentication takes as well. `holder` tells who
    has it, where that is known and lasts longer than the rest; see `keychain.owners`.
    """

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)
    holder: str = field(default="", compare=False)

    @classmethod
    def of_entry(cls, entry: Mapping[str, object]) -> Self | None:
        """The credential in one entry of `auths`, as the Docker CLI reads it; None if it holds none that is usable."""
        username, password = _text(entry, "username"), _text(entry, "password")
        if auth := _text(entry, "auth"):
            pair = _split(auth)
            if pair is None:
                return None
            username, password = pair
        identity_token, registry_token = _text(entry, "identitytoken"), _text(entry, "registrytoken")
        if username == _IDENTITY_USER and not identity_token:
            identity_token, password = password, ""
        if registry_token and not _HEADER_SAFE.fullmatch(registry_token):
            return None
        if not _are_text(username, password, identity_token):
            return None
        if not (registry_token or identity_token or username):
            return None
        return cls(username, password, identity_token, registry_token)

    @property
    def basic(self) -> str | None:
        """The `Authorization` value of user and password (RFC 7617, in UTF-8); None without a user."""
        if not self.username or self.username == _IDENTITY_USER:
            return None
        return _basic(self.username, self.password)

    @property
    def basic_of_identity_token(self) -> str:
        """The same with the identity token for a password: for token services that know no POST."""
        return _basic(self.username or _IDENTITY_USER, self.identity_token)

    @property
    def secrets(self) -> tuple[str, ...]:
        """All that must not be shown should a server echo it, also as it is sent."""
        sent = (one.partition(" ")[2] for one in (self.basic, self.basic_of_identity_token) if one)
        return (*sent, self.password, self.identity_token, self.registry_token)


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _are_text(*texts: str) -> bool:
    """Whether all can be written in UTF-8: the escapes of JSON can spell what no text has, half of a surrogate pair."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(entry: Mapping[str, object], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def _split(auth: str) -> tuple[str, str] | None:
    """User and password of base64, padded or not, with the trailing NULs that old clients wrote."""
    compact = "".join(auth.split()).rstrip("=")
    try:
        text = base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True).decode()
    except ValueError:  # no base64, or nothing that is text
        return None
    username, colon, password = text.partition(":")
    return (username, password.rstrip("\0")) if colon else None
