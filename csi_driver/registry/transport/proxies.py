"""Which proxy a request goes through, by the configuration or else by the environment."""

import base64
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

from csi_driver.errors import InvalidRequest
from csi_driver.registry.url import Url


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that is spoken to in HTTP or HTTPS.

    `text` is its URL with user and password, `authorization` what they make of it.
    """

    url: Url
    text: str = field(repr=False)
    authorization: str | None = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `InvalidRequest` for anything but an http or https URL; its text does not quote it."""
        full = text if "://" in text else f"http://{text}"
        if full.lower().startswith("socks"):
            raise InvalidRequest("the proxy is a SOCKS proxy, which is not supported: name an http:// or https:// one")
        try:
            url, parts = Url.parse(full), urlsplit(full)
        except ValueError as error:
            raise InvalidRequest(f"the proxy's URL cannot be used: {error}") from None
        if parts.username is None:
            return cls(url, full, None)
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return cls(url, full, "Basic " + base64.b64encode(user.encode()).decode())


class Proxies:
    """The proxy named by the configuration, or HTTPS_PROXY and HTTP_PROXY; NO_PROXY exempts hosts from either.

    Raises `InvalidRequest` at once for a proxy that cannot be used, the environment's included.
    """

    def __init__(self, proxy_url: str = "") -> None:
        self._configured = Proxy.parse(proxy_url) if proxy_url else None
        if not proxy_url:
            for scheme in ("https", "http"):
                _of_environment(scheme)

    def choose(self, url: Url) -> Proxy | None:
        """None for a direct connection, which this machine itself always gets."""
        from requests.utils import should_bypass_proxies  # noqa: PLC0415  see channel.py

        if url.is_loopback or should_bypass_proxies(str(url), no_proxy=None):
            return None
        if self._configured:
            return self._configured
        return _of_environment(url.scheme)


def _of_environment(scheme: str) -> Proxy | None:
    proxies = getproxies()
    text = proxies.get(scheme) or proxies.get("all")
    return Proxy.parse(text) if text else None
