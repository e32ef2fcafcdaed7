"""Small exchanges over requests: manifests, tokens, and what announces and ends an upload."""

import http.client
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse

from csi_driver.registry.message import MAX_ERROR_BYTES, Answer, Payload, Request
from csi_driver.registry.transport.dialling import dial
from csi_driver.registry.transport.limits import MOST_EXCHANGE_BYTES, LimitedResponse, Limits
from csi_driver.registry.transport.proxies import Proxy

_CHUNK = 1 << 16


class Control:
    """A requests session without what it would do on its own: cookies, .netrc, redirects, proxies, other CAs.

    `tls` verifies every certificate; it is the same for blob bodies, so that a registry is trusted for all or nothing.
    `proxy_tls` gives what verifies that of a proxy.
    `exchange_timeout` is how many seconds may pass from the connection or, if there is one, from the request until the
    answer's last byte.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext,
        proxy_tls: Callable[[], ssl.SSLContext],
        user_agent: str,
        connect_timeout: float,
        stall_timeout: float,
        exchange_timeout: float,
    ) -> None:
        self._connect_timeout = connect_timeout
        self._stall_timeout = stall_timeout
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self._session.headers.clear()
        self._session.headers.update({"User-Agent": user_agent, "Accept-Encoding": "identity"})
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, _Adapter(tls, proxy_tls, exchange_timeout))

    def send(self, request: Request, proxy: Proxy | None) -> Answer:
        """One exchange; raises what requests raises."""
        headers = {**request.own_headers, **request.headers}
        if request.authorization is not None:
            headers["Authorization"] = request.authorization
        with self._session.request(
            request.method,
            str(request.url),
            headers=headers,
            data=_small(request.body),
            stream=True,
            allow_redirects=False,
            timeout=(request.connect_timeout or self._connect_timeout, self._stall_timeout),
            proxies={"http": proxy.text, "https": proxy.text} if proxy else {},
        ) as response:
            most = request.most if response.status_code < 300 else MAX_ERROR_BYTES
            names = {name.lower(): value for name, value in response.headers.items()}
            return Answer(request.url, response.status_code, names, _read(response, most))

    def close(self) -> None:
        self._session.close()


class _Adapter(HTTPAdapter):
    """Verifies certificates by a given context instead of requests' own list of CAs, and limits each exchange."""

    def __init__(self, tls: ssl.SSLContext, proxy_tls: Callable[[], ssl.SSLContext], exchange_timeout: float) -> None:
        self._tls = tls
        self._proxy_tls = proxy_tls
        self._pools = {
            "http": partial(_PlainPool, exchange_timeout=exchange_timeout),
            "https": partial(_TlsPool, exchange_timeout=exchange_timeout),
        }
        super().__init__(pool_connections=32, pool_maxsize=16)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._tls, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        pools = super().proxy_manager_for(proxy, ssl_context=self._tls, proxy_ssl_context=self._proxy_tls(), **options)
        pools.pool_classes_by_scheme = self._pools
        return pools

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Add no CAs to the context, which has verification switched on."""


class _Limited(HTTPConnection):
    """Its exchanges, the first of which begins with connecting, end after `exchange_timeout` seconds."""

    def __init__(self, *args: Any, exchange_timeout: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limits = Limits(exchange_timeout, MOST_EXCHANGE_BYTES)
        self._is_new = True
        self.response_class = partial(LimitedResponse, limits=self._limits)  # type: ignore[assignment]

    def _new_conn(self) -> socket.socket:
        """Where urllib3 would try one address after another, each for the whole of the timeout."""
        return dial(self._dns_host, self.port, float(self.timeout or 0.0))  # always a number

    def connect(self) -> None:
        self._limits.begin()
        self._is_new = True
        super().connect()

    def request(self, *args: Any, **options: Any) -> None:
        if not self._is_new:
            self._limits.begin()
        with suppress(ssl.SSLEOFError):  # who closes so soon has said why before, which is there to be read
            super().request(*args, **options)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 has it
        self._is_new = False
        return super().getresponse()


class _LimitedTls(_Limited, HTTPSConnection):
    """The same in TLS."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Limited


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _LimitedTls


def _small(body: bytes | Payload | None) -> bytes | None:
    if isinstance(body, Payload):
        raise TypeError("a payload is sent in bulk")
    return body


def _read(response: requests.Response, most: int) -> bytes:
    """The body, cut behind one byte more than `most`."""
    body = bytearray()
    try:
        for chunk in response.iter_content(_CHUNK):
            body += chunk
            if len(body) > most:
                break
    except ValueError as error:  # of a chunk whose size is less than nothing, which urllib3 lets pass
        raise http.client.UnknownTransferEncoding from error
    return bytes(body[: most + 1])
