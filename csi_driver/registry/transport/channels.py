"""The connections to hosts that are trusted alike."""

import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from csi_driver.inflight import Lock
from csi_driver.registry.transport.tls import stamp, tls_context
from csi_driver.registry.trust import Trust

if TYPE_CHECKING:
    from csi_driver.registry.transport.channel import Channel


class Channels:
    """One channel for each `Trust`, made anew when a file that it names has changed.

    `make` builds a channel. `ca_file` names certificates of authorities that are trusted for every host.
    """

    def __init__(
        self,
        *,
        make: Callable[[ssl.SSLContext], "Channel"],
        ca_file: Callable[[], Path | None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._make = make
        self._ca_file = ca_file
        self._tls = tls
        self._plain: Channel | None = None
        self._lock = Lock()
        self._kept: dict[Trust, tuple[object, Channel]] = {}

    def of(self, trust: Trust) -> "Channel":
        """The channel for hosts that are trusted so; raises `Unavailable` where a file is missing or of no use."""
        ca_file = self._ca_file()
        if ca_file is not None:
            trust = replace(trust, authorities=(*trust.authorities, ca_file))
        if not trust.authorities and not trust.clients:
            with self._lock:
                self._plain = self._plain or self._make(self._tls or tls_context())
                return self._plain
        now = stamp(trust)
        with self._lock:
            then, channel = self._kept.get(trust, (None, None))
            if channel is not None and then == now:
                return channel
            fresh = self._make(tls_context(*trust.authorities, clients=trust.clients))
            self._kept[trust] = (now, fresh)
        if channel is not None:
            channel.close()
        return fresh

    def close(self) -> None:
        """Close the connections that are kept alive."""
        with self._lock:
            kept = [channel for channel in (self._plain, *(each for _, each in self._kept.values())) if channel]
        for channel in kept:
            channel.close()
