"""What one request is sent with: requests for small ones, http.client for the bodies of blobs.

Imported when there is something to be sent: requests takes 0.07 s and 7 MB, of no use to a driver that idles.
"""

import ssl
from collections.abc import Callable

from csi_driver.registry.message import Answer, Payload, Request
from csi_driver.registry.transport.bulk import Bulk
from csi_driver.registry.transport.control import Control
from csi_driver.registry.transport.failures import FAILURES, failure, root
from csi_driver.registry.transport.proxies import Proxy


class Channel:
    """Small exchanges and bodies of blobs, under one rule for certificates: that of `tls`.

    The timeouts are in seconds, as `Control` and `Bulk` say.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext,
        proxy_tls: Callable[[], ssl.SSLContext],
        user_agent: str,
        timeouts: dict[str, float],
    ) -> None:
        self.tls = tls
        self._control = Control(tls=tls, proxy_tls=proxy_tls, user_agent=user_agent, **timeouts)
        self._bulk = Bulk(tls=tls, proxy_tls=proxy_tls, user_agent=user_agent, **timeouts)

    def send(self, request: Request, proxy: Proxy | None) -> Answer:
        """The answer, whatever its status. Raises `Transient`, or `Unavailable` where trying again is of no use."""
        carrier = self._bulk if request.bulk or isinstance(request.body, Payload) else self._control
        try:
            return carrier.send(request, proxy)
        except FAILURES as error:
            raise failure(error, request.url, proxy) from root(error)

    def close(self) -> None:
        self._control.close()
        self._bulk.close()
