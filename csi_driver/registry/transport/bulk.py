"""Bodies of blobs over http.client, read into the caller's memory and sent from its files."""

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import cast

from urllib3.util.ssltransport import SSLTransport

from csi_driver.errors import Unavailable
from csi_driver.inflight import Lock
from csi_driver.registry.message import MAX_ERROR_BYTES, Answer, Payload, Request
from csi_driver.registry.retry import Transient
from csi_driver.registry.transport.body import Body
from csi_driver.registry.transport.dialling import dial
from csi_driver.registry.transport.failures import FAILURES, failure, root
from csi_driver.registry.transport.limits import LimitedResponse, Limits
from csi_driver.registry.transport.proxies import Proxy
from csi_driver.registry.url import Url

_MOST_IDLE = 8  # kept-alive connections to one origin
_LONGEST_IDLE = 50.0  # seconds; load balancers close idle connections after 60

_CLOSED_EARLY = (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError)
"""How it shows in sending that a server has closed already, be it behind an answer or behind an alert of TLS: what it
said is there to be read."""

_GONE = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)  # how a connection that idled too long shows

_Key = tuple[tuple[str, str, int], Proxy | None]


@dataclass(slots=True)
class _Connection:
    """A connection and where it leads; `reused` once an answer was read from it."""

    http: http.client.HTTPConnection
    wire: socket.socket  # or what takes its place for TLS within TLS
    ends_at: socket.socket  # the socket beneath TLS
    limits: Limits
    key: _Key
    reused: bool = False
    idle_since: float = 0.0


class Bulk:
    """Connections that are kept alive between ranges of blobs. The timeouts are in seconds without any progress.

    `exchange_timeout` is how many seconds may pass until an answer's headers are there, and the text of an error; how
    slow the content of a blob may be is for its reader to judge.
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
        longest_idle: float = _LONGEST_IDLE,
    ) -> None:
        self._tls = tls
        self._proxy_tls = proxy_tls
        self._user_agent = user_agent
        self._connect_timeout = connect_timeout
        self._stall_timeout = stall_timeout
        self._exchange_timeout = exchange_timeout
        self._longest_idle = longest_idle
        self._lock = Lock()
        self._idle: dict[_Key, list[_Connection]] = {}
        self._is_closed = False

    def send(self, request: Request, proxy: Proxy | None) -> Answer:
        """An answer with a stream if it is 200 or 206, else with the start of its body; raises what sockets raise."""
        while True:
            connection = self._take(request, proxy)
            try:
                stream = self._exchange(connection, request, proxy)
                return self._answer(stream, request)
            except _GONE:
                connection.http.close()
                if not connection.reused:
                    raise
            except BaseException:
                connection.http.close()
                raise

    def close(self) -> None:
        with self._lock:
            idle = [one for connections in self._idle.values() for one in connections]
            self._idle.clear()
            self._is_closed = True
        for connection in idle:
            connection.http.close()

    def give_back(self, connection: _Connection) -> None:
        """Keep a connection whose answer was read to its end."""
        connection.reused, connection.idle_since = True, time.monotonic()
        with self._lock:
            self._idle.setdefault(connection.key, []).append(connection)
            surplus = list(self._surplus())
        for one in surplus:
            one.http.close()

    def _surplus(self) -> Iterator[_Connection]:
        """Under the lock: take out what idles too long or is too much, also of origins that nobody asks any more."""
        too_long = time.monotonic() - self._longest_idle
        for key, idle in list(self._idle.items()):
            while idle and (self._is_closed or len(idle) > _MOST_IDLE or idle[0].idle_since < too_long):
                yield idle.pop(0)
            if not idle:
                del self._idle[key]

    def _take(self, request: Request, proxy: Proxy | None) -> _Connection:
        """A connection that is idle, or a new one: always that for an upload, which cannot be repeated unnoticed."""
        key = (request.url.origin, proxy)
        stale: list[_Connection] = []
        found = None
        with self._lock:
            idle = self._idle.get(key, [])
            while idle and found is None and request.body is None:
                last = idle.pop()
                if time.monotonic() - last.idle_since > self._longest_idle:
                    stale.append(last)
                else:
                    found = last
        for connection in stale:
            connection.http.close()
        return found or self._connect(request.url, proxy, request.connect_timeout or self._connect_timeout)

    def _connect(self, url: Url, proxy: Proxy | None, timeout: float) -> _Connection:
        connection = self._new(url, proxy, timeout)
        limits = Limits(self._exchange_timeout)
        connection.response_class = partial(LimitedResponse, limits=limits)  # type: ignore[assignment]
        limits.begin()  # a proxy answers before there is TLS
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        wire = connection.sock
        ends_at = wire.socket if isinstance(wire, SSLTransport) else wire
        return _Connection(connection, wire, ends_at, limits, (url.origin, proxy))

    def _new(self, url: Url, proxy: Proxy | None, timeout: float) -> http.client.HTTPConnection:
        """A connection that is not made yet; the proxy's own TLS, if it has any, is there before HTTP begins."""
        to = proxy.url if proxy else url
        proxy_tls = self._proxy_tls() if proxy and to.scheme == "https" else None
        connection: http.client.HTTPConnection
        if url.scheme == "http":
            connection = http.client.HTTPConnection(to.host, to.port, timeout=timeout)
        elif proxy_tls:
            connection = _TlsInTls(to.host, to.port, timeout=timeout, context=self._tls)
        else:
            connection = http.client.HTTPSConnection(to.host, to.port, timeout=timeout, context=self._tls)
        if proxy and url.scheme == "https":
            secret = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
            connection.set_tunnel(url.host, url.port, headers=secret)

        def create_connection(*_: object) -> socket.socket:
            wire = dial(to.host, to.port, timeout)
            return proxy_tls.wrap_socket(wire, server_hostname=to.host) if proxy_tls else wire

        connection._create_connection = create_connection  # type: ignore[attr-defined]
        return connection

    def _exchange(self, connection: _Connection, request: Request, proxy: Proxy | None) -> "BulkStream":
        content = request.body.chunks() if isinstance(request.body, Payload) else request.body
        target = str(request.url) if proxy and request.url.scheme == "http" else request.url.target
        wire = connection.wire
        wire.settimeout(self._stall_timeout)
        with suppress(*_CLOSED_EARLY):
            connection.http.request(request.method, target, content, self._headers(request, proxy))
        wire.settimeout(max(self._stall_timeout, request.timeout))
        connection.limits.begin(request.timeout)
        response = connection.http.getresponse()
        wire.settimeout(self._stall_timeout)
        return BulkStream(self, connection, response, request.url)

    def _answer(self, stream: "BulkStream", request: Request) -> Answer:
        response, names = stream.response, dict[str, str]()
        for name, value in response.getheaders():
            key = name.lower()
            names[key] = f"{names[key]}, {value}" if key in names else value
        if request.bulk and request.method == "GET" and response.status in (200, 206):
            stream.lift_limits(self._stall_timeout)
            return Answer(request.url, response.status, names, stream=stream)
        return Answer(request.url, response.status, names, _start_of(stream))

    def _headers(self, request: Request, proxy: Proxy | None) -> dict[str, str]:
        headers = {"Host": request.url.authority, "User-Agent": self._user_agent, "Accept-Encoding": "identity"}
        headers |= request.own_headers
        headers |= request.headers
        if request.authorization is not None:
            headers["Authorization"] = request.authorization
        if isinstance(request.body, Payload):
            headers["Content-Length"] = str(request.body.size)
        if proxy and proxy.authorization and request.url.scheme == "http":
            headers["Proxy-Authorization"] = proxy.authorization
        return headers


