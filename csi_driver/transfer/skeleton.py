"""What is left of an archive when its files have been taken out: enough to prove its digest again later.

A line with the packing of the layer, or `part` where only some of it was kept; then zstd frames with records: a letter
and its fields, integers little-endian.
`L` u32 length, bytes: the archive goes on with these. `F` u16 length, path, u64 size: with all of that file.
`S` u16 length, path, u64 size, u32 number of pieces, u64 offset and u64 count of each: with those pieces of that file.
`E` u64 length, u32 CRC-32, both of the whole archive: it ends here. In a part, only `F`, `S` and `E` say something, and
`E` is about what the files named before it hold, in that order.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import zstandard

from csi_driver.errors import ContentMismatch
from csi_driver.host.files import full_disk_named
from csi_driver.oci.media import Packing
from csi_driver.transfer.sparse import Segments

_TITLE = "model-csi skeleton 1"
_PART = "part"
_MOST_TITLE = 64
_MOST_LITERAL = 64 << 20
_BATCH_BYTES = 64 << 10
_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes of the archive."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes of the archive that are in a file of the tree, which has `size` bytes: these pieces of it."""

    path: str
    size: int
    segments: Segments


@dataclass(frozen=True, slots=True)
class End:
    """The archive has `length` bytes with this CRC-32."""

    length: int
    crc: int


class SkeletonWriter:
    """Writes the skeleton of an archive while it is unpacked; without `finish` it has no end. Raises `NoSpace`."""

    def __init__(self, path: Path, packing: Packing, *, whole: bool = True) -> None:
        self._path = path
        self._title = f"{_TITLE} {packing if whole else _PART}\n".encode()
        self._file = open(path, "xb", buffering=0)  # noqa: SIM115  the context closes it
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self._literal = bytearray()
        self._batch = bytearray()
        try:
            self.restart()
        except BaseException:
            self._file.close()
            raise

    def restart(self) -> None:
        """Nothing was written yet."""
        self._file.seek(0)
        self._file.truncate()
        self._frame = self._compressor.compressobj()
        self._literal.clear()
        self._batch.clear()
        self._append(self._title)

    def literal(self, data: bytes) -> None:
        """The archive goes on with these bytes."""
        self._literal += data
        if len(self._literal) >= _BATCH_BYTES:
            self._end_literal()

    def payload(self, path: str, size: int, segments: Segments | None) -> None:
        """The archive goes on with a file of `size` bytes: with all of it, or with the pieces given."""
        self._end_literal()
        name = path.encode("utf-8", "surrogateescape")
        letter = b"F" if segments is None else b"S"
        self._batch += letter + len(name).to_bytes(2, "little") + name + size.to_bytes(8, "little")
        if segments is not None:
            numbers = [number for segment in segments for number in segment]
            self._batch += struct.pack(f"<I{len(numbers)}Q", len(segments), *numbers)

    def flush(self) -> None:
        """All that was written so far can be read back, even if nothing follows."""
        self._end_literal()
        self._compress()
        self._append(self._frame.flush())
        self._frame = self._compressor.compressobj()

    def finish(self, length: int, crc: int) -> None:
        """The archive is complete."""
        self._end_literal()
        self._batch += struct.pack("<cQI", b"E", length, crc)
        self._compress()
        self._append(self._frame.flush())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _end_literal(self) -> None:
        if self._literal:
            self._batch += b"L" + len(self._literal).to_bytes(4, "little") + self._literal
            self._literal.clear()
        if len(self._batch) >= _BATCH_BYTES:
            self._compress()

    def _compress(self) -> None:
        self._append(self._frame.compress(self._batch))
        self._batch.clear()

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        with full_disk_named(self._path):
            while view:
                view = view[self._file.write(view) or 0 :]


def gives_back_the_blob(path: Path) -> bool:
    """Whether the blob itself can be put together again: all of it was kept, and it was not compressed.

    Raises `ContentMismatch` where the bytes are no skeleton.
    """
    with open(path, "rb") as file:
        return _kind(file, path) == Packing.TAR


def has_headers(path: Path) -> bool:
    """Whether the skeleton tells of everything in the tree, and not only of the content of files.

    Raises `ContentMismatch` where the bytes are no skeleton.
    """
    with open(path, "rb") as file:
        return _kind(file, path) in (Packing.TAR, Packing.TAR_GZIP, Packing.TAR_ZSTD)


def _kind(file: BinaryIO, path: Path) -> str:
    title, _, kind = file.readline(_MOST_TITLE).decode("ascii", "replace").rstrip("\n").rpartition(" ")
    if title != _TITLE or kind not in (*Packing, _PART):
        raise ContentMismatch(f"{path.name} is no skeleton of a layer that this driver can read")
    return kind


def read_skeleton(path: Path) -> Iterator[Literal | Payload | End]:
    """The records of a skeleton, up to its end or to where its writer was interrupted.

    Raises `ContentMismatch` where the bytes are no skeleton.
    """
    with open(path, "rb") as file:
        _kind(file, path)
        with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as stream:
            try:
                yield from _records(stream)
            except (zstandard.ZstdError, struct.error) as error:
                raise ContentMismatch(f"the skeleton {path.name} is damaged: {error}") from error


def _records(stream: BinaryIO) -> Iterator[Literal | Payload | End]:
    while kind := stream.read(1):
        match kind:
            case b"L":
                (length,) = _fields(stream, "<I")
                if length > _MOST_LITERAL:
                    raise struct.error(f"{length} bytes are too many for one record")
                yield Literal(_exactly(stream, length))
            case b"F" | b"S":
                name = _exactly(stream, *_fields(stream, "<H")).decode("utf-8", "surrogateescape")
                (size,) = _fields(stream, "<Q")
                yield Payload(name, size, ((0, size),) if kind == b"F" else _segments(stream))
            case b"E":
                yield End(*_fields(stream, "<QI"))
                return
            case _:
                raise struct.error(f"there is no record {kind!r}")


def _segments(stream: BinaryIO) -> Segments:
    (count,) = _fields(stream, "<I")
    return tuple((offset, length) for offset, length in (_fields(stream, "<QQ") for _ in range(count)))


def _fields(stream: BinaryIO, form: str) -> tuple[int, ...]:
    return struct.unpack(form, _exactly(stream, struct.calcsize(form)))


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise struct.error("it ends in the middle of a record")
    return data
