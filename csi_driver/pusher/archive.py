"""Files in one archive, compressed or not: packed once to know its digest, and once more while it is sent."""

import io
import stat
import tarfile
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import zstandard

from csi_driver.errors import ContentMismatch
from csi_driver.inflight import Stop
from csi_driver.oci.digest import Digest
from csi_driver.oci.media import Packing
from csi_driver.oci.metadata import NANOSECONDS
from csi_driver.pusher.bundles import Bundle
from csi_driver.pusher.content import Seen

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNK = 1 << 20
_GZIP_LEVEL, _ZSTD_LEVEL = 6, 3
_GZIP_FORMAT = 31  # zlib: with gzip's header and trailer, and no time in it


@dataclass(frozen=True, slots=True)
class Archive:
    """A layer of several files, or of one in an archive. `diff_id` is the digest before compression."""

    bundle: Bundle
    files: tuple[Seen, ...]
    digest: Digest
    diff_id: Digest
    size: int

    def open(self, stop: Stop) -> io.RawIOBase:
        """The bytes once more, from their beginning; reading raises `Stopping` once `stop` is set."""
        self.check()
        return _Body(_compressed(self.bundle.packing, _archived(self.files, stop, lambda _: None)))

    def check(self) -> None:
        """Raise `ContentMismatch` if a file is not what it was when it was packed."""
        for seen in self.files:
            seen.check()


def pack(bundle: Bundle, stop: Stop, read: Callable[[int], None]) -> Archive:
    """Pack the files, to learn what comes of it; `read` learns how many bytes of them each step took.

    The same files always give the same archive. Raises `ContentMismatch` when a file is written to meanwhile, and
    `Stopping` once `stop` is set.
    """
    plain, packed, size = Digest.of(b"").hasher(), Digest.of(b"").hasher(), 0
    files = tuple(Seen.of(found) for found in bundle.files)

    def noted() -> Iterator[bytes]:
        for piece in _archived(files, stop, read):
            plain.update(piece)
            yield piece

    for piece in _compressed(bundle.packing, noted()):
        packed.update(piece)
        size += len(piece)
    archive = Archive(bundle, files, Digest("sha256", packed.hexdigest()), Digest("sha256", plain.hexdigest()), size)
    archive.check()
    return archive


def _archived(files: tuple[Seen, ...], stop: Stop, read: Callable[[int], None]) -> Iterator[bytes]:
    """A tar archive of the files in their order, under their paths, without directories."""
    for seen in files:
        yield _header(seen)
        left = seen.size
        with seen.open(stop) as file:
            while left and (piece := file.read(min(left, _CHUNK))):
                left -= len(piece)
                read(len(piece))
                yield piece
        if left:
            raise ContentMismatch(f"{seen.found.path} became shorter while the model was pushed: push again")
        yield bytes(-seen.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _header(seen: Seen) -> bytes:
    status = seen.status
    entry = tarfile.TarInfo(seen.found.path)
    entry.size, entry.mode = seen.size, stat.S_IMODE(status.st_mode) & 0o777
    entry.uid, entry.gid = status.st_uid, status.st_gid
    seconds, fraction = divmod(status.st_mtime_ns, NANOSECONDS)
    entry.mtime = seconds
    if fraction:
        entry.pax_headers = {"mtime": f"{seconds}.{fraction:09d}"}
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def _compressed(packing: Packing, pieces: Iterator[bytes]) -> Generator[bytes, None, None]:
    if packing is Packing.TAR:
        yield from pieces
        return
    if packing is Packing.TAR_GZIP:
        deflate: _Deflate = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
    else:
        deflate = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()
    for piece in pieces:
        if made := deflate.compress(piece):
            yield made
    yield deflate.flush()


class _Deflate(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Body(io.RawIOBase):
    """A request's body, made while it is read."""

    def __init__(self, pieces: Generator[bytes, None, None]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        view = memoryview(buffer).cast("B")
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._piece = memoryview(piece)
        count = min(len(view), len(self._piece))
        view[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def close(self) -> None:
        self._pieces.close()
        super().close()
