"""A request to a registry and the answer to it, whatever carries them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from csi_driver.inflight import Deadline
from csi_driver.registry.trust import NO_MORE, Trust
from csi_driver.registry.url import Url

MAX_ERROR_BYTES = 16 * 1024
"""How much of an error's body is read; more would not be shown."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A request body of `size` bytes that can be sent again: `chunks` begins anew with each call."""

    size: int
    chunks: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Request:
    """One request. With `bulk` the body of the answer is streamed and not read; else it has at most `most` bytes.

    `timeout` is how many seconds the answer to a `Payload` may take to begin, where that is longer than the transport's
    own patience. `own_headers` are for this very host and, like `authorization`, go no further. `connect_timeout` is in
    seconds; None means the transport's own. After the `deadline` nothing is sent any more.
    """

    method: str
    url: Url
    headers: Mapping[str, str] = field(default_factory=dict)
    authorization: str | None = field(default=None, repr=False)
    own_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    trust: Trust = NO_MORE
    body: bytes | Payload | None = field(default=None, repr=False)
    bulk: bool = False
    most: int = 1 << 20
    timeout: float = 0.0
    connect_timeout: float | None = None
    deadline: Deadline = field(default_factory=Deadline.never)


class Stream(Protocol):
    """The body of an answer while it arrives. `length` is its Content-Length, where the server said one."""

    length: int | None

    def readinto(self, view: memoryview, /) -> int:
        """At least one byte, or 0 at the end; raises `Transient` when the connection breaks or stalls."""

    def abort(self) -> None:
        """From any thread: end a `readinto` that is under way."""

    def close(self) -> None:
        """Give the connection back, or close it if the body was not read to its end; a second time does nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; header names are in lower case, repeated headers joined with commas.

    `body` is one byte longer than the request's `most` if the true one is longer. A streamed answer has a `stream`.
    """

    url: Url
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    stream: Stream | None = None


Send = Callable[[Request], Answer]