class BulkStream:
    """The body of one answer, and the connection it comes from."""

    def __init__(self, bulk: Bulk, connection: _Connection, response: http.client.HTTPResponse, url: Url) -> None:
        self._bulk = bulk
        self._connection = connection
        self._url = url
        self._received = 0
        self._closed = False
        self._whole = response.isclosed() or response.length == 0  # it closes only answers that can have no body
        self._body: Body | http.client.HTTPResponse = response
        self.response = response
        self.length = response.length

    def lift_limits(self, silence: float) -> None:
        """Let the rest of the body take as long as its reader bears, though no longer than `silence` for a byte."""
        self._connection.limits.lift()
        self._body = Body(self.response, self._connection.wire, silence)

    def readinto(self, view: memoryview, /) -> int:
        """At least one byte, or 0 at the end; raises `Transient`."""
        if self._whole:
            return 0
        try:
            count = self._body.readinto(view)
        except FAILURES as error:
            raise failure(error, self._url, self._connection.key[1]) from root(error)
        self._received += count
        if count == 0 and self.length is not None:
            raise Transient(f"{self._url.authority} ended an answer after {self._received} of {self.length} bytes")
        self._whole = self._received == self.length or count == 0
        return count

    def abort(self) -> None:
        """Shut the socket down beneath TLS, which is not made for two threads: the one that reads wakes up."""
        if not self._closed:  # else the connection may serve another range by now
            with suppress(OSError):
                socket.socket.shutdown(self._connection.ends_at, socket.SHUT_RDWR)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.response.close()
        if self._whole and not self.response.will_close:
            self._bulk.give_back(self._connection)
        else:
            self._connection.http.close()


class _TlsInTls(http.client.HTTPSConnection):
    """A tunnel through a proxy that is itself spoken to in TLS, which Python's own sockets cannot nest."""

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        tls: ssl.SSLContext = self._context  # type: ignore[attr-defined]
        host: str = self._tunnel_host  # type: ignore[attr-defined]
        self.sock = cast(socket.socket, SSLTransport(self.sock, tls, server_hostname=host))


def _start_of(stream: BulkStream) -> bytes:
    body = bytearray(MAX_ERROR_BYTES)
    filled = 0
    with suppress(Unavailable):  # half of an error's text is as good as all of it
        while filled < len(body) and (count := stream.readinto(memoryview(body)[filled:])):
            filled += count
    stream.close()
    return bytes(body[:filled])
