"""How the body of a large answer gets from its socket into the caller's memory."""

import http.client
import io
import socket
import ssl
import struct
import time

_TICK = 1.0  # seconds after which a read ends with what it has
_LOW_WATER = 256 << 10
_HELD = io.DEFAULT_BUFFER_SIZE  # bytes at most that http.client has read behind the head
_PIECE = 64 << 10


class Body:
    """What follows the head of an answer. `silence` is how many seconds may pass without a byte.

    A body of known length is read past http.client, with a third of its system calls and none of its Python for each
    of them: the kernel wakes the reader when 256 KiB are there (SO_RCVLOWAT of socket(7)), or a second has passed.
    """

    def __init__(
        self, response: http.client.HTTPResponse, wire: socket.socket, silence: float, *, low_water: int = _LOW_WATER
    ) -> None:
        self._response = response
        self._wire = wire
        self._silence = silence
        self._tick = min(_TICK, silence)
        self._left = response.length
        self._is_plain = isinstance(wire, socket.socket) and not isinstance(wire, ssl.SSLSocket)
        self._is_direct = False
        self._low_water = low_water
        self._waits_for_many = False

    def readinto(self, view: memoryview) -> int:
        """Fill `view` with what comes in about a second: at least one byte, or 0 at the end.

        Raises `TimeoutError` when nothing came for too long, and what sockets and http.client raise otherwise.
        """
        if self._left is None:
            return self._through_http(view, _PIECE)
        begin, filled, view = time.monotonic(), 0, view[: self._left]
        if not self._is_direct:
            filled = self._through_http(view, _HELD)
            self._left -= filled
            if len(view) < _HELD:
                return filled  # http.client may hold more
            self._take_over()
        while filled < len(view):
            self._wait_for_many(self._left >= 2 * self._low_water)
            count, now = self._receive(view[filled:]), time.monotonic()
            if count == 0:
                break
            if count is not None:
                filled += count
                self._left -= count
            elif not filled and now - begin >= self._silence:
                raise TimeoutError
            if filled and now - begin >= self._tick:
                break
        if self._left == 0:
            self._wait_for_many(False)  # the connection may serve another answer, whose head is short
        return filled

    def _through_http(self, view: memoryview, most: int) -> int:
        """What http.client has read already, or reads now: without a length, it alone knows where the body ends."""
        data = self._response.read1(min(len(view), most))
        if len(data) > len(view):  # of a chunk whose size is less than nothing, which http.client lets pass
            raise http.client.UnknownTransferEncoding
        view[: len(data)] = data
        return len(data)

    def _take_over(self) -> None:
        """From here on the socket is read without http.client."""
        self._is_direct = True
        if not self._is_plain:
            self._wire.settimeout(self._tick)
        else:  # blocking, with the kernel's own timeout: Python's would cost a poll(2) for each read
            self._wire.settimeout(None)
            timeval = struct.pack("@ll", int(self._tick), int(self._tick % 1 * 1e6))
            self._wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)

    def _receive(self, view: memoryview) -> int | None:
        """How many bytes came; None if there were none for a second."""
        try:
            return self._wire.recv_into(view)
        except (TimeoutError, BlockingIOError):
            return None

    def _wait_for_many(self, many: bool) -> None:
        """Wake up for many bytes or for any: at the end fewer are left, and TLS knows only records of 16 KiB."""
        if many is not self._waits_for_many and self._is_plain:
            self._wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, self._low_water if many else 1)
            self._waits_for_many = many
