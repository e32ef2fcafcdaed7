"""Tar archives for tests: by Python's tarfile, by GNU tar, and header by header, as no tool would make them."""

import gzip
import io
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import zstandard

BLOCK = 512
END = bytes(2 * BLOCK)


def header(
    name: bytes | str,
    kind: bytes = b"0",
    *,
    size: int | bytes = 0,
    target: bytes | str = b"",
    mode: int | bytes = 0o644,
    mtime: int | bytes = 1_700_000_000,
    prefix: bytes = b"",
    magic: bytes = b"ustar\00000",
    fields: Mapping[int, bytes] | None = None,
) -> bytes:
    """One header block. Numbers that are bytes go in as they are; `fields` overwrites bytes by offset."""
    block = bytearray(BLOCK)
    for offset, length, value in (
        (0, 100, _bytes(name)),
        (100, 8, _number(mode, 8)),
        (108, 8, _number(1000, 8)),
        (116, 8, _number(1000, 8)),
        (124, 12, _number(size, 12)),
        (136, 12, _number(mtime, 12)),
        (156, 1, kind),
        (157, 100, _bytes(target)),
        (257, 8, magic),
        (345, 155, prefix),
    ):
        block[offset : offset + min(length, len(value))] = value[:length]
    for offset, value in (fields or {}).items():
        block[offset : offset + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    """Data filled up with zeros to whole blocks."""
    return data + bytes(-len(data) % BLOCK)


def member(name: bytes | str, data: bytes = b"", **fields: object) -> bytes:
    """A header with its data behind it."""
    return header(name, size=len(data), **fields) + padded(data)  # type: ignore[arg-type]


def pax(kind: bytes, *records: tuple[str, bytes | str]) -> bytes:
    """An extended header of type `x` or `g`."""
    data = b"".join(record(key.encode(), _bytes(value)) for key, value in records)
    return header("pax", kind, size=len(data)) + padded(data)


def record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    digits = len(str(length + len(str(length))))
    return b"%d %s=%s\n" % (length + digits, key, value)


def gnu_long(kind: bytes, name: bytes) -> bytes:
    """A GNU long name (`L`) or long link (`K`)."""
    return header("././@LongLink", kind, size=len(name) + 1, magic=b"ustar  \0") + padded(name + b"\0")


def base256(value: int, length: int) -> bytes:
    return ((1 << (8 * length - 1)) | value).to_bytes(length, "big")


def tarfile_of(files: Mapping[str, bytes], *, form: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive of regular files by Python's tarfile."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1_700_000_000
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def gnu_tar(directory: Path, *arguments: str) -> bytes:
    """An archive of a directory by GNU tar."""
    done = subprocess.run(["tar", "-C", str(directory), *arguments, "-cf", "-", "."], capture_output=True, check=True)
    return done.stdout


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def zstd(data: bytes, **parameters: int) -> bytes:
    return zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters.from_level(1, **parameters)
    ).compress(data)


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def _number(value: int | bytes, length: int) -> bytes:
    return value if isinstance(value, bytes) else b"%0*o\0" % (length - 1, value)
