"""Sending one request: small ones over requests, bodies of blobs over http.client."""

import ssl
from pathlib import Path

import requests

from csi_driver import __version__
from csi_driver.registry.message import Answer, Payload, Request
from csi_driver.registry.transport.bulk import Bulk
from csi_driver.registry.transport.control import Control
from csi_driver.registry.transport.failures import FAILURES, failure, root
from csi_driver.registry.transport.proxies import Proxies

USER_AGENT = f"model-csi-driver/{__version__}"


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """Verifies by the system's CAs, or those of requests where the system has none, and by `ca_file` as well."""
    context = ssl.create_default_context()
    system = ssl.get_default_verify_paths()
    if system.cafile is None and system.capath is None:
        context.load_verify_locations(requests.certs.where())
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


class Transport:
    """One exchange at a time for each thread; redirects, retries and refusals are left to others.

    `connect_timeout` is in seconds; `stall_timeout` is how many may pass without a byte, and
    `exchange_timeout` until an answer is complete, or of an answer that is streamed its headers. `proxy_url` takes the
    place of the proxies in the environment. `tls` must verify certificates and host names.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = 10.0,
        stall_timeout: float = 30.0,
        exchange_timeout: float = 30.0,
        proxy_url: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        context = tls or tls_context()
        self._proxies = Proxies(proxy_url)
        timeouts = {
            "connect_timeout": connect_timeout,
            "stall_timeout": stall_timeout,
            "exchange_timeout": exchange_timeout,
        }
        self._control = Control(tls=context, user_agent=USER_AGENT, **timeouts)
        self._bulk = Bulk(tls=context, user_agent=USER_AGENT, **timeouts)

    def send(self, request: Request) -> Answer:
        """The answer, whatever its status. Raises `Transient`, or `Unavailable` where trying again is of no use."""
        proxy = self._proxies.choose(request.url)
        channel = self._bulk if request.bulk or isinstance(request.body, Payload) else self._control
        try:
            return channel.send(request, proxy)
        except FAILURES as error:
            raise failure(error, request.url, proxy) from root(error)

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._control.close()
        self._bulk.close()
