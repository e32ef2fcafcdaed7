"""What is left of an archive when its files have been taken out: enough to prove its digest again later.

A magic line, then one zstd stream of records: a letter and its fields, integers little-endian.
`L` u32 length, bytes: the archive goes on with these. `F` u16 length, path, u64 size: with all of that file.
`S` u16 length, path, u64 size, u32 number of pieces, u64 offset and u64 count of each: with those pieces of that file.
`E` u64 length, u32 CRC-32, both of the whole archive: it ends here.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import zstandard

from csi_driver.errors import ContentMismatch
from csi_driver.host.files import full_disk_named
from csi_driver.transfer.sparse import Segments

_MAGIC = b"model-csi skeleton 1\n"
_LITERAL_BYTES = 64 << 10
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

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open(path, "xb", buffering=0)  # noqa: SIM115  the context closes it
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
        self._literal = bytearray()
        self._append(_MAGIC)

    def literal(self, data: bytes) -> None:
        """The archive goes on with these bytes."""
        self._literal += data
        if len(self._literal) >= _LITERAL_BYTES:
            self._record(b"")

    def payload(self, path: str, size: int, segments: Segments | None) -> None:
        """The archive goes on with a file of `size` bytes: with all of it, or with the pieces given."""
        name = path.encode("utf-8", "surrogateescape")
        head = struct.pack("<cH", b"F" if segments is None else b"S", len(name)) + name + struct.pack("<Q", size)
        if segments is not None:
            numbers = [number for segment in segments for number in segment]
            head += struct.pack(f"<I{len(numbers)}Q", len(segments), *numbers)
        self._record(head)

    def flush(self) -> int:
        """All that was written so far can be read back, even if nothing follows; returns how long the file is."""
        self._record(b"")
        self._append(self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
        return os.fstat(self._file.fileno()).st_size

    def finish(self, length: int, crc: int) -> None:
        """The archive is complete."""
        self._record(struct.pack("<cQI", b"E", length, crc))
        self._append(self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _record(self, record: bytes) -> None:
        literal, self._literal = self._literal, bytearray()
        if literal:
            record = struct.pack("<cI", b"L", len(literal)) + literal + record
        if record:
            self._append(self._compressor.compress(record))

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        with full_disk_named(self._path):
            while view:
                view = view[self._file.write(view) or 0 :]


def read_skeleton(path: Path) -> Iterator[Literal | Payload | End]:
    """The records of a skeleton, up to its end or to where its writer was interrupted.

    Raises `ContentMismatch` where the bytes are no skeleton.
    """
    with open(path, "rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ContentMismatch(f"{path.name} is no skeleton of an archive that this driver can read")
        with zstandard.ZstdDecompressor().stream_reader(file) as stream:
            try:
                yield from _records(stream)
            except (zstandard.ZstdError, struct.error) as error:
                raise ContentMismatch(f"the skeleton {path.name} is damaged: {error}") from error


def _records(stream: BinaryIO) -> Iterator[Literal | Payload | End]:
    while kind := stream.read(1):
        match kind:
            case b"L":
                yield Literal(_exactly(stream, *_fields(stream, "<I")))
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
