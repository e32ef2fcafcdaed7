"""Where a request goes: a URL in parts, compared by origin and shown without what it may hold of secrets."""

import ipaddress
import re
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import quote, urljoin, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9._-]+")  # of a host: other characters mean one host to one parser, and another to the next
_URI_CHARACTERS = "!#$%&'()*+,/:;=?@[]~"  # RFC 3986, section 2.2, and the percent sign of what is quoted already


@dataclass(frozen=True, slots=True, repr=False)
class Url:
    """An absolute http or https URL; user information is never part of it.

    `host` is in lower case and without brackets; `target` is path and query, ASCII and fit for a request line.
    """

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ValueError`, whose text does not quote the URL, for anything but http and https."""
        try:
            parts = urlsplit(text.strip())
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise ValueError("it is not a URL") from None
        if parts.scheme not in _DEFAULT_PORTS:
            raise ValueError(f"its scheme {parts.scheme[:20]!r} is neither https nor http")
        if not _NAME.fullmatch(host) and not _is_address(host):
            raise ValueError("it names no host")
        target = quote(parts.path or "/", safe=_URI_CHARACTERS)
        if parts.query:
            target += "?" + quote(parts.query, safe=_URI_CHARACTERS)
        return cls(parts.scheme, host, _DEFAULT_PORTS[parts.scheme] if port is None else port, target)

    def join(self, location: str) -> Self:
        """What a `Location` header in an answer from here means (RFC 9110, section 10.2.2); raises `ValueError`."""
        return self.parse(urljoin(str(self), location.strip()))

    def below(self, path: str) -> Self:
        """The place called `path`, of unreserved characters and colons, below this one, which has no query."""
        return replace(self, target=f"{self.target.rstrip('/')}/{path}")

    def with_query(self, query: str) -> Self:
        """The same place with `query`, already quoted, behind what query there is."""
        return self.parse(f"{self}{'&' if '?' in self.target else '?'}{query}")

    @property
    def authority(self) -> str:
        """Host and, unless it is the scheme's own, port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """What credentials are bound to (RFC 6454): scheme, host and port."""
        return self.scheme, self.host, self.port

    @property
    def place(self) -> str:
        """The URL without its query, which may hold a signature: for messages."""
        return f"{self.scheme}://{self.authority}{self.target.partition('?')[0]}"

    @property
    def is_loopback(self) -> bool:
        """Whether it can only be this machine."""
        return is_loopback(self.host)

    def __repr__(self) -> str:
        return f"Url({self.place})"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def _is_address(host: str) -> bool:
    """Whether this is an address of IPv6, perhaps with a zone."""
    address, percent, zone = host.partition("%")
    try:
        return bool(ipaddress.IPv6Address(address)) and (not percent or _NAME.fullmatch(zone) is not None)
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether a host name without port is this machine's: localhost (RFC 6761, section 6.3) or a loopback address."""
    name = host.strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
