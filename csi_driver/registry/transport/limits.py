"""How long an answer may take and how much of it may come, whatever the pace of its bytes."""

import http.client
import io
import math
import socket
import time
from collections.abc import Callable
from typing import Any, cast

_MOST_HEAD_BYTES = 256 * 1024
"""Of status line and headers, with all interim answers before them; also what a proxy may say before TLS begins."""

MOST_EXCHANGE_BYTES = 16 << 20
"""Of one whole answer to a small request: twice what a manifest may have."""


class Overdue(TimeoutError):
    """Bytes came, but not all that had to within `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"not complete after {seconds:g} s")
        self.seconds = seconds


class TooLong(http.client.HTTPException):
    """The answer, or its head, is longer than any that makes sense."""


class Limits:
    """What the answers on one connection may cost: `seconds` for each, of which its reader is told here.

    A timeout of a socket counts from the last byte: a server that sends one byte a second never meets it. These
    seconds count from `begin` and are those of the monotonic clock.
    """

    def __init__(self, seconds: float, most: float = math.inf) -> None:
        self._seconds = seconds
        self._most = most
        self._allowed = seconds
        self._until = math.inf
        self._bytes_left: float = _MOST_HEAD_BYTES

    def begin(self, seconds: float = 0.0) -> None:
        """A new exchange begins; it may take `seconds` if that is longer than usual."""
        self._allowed = max(self._seconds, seconds)
        self._until = time.monotonic() + self._allowed

    def begin_head(self) -> None:
        self._bytes_left = _MOST_HEAD_BYTES

    def end_head(self) -> None:
        self._bytes_left = self._most

    def lift(self) -> None:
        """The rest of this answer is for others to judge."""
        self._until = math.inf

    def read(self, wire: socket.socket, silence: float | None, readinto: Callable[[Any], int | None], into: Any) -> int:
        """What one read of the wire gives; raises `Overdue`, `TooLong`, or `TimeoutError` after `silence` seconds."""
        if self._bytes_left <= 0:
            raise TooLong("too long")
        if self._until < math.inf:
            left = self._until - time.monotonic()
            if left <= 0:
                raise Overdue(self._allowed)
            wire.settimeout(left if silence is None else min(silence, left))
        try:
            count = readinto(into) or 0
        except TimeoutError:
            if time.monotonic() >= self._until:
                raise Overdue(self._allowed) from None
            raise
        self._bytes_left -= count
        return count


class LimitedResponse(http.client.HTTPResponse):
    """An answer that is read within limits; interim ones before it are skipped (RFC 9110, section 15.2).

    The timeout that the socket has at first stays the longest silence that is borne.
    """

    def __init__(self, wire: socket.socket, *args: Any, limits: Limits, **options: Any) -> None:
        self._limits = limits
        limits.begin_head()
        super().__init__(cast(socket.socket, _LimitedWire(wire, limits)), *args, **options)

    def begin(self) -> None:
        """Read the head of the final answer; http.client knows of no interim status but 100."""
        super().begin()
        while self.status < 200:
            if self.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                raise http.client.UnknownProtocol("another one, which was not asked for")
            self.headers = self.msg = cast(http.client.HTTPMessage, None)
            super().begin()
        self._limits.end_head()


class _LimitedWire:
    """A socket as far as http.client's answers need one."""

    def __init__(self, wire: socket.socket, limits: Limits) -> None:
        self._wire = wire
        self._limits = limits

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_LimitedReader(self._wire, self._limits))


class _LimitedReader(io.RawIOBase):
    def __init__(self, wire: socket.socket, limits: Limits) -> None:
        self._wire = wire
        self._limits = limits
        self._silence = wire.gettimeout()
        self._file = wire.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any, /) -> int:
        return self._limits.read(self._wire, self._silence, self._file.readinto, into)

    def close(self) -> None:
        self._file.close()
        super().close()
