"""One blob at a registry, in ranges, each checked against what the descriptor promises."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from csi_driver.errors import ContentMismatch, RangeIgnored, Unavailable, UnsupportedArtifact
from csi_driver.inflight import Lock
from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.digest import EMPTY_DIGEST, Digest
from csi_driver.registry.host import Capability
from csi_driver.registry.message import Answer, Request, Stream
from csi_driver.registry.presence import expect_blob
from csi_driver.registry.retry import Transient
from csi_driver.registry.route import Route
from csi_driver.registry.session import Session
from csi_driver.registry.url import Url

_CONTENT_RANGE = re.compile(r"bytes\s+(\d{1,18})-(\d{1,18})/(\d+|\*)")


class Body(Protocol):
    """The bytes that answer one request."""

    def readinto(self, view: memoryview, /) -> int:
        """At least one byte, or 0 at the end of what was asked for.

        Raises `Unavailable` when the connection breaks, stalls or ends too early, and `ContentMismatch` when there is
        more than was asked for.
        """

    def abort(self) -> None:
        """From any thread: end a `readinto` that is under way, whatever it returns or raises."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class BlobSource:
    """Opens ranges of one blob, from several threads if need be, at whichever host of the route gives them.

    Where a host redirects to a signed URL, later ranges go there directly, until it is refused. The digest is for
    whoever has all the bytes to check; here only sizes are. `urls` of descriptors are never followed.
    """

    def __init__(self, route: Route, descriptor: Descriptor) -> None:
        self._route = route
        self._digest = descriptor.digest
        self._size = descriptor.size
        self._content = _known_content(descriptor)
        self._what = f"blob {descriptor.digest} of {route.name}"
        self._lock = Lock()
        self._signed: dict[Session, Url] = {}
        self._given_up: set[Session] = set()
        self._used: set[Session] = set()
        self._is_vouched_for = False
        self._was_distrusted = False

    def open(self, start: int = 0, stop: int | None = None, *, briefly: bool = False) -> Body:
        """The bytes from `start` up to `stop`, or to the end; asked for only `briefly` by who has another way.

        A request for the whole blob carries no Range. Raises `RangeIgnored` when the answer is not the range asked for,
        `UnsupportedArtifact` when all hosts say that their blob has another size than the descriptor does, as nothing
        that they could send would be the blob, and as `Session.ask` does.
        A host whose answer breaks off is not asked for this blob again if there is another.
        """
        span = _Span(start, self._size if stop is None else stop, self._size)
        if self._content is not None:
            return _Memory(self._content[span.start : span.stop])
        self._check_access()
        with self._lock:
            given_up = frozenset(self._given_up)
        return self._route.ask(
            Capability.PULL, lambda session: self._open(session, span), without=given_up, briefly=briefly
        )

    def distrust(self, error: ContentMismatch) -> bool:
        """What came until now is not the blob: the mirrors that sent some of it will not be asked for it again.

        Whether it is worth another try: as long as there are such mirrors, and then once more, as bytes may have been
        damaged on their way.
        """
        with self._lock:
            mirrors = {each for each in self._used - self._given_up if not self._route.is_last(Capability.PULL, each)}
            self._given_up |= mirrors
            self._used.clear()
            self._signed.clear()
            was_distrusted, self._was_distrusted = self._was_distrusted, self._was_distrusted or not mirrors
        for session in mirrors:
            self._route.distrust(session, error)
        return bool(mirrors) or not was_distrusted

    def _open(self, session: Session, span: "_Span") -> Body:
        body = self._open_signed(session, span)
        if body is None:
            request = self._request(session.url(f"blobs/{self._digest}"), span)
            answer = session.send(request, self._what, also=(416,) if span.is_part else ())
            body = self._accept(session, answer, span, request.url)
        with self._lock:
            self._used.add(session)
        return body

    def _check_access(self) -> None:
        """Raise unless a host that is trusted to say who may have it has the blob for this caller.

        A host that may only bring content gives it to whoever knows a digest, and a digest alone is no permission.
        """
        if self._is_vouched_for or self._route.all_resolve:
            return
        self._route.ask(Capability.RESOLVE, lambda voucher: expect_blob(voucher, self._digest))
        self._is_vouched_for = True

    def _open_signed(self, session: Session, span: "_Span") -> Body | None:
        """The same from where the host last redirected to; None if that does not answer as it should."""
        signed = self._signed.get(session)
        if signed is None:
            return None
        try:
            answer = session.send_signed(self._request(signed, span))
            if answer.stream is not None:
                return self._accept(session, answer, span, None)
        except (Unavailable, UnsupportedArtifact):
            pass
        self._signed.pop(session, None)
        return None

    def _request(self, url: Url, span: "_Span") -> Request:
        headers = {"Range": f"bytes={span.start}-{span.stop - 1}"} if span.is_part else {}
        return Request("GET", url, headers, bulk=True)

    def _accept(self, session: Session, answer: Answer, span: "_Span", asked: Url | None) -> Body:
        stream = answer.stream
        if stream is None and span.is_part:
            span.check_range(answer, self._what)
        if stream is None:
            raise Unavailable(f"{answer.url.authority} answered {answer.status} for {self._what}, which has no meaning")
        try:
            self._check(answer, span)
        except BaseException:
            stream.close()
            raise
        if asked is not None and answer.url.origin != asked.origin:
            self._signed[session] = answer.url
        return _Received(stream, span.stop - span.start, self._what, broken=lambda: self._give_up(session))

    def _give_up(self, session: Session) -> None:
        with self._lock:
            self._given_up.add(session)

    def _check(self, answer: Answer, span: "_Span") -> None:
        host, length = answer.url.authority, answer.stream.length if answer.stream else None
        encoding = answer.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise UnsupportedArtifact(
                f"{host} sends {self._what} in the encoding {encoding[:20]!r}, which was not asked for: whatever "
                "compresses blobs on their way must be told not to"
            )
        if span.is_part:
            span.check_range(answer, self._what)
        elif answer.status != 200:
            raise Unavailable(f"{host} answered {answer.status} for {self._what}, of which no part was asked for")
        elif length is not None and length != self._size:
            raise _other_size(host, str(length), self._what, self._size)


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    stop: int
    size: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop <= self.size:
            raise ValueError(f"no range {self.start}-{self.stop} in {self.size} bytes")

    @property
    def is_part(self) -> bool:
        return (self.start, self.stop) != (0, self.size)

    def check_range(self, answer: Answer, what: str) -> None:
        """Raise `RangeIgnored` unless the answer is this range, or the beginning of it (RFC 9110, section 15.3.7)."""
        given = answer.headers.get("content-range", "")
        match = _CONTENT_RANGE.fullmatch(given.strip())
        if answer.status == 206 and match and int(match[1]) == self.start and int(match[2]) < self.stop:
            if match[3] in ("*", str(self.size)):
                return
            raise _other_size(answer.url.authority, match[3], what, self.size)
        raise RangeIgnored(
            f"{answer.url.authority} answered {answer.status} with the range {given[:60]!r} "
            f"to a request for bytes {self.start}-{self.stop - 1} of {what}"
        )


