"""How a compressed layer is unpacked: the one place that knows isal and zstandard."""

import gzip
from collections.abc import Iterator
from io import BufferedIOBase
from typing import BinaryIO, Protocol, cast

import zstandard
from isal import igzip, isal_zlib

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci.media import Packing
from csi_driver.transfer.buffers import Buffer
from csi_driver.transfer.tarheader import BLOCK, is_header
from csi_driver.transfer.zstdframes import FrameWalker, is_zstd

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_ERRORS: tuple[type[Exception], ...] = (
    EOFError,
    gzip.BadGzipFile,
    isal_zlib.error,  # type: ignore[assignment]
    OverflowError,  # the name or comment in a member's header does not end for 512 KiB
)
_ZSTD_READ = 1 << 20
_ARCHIVES = (Packing.TAR, Packing.TAR_GZIP, Packing.TAR_ZSTD)
_FILES = (Packing.RAW, Packing.RAW_GZIP, Packing.RAW_ZSTD)


class Decompressor(Protocol):
    """A compressed stream seen from its other end."""

    def readinto(self, view: memoryview, /) -> int:
        """Fill `view` unless the stream ends before; returns how many bytes.

        Raises `UnsupportedArtifact` for a stream that is damaged, cut off or followed by something else.
        """


def actual_packing(start: bytes, packing: Packing) -> Packing:
    """How a layer that starts with these bytes is really packed: media types are wrong about that now and then.

    An archive stays an archive, and a compressed file a file.
    """
    plain, gzipped, zstd = _ARCHIVES if packing.is_tree else _FILES
    if packing.is_tree and is_header(start[:BLOCK]):
        return plain
    if start[:2] == _GZIP_MAGIC:
        return gzipped
    if is_zstd(start):
        return zstd
    return packing if packing.is_tree else plain


def decompressor(packing: Packing, compressed: "Compressed", window_limit: int) -> Decompressor:
    """What undoes the compression of `packing`."""
    if packing in (Packing.TAR_GZIP, Packing.RAW_GZIP):
        return _Gzip(compressed)
    return _Zstd(compressed, window_limit)


class Compressed:
    """The buffers of a channel as a file that is read from front to back; each is released when it has been read."""

    def __init__(self, buffers: Iterator[Buffer]) -> None:
        self._buffers = buffers
        self._buffer: Buffer | None = None
        self._start = 0

    def read(self, count: int) -> memoryview:
        """At most `count` bytes, without a copy: they are good until the next call. Nothing at the end."""
        while self._buffer is None or self._start == self._buffer.length:
            self.close()
            self._buffer = next(self._buffers, None)
            self._start = 0
            if self._buffer is None:
                return memoryview(b"")
        start = self._start
        self._start = min(self._buffer.length, start + count)
        return self._buffer.window(start, self._start)

    def readinto(self, view: memoryview) -> int:
        """Fill some of `view`."""
        piece = self.read(len(view))
        view[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        """Release the buffer at hand."""
        if self._buffer is not None:
            self._buffer.release()
            self._buffer = None


class _Gzip:
    """All the members of a gzip stream (RFC 1952); zeros after the last one are padding."""

    def __init__(self, compressed: Compressed) -> None:
        self._file: BufferedIOBase = igzip.open(compressed, "rb")  # type: ignore[no-untyped-call]  # isal annotates only some

    def readinto(self, view: memoryview) -> int:
        try:
            return self._file.readinto(view)
        except _GZIP_ERRORS as error:
            raise UnsupportedArtifact(f"the gzip stream is damaged or cut off: {error}") from error


class _Zstd:
    """All the frames of a zstd stream."""

    def __init__(self, compressed: Compressed, window_limit: int) -> None:
        self._compressed = compressed
        self._walker = FrameWalker(window_limit)
        decompressor = zstandard.ZstdDecompressor(max_window_size=window_limit)
        self._stream = decompressor.stream_reader(cast("BinaryIO", self), read_size=_ZSTD_READ, read_across_frames=True)

    def read(self, count: int) -> memoryview:
        """What zstandard reads from."""
        piece = self._compressed.read(count)
        self._walker.feed(piece)
        return piece

    def readinto(self, view: memoryview) -> int:
        try:
            count = self._stream.readinto(view)
        except zstandard.ZstdError as error:
            raise UnsupportedArtifact(f"the zstd stream is damaged: {error}") from error
        if count < len(view):
            self._walker.finish()
        return count
