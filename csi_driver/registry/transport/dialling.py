"""A TCP connection to whichever address of a host answers first (RFC 8305, "Happy Eyeballs")."""

import errno
import os
import selectors
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, zip_longest
from typing import Any, cast

_NEXT_AFTER = 0.25  # seconds until the next address is tried as well (RFC 8305, section 5, "Connection Attempt Delay")
_MOST_ADDRESSES = 64

_Address = tuple[int, int, int, str, Any]
Resolve = Callable[..., Sequence[_Address]]


def dial(host: str, port: int, timeout: float, resolve: Resolve = socket.getaddrinfo) -> socket.socket:
    """A connected socket with TCP_NODELAY and `timeout`, which is in seconds and for all addresses together.

    An address that does not answer at once costs the others a quarter of a second. Raises what the last address that
    refused did, and `TimeoutError` when none has answered in time.
    """
    addresses = _in_turn(resolve(host.strip("[]"), port, type=socket.SOCK_STREAM))[:_MOST_ADDRESSES]
    with _Race() as race:
        wire = race.run(addresses, time.monotonic() + timeout)
    wire.settimeout(timeout)
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return wire


def _in_turn(addresses: Sequence[_Address]) -> list[_Address]:
    """The system's order (RFC 6724), with the families taking turns (RFC 8305, section 4)."""
    first = [one for one in addresses if one[0] == addresses[0][0]]
    other = [one for one in addresses if one[0] != addresses[0][0]]
    return [one for one in chain(*zip_longest(first, other)) if one is not None]


class _Race:
    """Connections under way; those that do not win are closed at the end."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._selector = self._stack.enter_context(selectors.DefaultSelector())
        self._running: set[socket.socket] = set()
        self._error: OSError | None = None

    def __enter__(self) -> "_Race":
        return self

    def __exit__(self, *_: object) -> None:
        for wire in self._running:
            wire.close()
        self._stack.close()

    def run(self, addresses: Sequence[_Address], until: float) -> socket.socket:
        waiting = iter(addresses)
        left = len(addresses)
        while left or self._running:
            if left:
                left -= 1
                self._start(next(waiting))
            pause = until if not left else min(until, time.monotonic() + (_NEXT_AFTER if self._running else 0.0))
            while self._running and (seconds := pause - time.monotonic()) > 0:
                if winner := next(self._finished(seconds), None):
                    return winner
            if time.monotonic() >= until:
                raise TimeoutError(errno.ETIMEDOUT, f"none of its {len(addresses)} addresses answered in time")
        raise self._error or OSError(errno.EADDRNOTAVAIL, "it has no address")

    def _start(self, address: _Address) -> None:
        family, kind, protocol, _, place = address
        wire = None
        try:
            wire = socket.socket(family, kind, protocol)
            wire.setblocking(False)
            result = wire.connect_ex(place)
        except OSError as error:  # such as a family that this node does not have
            self._error = error
            if wire is not None:
                wire.close()
            return
        self._running.add(wire)
        self._selector.register(wire, selectors.EVENT_WRITE)
        if result not in (0, errno.EINPROGRESS):
            self._lose(wire, result)

    def _finished(self, seconds: float) -> Iterator[socket.socket]:
        """Connections that were made within so many seconds; those that were refused are dropped."""
        for key, _ in self._selector.select(seconds):
            wire = cast(socket.socket, key.fileobj)
            code = wire.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._lose(wire, code)
                continue
            self._selector.unregister(wire)
            self._running.discard(wire)
            yield wire

    def _lose(self, wire: socket.socket, code: int) -> None:
        self._error = OSError(code, os.strerror(code))
        self._selector.unregister(wire)
        self._running.discard(wire)
        wire.close()