def _other_size(host: str, given: str, what: str, size: int) -> UnsupportedArtifact:
    return UnsupportedArtifact(
        f"{host} has {given[:20]} bytes for {what}, whose descriptor says {size}: push the model again"
    )


class _Opened:
    def close(self) -> None:
        """Nothing to give back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


class _Received(_Opened):
    """Exactly `expected` bytes of a stream, or an error; `broken` is called when it ends too early by itself."""

    def __init__(self, stream: Stream, expected: int, what: str, *, broken: Callable[[], None]) -> None:
        self._stream = stream
        self._left = expected
        self._what = what
        self._broken = broken
        self._aborted = False

    def readinto(self, view: memoryview, /) -> int:
        if self._left == 0:
            if self._stream.readinto(memoryview(bytearray(1))):
                raise ContentMismatch(f"more bytes came than were asked for of {self._what}")
            return 0
        try:
            count = self._stream.readinto(view[: self._left])
            if count == 0:
                raise Transient(f"{self._left} bytes are missing at the end of {self._what}")
        except Unavailable:
            if not self._aborted:
                self._broken()
            raise
        self._left -= count
        return count

    def abort(self) -> None:
        self._aborted = True
        self._stream.abort()

    def close(self) -> None:
        self._stream.close()


class _Memory(_Opened):
    """Bytes that no request is needed for."""

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)

    def readinto(self, view: memoryview, /) -> int:
        count = min(len(view), len(self._content))
        view[:count] = self._content[:count]
        self._content = self._content[count:]
        return count

    def abort(self) -> None:
        """Nothing waits."""


def _known_content(descriptor: Descriptor) -> bytes | None:
    """What the descriptor itself proves the blob to be: nothing, or its `data` (image-spec descriptor.md)."""
    if descriptor.size == 0 and descriptor.digest == EMPTY_DIGEST:
        return b""
    data = descriptor.data
    if data is None or len(data) != descriptor.size:
        return None
    return data if Digest.of(data, descriptor.digest.algorithm) == descriptor.digest else None
