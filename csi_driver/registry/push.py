"""Blobs and manifests on their way into a registry (distribution-spec "Push")."""

from collections.abc import Callable, Iterator
from typing import Protocol

from csi_driver.errors import ContentMismatch, InvalidRequest, NotFound, Unavailable
from csi_driver.oci.digest import Digest
from csi_driver.registry.message import Answer, Payload, Request
from csi_driver.registry.presence import holds_blob
from csi_driver.registry.retry import Transient
from csi_driver.registry.session import Session
from csi_driver.registry.url import Url

_CHUNK = 256 * 1024  # one sendall, which has the stall timeout's seconds for all of it
_STORING_SECONDS = 600.0  # registries verify and move a blob before they answer


class Readable(Protocol):
    """An open file, read from its beginning."""

    def read(self, size: int, /) -> bytes | None: ...

    def close(self) -> None: ...


def has_blob(session: Session, digest: Digest) -> bool:
    """Whether the repository holds the blob, see `presence.holds_blob`; asked again while that may help."""
    return session.retry.run(lambda: holds_blob(session, digest))


def push_blob(
    session: Session, digest: Digest, size: int, open_: Callable[[], Readable], progress: Callable[[int], None]
) -> None:
    """Make the repository hold the blob, in one request; nothing is sent if it does already.

    `open_` gives the content from its beginning, once for each try. `progress` learns how many bytes went out, also by
    a negative number when a try failed and they go out again. Raises `ContentMismatch` when the content is not `size`
    bytes, and as `Session.ask` does.
    """
    if has_blob(session, digest):
        progress(size)
        return
    _Upload(session, digest, size, open_, progress).run()


def push_manifest(session: Session, selector: str, body: bytes, media_type: str) -> Digest:
    """Store a manifest under a tag or its digest; its digest."""
    digest = Digest.of(body) if ":" not in selector else Digest.of(body, Digest.parse(selector).algorithm)
    if ":" in selector and str(digest) != selector:
        raise ContentMismatch(f"the manifest to push has the digest {digest}, not {selector}")
    request = Request("PUT", session.url(f"manifests/{selector}"), {"Content-Type": media_type}, body=body)
    return session.ask(request, f"the manifest {selector} of {session.name}", lambda _: digest)


class _Upload:
    """The tries at one blob. Each begins anew: what an upload that broke off has left is the registry's to forget."""

    def __init__(
        self,
        session: Session,
        digest: Digest,
        size: int,
        open_: Callable[[], Readable],
        progress: Callable[[int], None],
    ) -> None:
        self._session = session
        self._digest = digest
        self._size = size
        self._open = open_
        self._progress = progress
        self._sent = 0

    def run(self) -> None:
        self._session.retry.run(self._attempt)

    def _attempt(self) -> None:
        what = f"the upload of blob {self._digest} to {self._session.name}"
        begun = self._session.send(Request("POST", self._session.url("blobs/uploads/"), body=b""), what)
        location = self._location(begun).with_query(f"digest={self._digest}")
        headers = {"Content-Type": "application/octet-stream"}
        body = Payload(self._size, self._chunks)
        request = Request("PUT", location, headers, body=body, timeout=_STORING_SECONDS)
        try:
            self._session.send(request, what)
        except NotFound as error:  # the upload was forgotten, by a restart or by another replica
            self._take_back()
            raise Transient(str(error)) from error
        except BaseException:
            self._take_back()
            raise

    def _location(self, answer: Answer) -> Url:
        """Where the content goes. The registry may name another host, but not one without TLS if it has TLS."""
        told = f"{answer.url.authority} gave no usable place for an upload"
        try:
            location = answer.url.join(answer.headers["location"])
        except (KeyError, ValueError) as error:
            raise Unavailable(f"{told}: {error}") from None
        if answer.url.scheme == "https" and location.scheme != "https":
            raise Unavailable(
                f"{told}: {location.place} is plain HTTP; a proxy in front of the registry must tell it that clients "
                "use HTTPS (X-Forwarded-Proto)"
            )
        return location

    def _chunks(self) -> Iterator[bytes]:
        """The content, exactly `size` bytes of it; progress is told behind each part that went out."""
        self._take_back()
        file = self._open()
        try:
            while self._sent < self._size:
                chunk = _read(file, min(_CHUNK, self._size - self._sent))
                if not chunk:
                    raise ContentMismatch(
                        f"what is pushed as {self._digest} ended after {self._sent} of {self._size} bytes"
                    )
                yield chunk
                self._sent += len(chunk)
                self._progress(len(chunk))
            if _read(file, 1):
                raise ContentMismatch(f"what is pushed as {self._digest} has more than {self._size} bytes")
        finally:
            file.close()

    def _take_back(self) -> None:
        if self._sent:
            self._progress(-self._sent)
        self._sent = 0


def _read(file: Readable, size: int) -> bytes | None:
    try:
        return file.read(size)
    except OSError as error:
        raise InvalidRequest(f"what is to be pushed cannot be read: {error.strerror or error}") from error
