"""The bytes of one file: hashed once, sent later, and provably the same in between."""

import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from csi_driver.errors import ContentMismatch, InvalidRequest
from csi_driver.inflight import Stop
from csi_driver.oci.digest import Digest
from csi_driver.pusher.directory import Found

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it was when it was first looked at."""

    found: Found
    status: os.stat_result

    @classmethod
    def of(cls, found: Found) -> "Seen":
        """The file as it is now; raises `ContentMismatch` if it has gone, `InvalidRequest` if it may not be read."""
        with _open(found) as file:
            return cls(found, os.fstat(file.fileno()))

    @property
    def size(self) -> int:
        """Bytes that it held."""
        return self.status.st_size

    def open(self, stop: Stop) -> io.RawIOBase:
        """The bytes, from their beginning; reading raises `Stopping` once `stop` is set."""
        file = _open(self.found)
        self.check()
        return _Body(file, stop)

    def check(self) -> None:
        """Raise `ContentMismatch` if the file is not what it was then."""
        try:
            now = os.stat(self.found.real)
        except OSError as error:
            raise ContentMismatch(f"{self.found.path} has gone while the model was pushed: {error.strerror}") from error
        if _identity(now) != _identity(self.status):
            raise _changed(self.found)


@dataclass(frozen=True, slots=True)
class Content(Seen):
    """What a file held when it was read."""

    digest: Digest

    @property
    def diff_id(self) -> Digest:
        """The digest before compression, of which there is none."""
        return self.digest

    @property
    def files(self) -> tuple[Seen, ...]:
        return (self,)


def read(found: Found, stop: Stop, hashed: Callable[[int], None]) -> Content:
    """Read and hash a file; `hashed` learns how many bytes each step took.

    Raises `ContentMismatch` when the file is written to meanwhile, and `Stopping` once `stop` is set.
    """
    hasher, buffer = Digest.of(b"").hasher(), memoryview(bytearray(_CHUNK))
    with _open(found) as file:
        before = os.fstat(file.fileno())
        while count := file.readinto(buffer):
            stop.check()
            hasher.update(buffer[:count])
            hashed(count)
            if file.tell() > before.st_size:
                raise _changed(found)  # and it may grow for as long as somebody reads it
        after = os.fstat(file.fileno())
        if _identity(before) != _identity(after) or file.tell() != after.st_size:
            raise _changed(found)
    return Content(found, after, Digest("sha256", hasher.hexdigest()))


def _open(found: Found) -> io.FileIO:
    """The file itself, never what a link or a pipe put in its place would lead to."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        file = io.FileIO(found.real, "rb", opener=lambda path, _: os.open(path, flags))
    except PermissionError as error:
        raise InvalidRequest(f"{found.path} may not be read by this user") from error
    except OSError as error:
        raise ContentMismatch(f"{found.path} has changed while the model was pushed: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise _changed(found)
    return file


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _changed(found: Found) -> ContentMismatch:
    return ContentMismatch(f"{found.path} was changed while the model was pushed: push again when nothing writes to it")


class _Body(io.RawIOBase):
    """A request's body: a file that stops being readable when the push is over."""

    def __init__(self, file: io.FileIO, stop: Stop) -> None:
        self._file = file
        self._stop = stop

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        self._stop.check()
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()
