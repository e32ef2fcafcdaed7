"""Sending one request, the way that leads to its host."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from csi_driver import __version__
from csi_driver.registry.message import Answer, Request
from csi_driver.registry.retry import TooLate
from csi_driver.registry.transport.channels import Channels
from csi_driver.registry.transport.proxies import Proxies
from csi_driver.registry.trust import NO_MORE

if TYPE_CHECKING:
    from csi_driver.registry.transport.channel import Channel

USER_AGENT = f"model-csi-driver/{__version__}"


class Transport:
    """One exchange at a time for each thread; redirects, retries and refusals are left to others.

    `connect_timeout` is in seconds, for all addresses of a host; `stall_timeout` is how many may pass without a byte,
    and `exchange_timeout` until an answer is complete, or of an answer that is streamed its headers. `proxy_url` takes
    the place of the proxies in the environment. `ca_file` names authorities that are trusted beside the system's, asked
    for whenever they matter. `tls`, in place of the system's, must verify certificates and host names.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = 10.0,
        stall_timeout: float = 30.0,
        exchange_timeout: float = 30.0,
        proxy_url: str = "",
        ca_file: Callable[[], Path | None] = lambda: None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._proxies = Proxies(proxy_url)
        timeouts = {
            "connect_timeout": connect_timeout,
            "stall_timeout": stall_timeout,
            "exchange_timeout": exchange_timeout,
        }

        def channel(tls: ssl.SSLContext) -> "Channel":
            from csi_driver.registry.transport.channel import Channel  # noqa: PLC0415  it says why

            return Channel(tls=tls, proxy_tls=self._proxy_tls, user_agent=USER_AGENT, timeouts=timeouts)

        self._channels = Channels(make=channel, ca_file=ca_file, tls=tls)

    def send(self, request: Request) -> Answer:
        """The answer, whatever its status. Raises `Transient`, or `Unavailable` where trying again is of no use."""
        if request.deadline.remaining() == 0:
            raise TooLate(f"no time is left to ask {request.url.authority}: the requests before took too long")
        proxy = self._proxies.choose(request.url)
        return self._channels.of(request.trust).send(request, proxy)

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._channels.close()

    def _proxy_tls(self) -> ssl.SSLContext:
        """A proxy is trusted by the authorities for every host, and is shown no client certificates."""
        return self._channels.of(NO_MORE).tls
